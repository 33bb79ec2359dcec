"""Edges to models that users write, and what is wrong with those that are none."""

import asyncio
import threading

import pytest

from opto.errors import BadRequestError, ServerError
from opto.llm import LLM, Adapter, Reply, ScriptedLLM, as_llm, use_llm
from tests.llm.ways import ask


class Shout(Adapter):
    def complete(self, messages, settings):
        self.thread = threading.current_thread()
        return Reply(messages[-1]["content"].upper(), model="shout")


class NotDerived:
    model = "local:bare"

    def complete(self, messages, settings):
        return Reply("bare", model="bare")

    async def acomplete(self, messages, settings):
        return self.complete(messages, settings)


def test_complete_is_enough(how):
    adapter = Shout()
    llm = LLM(adapter=adapter)
    assert (ask(llm, how).text, llm.model) == ("HI", "local:Shout")
    assert (adapter.thread is threading.main_thread()) == (how == "call")


@pytest.mark.parametrize("make", [Shout, NotDerived])
def test_an_adapter_can_be_given_wherever_a_model_can(make, how):
    assert ask(as_llm(make()), how, "bare").text.lower() == "bare"
    with use_llm(judge=make()) as llm:
        assert (llm.model, llm.role) == (LLM(adapter=make()).model, "judge")


def test_an_adapter_that_only_awaits_says_so():
    class Awaits(Adapter):
        async def acomplete(self, messages, settings):
            return Reply("hello", model="m")

    llm = LLM(adapter=Awaits())
    assert asyncio.run(llm.acall("hi")).text == "hello"
    with pytest.raises(BadRequestError, match="Awaits has no complete.*acall"):
        llm("hi")


@pytest.mark.parametrize(("given", "is_"), [("hello", "a str"), (None, "None")])
def test_what_is_no_reply_is_named(how, given, is_):
    class Says(Adapter):
        def complete(self, messages, settings):
            return given

    with pytest.raises(BadRequestError, match=f"adapter of local:Says returned {is_}. Return an opto.llm.Reply"):
        ask(LLM(adapter=Says()), how)


@pytest.mark.parametrize(
    ("given", "problem"),
    [(5, "an int, has no model and no complete and no acomplete"), (Shout, "is a class Shout"), ("m", "a str, has no")],
)
def test_what_is_no_adapter(given, problem):
    with pytest.raises(BadRequestError, match=problem):
        LLM(adapter=given)


def test_an_adapter_raises_errors_of_its_own(how):
    class Loads(Adapter):
        def complete(self, messages, settings):
            raise ServerError("It is still loading.", mend="Wait for it.")

    with pytest.raises(ServerError, match=r"^It is still loading\. Wait for it\.$"):
        ask(LLM(adapter=Loads(), retries=0), how)


def test_a_script_may_not_answer_with_nothing():
    llm = ScriptedLLM([None, "hello"])
    with pytest.raises(BadRequestError, match="cannot answer with None"):
        llm("hi")
    assert llm("hi").text == "hello"
    with pytest.raises(BadRequestError, match="The script is an int"):
        ScriptedLLM(5)
