"""Plain values as text: the same in every process."""

from dataclasses import dataclass, field
from typing import Any

from opto.nodes import write_constant


def test_sets_in_dataclasses_and_objects_in_lists_read_the_same_in_every_process():
    @dataclass
    class Plan:
        letters: set[str]
        run: Any = field(repr=False)

    plan = Plan({"b", "a", "c"}, object())
    assert write_constant(plan).endswith("Plan(letters={'a', 'b', 'c'})")
    assert write_constant([lambda: 0]) == write_constant([lambda: 1])
    assert " at 0x" not in write_constant({"it": iter([1])})
    assert write_constant("at <x at 0x1f>") == "'at <x at 0x1f>'"
