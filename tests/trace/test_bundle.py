"""Bundled functions: called like the function, recorded as one operator, failing as the function fails."""

import ast
import asyncio
import functools
import gc
import inspect
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.errors import ExecutionError, MissingInputsError
from opto.nodes import MessageNode, TraceGraph, node, stop_tracing
from opto.trace import FunModule, bundle


@bundle
def add_one(x):
    """One more than x."""
    return x + 1


@bundle
def divide(x, y):
    return x / y


@bundle
def fail_with(cause):
    raise cause


def nodes_behind(result):
    return TraceGraph([result]).nodes


def behind(item, result):
    """True if *result* was computed from this very node."""
    return any(item is known for known in nodes_behind(result))


# Calls.


def test_a_call_is_a_node_whose_parents_are_the_nodes_given():
    x, y = node(6), node(3)
    result = divide(x, y)
    assert isinstance(result, MessageNode)
    assert result.data == 2
    assert [parent is expected for parent, expected in zip(result.parents, (x, y), strict=True)] == [True, True]
    assert list(result.inputs) == ["x", "y"]


def test_plain_arguments_are_inputs_without_parents():
    result = divide(6, y=3)
    assert result.data == 2
    assert result.parents == []
    assert [item.data for item in result.inputs.values()] == [6, 3]


def test_the_function_sees_plain_values_and_the_very_objects():
    seen = []

    @bundle
    def look(x, items):
        seen.extend([x, items])

    value = np.ones(2)
    look(node(value), [1])
    assert seen[0] is value
    assert seen[1] == [1]


def test_nothing_inside_is_recorded():
    @bundle
    def work(x):
        inner = node(x) + 1
        assert inner.parents == []
        return inner

    result = work(node(1))
    assert result.data == 2
    assert len(nodes_behind(result)) == 2


def test_results_with_nodes_in_them_are_plain():
    @bundle
    def many(x):
        return [node(x), {"a": (node(2),)}]

    assert many(1).data == [1, {"a": (2,)}]


def test_nodes_in_containers_are_parents_and_their_values_are_given():
    a, b = node(1), node(2)

    @bundle
    def total(items, extra):
        assert type(items) is list
        return sum(items) + sum(extra["k"])

    result = total([a, 5], extra={"k": (b,)})
    assert result.data == 8
    assert behind(a, result)
    assert behind(b, result)


def test_a_dict_made_of_the_items_of_a_node_is_given_with_plain_keys():
    x = node({"a": 1})

    @bundle
    def look(table):
        return table["a"]

    result = look({key: value for key, value in x.items()})  # noqa: C416 - as users write it
    assert result.data == 1
    assert behind(x, result)


def test_kinds_of_arguments():
    @bundle
    def everything(a, /, b=2, *rest, c, d=4, **more):
        return (a, b, rest, c, d, more)

    parts = [node(number) for number in range(6)]
    result = everything(parts[0], parts[1], parts[2], c=parts[3], e=parts[4])
    assert result.data == (0, 1, (2,), 3, 4, {"e": 4})
    assert [behind(part, result) for part in parts] == [True] * 5 + [False]
    assert list(result.inputs) == ["a", "b", "*rest[0]", "c", "d", "**more[e]"]


def test_name_and_description():
    assert add_one.name == "add_one"
    assert add_one(1).description == "One more than x."
    assert add_one(1).name.startswith("add_one:")

    @bundle("[increase] Makes it larger.")
    def other(x):
        """Not this."""
        return x

    assert other.name == "increase"
    assert other(1).description == "Makes it larger."

    @bundle(description="Only words.")
    def third(x):
        return x

    assert (third.name, third(1).description) == ("third", "Only words.")


def test_it_looks_like_the_function():
    assert isinstance(add_one, FunModule)
    assert add_one.__name__ == "add_one"
    assert add_one.__doc__ == "One more than x."
    assert str(inspect.signature(divide)) == "(x, y)"
    assert add_one.fun(1) == 2
    assert "add_one" in repr(add_one)
    assert (add_one.trainable, add_one.parameter, add_one.parameters()) == (False, None, [])


def test_calls_do_not_share_anything():
    first, second = add_one(node(1)), add_one(node(2))
    assert [first.inputs["x"].data, second.inputs["x"].data] == [1, 2]


def test_two_functions_of_one_name_are_two_functions():
    def make(number):
        @bundle("[same] Adds.")
        def same(x):
            return x + number

        return same

    one, ten = make(1), make(10)
    assert (one(0).data, ten(0).data, one(0).data) == (1, 10, 1)


def test_methods_are_bound_and_self_is_an_input():
    class Counter:
        def __init__(self, step):
            self.step = step

        @bundle
        def count(self, x):
            """Adds."""
            return x + self.step

    x = node(1)
    assert Counter(2).count(x).data == 3
    assert Counter(5).count(x=x).data == 6
    assert Counter.count(Counter(7), x).data == 8
    assert TraceGraph([Counter(2).count(x)]).to_text().splitlines()[-1] == "count0 = self.count(x=int0)  → 3  (output)"


def test_bundling_below_and_above_other_decorators():
    def doubled(function):
        @functools.wraps(function)
        def wrapper(*args):
            return function(*args) * 2

        return wrapper

    @doubled
    @bundle
    def above(x):
        return x + 1

    @bundle
    @doubled
    def below(x):
        return x + 1

    x = node(1)
    assert [above(x).data, below(x).data] == [4, 4]
    assert [len(nodes_behind(above(x))), len(nodes_behind(below(x)))] == [3, 2]


def test_a_call_is_written_as_python():
    @bundle
    def plain(a, b=2):
        return 1

    @bundle
    def every_kind(a, b=2, /, c=3, *rest, d, **more):
        return 1

    @bundle
    def rest_only(a, *rest):
        return 1

    x = node(1, name="x")
    for result, expected in [
        (plain(x, b=3), "plain(a=x0, b=3)"),
        (every_kind(x, 4, 5, 6, d=7, e=8), "every_kind(x0, 4, 5, 6, d=7, e=8)"),
        (every_kind(x, d=7), None),
        (rest_only(x, 4), "rest_only(x0, 4)"),
    ]:
        expression = TraceGraph([result]).to_text().splitlines()[-1].split(" = ", 1)[1].split("  →")[0]
        ast.parse(expression, mode="eval")
        assert expected in {None, expression}


def test_lambdas_builtins_and_partials():
    x = node([3, 1])
    assert bundle(sorted)(x).data == [1, 3]
    assert bundle(lambda items: items[0])(x).data == 3
    assert bundle(functools.partial(int, base=2))(node("11")).data == 3


@given(st.integers(), st.integers())
def test_a_bundled_function_computes_what_the_function_computes(x, y):
    def function(x, y=2):
        return [x + y, {"x": x}, (y,)]

    bundled = bundle(function)
    assert bundled(x, y).data == bundled(node(x), y).data == bundled(x, y=node(y)).data == function(x, y)


def test_arguments_that_cannot_be_compared_or_hashed():
    result = divide(node(np.ones(2)), np.array([2.0, 4.0]))
    assert result.data.tolist() == [0.5, 0.25]


# Nesting and what is read.


def test_a_bundle_in_a_bundle_is_part_of_it():
    @bundle
    def outer(x):
        return add_one(add_one(x))

    x = node(1)
    result = outer(x)
    assert result.data == 3
    assert len(nodes_behind(result)) == 2


def test_reading_what_was_not_given_names_the_node():
    weight = node(2, name="hidden_weight")

    def read_data(x):
        return x * weight.data

    def use_operator(x):
        return x * weight

    def write_text(x):
        return f"{x} {weight}"

    def ask(x):
        return x if weight > 1 else 0

    def call_bundle(x):
        return add_one(weight)

    def quietly(x):
        with stop_tracing():
            return x * weight

    for function in (read_data, use_operator, write_text, ask, call_bundle, quietly):
        with pytest.raises(MissingInputsError, match=f"'{weight.name}'.*allow_external_dependencies") as caught:
            bundle(function)(3)
        assert function.__name__ in str(caught.value)


def test_reading_through_an_object_is_noticed():
    class Agent:
        def __init__(self):
            self.prompt = node("hidden", name="prompt_of_agent")

        @bundle
        def act(self, x):
            return self.prompt.data + x

    with pytest.raises(MissingInputsError, match="prompt_of_agent"):
        Agent().act("a")


def test_what_was_read_is_recorded_where_it_is_allowed():
    weight, other = node(2, trainable=True), node(2, trainable=True)

    @bundle(allow_external_dependencies=True)
    def scale(x):
        return x * weight + add_one(other).data

    x = node(3)
    result = scale(x)
    assert result.data == 9
    assert [behind(item, result) for item in (x, weight, other)] == [True] * 3
    result.backward("good")
    assert [len(weight.feedback), len(other.feedback)] == [1, 1]
    assert "# also reads" in TraceGraph([result]).to_text()


def test_hidden_reads_of_an_inner_bundle_reach_the_outer_one():
    weight = node(2, name="inner_weight", trainable=True)

    @bundle(allow_external_dependencies=True)
    def inner(x):
        return x * weight

    @bundle
    def strict(x):
        return inner(x)

    @bundle(allow_external_dependencies=True)
    def lenient(x):
        return inner(x)

    with pytest.raises(MissingInputsError, match="strict.*inner_weight"):
        strict(1)
    assert behind(weight, lenient(1))


def test_what_was_given_may_be_read_by_another_way():
    weight = node(2)

    @bundle
    def scale(x, weights):
        return x * weight

    assert scale(weight, 1).data == 4
    assert scale(3, weight).data == 6


def test_what_was_given_inside_a_container_may_be_read_by_another_way():
    """Feedback gets there through the container."""
    weight = node(2)

    @bundle
    def scale(x, weights):
        return x * weight

    assert scale(3, [weight]).data == 6


def test_a_loop_over_a_hidden_node_is_noticed_even_if_it_is_empty():
    hidden = node([], name="hidden_list")

    @bundle
    def collect():
        return [item.data for item in hidden]

    with pytest.raises(MissingInputsError, match="hidden_list"):
        collect()


def test_equal_values_do_not_hide_a_read():
    given_one, hidden = node(2), node(2, name="hidden_twin")

    @bundle
    def scale(x):
        return x * hidden

    with pytest.raises(MissingInputsError, match="hidden_twin"):
        scale(given_one)


def test_a_failed_check_leaves_the_scope():
    hidden = node(2)
    with pytest.raises(MissingInputsError):
        bundle(lambda: hidden.data)()
    assert (node(1) + 1).parents


def test_traceable_code_records_what_happens_inside():
    weight = node(2, trainable=True)

    @bundle(traceable_code=True)
    def work(x, y):
        return add_one(x) * weight + y

    result = work(node(1), 5)
    assert result.data == 9
    names = [item.operator.name for item in nodes_behind(result) if item.operator]
    assert names == ["add_one", "multiply", "add", "work"]
    result.backward("good")
    assert len(weight.feedback) == 1


def test_traceable_code_that_returns_a_container():
    @bundle(traceable_code=True)
    def pair(x):
        return [x + 1, 2]

    x = node(1, trainable=True)
    result = pair(x)
    assert result.data == [2, 2]
    assert behind(x, result)


def test_under_stop_tracing_the_value_is_computed_and_nothing_recorded():
    x = node(1, trainable=True)
    with stop_tracing():
        result = add_one(x)
    assert (result.data, result.parents) == (2, [])
    assert "2" in TraceGraph([result]).to_text()


# Failures.


def test_a_failure_is_an_execution_error_and_what_was_raised():
    with pytest.raises(ZeroDivisionError) as caught:
        divide(1, 0)
    error = caught.value
    assert isinstance(error, ExecutionError)
    assert str(error).startswith("divide raised ZeroDivisionError: division by zero. ")
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert error.exception_node.data == "(ZeroDivisionError) division by zero"
    assert error.exception_node.kind == "exception"


def test_feedback_on_a_failure_reaches_the_parameters():
    x, y = node(1, trainable=True), node(0, trainable=True)
    with pytest.raises(ExecutionError) as caught:
        divide(add_one(x), y)
    caught.value.exception_node.backward("do not divide by zero")
    for parameter in (x, y):
        (graph,) = next(iter(parameter.feedback.values()))
        assert graph.feedback[0].text == "do not divide by zero"
        assert graph.outputs[0] is caught.value.exception_node
    assert (
        TraceGraph([caught.value.exception_node]).to_text().splitlines()[-1].startswith("divide0 = divide(x=add_one0")
    )


def test_a_failure_in_the_middle_of_other_operators_keeps_its_inputs():
    @bundle
    def work(x):
        return node(5) / x

    x = node(0, trainable=True)
    with pytest.raises(ZeroDivisionError) as caught:
        work(x)
    assert caught.value.exception_node.operator.name == "work"
    assert caught.value.exception_node.parents[0] is x


def test_failures_pass_through_bundles_with_the_inputs_of_each():
    @bundle
    def outer(x, y):
        return divide(x, y)

    x, y = node(1, trainable=True), node(0, trainable=True)
    with pytest.raises(ZeroDivisionError) as caught:
        outer(x, y)
    found = caught.value.exception_node
    assert found.operator.name == "outer"
    assert [behind(x, found), behind(y, found)] == [True, True]
    assert found.data == "(ZeroDivisionError) division by zero"
    assert "in divide, line" in found.create_feedback("full")


def test_a_failure_keeps_what_was_read_before_it():
    weight = node(0, trainable=True)

    @bundle(allow_external_dependencies=True)
    def work(x):
        return x / weight.data

    @bundle
    def strict(x):
        return x / weight.data

    for function in (work, strict):
        with pytest.raises(ZeroDivisionError) as caught:
            function(1)
        assert behind(weight, caught.value.exception_node)


def test_a_failure_can_be_caught_inside():
    @bundle
    def work(x, y):
        try:
            return divide(x, y)
        except ZeroDivisionError:
            return None

    assert work(1, 0).data is None


@pytest.mark.parametrize(
    "cause", [ValueError(), KeyError, AssertionError(), KeyError("k"), StopIteration(), OSError(5, "x")]
)
def test_failures_with_few_words(cause):
    kind = cause if isinstance(cause, type) else type(cause)
    x = node(cause)
    with pytest.raises(kind) as caught:
        fail_with(x)
    assert caught.value.exception_node.data.startswith(f"({kind.__name__})")
    assert caught.value.exception_node.parents[0] is x
    if kind is OSError:
        assert caught.value.errno == 5


def test_failures_pass_as_they_are_if_asked_to():
    @bundle(catch_execution_error=False)
    def work(x):
        raise KeyError(x)

    with pytest.raises(KeyError) as caught:
        work("a")
    assert not isinstance(caught.value, ExecutionError)
    assert (node(1) + 1).parents, "the scope is left"


@pytest.mark.parametrize("cause", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_ends_a_program_is_not_held_up(cause):
    with pytest.raises(cause) as caught:
        fail_with(cause)
    assert not isinstance(caught.value, ExecutionError)
    assert (node(1) + 1).parents, "the scope is left"


def test_a_failure_leaves_the_scope():
    with pytest.raises(ZeroDivisionError):
        divide(1, 0)
    assert (node(1) + 1).parents


def test_a_failure_survives_a_pickle():
    """As it must to come back from another process."""
    with pytest.raises(ZeroDivisionError) as caught:
        divide(add_one(node(1)), 0)
    again = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(again, ExecutionError)
    assert (str(again), again.mend) == (str(caught.value), caught.value.mend)
    assert again.exception_node.data == caught.value.exception_node.data


def test_the_traceback_for_feedback_shows_the_lines_of_user_code_only():
    with pytest.raises(ZeroDivisionError) as caught:
        divide(1, 0)
    lines = caught.value.exception_node.create_feedback("full").splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("in divide, line ")
    assert lines[0].endswith("return x / y  <--- (ZeroDivisionError) division by zero")


# Life, threads, tasks.


def test_graphs_of_bundles_die_by_reference_counting():
    gc.collect()
    gc.disable()
    try:
        x = node(1, trainable=True)
        middle = add_one(x)
        alive = [weakref.ref(middle)]
        output = divide(middle, 2)
        alive.append(weakref.ref(output))
        del middle, output
        assert [item() for item in alive] == [None, None]

        class Agent:
            @bundle(trainable=True)
            def act(self, x):
                return x

        agent = Agent()
        alive = weakref.ref(agent.act(x)), weakref.ref(agent)
        assert alive[0]() is None
        del agent
        assert alive[1]() is None
    finally:
        gc.enable()


def test_threads_do_not_see_what_others_read():
    shared = node(1)

    @bundle
    def strict(x):
        return x + 1

    @bundle(allow_external_dependencies=True)
    def lenient(x):
        return x + shared

    def work(number):
        x = node(number)
        if number % 2:
            result = strict(x)
            return [parent is x for parent in result.parents] == [True]
        result = lenient(x)
        return [parent is expected for parent, expected in zip(result.parents, (x, shared), strict=True)] == [
            True,
            True,
        ]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(400)))


def test_failures_in_threads_describe_their_own_call():
    def work(number):
        x = node(f"no number {number}")
        try:
            bundle(int)(x)
        except ValueError as error:
            found = error.exception_node
            return found.parents[0] is x and f"'no number {number}'" in found.data
        return False

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(400)))


def test_a_thread_started_in_a_bundle_records_for_itself():
    @bundle
    def work(x):
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(lambda: len((node(x) + 1).parents)).result()

    assert work(1).data == 1


def test_tasks_do_not_see_each_other():
    async def job(number):
        x = node(number)
        for _ in range(3):
            x = add_one(x)
            await asyncio.sleep(0)
            with stop_tracing():
                await asyncio.sleep(0)
                assert add_one(x).parents == []
        return len(nodes_behind(x))

    async def main():
        return await asyncio.gather(*(job(number) for number in range(5)))

    assert asyncio.run(main()) == [4] * 5


def test_coroutine_functions_fail_and_read_as_functions_do():
    hidden = node(2, name="hidden_from_coroutine")

    @bundle
    async def fail(x):
        await asyncio.sleep(0)
        return 1 / x

    @bundle
    async def read(x):
        await asyncio.sleep(0)
        return x * hidden.data

    async def main():
        x = node(0, trainable=True)
        with pytest.raises(ZeroDivisionError) as caught:
            await fail(x)
        assert caught.value.exception_node.parents[0] is x
        with pytest.raises(MissingInputsError, match="hidden_from_coroutine"):
            await read(x)
        # Meanwhile, others are recorded, and what they read is their own.
        results = await asyncio.gather(*(double(number) for number in range(5)), recorded())
        return [item.data for item in results[:5]], results[5]

    @bundle
    async def double(x):
        await asyncio.sleep(0)
        return 2 * x

    async def recorded():
        for _ in range(3):
            await asyncio.sleep(0)
        return hidden.data + len((node(1) + 1).parents)

    assert asyncio.run(main()) == ([0, 2, 4, 6, 8], 3)


def test_coroutine_functions_are_awaited_and_recorded():
    @bundle
    async def fetch(x):
        await asyncio.sleep(0)
        return x + 1

    async def main():
        x = node(1)
        result = await fetch(x)
        return result.data == 2 and behind(x, result)

    assert asyncio.run(main())


@pytest.mark.parametrize("trainable", [False, True])
def test_a_function_goes_with_its_last_reference(trainable):
    gc.disable()
    try:

        @bundle(trainable=trainable)
        def double(x):
            return 2 * x

        class Agent:
            act = double

        agent = Agent()
        function, owner = weakref.ref(double), weakref.ref(agent)
        assert double(1).data == 2
        with pytest.raises(TypeError):
            agent.act(1)
        del agent, Agent.act, double
        assert function() is None
        assert owner() is None
    finally:
        gc.enable()


def test_a_bound_method_stays_bound_wherever_it_is_put():
    class Agent:
        @bundle
        def act(self, x):
            return type(self).__name__, x

    class Other:
        act = Agent().act

    assert Other().act(1).data == ("Agent", 1)


def test_arguments_may_have_the_names_of_python_s_own():
    source = "def pick({names}): return [{names}]"
    names = "map, next, len, isinstance, hasattr, Exception, tuple, list, dict, type, zip"
    space = {}
    exec(source.format(names=names), space)
    pick = bundle()(space["pick"])
    given = [[index] for index, _ in enumerate(names.split())]
    assert pick(*given).data == given
    changing = bundle(trainable=True)(_choose)
    assert changing([["."]], [1]).data == [["."]]
    changing.parameter._set(changing.parameter.data + "# again\n")
    assert changing(node([["."]]), [1]).data == [["."]]


def _choose(map, next):  # noqa: A002 - as people do
    return map
