"""One backward pass: from outputs to roots, each node once, feedback only to what was computed from it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.errors import BackwardError, ExecutionError
from opto.nodes import Feedback, GraphPropagator, Propagator, SumPropagator, TraceGraph, backward, node


def kept(parameter):
    """All feedback that *parameter* holds, in order of arrival."""
    return [item for items in parameter.feedback.values() for item in items]


class Chain(Propagator):
    """The chain rule for sums and products of numbers."""

    def __init__(self):
        super().__init__()
        self.passed = []

    def init_feedback(self, output, feedback):
        return float(feedback)

    def aggregate(self, node, items):
        self.passed.append(node)
        return sum(items)

    def propagate(self, child, feedback):
        x, y = child.inputs.values()
        if x is y:
            return {x: feedback * (2 if child.operator.name == "add" else 2 * x.data)}
        if child.operator.name == "add":
            return {x: feedback, y: feedback}
        return {x: feedback * y.data, y: feedback * x.data}


def test_the_default_hands_each_parameter_the_graph_and_the_feedback():
    a, b = node(1, trainable=True), node(2, trainable=True)
    output = a + b
    output.backward("too small")
    (graph,) = kept(a)
    assert isinstance(graph, TraceGraph)
    assert graph.feedback == (Feedback("too small"),)
    assert graph.outputs[0] is output
    assert kept(b)[0] is graph


def test_parameters_that_the_output_does_not_depend_on_get_nothing():
    used, unused = node(1, trainable=True), node(1, trainable=True)
    unused + 1
    (used + 1).backward("good")
    assert len(kept(used)) == 1
    assert kept(unused) == []


def test_equal_values_do_not_confuse_who_gets_feedback():
    parameters = [node(0, trainable=True) for _ in range(4)]
    (parameters[1] + node(0)).backward("good")
    assert [len(kept(item)) for item in parameters] == [0, 1, 0, 0]


def test_feedback_accumulates_until_it_is_forgotten():
    x = node(1, trainable=True)
    first, second = x + 1, x + 2
    first.backward("one")
    second.backward("two")
    first.backward("three")
    assert [graph.feedback[0].text for graph in x.feedback[first]] == ["one", "three"]
    assert [graph.feedback[0].text for graph in x.feedback[second]] == ["two"]
    x.zero_feedback()
    assert kept(x) == []


def test_a_parameter_is_an_output_of_its_own():
    x = node(1, trainable=True)
    x.backward("too small")
    assert kept(x)[0].feedback == (Feedback("too small"),)


def test_several_outputs_in_one_pass():
    x = node(1, trainable=True)
    outputs = [x + number for number in range(3)]
    backward(outputs, ["a", "b", "c"])
    (graph,) = kept(x)
    assert [said.text for said in graph.feedback] == ["a", "b", "c"]
    assert [a is b for a, b in zip(graph.outputs, outputs, strict=True)] == [True] * 3


def test_one_feedback_may_be_said_of_all_outputs():
    x = node(1, trainable=True)
    for said in ("so so", (0.5, "so so"), Feedback("so so", score=0.5)):
        x.zero_feedback()
        backward([x + 1, x + 2], said)
        (graph,) = kept(x)
        assert graph.feedback == (Feedback.of(said),) * 2


def test_a_single_output_needs_no_list():
    x = node([1, 2], trainable=True)
    backward(x.clone(), "too long")  # iterating the node would send feedback from each of its items
    (graph,) = kept(x)
    assert graph.feedback == (Feedback("too long"),)
    assert graph.outputs[0].data == [1, 2]


def test_caught_errors_are_outputs():
    x = node(0, trainable=True)
    with pytest.raises(ExecutionError) as caught:
        1 / x
    backward(caught.value, "do not divide by zero")
    backward([caught.value, x + 1], ["no", "yes"])
    assert [[said.text for said in graph.feedback] for graph in kept(x)] == [["do not divide by zero"], ["no", "yes"]]


def test_a_million_nodes_pass_in_one_walk():
    x = node(0, trainable=True)
    total = x
    for _ in range(1_000_000):
        total = total + 1
    assert len(backward(total, "too much")) == 1_000_001
    assert kept(x)[0].outputs[0] is total
    x.zero_feedback()  # what a parameter was told holds the graph, and the graph the parameter


@pytest.mark.parametrize(("outputs", "said"), [(0, 0), (1, 0), (1, 2), (2, 1)])
def test_one_feedback_for_each_output(outputs, said):
    with pytest.raises(BackwardError, match=f"{outputs} outputs and {said} feedbacks"):
        backward([node(1)] * outputs, ["good"] * said)


def test_plain_outputs_are_refused_with_their_value():
    with pytest.raises(BackwardError, match=r"plain int \(3\)"):
        backward([3], ["good"])


def test_feedback_of_an_unknown_kind_reaches_no_one():
    x = node(1, trainable=True)
    with pytest.raises(BackwardError):
        (x + 1).backward(object())
    assert kept(x) == []


def test_empty_feedback_is_feedback():
    x = node(1, trainable=True)
    (x + 1).backward()
    assert kept(x)[0].feedback == (Feedback(""),)


def test_a_second_pass_over_the_same_graph_is_allowed():
    x = node(1, trainable=True)
    output = x + 1
    output.backward("one")
    output.backward("two", retain_graph=True)
    assert len(kept(x)) == 2


def test_visualize_returns_a_picture():
    x = node(1, trainable=True)
    assert (x + 1).backward("good") is None
    assert "add0" in (x + 1).backward("good", visualize=True).source


# Local rules.


@given(
    starts=st.lists(st.integers(-3, 3), min_size=2, max_size=3),
    program=st.lists(st.tuples(st.booleans(), st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=8),
)
def test_local_rules_make_the_chain_rule(starts, program):
    """Against derivatives computed forward, on random programs of sums and products."""
    parameters = [node(value, trainable=True) for value in starts]
    values = list(parameters)
    slopes = [[int(i == j) for j in range(len(starts))] for i in range(len(starts))]
    for is_sum, left, right in program:
        i, j = left % len(values), right % len(values)
        x, y = values[i], values[j]
        values.append(x + y if is_sum else x * y)
        slopes.append(
            [dx + dy if is_sum else dx * y.data + x.data * dy for dx, dy in zip(slopes[i], slopes[j], strict=True)]
        )
    rule = Chain()
    values[-1].backward(1, propagator=rule)
    assert [sum(kept(item)) for item in parameters] == slopes[-1]
    assert len({id(item) for item in rule.passed}) == len(rule.passed), "each node passes once"


def test_plain_inputs_may_be_sent_feedback_which_goes_nowhere():
    x = node(3.0, trainable=True)
    (x * 5.0).backward(1, propagator=Chain())
    assert kept(x) == [5.0]


def test_rules_by_operator():
    x = node(2.0, trainable=True)
    chain = Chain()
    seen = []

    def rule(child):
        (said,) = (item for items in child.feedback.values() for item in items)
        seen.append((child.data, said))
        return {child.inputs["x"]: said * 100}

    chain.register("neg", rule)
    (-x * 3.0).backward(1, propagator=chain)
    assert seen == [(-2.0, 3.0)]
    assert kept(x) == [300.0]


def test_feedback_for_a_stranger_is_refused():
    stranger = node(1, trainable=True)

    class Wrong(Propagator):
        def propagate(self, child, feedback):
            return {stranger: feedback}

    with pytest.raises(BackwardError, match="not one of its inputs"):
        (node(1) + 1).backward("good", propagator=Wrong())
    assert kept(stranger) == []


def test_feedback_for_a_stranger_with_the_value_of_an_input_is_refused():
    twin = node(1, trainable=True)

    class Wrong(Propagator):
        def propagate(self, child, feedback):
            return {twin: feedback}

    with pytest.raises(BackwardError):
        (node(1, trainable=True) + 1).backward("good", propagator=Wrong())


@pytest.mark.parametrize("error", [IndexError, KeyError, StopIteration, RuntimeError])
def test_what_a_rule_raises_is_not_swallowed(error):
    class Broken(Propagator):
        def propagate(self, child, feedback):
            raise error

    with pytest.raises(error):
        (node(1) + 1).backward("good", propagator=Broken())


def test_a_propagator_without_rules_says_so():
    with pytest.raises(NotImplementedError, match="override propagate"):
        (node(1) + 1).backward("good", propagator=Propagator())


def test_sums_of_text_and_numbers():
    x = node(1, trainable=True)
    ((x + 1) * (x + 2)).backward("so ", propagator=SumPropagator())
    assert sorted(kept(x)) == ["so ", "so "]
    x.zero_feedback()
    y = x + 1
    (y * (y + 1)).backward("so ", propagator=SumPropagator())
    assert kept(x) == ["so so "]


def test_what_arrives_is_passed_on_once_and_in_order():
    order = []

    class Watch(SumPropagator):
        def propagate(self, child, feedback):
            order.append(child)
            return super().propagate(child, feedback)

    x = node(1, trainable=True)
    a = x + 1
    b = a + 1
    c = a + b
    c.backward("good", propagator=Watch())
    assert [item is expected for item, expected in zip(order, (c, b, a), strict=True)] == [True] * 3


def test_the_same_output_given_twice_counts_twice():
    x = node(1, trainable=True)
    output = x + 1
    backward([output, output], [1, 2], propagator=SumPropagator())
    assert kept(x) == [3]


def test_the_default_can_be_asked_for():
    x = node(1, trainable=True)
    (x + 1).backward("good", propagator=GraphPropagator())
    assert len(kept(x)) == 1


# The graph, by rules.


def test_a_graph_does_not_come_where_a_rule_does_not_send_it():
    x, y, z = (node(number, name=name, trainable=True) for number, name in enumerate("xyz"))
    one_way = GraphPropagator()
    one_way.register("multiply", lambda child: {child.inputs["x"]: child.feedback[next(iter(child.feedback))][0]})

    (x * y + z).backward("too small", propagator=one_way)

    assert [len(kept(item)) for item in (x, y, z)] == [1, 0, 1]
    (graph,) = kept(x)
    assert graph is kept(z)[0]
    assert graph.feedback == (Feedback("too small"),)
    assert graph.values == {x: 0, y: 1, z: 2}


def test_a_subclass_says_where_the_graph_goes():
    class WithoutFirst(GraphPropagator):
        def _propagate(self, child):
            sent = super()._propagate(child)
            return {parent: graph for parent, graph in sent.items() if parent.stem != "x"}

    x, y = node(1, name="x", trainable=True), node(1, name="y", trainable=True)
    backward([x + y, y + 1], ["one", "two"], propagator=WithoutFirst())

    assert kept(x) == []
    assert {id(graph) for graph in kept(y)} == {id(kept(y)[0])}
    assert [said.text for said in kept(y)[0].feedback] == ["one", "two"]


def test_a_subclass_may_reword_what_was_said():
    class Polite(GraphPropagator):
        def init_feedback(self, output, feedback):
            return super().init_feedback(output, f"Please: {feedback}")

    x = node(1, trainable=True)
    (x + 1).backward("more", propagator=Polite())
    assert kept(x)[0].feedback == (Feedback("Please: more"),)


def test_graphs_of_passes_by_rules_are_one_where_ways_meet():
    x = node(1, trainable=True)
    seen = []
    watch = GraphPropagator()

    def rule(child):
        seen.append([item for items in child.feedback.values() for item in items])
        return watch.propagate(child, watch.aggregate(child, seen[-1]))

    watch.register("add", rule)
    y = x + 1
    (y * y + y).backward("hm", propagator=watch)
    assert [len(items) for items in seen] == [1, 2]
    assert len({id(item) for items in seen for item in items}) == 1
    assert [len(items) for items in x.feedback.values()] == [1]
