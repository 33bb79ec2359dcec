import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.errors import BadRequestError
from opto.llm import DummyLLM, Reply, ScriptedLLM, Usage, image

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


@pytest.mark.parametrize(
    ("counts", "problem"),
    [
        (("1", 2), r"input_tokens is a str \('1'\)"),
        ((1, None), "output_tokens is None"),
        ((1, 2, 0.5), "cached_tokens"),
    ],
)
def test_tokens_are_whole_numbers(counts, problem):
    with pytest.raises(TypeError, match=problem):
        Usage(*counts)


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ({"role": "usr", "content": "x"}, r"role of message 0 is 'usr'. Did you mean 'user'\?"),
        ({"role": 3, "content": "x"}, "role of message 0 is 3"),
        ({"role": " ", "content": "x"}, "role of message 0 is ' '"),
        ({"role": "user", "content": 3}, "content of message 0 is an int"),
        ({"role": "user", "content": None}, "content of message 0 is None"),
        ({"role": "user", "content": {"text": "x"}}, "content of message 0 is a dict"),
        ({"role": "user", "content": ["x", 5]}, "part of message 0 is an int"),
        ({"role": "user", "content": ["x", None]}, "part of message 0 is None"),
        (3, "Message 0 is an int"),
    ],
)
def test_what_no_model_can_read_is_refused_before_it_is_sent(message, problem):
    llm = ScriptedLLM(["hello"])
    with pytest.raises(BadRequestError, match=problem):
        llm([message])
    assert not llm.calls


@pytest.mark.parametrize(("messages", "is_"), [(3, "an int"), (None, "None"), (ScriptedLLM([]), "a ScriptedLLM")])
def test_what_is_no_list_of_messages_is_named(messages, is_):
    with pytest.raises(BadRequestError, match=f"The messages are {is_}"):
        ScriptedLLM(["hello"])(messages)


def test_messages_that_providers_know_pass():
    messages = [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": ["What is this?", image(b"GIF89a"), {"type": "input_audio", "input_audio": {}}]},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "content": "", "tool_call_id": "1"},
        {"role": "ipython", "content": "of a template of one's own"},
    ]
    llm = ScriptedLLM(["hello"])
    llm(messages)
    assert [message["role"] for message in llm.calls[0].messages] == [message["role"] for message in messages]


@pytest.mark.parametrize(("given", "is_"), [("hello", "a str"), (None, "None"), (5, "an int")])
def test_what_is_no_function_is_refused_when_the_client_is_made(given, is_):
    with pytest.raises(BadRequestError, match=f"is {is_}, and no function of messages"):
        DummyLLM(given)


def test_what_was_asked_stays_what_it_was():
    messages = [{"role": "user", "content": "hi"}]
    llm = ScriptedLLM(["hello"])
    llm(messages)
    messages[0]["content"] = "bye"
    assert llm.calls[0].messages == [{"role": "user", "content": "hi"}]
