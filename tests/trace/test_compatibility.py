"""Programs written for Trace run unchanged: what they import, and what they may rely on.

Case by case from the paper (arXiv 2406.16218) and the public tutorials. Where Trace itself goes wrong, opto is right.
"""

import contextvars
import copy
import gc
import importlib
import json
import pickle
import subprocess
import sys
import weakref

import pytest

from opto import trace
from opto.errors import GraphError, MissingInputsError
from opto.nodes import MessageNode, ParameterNode, Propagator, SumPropagator, TraceGraph
from opto.trace import GRAPH, ExecutionError, Node, bundle, node, stop_tracing
from opto.trace.utils import contain, sum_feedback

#: Import paths of Trace, with the names that hang on them.
PATHS = {
    "opto.trace": "node bundle model Module Model Node GRAPH stop_tracing ExecutionError NodeContainer apply_op "
    "operators propagators projections",
    "opto.trace.nodes": "node Node ParameterNode MessageNode ExceptionNode GRAPH USED_NODES IDENTITY_OPERATORS",
    "opto.trace.bundle": "bundle FunModule to_data ExceptionNode ExecutionError TraceMissingInputsError "
    "disable_external_dependencies_check",
    "opto.trace.modules": "Module model NodeContainer apply_op",
    "opto.trace.containers": "NodeContainer ParameterContainer Map Seq",
    "opto.trace.broadcast": "apply_op recursive_conversion",
    "opto.trace.errors": "ExecutionError TraceMissingInputsError",
    "opto.trace.iterators": "iterate SeqIterable DictIterable",
    "opto.trace.operators": "add subtract multiply divide getitem call call_llm clone identity cond list_append format",
    "opto.trace.projections": "Projection BlackCodeFormatter DocstringProjection",
    "opto.trace.propagators": "Propagator GraphPropagator SumPropagator TraceGraph",
    "opto.trace.propagators.propagators": "Propagator SumPropagator AbstractPropagator",
    "opto.trace.propagators.graph_propagator": "GraphPropagator TraceGraph",
    "opto.trace.utils": "contain dedent sum_feedback for_all_methods render_opt_step",
}


def kept(parameter):
    return [item for items in parameter.feedback.values() for item in items]


# What is imported.


@pytest.mark.parametrize(("path", "names"), PATHS.items(), ids=PATHS)
def test_names_are_where_trace_has_them(path, names):
    module = importlib.import_module(path)
    assert [name for name in names.split() if not hasattr(module, name)] == []


def test_a_name_is_the_same_thing_wherever_it_is_imported_from():
    from opto import nodes
    from opto.trace import containers, errors, propagators
    from opto.trace import nodes as aliases

    assert aliases.Node is nodes.Node is trace.Node
    assert errors.TraceMissingInputsError is MissingInputsError
    assert propagators.Propagator is nodes.Propagator
    assert containers.NodeContainer is trace.NodeContainer
    assert trace.Model is trace.Module


def run(program):
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True, cwd="/")
    return done.stdout.strip()


def test_bundle_is_a_decorator_in_trace_and_a_module_of_its_own():
    program = """
import opto.trace.bundle
from opto.trace.bundle import bundle, FunModule
from opto import trace
import importlib, types
assert trace.bundle is bundle is opto.trace.bundle
assert isinstance(importlib.import_module("opto.trace.bundle"), types.ModuleType)
assert trace.bundle is bundle
print("both")
"""
    assert run(program) == "both"


def test_rare_modules_are_loaded_when_they_are_asked_for():
    program = """
import json, sys
from opto import trace
before = set(sys.modules)
trace.operators.add, trace.propagators.Propagator, trace.projections.Projection
print(json.dumps([sorted(name for name in before if name.startswith("opto.")), "opto.trace.operators" in sys.modules]))
"""
    loaded, later = json.loads(run(program))
    assert not {"opto.trace.operators", "opto.trace.projections", "opto.trace.utils", "opto.llm"} & set(loaded)
    assert later


def test_other_names_are_missing_as_usual():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        trace.nonsense


# Nodes.


def test_nodes_know_their_place():
    x = node(1, name="x")
    y = x + 1
    z = y * x
    assert (x.is_root, y.is_root) == (True, False)
    assert (x.is_leaf, z.is_leaf) == (False, True)
    assert (x.level, y.level, z.level) == (0, 1, 2)
    assert contain(x.children, y)
    assert contain(x.children, z)
    assert len(x.children) == 2
    assert y.children[0] is z


def test_children_are_listed_once_and_oldest_first():
    x = node(1)
    twice = x + x
    both = bundle(lambda a, b: a)(x, [x, 1])
    assert len(x.children) == 3
    assert all(child is expected for child, expected in zip(x.children, [twice, both.parents[1], both], strict=True))


def test_children_are_not_kept_alive_by_asking():
    x = node([1])
    child = x * 2
    assert len(x.children) == 1
    gone = weakref.ref(child)
    del child
    gc.collect()
    assert gone() is None
    assert x.children == []
    assert x.is_leaf


def test_deep_graphs_have_a_level():
    x = node(0)
    for _ in range(5000):
        x = x + 1
    assert x.level == 5000


def test_parameters_behind_a_node():
    x, y = node(1, trainable=True), node(1, trainable=True)
    assert (x + 1).parameter_dependencies == {x}
    assert (x * y).parameter_dependencies == {x, y}
    assert x.parameter_dependencies == {x}
    assert node(1).parameter_dependencies == set()


def test_comparisons_can_be_traced():
    x = node([1, 2])
    assert type(x == [1, 2]) is bool
    same, other, length = x.eq([1, 2]), x.neq([1, 2]), x.len()
    assert (same.data, other.data, length.data) == (True, False, 2)
    assert [item.op_name for item in (same, other, length)] == ["eq", "neq", "len_"]
    assert contain(length.parents, x)


def test_clone_is_connected_and_detach_is_not():
    x = node({"a": [1]}, name="x", trainable=True)
    y = x.clone()
    z = (x["a"]).detach()
    w = x.detach()
    y.data["a"].append(2)
    w.data["a"].append(3)
    assert x.data == {"a": [1]}
    assert contain(y.parents, x)
    assert z.parents == []
    assert z == [1]
    assert isinstance(w, ParameterNode)
    assert w.feedback == {}
    y.backward("good")
    assert len(x.feedback) == 1
    assert len(w.feedback) == 0


def test_detach_of_a_long_chain_copies_one_node():
    x = node(0)
    for _ in range(3000):
        x = x + 1
    assert x.detach().data == 3000


def test_operators_are_named():
    x = node(1, trainable=True)
    assert (x.op_name, node(1).op_name, (x + 1).op_name) == ("ParameterNode", "Node", "add")
    assert node(1).info is None
    assert (x + 1).info["fun_name"] == "add"
    assert bundle(lambda a: a)(x).info["external_dependencies"] == []


def test_what_a_bundle_reads_besides_is_in_its_info():
    secret = node(3)

    @bundle(allow_external_dependencies=True)
    def total(x):
        return x + secret.data

    y = total(1)
    assert contain(y.info["external_dependencies"], secret)
    assert contain(y.parents, secret), "in Trace it is no parent, and feedback never gets there"


def test_a_node_of_a_node_holds_its_value():
    x = node([1], name="x", trainable=True)
    assert node(x) is x
    assert Node(x).data is x.data
    other = node(x, trainable=True)
    assert other is not x
    assert other.data is x.data
    assert other.stem == "x"


def test_containers_of_nodes_become_nodes_of_plain_values():
    x = node(1, trainable=True)
    boxed = node([x, {"y": x}])
    assert boxed.data == [1, {"y": 1}]
    boxed[0].backward("good")
    assert len(kept(x)) == 1


def test_constraints_in_words_are_part_of_the_description():
    assert node(1, constraint="at least 1").description == "at least 1"
    parameter = node(1, "x", True, "How many.", "It is at least 1.")
    assert parameter.description == "How many. It is at least 1."


def test_descriptions_are_what_was_written():
    assert node(1).description is None
    assert node(1, description="[Node] A number.").description == "A number."
    assert ParameterNode(1, trainable=True, description="[ParameterNode] A number.").description == "A number."


def test_objects_are_used_through_their_nodes():
    class Counter:
        def __init__(self):
            self.step = node(2, trainable=True)
            self.word = "hits"

        def count(self, items):
            return self.step * len(items)

    counter = node(Counter())
    step = counter.data.step
    assert counter.getattr("word").data == "hits"
    assert contain(counter.getattr("step").parents, step)
    assert type(counter.call("count", node([1, 2])).data) is int
    counter.call("count", node([1, 2])).backward("too many")
    assert len(kept(step)) == 1


@pytest.mark.filterwarnings("ignore:.*changed.*in place")
def test_a_method_on_a_plain_list_gets_plain_items():
    x = node([1])
    x.append(node(2))
    assert x.data == [1, 2]
    assert type(x.data[1]) is int


def test_dicts_are_iterated_in_pairs():
    x = node({"a": 1, "b": 2})
    for key, value in x.items():
        assert contain(key.parents[0].parents, x)
        assert contain(value.parents, x)
        assert value == x.data[key.data]
    assert x.keys().data == ["a", "b"]
    assert x.values()[1] == 2


@pytest.mark.parametrize(
    ("compute", "value"),
    [
        (lambda x: x.format(name="Ada"), "hi Ada"),
        (lambda x: x.upper(), "HI {NAME}"),
        (lambda x: x.split(" ")[0], "hi"),
        (lambda x: x.replace("hi", node("bye")), "bye {name}"),
        (lambda x: node("-").join([x, x]), "hi {name}-hi {name}"),
        (lambda x: x.capitalize().swapcase(), "hI {NAME}"),
    ],
)
def test_text_methods_are_recorded(compute, value):
    x = node("hi {name}", trainable=True)
    y = compute(x)
    assert y.data == value
    assert y.parameter_dependencies == {x}


def test_abs_and_round_end():
    assert abs(node(-2)).data == trace.operators.abs(-2).data == 2
    assert round(node(2.345), 1).data == trace.operators.round(2.345, 1).data == 2.3


def test_results_may_be_made_by_hand():
    x = node("query", trainable=True)
    y = MessageNode(7, inputs={"text": x, "limit": 5}, description="[search] Finds pages.")
    z = MessageNode([x, 1], inputs=[y], name="rank")
    assert (y.op_name, y.description, y.stem) == ("search", "Finds pages.", "search")
    assert z.data == ["query", 1]
    assert z.op_name == "rank"
    z.backward("bad")
    assert len(kept(x)) == 1
    with pytest.raises(TypeError):
        MessageNode(1)


# The registry that is none.


def test_clear_starts_the_numbers_again():
    GRAPH.clear()
    first = node(1, name="same")
    GRAPH.clear()
    second = node(2, name="same")
    assert first.name == second.name == "same:0"
    assert (first + second).data == 3


def test_two_parameters_of_one_name_stay_two():
    """In Trace, only one of them is shown, and both are changed."""
    GRAPH.clear()
    first = node(1, name="p", trainable=True)
    GRAPH.clear()
    second = node(2, name="p", trainable=True)
    (first + second).backward("good")
    (graph,) = kept(first)
    assert len(graph.parameters) == 2
    assert len(set(graph.names.values())) == len(graph)


def test_tracing_is_stopped_for_a_block_only():
    assert GRAPH.TRACE
    with stop_tracing():
        with stop_tracing():
            assert not GRAPH.TRACE
        assert not GRAPH.TRACE, "the inner block must not switch tracing on again"
        total = node(1) + 1
        assert [item.data for item in node([1, 2])] == [1, 2]
    assert total.inputs == {}
    assert GRAPH.TRACE
    with pytest.raises(GraphError, match="stop_tracing"):
        GRAPH.TRACE = False


# Errors.


def test_errors_carry_a_node_that_takes_feedback():
    x = node(-1.0, trainable=True)

    @bundle()
    def check(a):
        if a < 0:
            raise ValueError("Input must be positive")
        return True

    with pytest.raises(trace.ExecutionError) as caught:
        check(x)
    target = caught.value.exception_node
    assert target.data == "(ValueError) Input must be positive"
    assert target.create_feedback() == target.data
    assert "raise ValueError" in target.create_feedback("full")
    assert "raise ValueError" in target.info["error_comment"]
    target.backward(target.create_feedback())
    assert len(kept(x)) == 1


@pytest.mark.parametrize("error", [ValueError(), AssertionError(), KeyError("k")])
def test_errors_without_words_are_errors_all_the_same(error):
    @bundle()
    def fail(x):
        raise error

    with pytest.raises(ExecutionError) as caught:
        fail(1)
    assert type(error).__name__ in caught.value.exception_node.data


# Propagators.


SLOPES = {
    "square": lambda x: [2 * x],
    "multiply": lambda x, y: [y, x],
    "add": lambda x, y: [1, 1],
    "magnitude": lambda x: [1 if x > 0 else -1],
}


class Backpropagation(Propagator):
    """As in the tutorial on custom optimizers, with slopes written down instead of asked of torch."""

    def init_feedback(self, node, feedback):
        return feedback

    def _propagate(self, child):
        assert isinstance(child, MessageNode)
        grad = sum(sum(items) for items in child.feedback.values())
        slopes = SLOPES[child.op_name](*(parent.data for parent in child.inputs.values()))
        passed_on = {}
        for parent, slope in zip(child.inputs.values(), slopes, strict=True):
            passed_on[parent] = passed_on.get(parent, 0) + grad * slope
        return passed_on


@bundle()
def square(x):
    return x**2


@bundle()
def magnitude(x):
    return abs(x)


def test_gradient_descent_by_a_custom_propagator():
    x = node(1.0, trainable=True)
    losses = []
    for _ in range(5):
        y = magnitude(x) + square(x) * 0.5
        x.zero_feedback()
        y.backward(1.0, propagator=Backpropagation())
        x._set(x.data - 0.1 * sum(sum(items) for items in x.feedback.values()))
        losses.append(y.data)
    assert losses == pytest.approx([1.5, 1.12, 0.8122, 0.562882, 0.36093442])


def test_feedback_in_flight_is_gone_with_the_pass():
    x = node(3.0, trainable=True)
    y = square(x)
    seen = []

    class Watch(Backpropagation):
        def _propagate(self, child):
            seen.append((dict(child.feedback), x.feedback))
            return super()._propagate(child)

    y.backward(2.0, propagator=Watch())
    assert seen == [({y: [2.0]}, {y: [12.0]})]
    assert y.feedback == {}


def test_a_pass_inside_a_rule_does_not_disturb_the_one_around_it():
    x = node(3.0, trainable=True)

    class Nested(Backpropagation):
        def _propagate(self, child):
            square(node(1.0)).backward(7.0, propagator=Backpropagation())
            return super()._propagate(child)

    square(x).backward(1.0, propagator=Nested())
    assert kept(x) == [6.0]


def test_a_rule_for_one_operator():
    x = node(3.0, trainable=True)
    propagator = Backpropagation()
    propagator.register("square", lambda child: {child.inputs["x"]: "as registered"})
    square(x).backward(1.0, propagator=propagator)
    assert kept(x) == ["as registered"]


def test_errors_in_a_rule_are_not_swallowed():
    class Broken(Backpropagation):
        def _propagate(self, child):
            raise IndexError

    with pytest.raises(IndexError):
        square(node(1.0)).backward(1.0, propagator=Broken())


def test_the_sum_propagator_works():
    x = node(1, trainable=True)
    (x + 1).backward("good", propagator=SumPropagator())
    assert kept(x) == ["good"]


def test_feedback_on_two_outputs_is_summed_into_one_graph():
    x = node(1, trainable=True)
    (x + 1).backward("too small")
    (x * 2).backward("too big")
    total = sum_feedback([x])
    assert isinstance(total, TraceGraph)
    assert [said.text for said in total.feedback] == ["too small", "too big"]
    x.zero_feedback()
    assert sum_feedback([x]) == 0
    (x + 1).backward(2, propagator=SumPropagator())
    assert sum_feedback([x]) == 2


def test_feedback_goes_where_it_belongs_even_if_values_are_equal():
    x, y = node(1, trainable=True), node(1, trainable=True)
    first, second = x + 1, y + 1
    second.backward("good")
    assert kept(x) == []
    assert len(kept(y)) == 1
    assert first == second


@pytest.mark.parametrize("simple", [True, False])
def test_backward_draws_what_trace_draws(simple):
    x = node(3, name="x", trainable=True)
    output = abs(x) + node("long" * 100).len()
    picture = output.backward("good", visualize=True, simple_visualization=simple, print_limit=20)
    assert all(name in picture.source for name in ("x", "abs0", "add0"))
    assert "long" * 10 not in picture.source
    assert "add0 -> abs0" in output.backward("good", visualize=True, reverse_plot=True).source


# Modules.


def test_trainable_methods_belong_to_instances():
    @trace.model
    class Agent:
        def __init__(self, instruction):
            self.instruction = node(instruction, trainable=True)

        @bundle(trainable=True)
        def act(self, instruction, observation):
            return f"{instruction}: {observation}"

        def forward(self, observation):
            return self.act(self.instruction, observation)

    first, second = Agent("look"), Agent("go")
    assert first.act.parameter is not second.act.parameter
    assert first.act.parameter is first.act.parameter
    assert len(first.parameters()) == len(first.parameters_dict()) == 2
    output = first("door")
    assert output == "look: door"
    output.backward("too vague")
    assert [len(kept(item)) for item in (*first.parameters(), *second.parameters())] == [1, 1, 0, 0]


def test_models_are_modules():
    @trace.model
    class Empty:
        pass

    assert isinstance(Empty(), trace.Module)
    assert isinstance(Empty(), trace.Model)
    assert isinstance(Empty(), importlib.import_module("opto.trace.containers").ParameterContainer)


def test_for_all_methods_of_a_class():
    from opto.trace.utils import for_all_methods

    calls = []

    @for_all_methods
    def counted(method):
        def wrapper(*args, **kwargs):
            calls.append(method)
            return method(*args, **kwargs)

        return wrapper

    @counted
    class Sums:
        def __init__(self):
            self.start = 1

        @bundle()
        def add(self, x):
            return self.start + x

    assert Sums().add(node(2)).data == 3
    assert len(calls) == 1


def test_copies_and_pickles_are_roots():
    x = node("x", trainable=True)
    y = x + "y"
    for twin in (copy.deepcopy(y), pickle.loads(pickle.dumps(y))):
        assert twin.data == "xy"
        assert twin.parents == []
    assert isinstance(copy.deepcopy(x), ParameterNode)


def test_async_operators():
    import asyncio

    @bundle()
    async def double(x):
        return 2 * x

    x = node(2, trainable=True)
    y = asyncio.run(double(x))
    assert y.data == 4
    assert contain(y.parents, x)


def test_bundles_answer_as_in_trace():
    from opto.trace.bundle import disable_external_dependencies_check, to_data

    hidden = node(2, trainable=True)

    @bundle(trainable=True)
    def scale(x):
        """Scale."""
        return x * hidden.data

    assert (scale.info["fun_name"], scale.info["doc"]) == ("scale", "Scale.")
    assert scale.info["source"].startswith("def scale(x):")
    assert scale.detach().parameter is not scale.parameter
    assert to_data([node(1), {"a": node(2)}]) == [1, {"a": 2}]

    def unchecked():
        disable_external_dependencies_check(True)
        scale(3).backward("good")

    contextvars.copy_context().run(unchecked)
    assert len(hidden.feedback) == 1
    with pytest.raises(MissingInputsError):
        scale(3)


def test_graphs_of_two_outputs_add_up():
    x = node(1, trainable=True)
    first, second = x + 1, x + 2
    graph = trace.TraceGraph([first], [trace.Feedback("a")]) + trace.TraceGraph([second], [trace.Feedback("b")])

    assert len(graph) == 3
    assert [said.text for said in graph.user_feedback] == ["a", "b"]


def test_an_optimizer_written_for_trace_runs():
    """The gradient descent of Trace's tutorial on own optimizers, with its own propagator."""
    from opto.optimizers import Optimizer
    from opto.trace.propagators import Propagator

    class Slopes(Propagator):
        def init_feedback(self, node, feedback):
            return float(feedback)

        def _propagate(self, child):
            slope = sum(sum(items) for items in child.feedback.values())
            (x, y) = child.inputs.values()
            return {x: slope * y.data, y: slope * x.data}

    class Descent(Optimizer):
        def __init__(self, parameters, rate=0.1):
            super().__init__(parameters)
            self.rate = rate

        def default_propagator(self):
            return Slopes()

        def _step(self):
            return {
                item: item.data - self.rate * sum(sum(items) for items in item.feedback.values())
                for item in self.parameters
            }

    x = node(1.0, name="x", trainable=True)
    optimizer = Descent([x])
    for _ in range(30):
        output = x * x
        optimizer.zero_feedback()
        optimizer.backward(output, 1.0)
        record = optimizer.step(verbose=True)

    assert abs(x.data) < 0.1
    assert record.outcome == "updated"


def test_backward_takes_its_settings_by_position():
    x = node(1, name="x", trainable=True)
    picture = (x + 1).backward("more", None, False, True, True, False, 5)
    assert "add0" in picture.source
    assert len(x.feedback) == 1


def test_the_source_of_any_function_is_known():
    @bundle()
    def double(x):
        return 2 * x

    assert "return 2 * x" in double.info["source"]
    assert bundle()(len).info["source"] is None
