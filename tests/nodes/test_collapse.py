"""Large graphs in pictures: nodes that play the same part share a box, and nothing else changes."""

import random
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.errors import ExecutionError
from opto.nodes import TraceGraph, node, pack
from opto.trace import bundle
from tests.nodes.test_graph import PROGRAMS, fresh_process, run

#: What a person can take in.
READABLE = 40


@bundle()
def mean(items):
    return sum(items) / len(items)


@bundle()
def ask(system, question):
    return f"{system} {question}"[:40]


def chain(length=10_000):
    value = node(0, name="start", trainable=True)
    for _ in range(length):
        value = value + 1
    return [value]


def fan_in(width=5_000):
    weight = node(2.0, name="weight", trainable=True)
    return [mean(pack([node(number, name="x") * weight for number in range(width)]))]


def minibatch(examples=1_000):
    prompt = node("Be brief.", name="prompt", trainable=True)
    style = node("formal", name="style", trainable=True)
    scores = []
    for number in range(examples):
        question = (node(f" Question {number} ", name="question").strip() + "?")[:20].lower()
        answer = ask(prompt + " " + style, question)
        scores.append((answer + "!").count("e") * 100)
    return [mean(pack(scores))]


def lattice(size=100):
    row = [node(1, name="corner", trainable=True) + 0]
    for _ in range(size - 1):
        row.append((row[-1] + 1) % 1000)
    for _ in range(size - 1):
        below = [(row[0] + 2) % 1000]
        for above in row[1:]:
            below.append((below[-1] + above) % 1000)
        row = below
    return [row[-1]]


def two_modules(turns=1_500):
    planner = node("Plan.", name="planner", trainable=True)
    critic = node("Criticise.", name="critic", trainable=True)

    @bundle()
    def world(state, action):
        return f"{state}{action}"[-30:]

    state = node("start", name="state")
    for _ in range(turns):
        plan = ask(planner, "now " + state)
        critique = ask(critic, "Plan: " + plan)
        state = world(state, plan + "|" + critique)
    return [state]


@bundle()
def use(tool, call):
    return f"{tool} {call}"[:20]


@bundle()
def remember(memory, result):
    return result or memory


def tool_agent(turns=3_000):
    """Choose a tool, use it, remember; at times ask a critic first, or forget."""
    planner = node("Plan.", name="planner", trainable=True)
    critic = node("Criticise.", name="critic", trainable=True)
    tools = [node(text, name=text, trainable=True) for text in ("search", "compute", "write")]
    ways = random.Random(0)
    memory = node("", name="memory")
    for _ in range(turns):
        call = ask(planner, memory)
        if ways.random() < 0.3:
            call = ask(critic, call)
        memory = remember(memory, use(ways.choice(tools), call))
        if ways.random() < 0.1:
            memory = memory[:10]
    return [memory]


SHAPES = [chain, fan_in, minibatch, lattice, two_modules, tool_agent]


def sketch(outputs, **settings):
    return TraceGraph(outputs)._sketch(settings.pop("collapse", True), 150, simple=False, **settings)


def titles(outputs):
    return [box.heading for box in sketch(outputs).boxes]


def times(title, number):
    return f"{title} \N{MULTIPLICATION SIGN}{number:,}"


def arrows(drawn, *, is_next=None):
    boxes = [box.title for box in drawn.boxes]
    return {
        (boxes[arrow.source], boxes[arrow.target])
        for arrow in drawn.arrows
        if is_next is None or arrow.is_next is is_next
    }


@pytest.mark.parametrize("shape", SHAPES)
def test_ten_thousand_nodes_become_a_picture_that_can_be_read(shape):
    graph = TraceGraph(shape())
    assert len(graph) > 9_000
    source = graph.to_graphviz().source
    assert source.count("[label=") <= 2 * READABLE
    drawn = graph._sketch("auto", 150, simple=True)
    assert len(drawn.boxes) <= READABLE
    assert len(graph.to_text().splitlines()) == len(graph.to_mermaid().split(":::")) - 1 == len(drawn.boxes)


@pytest.mark.parametrize("shape", SHAPES)
def test_arrows_can_be_followed(shape):
    drawn = sketch(shape())
    assert len(drawn.arrows) <= 2.2 * len(drawn.boxes)


def test_a_loop_that_takes_another_way_in_each_turn_is_drawn_as_its_body():
    drawn = sketch(tool_agent())
    counts = Counter(box.title.partition(" ")[0] for box in drawn.boxes if len(box.rows) > 1)
    assert counts == {"ask": 2, "use": 3, "remember": 1, "getitem": 1}
    assert ("planner", "ask") in arrows(drawn)
    assert {target for source, target in arrows(drawn) if source == "critic"} == {"ask #2"}


def test_programs_that_never_do_the_same_again_fold_as_well():
    choices = random.Random(1)
    values = [node(number, name=f"p{number}", trainable=True) for number in range(5)]
    for _ in range(5_000):
        left, right = choices.choice(values[-50:]), choices.choice(values[-50:])
        values.append(choices.choice([lambda x, y: x + y, lambda x, y: x * y % 7, lambda x, y: x - y])(left, right))
    drawn = sketch([values[-1]])
    assert len(drawn.boxes) <= 15


def test_a_chain_is_one_box_that_leads_to_itself():
    drawn = sketch(chain())
    assert titles(chain()) == ["start", times("add", 9_999), "add9999"]
    assert arrows(drawn, is_next=True) == {("add", "add")}
    assert arrows(drawn, is_next=False) == {("start", "add"), ("add", "add9999")}


def test_a_loop_is_drawn_as_its_body():
    drawn = sketch(two_modules())
    assert titles(two_modules()) == [
        "planner",
        "critic",
        "state0",
        times("add", 1_500),
        times("ask", 1_500),
        times("add #2", 1_500),
        times("ask #2", 1_500),
        times("add #3", 1_500),
        times("add #4", 1_500),
        times("world", 1_499),
        "world1499",
    ]
    assert arrows(drawn, is_next=True) == {("world", "add"), ("world", "world")}
    assert {("planner", "ask"), ("critic", "ask #2"), ("state0", "add")} <= arrows(drawn, is_next=False)


def test_uses_of_one_operator_in_different_places_have_a_box_each():
    headings = titles(minibatch())
    sums = [heading for heading in headings if heading.startswith("add")]
    assert sums == [times(title, 1_000) for title in ("add", "add #2", "add #3", "add #4")]
    assert times("question", 1_000) in headings


def test_examples_with_loops_in_them():
    def refined(example):
        draft, total = node(f"draft {example}", name="draft"), 0
        for _ in range(6):
            draft = ask(prompt, draft)
            total = draft.count("e") + total
        return total

    prompt = node("Refine.", name="prompt", trainable=True)
    headings = titles([mean(pack([refined(example) for example in range(300)]))])
    assert times("ask", 1_800) in headings
    assert times("count", 1_800) in headings
    assert len(headings) <= 8


def check(drawn, shown):
    """Check *drawn* against the rows: every node in one box, every edge in one arrow, no cycles but by "next"."""
    place = {row.name: number for number, box in enumerate(drawn.boxes) for row in box.rows}
    assert sorted(place) == sorted(row.name for row in shown)
    assert sum(len(box.rows) for box in drawn.boxes) == len(shown)
    real = Counter(
        (place[parent], place[row.name]) for row in shown for parent, keys in row.parents.items() for _ in keys
    )
    assert {(arrow.source, arrow.target): arrow.edges for arrow in drawn.arrows} == real
    for box in drawn.boxes:
        assert len({(row.kind, row.is_output) for row in box.rows}) == 1
    left, forward = set(range(len(drawn.boxes))), [arrow for arrow in drawn.arrows if not arrow.is_next]
    while left:
        free = left - {arrow.target for arrow in forward if arrow.source in left}
        assert free, "a cycle"
        left -= free


def rows_of(graph):
    return [row for box in graph._sketch(False, 150, simple=False).boxes for row in box.rows]


@pytest.mark.parametrize("shape", SHAPES)
def test_arrows_stand_for_the_edges_there_are(shape):
    graph = TraceGraph(shape())
    check(graph._sketch(True, 150, simple=False), rows_of(graph))


@given(PROGRAMS, st.booleans())
def test_arrows_stand_for_the_edges_there_are_in_any_program(program, several):
    made = run(program)
    graph = TraceGraph(made[-3:] if several else made[-1:])
    drawn = graph._sketch(True, 150, simple=False)
    check(drawn, rows_of(graph))
    single = {row.name for box in drawn.boxes if len(box.rows) == 1 for row in box.rows}
    assert single >= {graph.names[item] for item in (*graph.parameters, *graph.outputs)}


@pytest.mark.parametrize("length", [300, 3_000])
def test_random_programs_stay_readable(length):
    chance = random.Random(length)
    program = [(chance.choice("+-*p"), chance.randrange(10**6), chance.randrange(10**6)) for _ in range(length)]
    values = [node(number % 7, name="start") for number in range(20)]
    for symbol, left, right in program:
        x, y = values[left % len(values)], values[right % len(values)]
        values.append({"+": x + y, "-": x - y, "*": (x * y) % 97, "p": pack([x, y])[0]}[symbol])
    graph = TraceGraph([pack(values)])
    drawn = graph._sketch(True, 150, simple=False)
    check(drawn, rows_of(graph))
    assert len(drawn.boxes) <= READABLE


def test_small_graphs_are_drawn_node_by_node_and_the_limit_can_be_set():
    graph = TraceGraph(chain(149))
    assert len(graph.to_text().splitlines()) == len(graph) == 150
    assert len(TraceGraph(chain(150)).to_text().splitlines()) == 3
    assert len(graph.to_text(max_nodes=10).splitlines()) == 3
    assert len(graph.to_text(collapse=True).splitlines()) == 3
    assert len(TraceGraph(chain(500)).to_text(collapse=False).splitlines()) == 501


def test_networkx_is_never_collapsed():
    assert TraceGraph(chain(1_000)).to_networkx().number_of_nodes() == 1_001


def test_many_parameters_are_counted_by_stem():
    def total(count):
        weights = [node(1.0, name=f"w{number}", trainable=True) for number in range(count)]
        return [mean(pack([*weights, node(1.0, name="bias", trainable=True)]))]

    assert [heading[0] for heading in titles(total(49))] == ["w"] * 49 + ["b", "l", "m"]
    assert titles(total(50))[:2] == [times("w", 50), "bias"]


def test_many_outputs_are_one_box_that_says_so():
    outputs = [node(number, name="x") * 2 for number in range(60)]
    drawn = sketch(outputs)
    assert [(box.heading, box.is_output) for box in drawn.boxes] == [
        (times("x", 60), False),
        (times("multiply", 60), True),
    ]
    assert len(sketch(outputs[:50]).boxes) == 51


def test_exceptions_stay_in_sight():
    def fail(count):
        for number in range(count):
            with pytest.raises(ExecutionError) as caught:
                node({}, name="table")[f"key {number}"]
            yield caught.value.exception_node

    results = [node([1], name="table")[0] for _ in range(300)]
    few = sketch([pack([*results, *fail(3)])])
    assert [box.kind for box in few.boxes].count("exception") == 3
    many = sketch([*results, *fail(200), *(node(1) for _ in range(200))])
    (trouble,) = [box for box in many.boxes if box.kind == "exception"]
    assert len(trouble.rows) == 200
    assert "KeyError" in str(trouble.rows[0].value)


def test_graphs_with_very_many_operators_show_the_frequent_ones():
    def named(name):
        def step(x):
            return x

        step.__name__ = step.__qualname__ = name
        return bundle()(step)

    steps = [named("step_" + chr(97 + number % 26) + chr(97 + number // 26)) for number in range(200)]
    value = node(1, name="x")
    for _ in range(100):
        value = named("often")(value)
        for step in steps[:2]:
            value = step(value)
    for step in steps:
        value = step(value)
    headings = titles([value])
    assert len(headings) <= READABLE
    assert times("often", 100) in headings
    assert any("others" in heading for heading in headings)


def test_the_picture_is_the_same_in_every_process():
    program = f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parents[2])!r})
        from tests.nodes.test_collapse import lattice, minibatch, two_modules
        from opto.nodes import TraceGraph
        for shape in (lattice, minibatch, two_modules):
            graph = TraceGraph(shape(30))
            print(graph.to_graphviz(collapse=True).source)
            print(graph.to_mermaid(collapse=True), graph.to_tree(collapse=True))
    """
    assert fresh_process(program, "1") == fresh_process(program, "2") != ""


def test_long_chains_need_no_recursion():
    length = 100_000
    graph = TraceGraph(chain(length))
    assert length > 10 * sys.getrecursionlimit()
    assert len(graph.to_text().splitlines()) == len(graph.to_tree().splitlines()) - 1 == 3
    tree = graph.to_tree(collapse=False)
    # Linear: a line per node, and one more where the tree goes on at the left margin.
    assert length < len(tree.splitlines()) < 1.2 * length
    assert max(map(len, tree.splitlines())) < 120
