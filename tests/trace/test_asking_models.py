"""The program's own calls of models: clients in bundles, as arguments, in modules; and `call_llm`."""

import asyncio
import copy
import json
import pickle
import warnings
from contextlib import suppress

import pytest

from opto.errors import (
    AuthenticationError,
    BadRequestError,
    BudgetError,
    CassetteError,
    ExecutionError,
    LLMError,
    MissingInputsError,
    ModuleError,
    RateLimitError,
    ServerError,
)
from opto.llm import LLM, Budget, Ledger, Reply, ScriptedLLM, as_llm, use_llm
from opto.nodes import ExceptionNode, node
from opto.optimizers import OptoPrime, OptoPrimeMulti
from opto.sandbox import Sandbox
from opto.testing import Failure, LLMServer
from opto.trace import Module, bundle, model
from opto.trace import operators as ops
from opto.trace.operators import call_llm
from opto.trace.utils import contain


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def server():
    with LLMServer(lambda messages: f"<{messages[-1]['content']}>") as server:
        yield server


@pytest.fixture
def llm(server):
    with LLM("m", base_url=server.openai_url, retries=0) as client:
        yield client


# Nodes that reach a client are read.


@pytest.mark.parametrize(
    "messages",
    [
        node("Hi."),
        [{"role": "user", "content": node("Hi.")}],
        [node({"role": "user", "content": "Hi."})],
        node([{"role": "user", "content": "Hi."}]),
        ({"role": node("user"), "content": node("Hi.")},),
    ],
    ids=["text", "content", "message", "list", "tuple"],
)
def test_messages_may_be_nodes(server, llm, messages):
    assert llm(messages).text == "<Hi.>"
    assert asyncio.run(llm.acall(messages)).text == "<Hi.>"
    assert server.requests[0].body["messages"] == [{"role": "user", "content": "Hi."}]


def test_parts_of_contents_and_settings_may_be_nodes(server, llm):
    parts = [{"type": "text", "text": node("Hi.")}]
    llm([{"role": "user", "content": parts}], temperature=node(0.5), stop=[node("END")])
    body = server.requests[0].body
    assert body["messages"][0]["content"] == [{"type": "text", "text": "Hi."}]
    assert (body["temperature"], body["stop"]) == (0.5, ["END"])


def test_what_a_client_reads_of_nodes_is_read_by_the_bundle(llm):
    prompt, limit = node("Be brief.", trainable=True), node(0.5, trainable=True)

    @bundle(allow_external_dependencies=True)
    def allowed(question):
        return llm(
            [{"role": "system", "content": prompt}, {"role": "user", "content": question}], temperature=limit
        ).text

    @bundle
    def secret(question):
        return llm([{"role": "user", "content": prompt}]).text

    answer = allowed(node("Why?"))
    assert answer.data == "<Why?>"
    assert contain(answer.parents, prompt)
    assert contain(answer.parents, limit)
    answer.backward("too long")
    assert len(prompt.feedback) == len(limit.feedback) == 1
    with pytest.raises(MissingInputsError, match="Be brief|str"):
        secret("Why?")


# Clients as arguments, attributes and contents.


def test_a_client_is_an_argument_like_any_other(llm):
    @bundle
    def ask(client, question):
        return client(question).text

    question = node("Why?")
    for client in (llm, node(llm)):
        answer = ask(client, question)
        assert answer.data == "<Why?>"
        assert contain(answer.parents, question)
    assert "openai:m" in repr(answer.inputs["client"])


def test_a_whole_reply_is_a_result_whose_parts_are_recorded(llm):
    @bundle
    def ask(question):
        return llm(question)

    question = node("Why?", trainable=True)
    reply = ask(question)
    assert isinstance(reply.data, Reply)
    text = reply.choices[0].message.content
    assert (text.data, reply.text.data) == ("<Why?>", "<Why?>")
    text.backward("wrong")
    assert len(question.feedback) == 1


class Answers(Module):
    def __init__(self, client=None):
        self.client = client
        self.prompt = node("Be brief.", trainable=True)

    def forward(self, question):
        return self.ask(self.prompt, question)

    @bundle
    def ask(self, prompt, question):
        messages = [{"role": "system", "content": prompt}, {"role": "user", "content": question}]
        return (self.client or as_llm())(messages).text


def test_modules_share_their_client_with_their_copies(llm, server):
    agent = Answers(llm)
    for twin in (copy.deepcopy(agent), copy.copy(agent), agent.copy()):
        assert twin.client is llm
        assert twin(node("Why?")).data == "<Why?>"
    assert copy.copy(llm) is llm
    assert len(server.requests) == 3


def test_modules_with_a_client_are_saved_and_loaded(llm, tmp_path):
    agent = Answers(llm)
    agent.prompt.data = "Be long."
    agent.save(tmp_path / "agent.toml")
    other = Answers(llm)
    other.load(tmp_path / "agent.toml")
    assert other.prompt.data == "Be long."
    assert "openai" not in (tmp_path / "agent.toml").read_text()
    assert other.client is llm


def test_a_client_cannot_be_pickled_and_says_so(llm):
    with pytest.raises(TypeError, match=r"LLM\('openai:m.*make it anew in the other one"):
        pickle.dumps(llm)
    with pytest.raises(ModuleError, match=r"Answers.*'client'.*make it anew in the other one.*save\(\)"):
        pickle.dumps(Answers(llm))
    assert pickle.loads(pickle.dumps(Answers())).prompt.data == "Be brief."


class Plain(Module):
    def __init__(self, client):
        self.client = client

    def forward(self, question):
        return self.client(question)


def test_what_is_exported_takes_its_client_as_an_argument(llm):
    space = {}
    exec(Plain(llm).export(), space)
    assert "opto" not in space["Plain"].__module__
    assert space["Plain"](lambda question: question[::-1])("abc") == "cba"


def test_equal_questions_are_asked_once_with_a_memo(server, llm):
    @bundle(memo=True)
    def ask(client, question):
        return client(question).text

    with LLM("other", base_url=server.openai_url) as other:
        said = [ask(client, text).data for client, text in ((llm, "a"), (llm, "a"), (llm, "b"), (other, "a"))]
    assert said == ["<a>", "<a>", "<b>", "<a>"]
    assert [request.body["model"] for request in server.requests] == ["m", "m", "other"]


def test_asynchronous_bundles_await_their_client(server, llm):
    @bundle
    async def ask(question):
        return (await llm.acall(question)).text

    async def program():
        return await asyncio.gather(*(ask(node(f"{number}?")) for number in range(5)))

    answers = asyncio.run(program())
    assert [answer.data for answer in answers] == [f"<{number}?>" for number in range(5)]
    assert all(answer.parents for answer in answers)


# call_llm.


@pytest.mark.parametrize("takes", ["client", "none", "nothing"])
def test_both_forms_of_call_llm_are_recorded_with_their_prompts(server, llm, takes):
    system, user, heat = node("Be brief.", trainable=True), node("Why?"), node(0.5)
    first = {"client": [llm], "none": [None], "nothing": []}[takes]
    with use_llm(llm):
        answer = ops.call_llm(*first, system, user, "Now.", temperature=heat)
    assert answer.data == "<Now.>"
    assert answer.op_name == "call_llm"
    assert [parent is known for parent, known in zip(answer.parents, (system, user, heat), strict=True)] == [True] * 3
    body = server.requests[0].body
    assert [(item["role"], item["content"]) for item in body["messages"]] == [
        *(("system", "Be brief."), ("user", "Why?"), ("user", "Now."))
    ]
    assert body["temperature"] == 0.5


@pytest.mark.parametrize("model", [ScriptedLLM(["x"]), lambda messages: "x"])
@pytest.mark.parametrize("awaited", [False, True])
def test_the_model_comes_first(model, awaited):
    with use_llm(ScriptedLLM([])) as asked, pytest.raises(BadRequestError, match="Give the model first"):
        asyncio.run(_awaited("Be brief.", model)) if awaited else ops.call_llm("Be brief.", "Hi.", model)
    assert not asked.calls


def test_a_number_is_a_prompt():
    llm = ScriptedLLM(["x"])
    ops.call_llm(llm, "Is it even?", node(4))
    assert llm.calls[0].messages[1] == {"role": "user", "content": "4"}


def test_call_llm_can_be_awaited(server, llm):
    prompt = node("Be brief.", trainable=True)

    async def program():
        with use_llm(llm):
            return await asyncio.gather(ops.acall_llm(prompt, "a"), ops.acall_llm(llm, prompt, "b"))

    first, second = asyncio.run(program())
    assert (first.data, second.data) == ("<a>", "<b>")
    assert first.parents == second.parents
    assert contain(first.parents, prompt)


@pytest.mark.parametrize("call", [ops.call_llm, lambda *given: asyncio.run(_awaited(*given))], ids=["call", "acall"])
def test_a_call_that_fails_is_an_exception_node_and_an_error_of_its_kind(call):
    prompt = node("Be brief.", trainable=True)
    with LLMServer([Failure(429, headers={"retry-after": "7"})]) as server:
        llm = LLM("m", base_url=server.openai_url, retries=0)
        with pytest.raises(RateLimitError) as caught:
            call(llm, prompt, "Why?")
        llm.close()
    error = caught.value
    assert isinstance(error, ExecutionError)
    assert (error.status, error.retry_after, error.transient) == (429, 7.0, True)
    assert type(error.__cause__) is RateLimitError
    assert isinstance(error.exception_node, ExceptionNode)
    assert error.exception_node.data.startswith("(RateLimitError)")
    assert contain(error.exception_node.parents, prompt)


async def _awaited(*given):
    return await ops.acall_llm(*given)


def test_a_call_without_a_model_says_what_to_set(monkeypatch):
    for name in ("OPTO_MODEL", "OPENAI_BASE_URL", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(AuthenticationError, match="OPTO_TASK_MODEL, OPTO_MODEL.*LocalSearch"):
        ops.call_llm("Be brief.", "Why?")


def test_a_bundle_that_retries_by_itself_meets_the_kinds_of_errors(server):
    @bundle
    def stubborn(client, question):
        try:
            return client(question).text
        except ServerError:
            return client(question).text

    with LLMServer([Failure(500), "yes"]) as failing, LLM("m", base_url=failing.openai_url, retries=0) as llm:
        assert stubborn(llm, "Why?").data == "yes"


def test_a_program_is_optimized_with_the_errors_of_its_calls():
    @bundle
    def ask(client, prompt):
        return client(prompt).text

    prompt = node("Be brief.", name="prompt", trainable=True)
    optimizer = OptoPrime([prompt], ScriptedLLM(['{"suggestion": {"prompt": "Be briefer."}}']))
    try:
        ask(ScriptedLLM([LLMError("The prompt is odd.", mend="Mend it.")]), prompt)
    except ExecutionError as error:
        optimizer.backward(error, "It failed.")
    optimizer.step()
    assert "The prompt is odd." in optimizer.records[0].messages[-1]["content"]


SPENT = BudgetError("No.", mend="More.", resource="calls", limit=1)


@pytest.mark.parametrize("error", [SPENT, CassetteError("No.", mend="Record.")], ids=["budget", "cassette"])
def test_what_is_to_stop_a_loop_is_no_failure_of_an_operator(error):
    def stops(*_given):
        raise error

    async def awaited():
        await ops.acall_llm(stops, "Be brief.")

    def generated():
        yield stops()

    calls = [
        lambda: ops.call_llm(stops, "Be brief."),
        lambda: asyncio.run(awaited()),
        lambda: next(bundle(generated)()),
        lambda: node(stops)("hi"),
        lambda: bundle(traceable_code=True)(lambda x: bundle(stops)(x))(1),
        lambda: list(node(map(stops, [1]))),
    ]
    for call in calls:
        with pytest.raises(type(error)) as caught:
            call()
        assert caught.value is error


@pytest.mark.parametrize("measured", [0, 1, 2])
def test_it_ends_a_step_that_measures_its_candidates_too(measured):
    scores = iter([0.5] * measured)

    def validate():
        try:
            return next(scores)
        except StopIteration:
            raise SPENT from None

    prompt, answers = node("Be brief.", name="prompt", trainable=True), iter("ab")
    llm = ScriptedLLM(lambda _: json.dumps({"suggestion": {"prompt": next(answers)}}))
    optimizer = OptoPrimeMulti([prompt], llm, num_responses=2, validate=validate)
    optimizer.backward(prompt + "!", "wrong")
    with pytest.raises(BudgetError):
        optimizer.step()
    assert optimizer.records[-1].outcome == "failed"
    assert prompt.data == "Be brief."


@model
class Agent:
    def __init__(self, client):
        self.client = client
        self.prompt = node("Be brief.", trainable=True)

    def __call__(self, question):
        return ops.call_llm(self.client, self.prompt, question)


def test_agents_hold_their_client(llm):
    agent = Agent(llm)
    answer = agent("Why?")
    assert answer.data == "<Why?>"
    assert agent.parameters() == [agent.prompt]
    answer.backward("wrong")
    assert len(agent.prompt.feedback) == 1


# Code that an optimizer has changed runs elsewhere, and asks the models of the program.


def learn(function, source):
    function.parameter._set(source)
    return function


class TestChangedCode:
    @pytest.mark.parametrize("name", ["call_llm", "ops.call_llm", "asks"])
    @pytest.mark.parametrize("isolation", ["auto", "none"])
    def test_asks_as_the_function_did(self, name, isolation):
        asks = ops.call_llm
        asking = {"call_llm": by_name, "ops.call_llm": by_module, "asks": None}[name]
        if asking is None:

            @bundle(trainable=True, isolation=isolation)
            def asking(question):
                return asks("Be brief.", question)

        function = bundle(trainable=True, isolation=isolation)(getattr(asking, "fun", asking))
        llm = ScriptedLLM(["one", "two"])
        with use_llm(llm), Ledger() as ledger:
            assert function("Hi.").data == "one"
            learn(function, f"def {function.name}(question):\n    return {name}('Be long.', question) + '!'\n")
            assert function("Hi.").data == "two!"
        assert ledger.calls == 2
        assert llm.calls[1].messages[0]["content"] == "Be long."

    def test_asks_without_blocking(self):
        @bundle(trainable=True)
        async def ask(question):
            return await ops.acall_llm("Be brief.", question)

        learn(ask, "async def ask(question):\n    return (await ops.acall_llm('Be long.', question)).upper()\n")
        with use_llm(ScriptedLLM(["yes"])):
            assert asyncio.run(ask("Hi.")).data == "YES"

    def test_keeps_to_budgets(self):
        function = bundle(trainable=True)(by_name)
        learn(function, "def by_name(question):\n    return [call_llm('Go on.', question) for _ in range(3)]\n")
        with use_llm(ScriptedLLM(["one", "two", "three"])), Budget(calls=2), pytest.raises(BudgetError):
            function("Hi.")

    @pytest.mark.parametrize(
        ("asked", "says"),
        [
            ("lambda messages: 'mine', 'Be brief.', question", "was given a model. Give it texts"),
            (
                "'Be brief.', question, extra_body={'model': 'dear'}",
                "was given extra_body. Set no more than max_tokens",
            ),
            ("'Be brief.', question, base_url='http://here'", "was given base_url"),
        ],
    )
    def test_chooses_no_other_model(self, asked, says):
        function = bundle(trainable=True)(by_name)
        learn(function, f"def by_name(question):\n    return call_llm({asked})\n")
        llm = ScriptedLLM(["no"])
        with use_llm(llm), pytest.raises(ExecutionError, match=says):
            function("Hi.")
        assert not llm.calls

    def test_asks_nobody_if_the_function_did_not(self):
        @bundle(trainable=True)
        def plain(question):
            return question

        learn(plain, "def plain(question):\n    return call_llm('Be brief.', question)\n")
        llm = ScriptedLLM(["no"])
        with use_llm(llm), pytest.raises(ExecutionError):
            plain("Hi.")
        assert not llm.calls

    def test_calls_what_the_user_offers_by_that_name(self):
        function = bundle(trainable=True, isolation=Sandbox(hosts={"call_llm": lambda *_: "mine"}))(by_name)
        learn(function, "def by_name(question):\n    return call_llm('Be long.', question)\n")
        assert function("Hi.").data == "mine"

    @pytest.mark.parametrize(
        ("source", "way"),
        [
            ("return as_llm()(question).text", "as_llm"),
            ("return LLM('openai:m')(question).text", "LLM"),
            ("return ops.concat(ops.call_llm('', question), '')", r"ops.call_llm"),
        ],
    )
    def test_is_told_of_ways_that_lead_nowhere(self, source, way, monkeypatch):
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        text = f"def ask(question):\n    {source}\n"
        names = {"as_llm": as_llm, "LLM": LLM, "ops": ops}
        exec(text, names)
        function = bundle(trainable=True, source=text)(names["ask"])
        with (
            use_llm(ScriptedLLM(["yes"])),
            pytest.warns(RuntimeWarning, match=rf"asks a model by {way}\(\).*hosts=\{{'ask'"),
            suppress(ExecutionError),
        ):
            function("Hi.")

    def test_types_of_clients_are_no_way_to_ask(self):
        @bundle(trainable=True)
        def same(question: LLM):
            return question if isinstance(question, LLM) else "none"

        assert same("Hi.").data == "none"


def by_name(question):
    return call_llm("Be brief.", question)


def by_module(question):
    return ops.call_llm("Be brief.", question)


def asked_by_a_helper(question):
    return call_llm(question)


def test_where_a_helper_asks_it_is_said_how_to_offer_that():
    @bundle(trainable=True)
    def work(question):
        return asked_by_a_helper(question)

    work.parameter._set(f"{work.parameter.data}    # the same\n")
    with use_llm(ScriptedLLM(["yes"])):
        with pytest.raises(ExecutionError, match=r"There is no model in a sandbox. .*hosts=\['call_llm'\]"):
            work("Is it?")
        with Sandbox(hosts=["call_llm"]):
            assert work("Is it?").data == "yes"
