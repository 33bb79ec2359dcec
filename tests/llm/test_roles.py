"""Different models for optimizers, judges and the program: by block, by client and by environment."""

import asyncio
from itertools import count

import pytest

from opto.errors import AuthenticationError, BadRequestError
from opto.llm import LLM, Ledger, ScriptedLLM, as_llm, environment_model, labelled, labels, named_for, use_llm
from opto.nodes import node
from opto.optimizers import OPRO, LocalSearch, Mixed, Optimizer, OptoPrime, OptoPrimeMulti, OptoPrimeV2, TextGrad
from opto.testing import LLMServer
from opto.trace import bundle
from opto.trace.operators import call_llm

ROLES = ("optimizer", "judge", "task")


def saying(text, seen=None):
    """Return a model that says *text*, and for whom, into *seen*."""

    def answer(_messages):
        if seen is not None:
            seen.append(labels())
        return text

    return ScriptedLLM(answer)


def test_one_model_for_all_roles():
    llm = saying("x")
    with use_llm(llm) as used:
        assert used is llm
        assert all(as_llm(None, role=role) is llm for role in ROLES)
        assert as_llm(None) is llm


def test_a_model_for_each_role_and_blocks_nest():
    everyone, judge, task = saying("everyone"), saying("judge"), saying("task")
    with use_llm(everyone, judge=judge):
        assert [as_llm(None, role=role) for role in ROLES] == [everyone, judge, everyone]
        with use_llm(task=task):
            assert [as_llm(None, role=role) for role in ROLES] == [everyone, judge, task]
            assert as_llm(None) is task  # where nothing is said, a program speaks for itself
            with labelled(role="judge"):
                assert as_llm(None) is judge
            with use_llm(everyone) as used:
                assert used is everyone
                assert [as_llm(None, role=role) for role in ROLES] == [everyone] * 3
        assert as_llm(None, role="task") is everyone
    with pytest.raises(AuthenticationError):
        as_llm(None)


def test_what_is_made_of_a_function_has_the_role_it_was_made_for():
    with use_llm(judge=lambda messages: labels(as_llm(None, role="judge").role).role) as judge:
        assert judge.role == "judge"
        assert judge("hello").text == "judge"
    assert as_llm(lambda messages: "hi").role is None


@pytest.mark.parametrize("call", [lambda: as_llm(None, role="critic"), lambda: LLM("openai:x", role="critic")])
def test_an_unknown_role_is_an_error(call):
    with pytest.raises(BadRequestError, match="There is no role 'critic'"):
        call()


def test_a_block_without_a_model_is_an_error():
    with pytest.raises(BadRequestError, match="given no model"), use_llm():
        pass
    with pytest.raises(TypeError, match="critic"), use_llm(critic="openai:x"):
        pass


def test_the_environment_names_a_model_for_each_role(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPTO_MODEL", "openai:all")
    monkeypatch.setenv("OPTO_JUDGE_MODEL", "openai:judge")
    monkeypatch.setenv("OPTO_TASK_MODEL", "openai:task")
    assert LLM().model == "openai:all"
    assert [LLM(role=role).model for role in ROLES] == ["openai:all", "openai:judge", "openai:task"]
    assert [as_llm(None, role=role).model for role in ROLES] == ["openai:all", "openai:judge", "openai:task"]
    assert [environment_model(role) for role in (None, *ROLES)] == [
        *("openai:all", "openai:all", "openai:judge", "openai:task")
    ]
    assert as_llm(None).model == "openai:task"
    assert LLM("openai:mine", role="judge").model == "openai:mine"
    # A block is nearer than the environment.
    with use_llm(saying("x")):
        assert as_llm(None, role="judge").model == "scripted:script"
        assert named_for("judge") is None
    assert named_for("judge").model == "openai:judge"
    assert named_for("optimizer") is None


def test_without_any_the_error_names_the_variable_of_the_role():
    with pytest.raises(AuthenticationError, match=r"none of OPTO_JUDGE_MODEL, OPTO_MODEL.*LocalSearch"):
        LLM(role="judge")


ANSWER = "<variable><name>x</name><value>2</value></variable>"


@pytest.mark.parametrize("kind", [OptoPrime, OptoPrimeV2, OPRO, TextGrad])
def test_optimizers_ask_as_such_with_the_number_of_their_step(kind):
    seen = []
    x = node(1, name="x", trainable=True)
    with use_llm(saying("the wrong one"), optimizer=saying(ANSWER, seen)):
        optimizer = kind([x])
        for _ in range(2):
            optimizer.zero_feedback()
            optimizer.backward(x * 3, "It should be 6.")
            optimizer.step()
    assert {item.role for item in seen} == {"optimizer"}
    assert [item.step for item in seen] == sorted(item.step for item in seen)
    assert {item.step for item in seen} == {record.step for record in optimizer.records} == {1, 2}
    assert labels() == labels("task")


def test_the_step_of_a_run_that_goes_on_is_that_of_its_records(tmp_path):
    seen = []
    x = node(1, name="x", trainable=True)
    for _ in range(2):
        optimizer = OptoPrime([x], saying(ANSWER, seen), run=tmp_path / "run")
        optimizer.backward(x * 3, "It should be 6.")
        optimizer.step()
    assert [item.step for item in seen] == [1, 2] == [seen[0].step, optimizer.records[-1].step]


def multi(**settings):
    x = node(1, name="x", trainable=True)
    optimizer = OptoPrimeMulti([x], num_responses=2, **settings)
    optimizer.backward(x * 3, "It should be 6.")
    return optimizer.step()


def test_what_judges_candidates_asks_as_judge():
    seen, judged = [], []

    def asked(messages):
        seen.append(labels())
        return f"<variable><name>x</name><value>{len(seen) + 1}</value></variable>"

    with use_llm(judge=saying("<variable><name>choice</name><value>2</value></variable>", judged)):
        step = multi(llm=asked)
    assert step.outcome == "updated"
    assert {(item.role, item.step) for item in seen} == {("optimizer", 1)}
    assert {(item.role, item.step) for item in judged} == {("judge", 1)}


def test_a_judge_that_is_never_asked_needs_no_key(monkeypatch):
    monkeypatch.setenv("OPTO_JUDGE_MODEL", "openai:judge")
    with pytest.raises(AuthenticationError, match="OPENAI_API_KEY"):
        multi(llm=saying(ANSWER))
    assert multi(llm=saying(ANSWER), validate=lambda: 1.0).outcome == "updated"


def test_optimizers_written_for_trace_ask_as_optimizers():
    class Simple(Optimizer):
        def _step(self):
            said = llm([{"role": "user", "content": "What now?"}]).text
            return {parameter: int(said) for parameter in self.parameters}

    llm, x = saying("2", seen := []), node(1, name="x", trainable=True)
    optimizer = Simple([x])
    optimizer.backward(x * 3, "It should be 6.")
    optimizer.step()
    assert x.data == 2
    assert [(item.role, item.step) for item in seen] == [("optimizer", 1)]


def test_without_a_judge_of_its_own_the_model_judges_in_that_role():
    seen = []

    def answer(messages):
        seen.append(labels().role)
        if "# Candidates" in messages[-1]["content"]:
            return "1"
        return f"<variable><name>x</name><value>{len(seen) + 1}</value></variable>"

    # More specific than what a block names for everything.
    with use_llm(saying("nobody asks this one")):
        multi(llm=answer)
    assert sorted(seen) == ["judge", "optimizer", "optimizer"]


def test_a_program_that_validates_candidates_asks_for_itself():
    seen, task = [], []

    @bundle
    def program(value):
        return call_llm(f"Is {value} good?")

    def answer(messages):
        seen.append(labels())
        return f"<variable><name>x</name><value>{len(seen) + 1}</value></variable>"

    x = node(1, name="x", trainable=True)
    with use_llm(optimizer=answer, task=saying("yes", task)):
        optimizer = OptoPrimeMulti(
            [x], num_responses=2, max_workers=1, validate=lambda: float(program(x).data == "yes") + x.data
        )
        optimizer.backward(x * 3, "It should be 6.")
        assert optimizer.step().outcome == "updated"
    assert {item.role for item in seen} == {"optimizer"}
    assert {tuple(item) for item in task} == {("task", "call_llm", 1)}


def test_groups_of_parameters_ask_in_the_step_that_they_take_together():
    seen = []
    x, y = node(1, name="x", trainable=True), node(2, name="y", trainable=True, domain=[1, 2, 3])
    optimizer = Mixed(
        [{"params": [x], "optimizer": OptoPrime}, {"params": [y], "optimizer": LocalSearch}],
        llm=saying(ANSWER, seen),
    )
    for _ in range(3):
        optimizer.zero_feedback()
        optimizer.backward(x * y, (0.5, "It should be 6."))
        optimizer.step()
    assert [item.step for item in seen] == [1, 2, 3]
    assert {item.role for item in seen} == {"optimizer"}


@pytest.mark.asyncio
async def test_an_asynchronous_step_says_the_same():
    seen = []

    async def answer(messages):
        seen.append(labels())
        return ANSWER

    x = node(1, name="x", trainable=True)
    optimizer = OptoPrime([x], answer)
    optimizer.backward(x * 3, "It should be 6.")
    await optimizer.astep()
    assert [(item.role, item.step) for item in seen] == [("optimizer", 1)]


def test_models_of_roles_are_asked_at_their_own_servers():
    with (
        LLMServer([ANSWER]) as optimizing,
        LLMServer(["yes", "no"]) as working,
        LLM("big", base_url=optimizing.openai_url) as big,
        LLM("small", base_url=working.openai_url) as small,
        use_llm(optimizer=big, task=small),
    ):
        x = node(1, name="x", trainable=True)
        answer = call_llm("Is it good?", x)
        optimizer = OptoPrime([x])
        optimizer.backward(answer, "It should be no.")
        optimizer.step()
        assert (x.data, call_llm("Is it good?", x).data) == (2, "no")
    assert [request.body["model"] for request in optimizing.requests] == ["big"]
    assert [request.body["model"] for request in working.requests] == ["small", "small"]


def counted(ledger):
    return {key: total.calls for key, total in ledger.by("role", "operator", "step").items()}


def program(llm, prompt):
    @bundle
    def draft(prompt, question):
        return llm([{"role": "system", "content": prompt}, {"role": "user", "content": question}]).text

    @bundle(traceable_code=True)
    def review(text):
        return call_llm(llm, "Improve it.", text)

    return review(draft(prompt, "Why?"))


def test_the_ledger_tells_whose_calls_they_were():
    def answer(messages):
        if "# Candidates" in messages[-1]["content"]:
            return "1"
        return f"<variable><name>prompt</name><value>Be brief, {next(numbers)}.</value></variable>"

    numbers, prompt = count(), node("Be kind.", name="prompt", trainable=True)
    with (
        LLMServer(answer) as server,
        LLM("m", base_url=server.openai_url) as llm,
        Ledger() as ledger,
        use_llm(llm),
    ):
        optimizer = OptoPrimeMulti([prompt], num_responses=2, temperature_range=None, max_workers=2)
        for _ in range(2):
            output = program(llm, prompt)
            optimizer.zero_feedback()
            optimizer.backward(output, "Better, please.")
            optimizer.step()
        llm("hello")
    own = {("task", "draft", None): 2, ("task", "call_llm", None): 2, ("task", None, None): 1}
    first, second = ({("optimizer", None, step): 2, ("judge", None, step): 1} for step in (1, 2))
    assert counted(ledger) == {**own, **first, **second}
    assert sum(counted(ledger).values()) == len(server.requests)


def test_the_calls_of_a_client_with_a_role_are_counted_as_such():
    llm = ScriptedLLM(["a", "b"], role="judge")
    llm("hello")
    with labelled(role="task", operator="named", step=3):
        llm("hello")
    assert counted(llm.ledger) == {("judge", None, None): 1, ("task", "named", 3): 1}


@pytest.mark.asyncio
async def test_the_ledger_tells_calls_of_tasks_and_steps_apart_that_run_at_once():
    async def run(llm, number):
        prompt = node(f"Be kind {number}.", name="prompt", trainable=True)

        @bundle(f"[ask{number}] Asks.")
        async def ask(prompt):
            return (await llm.acall(prompt)).text

        optimizer = OptoPrime([prompt], llm)
        for _ in range(2):
            optimizer.zero_feedback()
            optimizer.backward(await ask(prompt), "Better, please.")
            await optimizer.astep()

    answer = "<variable><name>prompt</name><value>Be brief.</value></variable>"
    with LLMServer(lambda _messages: answer) as server, Ledger() as ledger:
        async with LLM("m", base_url=server.openai_url) as llm:
            await asyncio.gather(run(llm, 1), run(llm, 2), run(llm, 3))
    tasks = {("task", f"ask{number}", None): 2 for number in (1, 2, 3)}
    assert counted(ledger) == {**tasks, ("optimizer", None, 1): 3, ("optimizer", None, 2): 3}
    assert len(server.requests) == 12
