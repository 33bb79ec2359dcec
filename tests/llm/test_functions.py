"""Functions and scripts in place of models."""

import asyncio
import functools
import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from opto.errors import BadRequestError, LLMError, RateLimitError
from opto.llm import LLM, DummyLLM, Reply, ScriptedLLM, Usage, as_llm

HI = [{"role": "user", "content": "hi"}]


def response(text):
    return SimpleNamespace(choices=[SimpleNamespace(message=SimpleNamespace(content=text))])


def by_name(messages):
    return f"{messages}"


def by_name_among_others(seed=0, *, messages):
    return f"{messages}"


def by_position(prompt, /):
    return f"{prompt}"


def by_first_position(prompt, **settings):
    return f"{prompt} {settings}"


def by_keywords(**settings):
    return f"{settings.pop('messages')} {settings}"


def by_star(*messages):
    return f"{messages[0]}"


def trace_style(*args, **settings):
    assert not args
    return f"{settings.pop('messages')} {settings}"


def one_setting(messages, max_tokens=None):
    return f"{messages} {max_tokens}"


class Callable:
    def __call__(self, messages, **settings):
        return f"{messages} {settings}"


@pytest.mark.parametrize(
    ("function", "after"),
    [
        (by_name, ""),
        (by_name_among_others, ""),
        (by_position, ""),
        (by_star, ""),
        (by_first_position, " {'max_tokens': 3, 'top_p': 1}"),
        (by_keywords, " {'max_tokens': 3, 'top_p': 1}"),
        (trace_style, " {'max_tokens': 3, 'top_p': 1}"),
        (Callable(), " {'max_tokens': 3, 'top_p': 1}"),
        (functools.partial(by_first_position, more=1), " {'more': 1, 'max_tokens': 3, 'top_p': 1}"),
        (one_setting, " 3"),
    ],
)
def test_functions_are_called_as_their_signature_asks(function, after):
    llm = as_llm(function)
    assert llm(HI, max_tokens=3, top_p=1).text == f"{HI}{after}"
    assert asyncio.run(llm.acall(HI, max_tokens=3, top_p=1)).text == f"{HI}{after}"


def test_a_function_without_a_place_for_messages():
    with pytest.raises(BadRequestError, match="takes no messages"):
        as_llm(lambda: "hello")


def test_a_function_in_c_gets_messages_by_position():
    assert as_llm("{!r}".format)(HI).text == repr(HI)


@pytest.mark.parametrize(
    "answer",
    [
        response("hello"),
        {"choices": [{"message": {"content": "hello"}}]},
        SimpleNamespace(choices=[{"message": {"content": "hello"}}]),
        Reply("hello", model="m"),
        "hello",
    ],
)
def test_answers_of_many_shapes(answer):
    assert as_llm(lambda messages: answer)(HI).text == "hello"


def test_answers_may_carry_usage():
    answer = {
        "model": "m",
        "choices": [{"message": {"content": "he"}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4},
    }
    reply = as_llm(lambda messages: answer)(HI)
    assert (reply.model, reply.usage, reply.finish_reason) == ("m", Usage(3, 4), "length")


@pytest.mark.parametrize("answer", [None, 3, ["hello"], {}, {"choices": []}, response(None), response(3), b"hello"])
def test_answers_of_no_known_shape_are_named(answer):
    llm = as_llm(lambda messages: answer)
    with pytest.raises(BadRequestError, match=f"returned a {type(answer).__name__}"):
        llm(HI)
    with pytest.raises(BadRequestError, match=f"returned a {type(answer).__name__}"):
        asyncio.run(llm.acall(HI))


def test_an_exception_of_the_function_is_the_users_own():
    def broken(messages):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        as_llm(broken)(HI)


@pytest.mark.parametrize("kind", ["function", "object", "partial", "hidden"])
def test_asynchronous_functions(kind):
    async def answer(messages):
        await asyncio.sleep(0)
        return "hello"

    class Answer:
        async def __call__(self, messages):
            return await answer(messages)

    llm = as_llm(
        {
            "function": answer,
            "object": Answer(),
            "partial": functools.partial(answer),
            "hidden": lambda messages: answer(messages),
        }[kind]
    )
    assert asyncio.run(llm.acall(HI)).text == "hello"
    with pytest.raises(BadRequestError, match="asynchronous"):
        llm(HI)


def test_a_blocking_function_does_not_block_the_loop():
    released = threading.Event()

    async def both():
        call = asyncio.ensure_future(as_llm(lambda messages: f"{released.wait(30)}").acall(HI))
        await asyncio.sleep(0)
        released.set()
        return (await call).text

    assert asyncio.run(both()) == "True"


def test_as_llm_passes_clients_through():
    llm = ScriptedLLM(["hello"])
    assert as_llm(llm) is llm


@pytest.mark.parametrize("thing", [LLM, ScriptedLLM, dict])
def test_as_llm_wants_instances(thing):
    with pytest.raises(BadRequestError, match=f"{thing.__name__}.*instance"):
        as_llm(thing)


@pytest.mark.parametrize("thing", [3, {"model": "m"}, ["m"]])
def test_as_llm_names_what_it_cannot_use(thing):
    with pytest.raises(BadRequestError, match=type(thing).__name__):
        as_llm(thing)


def test_trace_names():
    from opto.utils import llm

    assert issubclass(llm.LLM, LLM)
    assert issubclass(llm.DummyLLM, DummyLLM)
    assert DummyLLM(lambda *args, **kwargs: "hello")(messages=HI, max_tokens=1).choices[0].message.content == "hello"


def test_a_script_answers_in_order_and_remembers():
    usage = Usage(1, 2)
    failure = RateLimitError("Too many.", mend="Wait.")
    llm = ScriptedLLM(["one", Reply("two", model="m", usage=usage), failure, "four"], seed=1)
    assert llm("a").text == "one"
    assert llm(HI, temperature=0).usage == usage
    with pytest.raises(RateLimitError) as info:
        llm("c")
    assert info.value is failure
    assert asyncio.run(llm.acall("d")).text == "four"
    assert [call.messages[0]["content"] for call in llm.calls] == ["a", "hi", "c", "d"]
    assert llm.calls[1].settings == {"seed": 1, "temperature": 0}


def test_a_script_that_is_over_says_so():
    llm = ScriptedLLM(["one"])
    llm("a")
    with pytest.raises(LLMError, match=r"over.*call 2"):
        llm("b")


def test_a_script_may_be_endless_or_a_function():
    endless = ScriptedLLM(itertools.cycle(["a", "b"]))
    assert [endless("x").text for _ in range(5)] == ["a", "b", "a", "b", "a"]
    echo = ScriptedLLM(lambda messages: messages[-1]["content"].upper())
    assert echo("hi").text == "HI"
    assert echo.calls[0].messages == HI


def test_what_was_shown_is_kept_as_it_was():
    llm, messages = ScriptedLLM(["one"]), [{"role": "user", "content": "hi"}]
    llm(messages)
    messages[0]["content"] = "changed"
    assert llm.calls[0].messages == HI


def test_scripts_that_cannot_be():
    with pytest.raises(BadRequestError, match=r"\['hello'\]"):
        ScriptedLLM("hello")
    with pytest.raises(BadRequestError, match="cannot answer with a int"):
        ScriptedLLM([3])("hi")


def test_threads_get_each_line_once():
    def script():
        for number in range(200):
            time.sleep(0)  # gives other threads the occasion to run the generator too
            yield str(number)

    llm = ScriptedLLM(script())
    with ThreadPoolExecutor(8) as pool:
        texts = [reply.text for reply in pool.map(llm, ["x"] * 200)]
    assert sorted(map(int, texts)) == list(range(200))
    assert len(llm.calls) == 200


def test_an_adapter_excludes_an_address():
    with pytest.raises(BadRequestError, match="adapter"):
        LLM("openai:m", adapter=ScriptedLLM([])._adapter)
