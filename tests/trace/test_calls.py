"""Everything that people decorate behaves as it does undecorated."""

import abc
import asyncio
import copy
import functools
import gc
import inspect
import linecache
import operator
import types
import weakref
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass
from typing import get_type_hints

import pytest

from opto.errors import ExecutionError, GraphError, MissingInputsError
from opto.nodes import Node, node
from opto.trace import Module, TraceGraph, bundle, is_tracing
from opto.trace.utils import contain


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

    for inner in (free, copy.deepcopy(free)):

        @bundle
        def outer(x, inner=inner):
            return inner(x)

        assert contain(outer(1).parents, inner.parameter)


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


# The same program, traced and not


def plain(value):
    """Return *value* with the values of nodes in place of them."""
    if isinstance(value, Node):
        return plain(value.data)
    if type(value) in {list, tuple}:
        return type(value)(map(plain, value))
    return value


class Shop:
    rate = 2

    def __init__(self, price=3):
        self.price = price
        self.log = []


def looks(decorate):
    @decorate
    def work(x: int, /, y: str = "a", *, z=None) -> float:
        """Do it."""

    work.tag = 1
    names = ("__name__", "__qualname__", "__module__", "__doc__", "__defaults__", "__kwdefaults__", "__annotations__")
    return [getattr(work, name) for name in names], str(inspect.signature(work)), get_type_hints(work), work.tag


def kinds(decorate):
    @decorate
    def function(): ...

    @decorate
    def generator():
        yield

    @decorate
    async def coroutine(): ...

    @decorate
    async def asynchronous_generator():
        yield

    class Kinds:
        pass

    Kinds.generator, Kinds.coroutine = generator, coroutine
    made = [function, generator, coroutine, asynchronous_generator, Kinds().generator, Kinds().coroutine]
    asked = [inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction, callable]
    return [[ask(item) for ask in asked] for item in made], inspect.isroutine(function), bool(function)


def bound_looks(decorate):
    class Sub(Shop):
        @decorate
        def method(self, x):
            return self.price * x

        @classmethod
        @decorate
        def of_class(cls, x):
            return cls.rate * x

    shop = Sub()
    taken = shop.method
    return taken.__self__ is shop, taken(2), taken.__name__, Sub.of_class.__self__ is Sub, Sub.method(shop, 5)


def attributes_of_wrappers(decorate):
    cached = decorate(functools.lru_cache(lambda x: x + 1))
    generic = decorate(functools.singledispatch(lambda x: "any"))
    generic.register(int)(lambda x: "int")
    first = [cached(1), cached(1), cached.cache_info().hits, generic(1), generic("a")]

    @functools.singledispatch
    def other(x):
        return "any"

    @other.register
    @decorate
    def _(x: int):
        return "int"

    return first, other(1), other("a"), decorate(functools.partial(pow, 2)).args


class Value:
    """What Python itself asks of a value."""

    def __init__(self, value):
        self.value = value

    def __str__(self):
        return f"<{self.value}>"

    def __bool__(self):
        return self.value > 0

    def __hash__(self):
        return self.value

    def __eq__(self, other):
        return NotImplemented

    def __add__(self, other):
        return self.value + other if isinstance(other, int) else NotImplemented

    def __iter__(self):
        return iter([self.value])

    def __len__(self):
        return self.value

    def __call__(self, x):
        return x + self.value


class Other:
    def __radd__(self, other):
        return "reflected"


def special_methods(decorate):
    methods = {name: decorate(method) for name, method in vars(Value).items() if isinstance(method, types.FunctionType)}
    value = type("Value", (), methods)(3)
    results = [str(value), bool(value), hash(value), value == 3, value + 1, value + Other(), list(value), len(value)]
    return results, value(4)


def bound_and_unbound_callables(decorate):
    class Tools(Shop):
        double = decorate(functools.partial(pow, 2))
        size = decorate(len)
        other = decorate(Shop(7).__init__)
        kind = decorate(dict)

    shop = Shop(5)
    take = decorate(shop.log.append)
    take(1)
    tools = Tools()
    return tools.double(3), tools.size([1, 2]), tools.other(4), tools.kind(a=1), shop.log


def bound_methods(decorate):
    class Sub(Shop):
        def cost(self, count=2):
            return self.price * count

    shop = Sub()
    cost = decorate(shop.cost)
    return cost(), cost(count=4), cost.__self__ is shop, str(inspect.signature(cost))


def descriptors(decorate):
    class Sub(Shop):
        @decorate
        @functools.cached_property
        def once(self):
            self.log.append("once")
            return len(self.log)

        part = decorate(functools.partialmethod(lambda self, x, y: (x, y), 1))

        @property
        @decorate
        def level(self):
            return self.price

        @level.setter
        @decorate
        def level(self, value):
            self.price = value

        @level.deleter
        @decorate
        def level(self):
            del self.price

    shop = Sub()
    found = [shop.once, shop.once, shop.log, shop.part(2), shop.level]
    shop.level = 9
    found.append(shop.price)
    del shop.level
    return found, hasattr(shop, "price")


def abstract_methods(decorate):
    class Base(abc.ABC):
        @decorate
        @abc.abstractmethod
        def work(self): ...

        @property
        @decorate
        @abc.abstractmethod
        def level(self): ...

    return sorted(Base.__abstractmethods__)


def classes(decorate):
    made = decorate(Shop)
    return made(4).price, isinstance(made(4), made), isinstance(3, made)


def generators_resumed(decorate):
    log = []

    @decorate
    def steps():
        try:
            got = yield 1
            yield got
        except KeyError as error:
            yield ("caught", *error.args)
        finally:
            log.append("closed")
        return "done"

    thrown, sent, closed, started = steps(), steps(), steps(), steps()
    found = [next(thrown), thrown.throw(KeyError("k")), next(sent), sent.send("hi"), next(closed)]
    closed.close()
    for generator, error in ((thrown, ValueError("v")), (started, ValueError("w"))):
        try:
            generator.throw(error)
        except ValueError as same:
            found.append(same is error)
    return found, [*sent], log, steps().__name__


def generators_that_will_not_end(decorate):
    @decorate
    def stubborn():
        try:
            yield 1
        except GeneratorExit:
            yield 2

    generator = stubborn()
    next(generator)
    try:
        generator.close()
    except RuntimeError as error:
        return str(error)


def managers(decorate):
    log = []

    def manage(x):
        log.append("in")
        try:
            yield x + 1
        except ValueError:
            log.append("caught")
        finally:
            log.append("out")

    found = []
    for manager in (contextmanager(decorate(manage)), decorate(contextmanager(manage))):
        with manager(1) as value:
            found.append(value)
            raise ValueError
    error = KeyError("passes")
    try:
        with manager(1):
            raise error
    except KeyError as same:
        found.append(same is error)
    return found, log


def asynchronous_managers_and_generators(decorate):
    log = []

    @decorate
    async def numbers():
        try:
            got = yield 1
            yield got
        except KeyError:
            yield "caught"
        finally:
            log.append("closed")

    async def manage():
        with suppress(KeyError):
            yield 1
        log.append("left")

    async def main():
        sent, thrown, closed = numbers(), numbers(), numbers()
        found = [await anext(sent), await sent.asend("hi"), await anext(thrown), await thrown.athrow(KeyError())]
        await anext(closed)
        for generator in (sent, thrown, closed):
            await generator.aclose()
        for manager in (asynccontextmanager(decorate(manage)), decorate(asynccontextmanager(manage))):
            async with manager() as value:
                found.append(value)
                raise KeyError
        return found

    return asyncio.run(main()), log


def coroutines_of_all_kinds(decorate):
    async def add(x, y=1):
        await asyncio.sleep(0)
        return x + y

    @functools.wraps(add)
    def wrapper(*args):
        return add(*args)

    def passing(x):
        return add(x)

    @types.coroutine
    def old(x):
        yield
        return x + 1

    class Adder:
        async def __call__(self, x):
            return await add(x)

        async def method(self, x):
            return await add(x)

    async def main():
        made = [functools.partial(add, 1), wrapper, passing, old, Adder(), Adder().method]
        return [await decorate(function)(5) for function in made]

    return asyncio.run(main())


def tasks_and_what_can_be_awaited(decorate):
    async def add(x):
        await asyncio.sleep(0)
        return x + 1

    class Later:
        def __init__(self, x):
            self.x = x

        def __await__(self):
            return add(self.x).__await__()

    def task(x):
        return asyncio.ensure_future(add(x))

    async def main():
        later, started = decorate(lambda x: Later(x)), decorate(task)
        return [await later(1), await started(2), *await asyncio.gather(started(3), started(4))]

    return asyncio.run(main())


def cancelled_and_timed_out(decorate):
    log = []

    @decorate
    async def wait(seconds):
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            log.append("cancelled")
            raise

    @decorate
    async def fail(x):
        await asyncio.sleep(0)
        if x:
            raise ValueError(x)

    async def main():
        task = asyncio.create_task(wait(60))
        await asyncio.sleep(0)
        task.cancel()
        found = [type(result) for result in await asyncio.gather(task, return_exceptions=True)]
        try:
            async with asyncio.timeout(0):
                await wait(60)
        except TimeoutError:
            found.append("late")
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(2):
                    group.create_task(fail(number))
        except* ValueError as failures:
            found.append([failure.args for failure in failures.exceptions])
        coroutine = fail(1)
        coroutine.close()
        return found, coroutine.__name__

    return asyncio.run(main()), log


def errors_that_stop_iteration(decorate):
    @decorate
    def following(items):
        return next(items)

    def all_of(items):
        while True:
            try:
                yield following(items)
            except StopIteration:
                return

    return [*all_of(iter([1, 2]))]


PROGRAMS = [
    looks,
    kinds,
    bound_looks,
    attributes_of_wrappers,
    special_methods,
    bound_and_unbound_callables,
    bound_methods,
    descriptors,
    abstract_methods,
    classes,
    generators_resumed,
    generators_that_will_not_end,
    managers,
    asynchronous_managers_and_generators,
    coroutines_of_all_kinds,
    tasks_and_what_can_be_awaited,
    cancelled_and_timed_out,
    errors_that_stop_iteration,
]


@pytest.mark.filterwarnings("ignore:functools.partial will be a method descriptor")
@pytest.mark.parametrize("options", [{}, {"traceable_code": True}, {"catch_execution_error": False}], ids=str)
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_is_the_same_traced_and_not(program, options):
    traced = bundle(**options)
    assert plain(program(traced)) == program(lambda function: function)


# What is recorded of it


def test_what_is_sent_to_a_generator_and_what_it_returns_are_part_of_the_graph():
    @bundle
    def doubling(start):
        got = yield start
        assert type(got) is int
        return got * 2

    def main():
        result = yield from doubling(node(1))
        results.append(result)

    results, sent = [], node(5, name="sent", trainable=True)
    items = main()
    next(items)
    with pytest.raises(StopIteration):
        items.send(sent)
    assert (results[0].data, text(results[0])) == (10, "doubling0 = doubling(start=int0)  # sent sent  → 10  (output)")
    results[0].backward("more")
    assert len(sent.feedback) == 1


def test_all_items_depend_on_what_was_read_before_the_first():
    weight = node(2, name="weight")

    @bundle(allow_external_dependencies=True)
    def scaled(limit):
        factor = weight.data
        for number in range(limit):
            yield number * factor

    assert [[parent is weight for parent in item.parents] for item in scaled(2)] == [[True], [True]]


def test_generators_and_coroutines_record_inside_where_they_are_open():
    weight = node(2, name="weight", trainable=True)

    @bundle(traceable_code=True)
    def scaled(limit):
        for number in range(limit.data):
            yield weight * number

    @bundle(traceable_code=True)
    async def shifted(x):
        await asyncio.sleep(0)
        return x + weight

    items = [*scaled(node(2)), asyncio.run(shifted(node(1)))]
    assert [item.data for item in items] == [0, 2, 3]
    for item in items:
        item.backward("more")
        assert len(weight.feedback) == 1
        weight.zero_feedback()


def test_generators_leave_nothing_behind():
    class Held:
        pass

    @bundle
    def items(held):
        yield 1
        yield 2

    gc.collect()
    gc.disable()
    try:
        for end in (lambda generator: None, lambda generator: generator.throw(KeyError("k"))):
            held = Held()
            gone, generator = weakref.ref(held), items(held)
            next(generator)
            with suppress(KeyError):
                end(generator)
            del generator, held
            assert gone() is None
    finally:
        gc.enable()


def test_a_warning_of_a_change_names_the_line_of_the_call():
    @bundle
    def push(items):
        items.append(1)

    with pytest.warns(UserWarning, match="changed its input") as caught:
        push([])  # this line
    assert linecache.getline(caught[0].filename, caught[0].lineno).strip() == "push([])  # this line"


def test_info_holds_what_programs_for_trace_read():
    @bundle(traceable_code=True)
    def line(x, **more):
        return x * 2 + more["by"]

    x = node(3, name="x")
    info = line(x, by=1).info
    assert (info["fun_name"], info["output"].op_name, info["output"].data) == ("line", "add", 7)
    assert info["inputs"]["args"][0] is x
    assert {name: item.data for name, item in info["inputs"]["kwargs"].items()} == {"by": 1}


def test_what_cannot_be_called_is_refused():
    with pytest.raises(GraphError, match="3 cannot be called"):
        bundle()(3)


@pytest.mark.parametrize("options", [{}, {"traceable_code": True}], ids=["plain", "open"])
def test_a_coroutine_may_be_closed_by_somebody_else_than_who_ran_it(options):
    closed = []

    @bundle(**options)
    async def waits(x):
        try:
            await asyncio.sleep(0)
        finally:
            closed.append(x)

    coroutine = waits(1)
    copy_context().run(coroutine.send, None)
    coroutine.close()
    assert len(closed) == 1
    assert is_tracing()
