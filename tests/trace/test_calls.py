"""Everything that people decorate behaves as it does undecorated."""

import asyncio
import functools
import inspect
import operator
from dataclasses import dataclass

import pytest

from opto.errors import ExecutionError, MissingInputsError
from opto.nodes import Node, node
from opto.trace import Module, TraceGraph, bundle


def text(result):
    return TraceGraph([result]).to_text().splitlines()[-1]


# Generators


@bundle
def upto(limit):
    for number in range(limit):
        sent = yield number
        if sent:
            yield sent
    return "done"


def test_a_generator_yields_a_node_per_item_when_it_is_asked():
    limit = node(3, name="limit", trainable=True)

    items = list(upto(limit))

    assert [item.data for item in items] == [0, 1, 2]
    assert text(items[1]) == "upto0 = list(upto(limit=limit))[1]  → 1  (output)"
    items[2].backward("too far")
    assert len(limit.feedback) == 1


def test_a_generator_is_lazy_and_can_be_sent_to_and_closed():
    closed = []

    @bundle
    def endless(start):
        try:
            while True:
                got = yield start
                start += got or 1
        finally:
            closed.append(start)

    items = endless(node(5))
    assert next(items).data == 5
    assert items.send(10).data == 15
    items.close()
    assert closed == [15]


def test_what_a_generator_returns_reaches_yield_from():
    def outer():
        result = yield from upto(1)
        yield result

    assert [item.data if isinstance(item, Node) else item for item in outer()] == [0, "done"]


def test_a_generator_that_fails_or_reads_in_secret_says_so():
    x = node(0, trainable=True)

    @bundle
    def failing(x):
        yield 1
        yield 1 / x

    items = failing(x)
    assert next(items).data == 1
    with pytest.raises(ZeroDivisionError) as caught:
        next(items)
    caught.value.exception_node.backward("mend it")
    assert len(x.feedback) == 1

    @bundle
    def secret():
        yield x.data

    with pytest.raises(MissingInputsError, match="secret"):
        next(secret())


def test_generators_can_be_trainable():
    @bundle(trainable=True)
    def words(text):
        yield from text.split()

    words.parameter._set("def words(text):\n    for word in text.split():\n        yield word.upper()\n")
    assert [item.data for item in words("a b")] == ["A", "B"]


# Coroutines


def test_coroutines_and_asynchronous_generators():
    @bundle
    async def double(x):
        await asyncio.sleep(0)
        return 2 * x

    @bundle
    async def count(limit):
        for number in range(limit):
            await asyncio.sleep(0)
            yield number

    async def main():
        x = node(2, name="x", trainable=True)
        results = await asyncio.gather(double(x), double(x + 1))
        items = [item async for item in count(x)]
        return x, results, items

    x, results, items = asyncio.run(main())
    assert [item.data for item in (*results, *items)] == [4, 6, 0, 1]
    assert text(results[1]) == "double0 = double(x=add0)  → 6  (output)"
    items[1].backward("more")
    assert len(x.feedback) == 1


def test_reads_across_await_and_in_tasks_of_its_own_are_found():
    hidden = node(3, name="hidden")

    async def read():
        return hidden.data

    @bundle
    async def awaits():
        await asyncio.sleep(0)
        return await read()

    @bundle
    async def starts_a_task():
        return await asyncio.create_task(read())

    @bundle
    async def starts_a_thread():
        return await asyncio.to_thread(lambda: hidden.data)

    for function in (awaits, starts_a_task, starts_a_thread):
        with pytest.raises(MissingInputsError, match="hidden"):
            asyncio.run(function())


# Callables


def test_lambdas_partials_and_builtins():
    x = node(3, name="x")

    assert text(bundle(lambda x: x + 1)(x)).startswith("lambda_0 = lambda_(x=x0)  → 4")
    assert text(bundle(functools.partial(pow, 2))(x)).startswith("pow0 = pow(")
    assert bundle(functools.partial(int, base=2))(node("101")).data == 5
    assert bundle(len)(node([1, 2])).data == 2
    assert bundle(operator.add)(x, 4).data == 7
    assert bundle(max)(x, 9, key=lambda item: -item).data == 3
    assert bundle(dict)(a=x).data == {"a": 3}


def test_callable_objects_and_classes():
    class Scale:
        def __init__(self, by):
            self.by = by

        def __call__(self, x):
            return x * self.by

    @dataclass
    class Point:
        x: int

        @bundle
        def moved(self, by):
            return self.x + by

    assert bundle(Scale(3))(node(2)).data == 6
    assert bundle(Point)(node(2)).data == Point(2)
    assert Point(1).moved(node(2)).data == 3


def test_descriptors_in_either_order():
    class Tools(Module):
        factor = 3

        @bundle
        @staticmethod
        def one(x):
            return x + 1

        @staticmethod
        @bundle
        def two(x):
            return x + 2

        @bundle
        @classmethod
        def three(cls, x):
            return x * cls.factor

        @classmethod
        @bundle
        def four(cls, x):
            return x * cls.factor + 1

        @bundle
        @property
        def five(self):
            return self.factor + 2

        @property
        @bundle
        def six(self):
            return self.factor + 3

    tools = Tools()
    assert [tools.one(1).data, Tools.two(1).data, tools.three(1).data, Tools.four(1).data] == [2, 3, 3, 4]
    assert [tools.five.data, tools.six.data] == [5, 6]


def test_stacked_decorators_keep_their_order():
    def twice(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            return function(function(*args, **kwargs))

        return wrapper

    @bundle
    @twice
    @functools.cache
    def add_one(x):
        """Add one."""
        return x + 1

    result = add_one(node(1, name="x"))
    assert result.data == 3
    assert (add_one.name, result.description) == ("add_one", "Add one.")


def test_recursion_direct_and_mutual():
    @bundle
    def even(n):
        return True if n == 0 else odd(n - 1).data

    @bundle
    def odd(n):
        return False if n == 0 else even(n - 1).data

    @bundle(overwrite_python_recursion=True)
    def factorial(n):
        return 1 if n < 2 else n * factorial(n - 1)

    assert even(node(10)).data is True
    assert factorial(node(20)).data == 2432902008176640000


def test_it_looks_like_the_function():
    class Agent(Module):
        @bundle
        def act(self, observation, *, greedy=True):
            """Choose."""

    agent = Agent()
    assert list(inspect.signature(agent.act).parameters) == ["observation", "greedy"]
    assert list(inspect.signature(Agent.act).parameters) == ["self", "observation", "greedy"]
    assert (agent.act.__name__, agent.act.__doc__) == ("act", "Choose.")
    assert agent.act == agent.act
    assert agent.act != Agent().act
    assert len({agent.act, agent.act}) == 1


def test_options_of_trace_are_taken():
    @bundle("[total] Adds up.", _process_inputs=False, output_name="sum")
    def add_up(items):
        assert isinstance(items, Node)
        return sum(items.data)

    result = add_up(node([1, 2]))
    assert (result.data, result.operator.name) == (3, "sum")


def test_projections_and_domains_of_code():
    @bundle(trainable=True, projections=[lambda source: source.replace("\t", "    ")])
    def work(x):
        return x

    assert work.parameter.accept("def work(x):\n\treturn x + 1") == "def work(x):\n    return x + 1\n"

    @bundle(trainable=True, domain=str)
    def free(x):
        return x

    assert free.parameter.accept("whatever") == "whatever"


def test_opened_code_shows_what_is_inside():
    weight = node(2, name="weight", trainable=True)

    @bundle(traceable_code=True)
    def scaled(x):
        return x * weight

    result = scaled(node(3, name="x"))

    assert text(result) == "scaled0 = scaled(x=x0)  # = multiply0  → 6  (output)"
    with pytest.raises(ExecutionError) as caught:
        scaled("a" * 2 and node(None))
    caught.value.exception_node.backward("mend")
    assert len(weight.feedback) == 1
