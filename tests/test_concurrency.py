"""Threads, tasks and processes never meet: each gets exactly what it gets alone."""

import asyncio
import multiprocessing
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

from opto.errors import ExecutionError
from opto.llm import ScriptedLLM
from opto.nodes import Feedback, Node, SumPropagator, TraceGraph, backward, node, stop_tracing, write_constant
from opto.optimizers import LocalSearch, OptoPrime
from opto.optimizers.suggestion import FORMATS, Suggestion
from opto.trace import bundle, model


@bundle(trainable=True)
def combine(number, step):
    """Combine two numbers."""
    return number * 3 + step


@bundle
async def settle(value, number):
    for _ in range(3):
        await asyncio.sleep(0)
    return value % (number + 7)


@model
class Agent:
    """Answers questions, with words and code of its own."""

    def __init__(self, style):
        self.style = node(style, name="style", trainable=True)
        self.history = []

    @bundle(trainable=True)
    def answer(self, question, style):
        """Answer a question."""
        if not question:
            raise ValueError("nothing was asked")
        return f"{question}: {style}"

    def forward(self, question):
        self.history.append(str(question))
        return self.answer(question, self.style) + "."


def structure(output):
    """What a graph is made of, by its own names and without a look at how it is written."""
    graph = TraceGraph([output])

    def written(value):
        return graph.names[value] if isinstance(value, Node) else write_constant(value)

    return [
        (graph.names[item], item.op_name, [(key, written(value)) for key, value in item.raw_inputs()])
        for item in graph.nodes
    ]


async def program(number):
    """Build and step a graph of its own for some rounds; return everything that there is to see of it."""
    weight = node(number, name="weight", trainable=True)
    answers = [FORMATS["tags"].write(Suggestion({"weight": str(value)}, "why")) for value in range(100, 104)]
    llm = ScriptedLLM(answers)
    optimizer = OptoPrime([weight], llm)
    agent = Agent(f"style {number}")
    seen = []
    for step in range(4):
        with stop_tracing():
            await asyncio.sleep(0)
            assert (weight + 1).parents == []
        output = await settle(combine(weight, step) + [number][0], number)
        optimizer.zero_feedback()
        optimizer.backward(output, (float(-output.data), f"{number} in step {step}"))
        seen.append(TraceGraph([output]).to_text())
        seen.append(structure(output))
        await asyncio.sleep(0)
        record = optimizer.step()
        assert all(item is weight for item in record)
        assert len(record) == (record.before != record.after)
        seen.append(record.model_dump(exclude={"seconds", "at", "isolation"}))
        seen.append(await talk(agent, number, step))
    seen.append([call.messages for call in llm.calls])
    return seen


async def talk(agent, number, step):
    """Ask an agent of one's own, also what it cannot answer; return what its parameters were told."""
    agent.zero_feedback()
    said = agent(f"{number} in {step}")
    await asyncio.sleep(0)
    try:
        agent("")
    except ExecutionError as error:
        failed = error.exception_node
    backward([said, failed], [f"{number} too long; ", f"{number} not at all; "], propagator=SumPropagator())
    await asyncio.sleep(0)
    told = {name: list(item.feedback.values()) for name, item in agent.named_parameters()}
    if step == 1:
        agent.style._set(f"another style {number}")
        code = agent.answer.parameter
        code._set(code.data.replace("{question}", f"{{question}} ({number})"))
    return structure(said), structure(failed), said.data, failed.data, told


async def together(numbers):
    return await asyncio.gather(*map(program, numbers))


def in_thread(numbers):
    return asyncio.run(together(numbers))


GROUPS = [range(8 * group, 8 * group + 8) for group in range(8)]


def test_eight_threads_with_eight_tasks_each_see_what_each_sees_alone():
    alone = {number: asyncio.run(program(number)) for group in GROUPS for number in group}

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(in_thread, GROUPS))

    for group, results in zip(GROUPS, found, strict=True):
        for number, seen in zip(group, results, strict=True):
            assert seen == alone[number]


def test_another_process_sees_the_same():
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        elsewhere = pool.submit(in_thread, GROUPS[0]).result()

    assert elsewhere == in_thread(GROUPS[0])


def test_threads_that_switch_all_the_time_make_one_graph_each():
    """A thousand operators at once, interrupted at every turn: births and numbers never meet."""
    start = threading.Barrier(8)

    def build(number):
        start.wait()
        total = node(number, name="start", trainable=True)
        for step in range(1000):
            total = total * 1 + step
        total.backward(str(number))
        return total

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            totals = list(pool.map(build, range(8)))
    finally:
        sys.setswitchinterval(interval)

    expected = structure(build_alone(0))[1:]
    for number, total in enumerate(totals):
        graph = TraceGraph([total])
        assert len(graph) == 2001
        assert graph.parameters[0].data == number
        assert structure(total)[1:] == expected
        assert [sent.feedback for sents in graph.parameters[0].feedback.values() for sent in sents] == [
            (Feedback(str(number)),)
        ]
    births = [item.birth for total in totals for item in TraceGraph([total]).nodes]
    assert len(births) == len(set(births))
    names = [item.name for total in totals for item in TraceGraph([total]).nodes]
    assert len(names) == len(set(names))


def build_alone(number):
    total = node(number, name="start", trainable=True)
    for step in range(1000):
        total = total * 1 + step
    return total


# Processes: nodes and modules go there and come back as values; graphs stay where they were made.


def ask(agent, question):
    """Run in another process: what it takes and gives back is pickled."""
    answer = agent(question)
    return agent, answer, structure(answer)


def shout(text):
    return f"{text}!".upper()


@pytest.fixture(params=multiprocessing.get_all_start_methods())
def pool(request):
    context = multiprocessing.get_context(request.param)
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        yield executor


#: Of Python 3.12 on, which does not like forks of processes that have threads.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def test_modules_go_to_another_process_and_come_back_as_they_are_there(pool):
    agent = Agent("polite")
    agent.style._set("very polite")
    code = agent.answer.parameter
    code._set(code.data.replace("{question}", "Q {question}"))

    twin, answer, graph = pool.submit(ask, agent, node("why")).result()

    assert answer.data == "Q why: very polite."
    assert graph == structure(agent(node("why")))
    assert answer.parents == []
    assert agent.history == ["why"], "what ran elsewhere has not run here"
    assert twin.history == ["why"]
    assert twin.style is not agent.style
    assert {name: item.data for name, item in twin.named_parameters()} == {
        name: item.data for name, item in agent.named_parameters()
    }
    assert twin(node("why")).data == answer.data
    assert twin.style.trainable


def test_feedback_reaches_what_was_computed_elsewhere_if_the_call_is_recorded_here(pool):
    @bundle
    def shouted(text):
        return pool.submit(shout, text).result()

    word = node("no", name="word", trainable=True, domain=["no", "yes"])
    optimizer = LocalSearch([word], seed=0)
    for _ in range(4):
        output = shouted(word)
        optimizer.zero_feedback()
        optimizer.backward(output, float(output.data == "YES!"))
        optimizer.step()

    assert structure(output)[-1][1:] == ("shouted", [("text", "word")])
    assert optimizer.best().values == {"word": "yes"}


def test_nodes_computed_elsewhere_are_roots_here_and_it_is_said_where_the_way_ends(pool):
    word = node("a word from here", name="word", trainable=True)
    output = pool.submit(shout, word).result()
    (twin,) = pool.map(node, [word])

    assert output == "A WORD FROM HERE!"
    assert (twin.data, twin.parents, twin.stem, twin.trainable) == (word.data, [], "word", True)
    number = node(1, name="number", trainable=True, domain=range(9))
    optimizer = OptoPrime([number, word], ScriptedLLM(["<variable><name>number</name><value>2</value></variable>"]))
    optimizer.backward(number + node(output).len(), "too long")
    with pytest.warns(UserWarning, match="reaches word: .* its value stands in str0, a node that was made of a plain"):
        optimizer.step()


def test_errors_of_another_process_are_feedback_here(pool):
    with pytest.raises(ExecutionError) as caught:
        pool.submit(ask, Agent("polite"), "").result()

    assert caught.value.exception_node.data == "(ValueError) nothing was asked"
    assert "raise ValueError" in Feedback.of(caught.value).text


@pytest.mark.parametrize("thing", [node(3, name="n") + 4, node([1, {"a": 2}], trainable=True), Agent("x").style])
def test_nodes_are_values_for_other_processes(pool, thing):
    (there,) = pool.map(unchanged, [thing])
    assert (type(there), there.data, there.trainable) == (type(there), thing.data, thing.trainable)
    assert there.parents == []


def unchanged(thing):
    return thing
