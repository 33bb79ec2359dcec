"""Trainable functions: the source is a parameter, and new source lives where the old one lived."""

import copy
import functools
import gc
import importlib.util
import linecache
import re
import sys
import textwrap
import traceback
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from opto.errors import DomainError, ExecutionError, MissingInputsError, SourceError
from opto.nodes import TraceGraph, node, stop_tracing
from opto.sandbox import Sandbox
from opto.trace import Module, bundle
from opto.trace.origin import source_of
from opto.trace.source import Code

OFFSET = 10


def load(tmp_path, text):
    """Import *text* as a module of its own."""
    path = tmp_path / f"user_{abs(hash(text)) % 10**8}.py"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    specification = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def learn(function, source):
    """Give *function* a new source, as an optimizer does: through the domain."""
    parameter = function.parameter
    parameter._set(parameter.accept(textwrap.dedent(source)))


def make():
    @bundle(trainable=True)
    def work(x, y=2):
        """Adds."""
        return x + y

    return work


# The source of a function.


def test_the_parameter_is_the_text_as_it_was_written():
    assert make().parameter.data == 'def work(x, y=2):\n    """Adds."""\n    return x + y\n'
    assert make().trainable
    assert make().parameters()[0].stem == "work"


def decorated(function):
    return function


@decorated
@bundle(
    trainable=True,
    description="Spans lines.",
)
@decorated
def with_decorators(
    x,
    *,
    sep=", ",
):
    return sep.join(x)


def test_decorators_are_no_part_of_it():
    source = with_decorators.parameter.data
    assert source.startswith("def with_decorators(\n    x,\n    *,\n    sep=")
    assert source.endswith("return sep.join(x)\n")
    learn(with_decorators, "def with_decorators(x, *, sep=', '):\n    return 'new'.join(x)")
    assert with_decorators(["a", "b"]).data == "anewb"
    assert with_decorators.parameter.description is None or with_decorators.name == "with_decorators"


def test_decorators_in_a_new_source_are_not_applied():
    work = make()
    learn(work, "@bundle(trainable=True)\n@nonsense\ndef work(x, y=2):\n    return x * y")
    assert work(3).data == 6


def test_indented_definitions_with_text_of_several_lines():
    class Holder:
        class Inner:
            @bundle(trainable=True)
            def work(self, x):
                """First.

                Indented.
                """
                text = """
        kept
  as it is
                """
                value = f"""{x}
            kept"""
                # A comment.
                return (text,
            value)  # fmt: skip

    method = Holder.Inner().work
    untouched = method(1).data
    source = method.parameter.data
    assert source.startswith("def work(self, x):\n    ")
    assert source.splitlines()[-1].endswith("value)  # fmt: skip")
    learn(method, source + "# changed\n")
    assert method(1).data == untouched


def test_two_functions_of_one_name_on_different_lines():
    def first():
        @bundle(trainable=True)
        def same():
            return 1

        return same

    def second():
        @bundle(trainable=True)
        def same():
            return 2

        return same

    assert "return 1" in first().parameter.data
    assert "return 2" in second().parameter.data


def test_one_liners_and_nested_functions():
    @bundle(trainable=True)
    def short(x): return [x, 2]  # fmt: skip

    assert short.parameter.data.startswith("def short(x): return [x, 2]")

    @bundle(trainable=True)
    def outer(x):
        def outer(y):
            return y

        return outer(x)

    assert outer.parameter.data.count("def outer") == 2
    learn(outer, outer.parameter.data + "\n# changed")
    assert outer(3).data == 3


@pytest.mark.parametrize(
    "before",
    [
        'SEP = "\x0c"\n',
        "\x0c\nA = 1\n",
        'TEXT = "a\u2028b"\n',
        'TEXT = """a\x1cb\x85"""\n',
        "Ä = 'ß'\n",
        "if 1:\n\tpass\n",
    ],
    ids=repr,
)
def test_line_breaks_are_those_of_python(tmp_path, before):
    """Form feeds between sections and Unicode's separators in text break no lines of a source file."""
    module = load(
        tmp_path,
        "from opto.trace import bundle\n" + before + "\n@bundle(trainable=True)\ndef work(x):\n    return x + 1\n",
    )
    assert module.work.parameter.data == "def work(x):\n    return x + 1\n"


def test_functions_without_text_are_refused_with_a_way_out():
    namespace = {"bundle": bundle}
    with pytest.raises(SourceError, match="source="):
        exec("@bundle(trainable=True)\ndef work(x):\n    return x\n", namespace)
    with pytest.raises(SourceError, match="def"):
        bundle(trainable=True)(lambda x: x)
    with pytest.raises(SourceError, match="def"):
        bundle(trainable=True)(len)
    text = "def work(x):\n    return x\n"
    exec(f"@bundle(trainable=True, source={text!r})\n{text}", namespace)
    assert namespace["work"].parameter.data == text
    assert namespace["work"](1).data == 1


def test_text_that_is_no_longer_that_of_the_function_is_not_taken(tmp_path):
    module = load(tmp_path, "def work(x):\n    return x\n")
    path = module.__file__
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n\n\ndef other(x):\n    return x\n")
    linecache.checkcache(path)
    with pytest.raises(SourceError, match=r"work\(\) is not to be found"):
        source_of(module.work)


def counting(function):
    count = 0

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        nonlocal count
        count += 1
        return f"{count}: {function(*args, **kwargs)}"

    wrapper.mark = "counted"
    return wrapper


def test_decorators_below_bundle_stay_around_each_new_source():
    @bundle(trainable=True)
    @counting
    @counting
    def work(x, *, by=2):
        return x * by

    assert work.parameter.data == "def work(x, *, by=2):\n    return x * by\n"
    assert work(3).data == "1: 1: 6"
    learn(work, "def work(x, *, by=2):\n    return x + by")
    assert work(3, by=5).data == "2: 2: 8"
    with pytest.raises(DomainError, match=r"Keep the signature `def work\(x, \*, by=2\):`"):
        learn(work, "def work(*args, **kwargs):\n    return 1")
    learn(work, work._definition.source)
    assert work(3).data == "3: 3: 6"
    assert work.mark == "counted"
    assert "def work" in work.info["source"]


def test_decorators_below_bundle_stay_around_methods():
    class Named(Module):
        def __repr__(self):
            return "Agent of mine"

    class Agent(Named):
        @bundle(trainable=True)
        @counting
        def act(self, x):
            return x

    agent, other = Agent(), Agent()
    learn(agent.act, "def act(self, x):\n    return super().__repr__()[:5] + x")
    assert [agent.act("x").data, copy.deepcopy(agent).act("y").data, other.act("z").data] == [
        "1: Agentx",
        "2: Agenty",
        "3: z",
    ]


def test_a_function_that_a_decorator_hides_is_refused():
    class Once:
        def __init__(self, function):
            functools.update_wrapper(self, function)

        def __call__(self, x):
            return self.__wrapped__(x)

    def work(x):
        return x

    for hide in (Once, functools.cache):
        with pytest.raises(SourceError, match=r"work\(\) is inside a decorator that hides it.*right above def"):
            bundle(trainable=True)(hide(work))


# What a new source may be.


@pytest.mark.parametrize(
    "source",
    [
        "def work(x, y=2):\n    return",
        "def work(x: int, y: int = 5) -> int:\n    return x",
        "import math\n\ndef helper(z):\n    return z\n\ndef work(x, y=2):\n    return helper(math.floor(x))",
        "```python\ndef work(x, y=2):\n    return x\n```",
        "\n\n```\ndef work(x, y=2):\n    return x\n```\n\n",
        "def work(x, y=2):\n    '''```'''\n    return x\n\n\n",
        "CONSTANT = 3\ndef work(x, y=CONSTANT):\n    return x",
    ],
)
def test_sources_that_fit_are_accepted_and_run(source):
    work = make()
    learn(work, source)
    assert work(1).data in {None, 1}
    assert "```python" not in work.parameter.data


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def work(x, y=2):\n    return (", "does not parse in line 2"),
        ("", "does not define work()"),
        ("no code at all", "does not parse"),
        ("def other(x, y=2):\n    return x", "does not define work()"),
        ("class work:\n    pass", "does not define work()"),
        ("work = lambda x, y=2: x", "does not define work()"),
        ("if True:\n    def work(x, y=2):\n        return x", "does not define work()"),
        ("def work(x):\n    return x", "are (x)"),
        ("def work(x, y):\n    return x", "are (x, y)"),
        ("def work(x=1, y=2):\n    return x", "are (x=1, y=2)"),
        ("def work(y, x=2):\n    return x", "are (y, x=2)"),
        ("def work(x, y=2, *more):\n    return x", "*more"),
        ("def work(x, *, y=2):\n    return x", "*, y=2"),
        ("def work(x, /, y=2):\n    return x", "x, /"),
        ("def work(x, y=2, **more):\n    return x", "**more"),
        ("async def work(x, y=2):\n    return x", "async"),
        ("def work(x, y=2):\n    return x\ndef work(x):\n    return x", "are (x)"),
        ("def work(x, y=2):\n    return x\0", "parse"),
        ("def work(x, y=2):\n    break", "parse|break"),
        ("def work(x, y=2):\n    nonlocal q\n    return q", "parse|nonlocal"),
        ("def work(x, y=2):\n    return await x", "parse|await"),
        ("def work(x, y=2):\n    global x\n    return x", "parse|global"),
        ("return 5\ndef work(x, y=2):\n    return x", "parse|return"),
        ("def work(x, y=2):\n    return x\nwork = 3", "work"),
        ("from math import *\ndef work(x, y=2):\n    return floor(x)", "parse|import"),
        (3, "not source text"),
        (None, "not source text"),
    ],
)
def test_sources_that_do_not_fit_are_refused_with_the_reason(source, reason):
    work = make()
    before = work.parameter.data
    with pytest.raises(DomainError) as caught:
        work.parameter.accept(source)
    assert any(part in str(caught.value) for part in reason.split("|"))
    assert work.parameter.data == before
    assert work(1).data == 3


def test_the_reason_names_the_signature_to_keep():
    with pytest.raises(DomainError, match=re.escape("Keep the signature `def work(x, y=2):`")):
        make().parameter.accept("def work(x):\n    return x")
    assert make().parameter.domain.describe() == "Python code that defines `def work(x, y=2):`"


def test_the_reason_names_what_is_missing_or_too_much_in_front_of_def():
    @bundle(trainable=True)
    async def fetch(x):
        return x

    says = (
        "fetch() is no coroutine function, and the original is one. Write async in front of def: `async def fetch(x):`."
    )
    with pytest.raises(DomainError, match=re.escape(says)):
        fetch.parameter.accept("def fetch(x):\n    return x")
    says = "work() is a coroutine function, and the original is none. Leave async out: `def work(x, y=2):`."
    with pytest.raises(DomainError, match=re.escape(says)):
        make().parameter.accept("async def work(x, y=2):\n    return x")


@given(st.text())
def test_any_text_is_accepted_or_refused(text):
    domain = Code.of("def work(x):\n    return x\n", "work")
    try:
        domain.accept(text)
    except DomainError:
        return
    assert "work" in text


@given(st.text(alphabet="ab\n `\\'\"{}\t"))
@example(" \n a")
def test_reading_a_source_twice_changes_nothing_more(text):
    domain = Code.of("def work(x):\n    return x\n", "work")
    once = domain.read(text)
    assert "```" in once or domain.read(once) == once


# Where a new source lives.


def test_the_code_is_an_input_of_every_call_and_gets_feedback():
    work = make()
    x = node(1)
    result = work(x)
    assert [parent is expected for parent, expected in zip(result.parents, (x, work.parameter), strict=True)] == [
        True
    ] * 2
    result.backward("too small")
    assert len(work.parameter.feedback) == 1
    assert TraceGraph([result]).to_text().splitlines()[-1] == "work0 = work(x=int0, y=2)  → 3  (output)"


def test_a_new_source_is_run_and_an_old_one_can_come_back():
    work = make()
    original = work.parameter.data
    for source, value in [
        ("def work(x, y=2):\n    return x * 100\n", 300),
        ("def work(x, y=7):\n    return y\n", 7),
        (original, 5),
        ("def work(x, y=2):\n    return x * 100\n", 300),
    ]:
        learn(work, source)
        assert work(3).data == value


def test_the_function_as_written_runs_until_it_is_changed():
    calls = []

    def work(x):
        calls.append(sys._getframe().f_code)
        return x

    trainable = bundle(trainable=True, isolation="none")(work)
    trainable(1)
    assert calls[0] is work.__code__
    assert trainable.fun is work


def test_closures_see_changes_on_both_sides():
    offset, calls = 1, []

    @bundle(trainable=True, isolation="none")
    def work(x):
        nonlocal offset
        calls.append(x)
        return x + offset

    learn(work, "def work(x):\n    nonlocal offset\n    calls.append(x)\n    offset += 1\n    return x * 10 + offset")
    assert work(1).data == 12
    offset = 5
    assert work(1).data == 16
    assert offset == 6
    assert calls == [1, 1]


def outer(x):
    return x + 1


def test_no_name_of_the_program_is_in_the_way_of_how_new_code_is_made():
    @bundle(trainable=True, isolation="none")
    def work(x):
        return x

    learn(work, "def work(x):\n    return [outer(x), make.__name__, [outer(item) for item in [x]]]\n")
    assert work(1).data == [2, "make", [2]]


def test_closures_of_two_functions_stay_apart():
    def make(number):
        @bundle(trainable=True)
        def work(x):
            return x + number

        return work

    one, ten = make(1), make(10)
    for work in (one, ten):
        learn(work, "def work(x):\n    return x * 100 + number")
    assert (one(1).data, ten(1).data) == (101, 110)


def test_globals_are_those_of_the_module_as_they_are_now(monkeypatch):
    @bundle(trainable=True)
    def work(x):
        return x

    learn(work, "def work(x):\n    return x + OFFSET")
    assert work(1).data == 11
    monkeypatch.setitem(globals(), "OFFSET", 20)
    assert work(1).data == 21


COUNTER = 0


def test_globals_that_the_function_writes_are_written_by_a_new_source_too(monkeypatch):
    monkeypatch.setitem(globals(), "COUNTER", 0)

    @bundle(trainable=True, isolation="none")
    def work(x):
        global COUNTER
        COUNTER += 1
        return COUNTER

    assert work(1).data == 1
    learn(work, "def work(x):\n    global COUNTER\n    COUNTER += 10\n    return COUNTER")
    assert work(1).data == 11
    assert COUNTER == 11


def test_a_helper_may_have_the_name_of_a_closure_variable():
    offset = 1

    @bundle(trainable=True)
    def work(x):
        return x + offset

    learn(work, "offset = 50\ndef work(x):\n    return x + offset")
    assert work(1).data == 51
    assert offset == 1


def test_names_around_the_definition_can_be_used_by_a_new_source_only_if_the_old_one_did():
    hidden = 3

    @bundle(trainable=True)
    def work(x):
        return x

    learn(work, "def work(x):\n    return hidden")
    with pytest.raises(NameError, match="hidden"):
        work(1)
    assert hidden == 3


def test_helpers_and_imports_are_local_to_the_source():
    work = make()
    before = dict(globals())
    learn(
        work,
        """
        import math
        from decimal import Decimal as OFFSET
        CONSTANT = 2

        def helper(z):
            return CONSTANT * again(z)

        def again(z):
            return math.floor(z)

        class Tool:
            size = CONSTANT

        def work(x, y=CONSTANT):
            return helper(x) + Tool.size
        """,
    )
    assert work(1.5).data == 4
    assert globals() == before


def test_no_source_writes_into_the_module():
    """Not even with `global`: two candidates would meet there, and the user's program with them."""
    work = make()
    before = dict(globals())
    try:
        learn(work, "def work(x, y=2):\n    global LEAKED_FROM_SOURCE\n    LEAKED_FROM_SOURCE = x\n    return x")
        work(1)
    except (DomainError, ExecutionError):
        pass
    leaked = globals().pop("LEAKED_FROM_SOURCE", None)
    assert leaked is None
    assert globals() == before


def test_recursion_in_the_old_and_in_the_new_source():
    @bundle(trainable=True)
    def factorial(n):
        return 1 if n < 2 else n * factorial.fun(n - 1)

    assert factorial(5).data == 120
    learn(factorial, "def factorial(n):\n    return 1 if n < 2 else n * factorial(n - 1)")
    x = node(5)
    result = factorial(x)
    assert result.data == 120
    assert len(TraceGraph([result])) == 3


def test_recursion_through_the_bundled_name_is_one_call_in_the_graph():
    @bundle(trainable=True)
    def factorial(n):
        return 1 if n < 2 else n * factorial(n - 1)

    x = node(5)
    result = factorial(x)
    assert result.data == 120
    assert [parent is expected for parent, expected in zip(result.parents, (x, factorial.parameter), strict=True)] == [
        True
    ] * 2


def test_all_kinds_of_arguments():
    @bundle(trainable=True)
    def work(a, /, b=2, *rest, c, d=4, **more):
        return (a, b, rest, c, d, more)

    expected = (1, 5, (6,), 3, 4, {"e": 7})
    assert work(1, 5, 6, c=3, e=7).data == expected
    learn(work, "def work(a, /, b=20, *rest, c, d=40, **more):\n    return [a, b, rest, c, d, more]")
    assert work(1, 5, 6, c=3, e=7).data == [1, 5, (6,), 3, 40, {"e": 7}]
    assert work(node(1), c=node(3)).data == [1, 20, (), 3, 40, {}]
    with pytest.raises(TypeError, match=r"missing 1 required keyword-only argument: 'c'"):
        work(1)


def test_defaults_of_a_new_source_are_made_once_for_each_version():
    @bundle(trainable=True, isolation="none")
    def work(x, seen=()):
        return len(seen)

    learn(work, "def work(x, seen=[]):\n    seen.append(x)\n    return len(seen)")
    with pytest.warns(UserWarning, match="changed its input seen in place"):
        assert [work(1).data, work(1).data] == [1, 2]


def test_annotations_that_are_not_to_be_evaluated(tmp_path):
    """A module with `from __future__ import annotations` may name types that exist for type checkers only."""
    module = load(
        tmp_path,
        """
        from __future__ import annotations
        from typing import TYPE_CHECKING
        from opto.trace import bundle
        if TYPE_CHECKING:
            from nowhere import Thing

        @bundle(trainable=True)
        def work(x: Thing) -> Thing:
            return x
        """,
    )
    assert module.work(1).data == 1
    learn(module.work, "def work(x: Thing) -> Thing:\n    return x + 1")
    assert module.work(1).data == 2


# Methods.


class Base(Module):
    def act(self, x):
        return x + 1

    @classmethod
    def create(cls):
        return cls()


class Agent(Base):
    __secret = 5

    @bundle(trainable=True)
    def act(self, x):
        return super().act(x) * 10

    @bundle(trainable=True)
    def plain(self, x):
        return x

    @bundle(trainable=True)
    def private(self, x):
        return x + self.__secret


def test_super_works_in_the_old_and_in_the_new_source():
    agent = Agent()
    assert agent.act(1).data == 20
    learn(agent.act, "def act(self, x):\n    return super().act(x) * 100")
    assert agent.act(1).data == 200
    learn(agent.act, "def act(self, x):\n    return super(__class__, self).act(x) * 1000")
    assert agent.act(1).data == 2000


def test_super_works_in_a_new_source_even_if_the_old_one_did_not_use_it():
    agent = Agent()
    learn(agent.plain, "def plain(self, x):\n    return super().act(x)")
    assert agent.plain(1).data == 2


def test_private_names_mean_the_same_in_a_new_source():
    agent = Agent()
    assert agent.private(1).data == 6
    learn(agent.private, "def private(self, x):\n    return x * 2 + self.__secret")
    assert agent.private(1).data == 7


def test_each_instance_has_code_of_its_own():
    a, b = Agent(), Agent()
    learn(a.plain, "def plain(self, x):\n    return 'a'")
    assert (a.plain(1).data, b.plain(1).data, Agent().plain(1).data) == ("a", 1, 1)
    assert a.plain.parameter is not b.plain.parameter
    assert a.plain.parameter is a.plain.parameter


def test_code_of_an_instance_dies_with_it():
    agent = Agent()
    learn(agent.plain, "def plain(self, x):\n    return 'a'")
    agent.plain(1)
    alive = weakref.ref(agent.plain.parameter)
    del agent
    assert alive() is None


def test_a_trainable_method_that_calls_another_is_the_same_at_every_call():
    """The code of the other is a parameter that was not given: noticed the first time, or allowed every time."""

    class Pair(Module):
        @bundle(trainable=True)
        def outer(self, x):
            return self.inner(x)

        @bundle(trainable=True)
        def inner(self, x):
            return x

    def attempt(pair):
        try:
            return [parent.stem for parent in pair.outer(1).parents]
        except MissingInputsError:
            return "missing"

    pair = Pair()
    assert attempt(pair) == attempt(pair)
    listed = Pair()
    listed.parameters()
    assert attempt(listed) == attempt(pair)


def test_the_code_of_a_called_method_is_recorded_where_that_is_allowed():
    class Pair(Module):
        @bundle(trainable=True, allow_external_dependencies=True)
        def outer(self, x):
            return self.inner(x)

        @bundle(trainable=True)
        def inner(self, x):
            return x

    pair = Pair()
    for _ in range(2):
        pair.outer(1).backward("good")
    assert {path: len(item.feedback) for path, item in pair.named_parameters()} == {"outer": 2, "inner": 2}


def test_a_trainable_override_that_calls_its_base_reaches_both_codes():
    class Child(Agent):
        @bundle(trainable=True, allow_external_dependencies=True)
        def plain(self, x):
            return super().plain(x)

    child = Child()
    for _ in range(2):
        assert child.plain(1).data == 1
    hidden = [item for item in TraceGraph([child.plain(1)]).parameters if item.stem == "plain"]
    listed = {id(item) for item in child.parameters()}
    assert len(hidden) == 2
    assert all(id(item) in listed for item in hidden), "what gets feedback must be owned"


# Failures.


def test_a_new_source_that_fails_shows_its_own_lines():
    work = make()
    learn(work, "def helper(z):\n    return 1 / z\n\ndef work(x, y=2):\n    return helper(x)")
    with pytest.raises(ZeroDivisionError) as caught:
        work(0)
    full = caught.value.exception_node.create_feedback("full")
    assert full.splitlines() == [
        "in work, line 5: return helper(x)",
        "in helper, line 2: return 1 / z  <--- (ZeroDivisionError) division by zero",
    ]
    printed = "".join(traceback.format_exception(caught.value))
    assert 'File "<work, version' in printed
    assert "    return 1 / z" in printed


def test_feedback_on_a_failure_reaches_the_code():
    work = make()
    learn(work, "def work(x, y=2):\n    return 1 / 0")
    x = node(1, trainable=True)
    with pytest.raises(ZeroDivisionError) as caught:
        work(x)
    caught.value.exception_node.backward("mend it")
    assert len(work.parameter.feedback) == 1
    assert len(x.feedback) == 1


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("import no_such_module_anywhere\ndef work(x, y=2):\n    return x", ModuleNotFoundError),
        ("def work(x, y=undefined):\n    return x", NameError),
        ("1 / 0\ndef work(x, y=2):\n    return x", ZeroDivisionError),
    ],
)
def test_a_source_that_fails_where_it_is_defined_fails_as_a_call(source, kind):
    work = make()
    learn(work, source)
    x = node(1, trainable=True)
    with pytest.raises(kind) as caught:
        work(x)
    assert isinstance(caught.value, ExecutionError)
    caught.value.exception_node.backward("mend it")
    assert len(work.parameter.feedback) == 1
    assert len(x.feedback) == 1
    learn(work, "def work(x, y=2):\n    return 'mended'")
    assert work(1).data == "mended"


def test_lines_of_old_versions_are_forgotten():
    work = make()
    before = set(linecache.cache)
    for number in range(5):
        learn(work, f"def work(x, y=2):\n    return {number}")
        work(1)
    gc.collect()
    assert [linecache.getlines(name)[-1] for name in set(linecache.cache) - before] == ["    return 4\n"]


def test_without_tracing_the_new_source_runs_and_nothing_is_recorded():
    work = make()
    learn(work, "def work(x, y=2):\n    return x * 50")
    with stop_tracing():
        result = work(node(2))
    assert (result.data, result.parents) == (100, [])


def test_threads_may_change_and_call_their_own_instances():
    def serve(number):
        agent = Agent()
        for step in range(20):
            learn(agent.plain, f"def plain(self, x):\n    return {number * 1000 + step}")
            if agent.plain(1).data != number * 1000 + step:
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(serve, range(16)))


def test_a_trainable_function_within_traceable_code():
    @bundle(trainable=True, traceable_code=True)
    def work(x):
        return x + 1

    x = node(1, trainable=True)
    result = work(x)
    assert result.data == 2
    result.backward("good")
    assert [len(x.feedback), len(work.parameter.feedback)] == [1, 1]
    learn(work, "def work(x):\n    return x * 5")
    assert work(x).data == 5


def test_failures_of_traceable_code_reach_the_code():
    @bundle(trainable=True, traceable_code=True)
    def work(x):
        return x / 0

    x = node(1, trainable=True)
    with pytest.raises(ZeroDivisionError) as caught:
        work(x)
    caught.value.exception_node.backward("mend it")
    assert [len(x.feedback), len(work.parameter.feedback)] == [1, 1]


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("def work(x, y=2):\n    return (", "does not parse in line 2"),
        ("def other(x):\n    return x", "does not define work()"),
        ("def work(z, y=2):\n    return z", "Keep the signature"),
        (5, "5 is not source text"),
        ("import math\n\nLIMIT = math.log(-1)\n\ndef work(x, y=2):\n    return x", "line 3: LIMIT = math.log(-1)"),
        ("def work(x, y=nowhere):\n    return x", "line 1: def work(x, y=nowhere):"),
        ("def half(x):\n    return x / 0\n\ndef work(x, y=2):\n    return half(x)", "line 2: return x / 0"),
    ],
)
def test_whatever_is_wrong_with_a_source_becomes_a_node_and_an_old_source_can_come_back(source, line):
    work = make()
    old = work.parameter.data
    work.parameter._set(source)
    with pytest.raises(ExecutionError) as caught:
        work(1)
    assert line in caught.value.exception_node.create_feedback("full")
    caught.value.exception_node.backward("mend it")
    assert len(work.parameter.feedback) == 1

    work.parameter._set(old)
    assert work(1).data == make()(1).data


def test_what_a_source_does_as_a_program_is_not_done(capsys):
    work = make()
    learn(work, 'def work(x, y=2):\n    return x\n\nif __name__ == "__main__":\n    print(work(1))')
    work.fun.__globals__["__name__"], name = "__main__", __name__
    try:
        work(1)
    finally:
        work.fun.__globals__["__name__"] = name
    assert not capsys.readouterr().out


def test_classes_beside_the_function_go_by_their_own_names():
    work = make()
    learn(
        work,
        "from dataclasses import dataclass\n\n@dataclass\nclass Point:\n    x: int\n\n"
        "def work(x, y=2):\n    return Point(x)",
    )
    with Sandbox("none"):
        assert repr(work(1).data) == "Point(x=1)"
    with pytest.raises(ExecutionError, match=r"returned a Point, a class of its own, which cannot leave the sandbox"):
        work(1)
