"""Chance inside a sandbox follows that of the program: whoever seeds it gets the same results again."""

import sys
from collections.abc import Collection
from typing import Any

__all__ = ["seeds_for"]


def seeds_for(modules: Collection[str], of: tuple[int, ...]) -> dict[str, int]:
    """Return a seed for each source of chance among *modules*, which the state of the program's own determines.

    The program's own goes on as if nobody had looked.

    Args:
        modules: Of the sources.
        of: Numbers that tell apart who draws: several do, from one state of the program's.
    """
    found: dict[str, int] = {}
    random: Any = sys.modules.get("random")
    if random is not None and "random" in modules:
        # Numbers only: what hashes of other things are depends on the process.
        found["random"] = hash((*random.getstate()[1], *of)) & 0xFFFFFFFF
    numpy: Any = sys.modules.get("numpy.random")
    if numpy is not None and "numpy" in modules:
        _, keys, position, *_ = numpy.get_state()
        found["numpy.random"] = hash((*keys.tolist(), position, *of)) & 0xFFFFFFFF
    return found
