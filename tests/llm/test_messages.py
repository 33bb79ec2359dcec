import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.llm import Reply, Usage

usages = st.builds(Usage, *[st.integers(0, 10**9)] * 4)


@given(st.lists(usages))
def test_usage_adds_up_field_by_field(parts):
    total = sum(parts, Usage())
    for field in dataclasses.fields(Usage):
        assert getattr(total, field.name) == sum(getattr(part, field.name) for part in parts)
    assert total.total_tokens == total.input_tokens + total.output_tokens


def test_usage_adds_to_nothing_else():
    with pytest.raises(TypeError):
        Usage(1, 1) + 1


def test_replies_are_frozen_and_compare_by_what_was_said():
    assert Reply("a", "m", raw=object()) == Reply("a", "m", raw=object())
    with pytest.raises(dataclasses.FrozenInstanceError):
        Reply("a", "m").text = "b"
