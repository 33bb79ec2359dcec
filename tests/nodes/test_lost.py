"""A parameter that feedback cannot reach is named together with the place where its value left the graph."""

import copy
import inspect
import json
import textwrap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from opto.nodes import TraceGraph, node, stop_tracing
from opto.nodes.lost import where_lost
from opto.trace import bundle, model


@bundle
def judge(text, rate=1):
    return f"{text} at {rate}"


LINE = inspect.getsourcelines(judge.fun)[1]
HERE = f"judge0 (test_lost.py:{LINE})"


def said(parameter, output):
    text = where_lost({"lost": parameter}, TraceGraph(output))
    start = "No feedback reaches lost: no output depends on it as recorded: "
    assert text.startswith(start)
    return text.removeprefix(start)


def prompt(text="Answer in one word."):
    return node(text, name="prompt", trainable=True)


TEXTS = {
    "an f-string": lambda p: f"{p} What is 2 + 2?",
    "str()": str,
    ".data": lambda p: p.data,
    "the old way": lambda p: "Q: %s" % p.data,  # noqa: UP031 - people do
    "format()": lambda p: "Q: {}".format(p),  # noqa: UP032 - people do
    "a list of messages": lambda p: [{"role": "system", "content": p.data}],
    "a dict with it inside": lambda p: {"prompts": (1, {"system": f"> {p}"})},
    "JSON": lambda p: json.dumps({"prompt": p.data}),
    "a round trip by JSON": lambda p: json.loads(json.dumps([p.data])),
    "a plain function": lambda p: str(p).upper().strip(" ."),
    "indentation": lambda p: textwrap.indent(p.data, "    "),
    "a piece": lambda p: p.data[:16],
    "a plain node": lambda p: node([str(p)])[0].data,
}


@pytest.mark.parametrize("take_out", TEXTS.values(), ids=TEXTS)
def test_a_text_taken_out_is_found_where_it_came_back(take_out):
    found = said(p := prompt(), judge(take_out(p)))

    assert found == (
        f"its value stands in the plain input 'text' of {HERE}. "
        "Give the node itself there, not .data or text made of it."
    )


def test_text_with_line_breaks_and_quotes_is_found_in_json():
    p = prompt('Say "hello"\nand nothing else.')
    assert f"stands in the plain input 'text' of {HERE}" in said(p, judge(json.dumps({"system": p.data})))


def test_the_value_that_was_taken_out_may_be_one_made_of_it():
    p = prompt()
    politely = p + " Please."
    assert said(p, judge(politely.data)).startswith(
        f"the value of {politely.py_name} ('Answer in one word. Please.'), made of it, stands in the plain input 'text'"
    )


def test_a_plain_value_may_have_become_a_node_again():
    p = prompt()
    assert "its value stands in str0, a node that was made of a plain value." in said(p, judge(node(f"{p}!")))
    kept = p + "?"
    assert "made of it, stands in add0, a node that was made of a plain value." in said(p, judge(kept.detach()))


CONTAINERS = {
    "dict by JSON": ({"role": "teacher", "tone": "kind"}, lambda p: json.loads(json.dumps(p.data))),
    "dict as JSON": ({"role": "teacher", "tone": "kind"}, lambda p: json.dumps(p.data)),
    "dict as text": ({"role": "teacher", "tone": "kind"}, str),
    "list as array": ([1.5, 2.5], lambda p: np.array(p.data)),
    "array as list": (np.array([1.5, 2.5]), lambda p: p.data.tolist()),
    "array copied": (np.array([1.5, 2.5]), lambda p: np.array(p.data)),
    "array as it is": (np.array([[1, 2], [3, 4]]), lambda p: p.data),
    "tuple as list": ((1, 2), lambda p: list(p.data)),
    "an object": (object(), lambda p: p.data),
    "a long number": (0.1234567, lambda p: f"{p} of it"),
}


@pytest.mark.parametrize(("value", "take_out"), CONTAINERS.values(), ids=CONTAINERS)
def test_other_values_are_found_as_well(value, take_out):
    p = node(value, name="lost", trainable=True)
    assert said(p, judge(take_out(p))).startswith(f"its value stands in the plain input 'text' of {HERE}.")


@pytest.mark.parametrize(
    ("value", "take_out"),
    [(30, int), (30, lambda p: p.data), (30.7, int), (30.7, lambda p: round(p.data)), (3, "{} s".format), ("a", str)],
)
def test_what_may_be_chance_is_said_to_be_possible(value, take_out):
    p = node(value, name="green", trainable=True)
    assert said(p, judge("x y", take_out(p))).startswith("its value may be what stands in the plain input 'rate' of")


@pytest.mark.parametrize(("value", "other"), [(3, "13 and 31"), (3, 30), (3, True), ("a", "banana"), (1, 1.5)])
def test_what_only_looks_alike_is_not_taken_for_it(value, other):
    p = node(value, name="lost", trainable=True)
    assert "stands in" not in said(p, judge("-", other))


def test_a_sure_sign_beats_a_possible_one():
    p = node(4711, name="lost", trainable=True)
    long = p * 1_000_001
    found = said(p, judge(f"{long.data} in all", 4711))
    assert found.startswith(f"the value of {long.py_name} (4711004711), made of it, stands in the plain input 'text'")


def test_values_made_where_tracing_was_stopped():
    p = prompt()
    with stop_tracing():
        politely = p + " Please."
    assert said(p, judge(politely)) == (
        "add0 was computed while tracing was stopped, so what is behind it is not known. "
        "Compute it outside of stop_tracing()."
    )


def test_copies_are_not_the_parameters_that_the_optimizer_has():
    p = prompt()
    for twin in (copy.deepcopy(p), p.detach(), node(p, trainable=True)):
        found = said(p, judge(twin))
        assert found.startswith("prompt in the graph is another node with its name and value.")
        assert "not of a copy" in found


def test_twins_are_no_copies_of_each_other():
    first, second = prompt(), prompt()
    text = where_lost({"second": second}, TraceGraph(judge(first)), known={first, second})
    assert "another node" not in text
    assert "not of a copy" in where_lost({"second": second}, TraceGraph(judge(first)), known={second})


def test_a_copied_module_runs_with_parameters_of_its_own():
    @model
    class Agent:
        def __init__(self):
            self.prompt = prompt()

        @bundle(trainable=True)
        def act(self, question):
            return question

        def __call__(self, question):
            return judge(self.prompt + self.act(question))

    agent = Agent()
    names = {"prompt": agent.prompt, "act": agent.act.parameter}
    text = where_lost(names, TraceGraph(copy.deepcopy(agent)("why?")))

    assert text == (
        "No feedback reaches prompt, act: no output depends on them as recorded. "
        "prompt: prompt in the graph is another node with its name and value. "
        "act: act in the graph is another node with its name and value. "
        "Give the optimizer the parameters of the very object that runs, not of a copy."
    )


def test_without_a_trace_the_last_known_value_and_the_open_doors_are_named():
    p = prompt()
    shouted = p.upper()
    found = said(p, judge("forty-two", len(shouted.data)))
    assert found.startswith(
        f"the last value made of it that is still in memory is {shouted.py_name} ('ANSWER IN ONE WORD.'); "
        f"it may have come in as the plain input 'text' of {HERE}. Look for .data"
    )

    found = said(prompt("Never used."), judge(node(3), 4))
    assert found.startswith("no node that was made of it is still in memory, if there ever was one")
    assert "f-string" in found


def test_a_thread_changes_nothing_but_what_it_takes_out():
    p = prompt()
    with ThreadPoolExecutor(1) as pool:
        inside = pool.submit(lambda: judge(p)).result()
        outside = pool.submit(lambda: judge(p.data)).result()
    assert p in TraceGraph(inside).parameters
    assert f"stands in the plain input 'text' of {HERE}" in said(p, outside)


SECRET = node(7, name="lost", trainable=True)


@bundle
def by_global(text):
    return f"{text} {SECRET._data * 3}"


def test_what_a_function_reads_unseen_is_found_by_its_names():
    weight = node(7, name="lost", trainable=True)

    @bundle
    def by_closure(text):
        return f"{text} {weight._data * 3}"

    @bundle
    def by_thread(text):
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(lambda: weight.data * len(text)).result()

    class Holder:
        def __init__(self):
            self.weight = weight

        @bundle
        def by_attribute(self, text):
            return [self.weight._data * number for number in range(3)]

    for parameter, call in [
        *((SECRET, by_global), (weight, by_closure), (weight, by_thread), (weight, Holder().by_attribute)),
    ]:
        name, line = call.name, inspect.getsourcelines(call.fun)[1]
        assert said(parameter, judge(call("x y"))) == (
            f"{name}0 (test_lost.py:{line}) uses it by name, but does not let its read be seen. "
            "Pass it as an argument; or read .data and not ._data, in threads with contextvars.copy_context()."
        )


def test_many_parameters_are_all_named_and_some_looked_after():
    lost = {f"p{number}": node(f"prompt number {number}", trainable=True) for number in range(1000)}
    output = judge(" ".join(map(str, lost.values())))

    text = where_lost(lost, TraceGraph(output))

    assert text.startswith(f"No feedback reaches {', '.join(lost)}: no output depends on them")
    assert text.count("its value stands in the plain input 'text'") == 3
    assert text.count("Give the node itself there") == 1


class Rude:
    """An object of users that refuses to be looked at."""

    def __repr__(self):
        raise RuntimeError("no")

    __str__ = __repr__

    def __eq__(self, other):
        raise ValueError("no")

    __hash__ = None


class Shy:
    """An object that does not even say what it is, somewhere in the process."""

    @property
    def __class__(self):
        raise RuntimeError("no")


class Proxy:
    """An object that stands for another one, which is not there."""

    @property
    def __dict__(self):
        raise OSError("no")

    tolist = __dict__

    def __len__(self):
        raise OSError("no")


def test_objects_that_refuse_to_be_looked_at_do_no_harm():
    rude, bystander = Rude(), Shy()
    cycle = []
    cycle.append(cycle)
    p = node([rude], name="lost", trainable=True)
    made = p[0]
    assert made.data is rude
    count = bundle("[count] How many.")(lambda things: len(things))
    assert "the plain input 'things' of count0" in said(p, count([rude, cycle, float("nan")]))
    assert "still in memory" in said(p, judge(1))
    assert "still in memory" in said(node(float("inf"), trainable=True), judge(1))
    assert type(bystander) is Shy
    assert "still in memory" in said(prompt("Never used."), judge(count([Proxy()])))
    assert "still in memory" in said(prompt("Never used."), bundle(lambda proxy: 1)(Proxy()))
    assert "still in memory" in said(node(Proxy(), trainable=True), bundle(lambda proxy: 1)(Proxy()))


def test_separators_are_no_suspects():
    p = prompt("Answer in one word.")
    text = p.data.replace("one", "1").upper()[::-1]

    found = said(p, node(text) + " " + node("What is 2 + 2?"))

    assert "as str" in found
    assert "'y' of add0" not in found
