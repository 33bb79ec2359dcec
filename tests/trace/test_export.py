"""What is exported runs in a process that has no opto, and does the same."""

import ast
import importlib.util
import subprocess
import sys
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.errors import ModuleError
from opto.nodes import unpack
from opto.splice import cut, indent
from opto.trace import Module, bundle
from opto.trace.fragments import literal

BLOCKED = """\
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "opto":
            raise ImportError(name)

sys.meta_path.insert(0, Blocked())
module = sys.modules["exported"] = type(sys)("exported")
names = vars(module)
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Return a function that imports a text as a module."""

    def load(text, name="program"):
        file = tmp_path / f"{name}.py"
        file.write_text(textwrap.dedent(text))
        spec = importlib.util.spec_from_file_location(name, file)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return load


def run(source, use):
    """Return what *use* gives where only *source* is there, in a process that cannot import opto."""
    code = f"{BLOCKED}exec(compile({source!r}, 'exported.py', 'exec'), names)\nprint(ascii(eval({use!r}, names)))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stderr}\n{source}"
    return ast.literal_eval(done.stdout)


def same(module, owner, made, use):
    """Assert that *use* of the exported source, in which *made* makes the object, gives what it gives here."""
    source = owner.export()
    assert "opto" not in source.replace("optimized with opto", "").replace("need opto", "").replace(
        "data of a node", ""
    )
    here = unpack(eval(use, {**vars(module), "it": owner}))
    assert run(source, f"(lambda it: {use})({made})") == here
    return source


ATTRIBUTES = '''
from opto import trace
from opto.trace import Module, node as make

class Greeter(Module):
    """Greets."""

    def __init__(self, name="Ada", *, loud: trace.Node = False) -> None:
        super().__init__()
        self.name = name
        self.greeting = make("Hello", trainable=True, description="a greeting")  # first
        self.limits: trace.Node = trace.node([1, 2], trainable=True)
        self.mark = make(data=name[0] + name[-1])
        self.options = {"polite": make(True, trainable=True), "note": (make("a"), make(2.5, trainable=True))}

    def forward(self, x: trace.Node) -> trace.Node:
        # a comment that stays
        out = self.greeting + ", " + self.name + x * self.limits[0]
        if isinstance(x, trace.Node):
            x = x.data
        return out.data, self.mark.data, self.options["polite"].data, self.options["note"][1].data, out.call("upper")
'''


def test_attributes(program):
    module = program(ATTRIBUTES)
    it = module.Greeter("Bob")
    it.greeting._set('Dear\n"friend"\t\x00 é 😀 \ud800\n')
    it.limits._set([3])
    it.options["note"][1]._set(float("inf"))
    source = same(module, it, "Greeter('Bob')", "it('x')[:3]")
    same(module, it, "Greeter('Bob')", "it('x')[4].lower()")
    assert '"Dear\\n"\n' in source
    assert "# a comment that stays" in source
    assert "# first" in source
    assert "def forward(self, x):" in source


METHODS = '''
import re as regex
from functools import lru_cache, partial
from typing import Any

from opto.trace import bundle, model
import opto.trace

@lru_cache(maxsize=3)
def cached(x):
    return x * 2

@model
class Agent:
    kind = "agent"

    @bundle(trainable=True)
    def act(self, x: Any):
        """Act."""
        return x + 1

    @bundle()
    def words(self, text):
        return regex.findall(r"[a-z]+", text)

    @staticmethod
    @opto.trace.bundle(trainable=True)
    def clean(x):
        return x.strip()

    @property
    def size(self):
        return cached(21)

    def run(self, x):
        """Run."""
        done = self.act(x)
        return [done.data, len(self.words(self.clean(" a b "))), self.size, partial(max, 3)(done.data)]
'''


WITH_HELPERS = """\
import math

def half(x):
    return x / 2

def act(self, x):
    return math.floor(half(x)) + len(self.kind)
"""


def test_methods(program):
    module = program(METHODS)
    it = module.Agent()
    it.act.parameter._set(WITH_HELPERS)
    it.clean.parameter._set('def clean(x):\n    # new\n    return """a\nb"""\n')
    source = same(module, it, "Agent()", "it.run(9)")
    assert "    @staticmethod\n    def clean(x):\n        # new\n        return" in source
    assert "import re as regex" in source


NESTED = """
from opto.trace import Module, bundle, node

def tag(x):
    return f"<{x}>"

class Base(Module):
    @bundle(trainable=True)
    def act(self, x):
        return tag(x)

    def forward(self, x):
        return self.act(x) + self.prompt

class Step(Base):
    def __init__(self, name):
        self.prompt = node("step " + name, trainable=True)

class Pipeline(Module):
    def __init__(self, names="ab"):
        self.first = Step("first")
        self.steps = [Step(name) for name in names]
        self.tools = {"s": Step("s"), 2: [node(0, trainable=True)]}
        self.again = self.first

    def forward(self, x):
        x = self.first(x)
        for step in self.steps:
            x = step(x)
        return self.again(self.tools["s"](x)) + str(self.tools[2][0].data) + "".join(s.prompt.data for s in self.steps)
"""


def test_nested_modules_and_lists_of_modules(program):
    module = program(NESTED)
    it = module.Pipeline("abc")
    it.steps[1].prompt._set("changed\nlines")
    it.tools[2][0]._set(7)
    it.first.act.parameter._set("def act(self, x):\n    return tag(x) + '1'\n")
    it.steps[2].act.parameter._set("def act(self, x):\n    return 'own ' + tag(x)\n")
    source = same(module, it, "Pipeline('abc')", "it('x')")
    assert "self.steps[1].prompt = (\n" in source
    same(module, module.Step("q"), "Step('q')", "it('x')")


FUNCTIONS = '''
import collections.abc
import json
import os.path
from collections import Counter
from math import pi

from opto.trace import Module, bundle, node

LIMIT: int = 3
LOW, HIGH = 1, {"a": (2, None)}
PATTERN = __import__("re").compile("a+")
STYLE = node("short", trainable=True)

class Error(ValueError):
    """An error of ours."""

def helper(x):
    if x > 10**9:
        raise Error("too large")
    return x + LIMIT + LOW

@bundle(trainable=True)
def score(x, *, by: float = pi):
    """Score x."""
    return helper(x) * by

@bundle
def shape(x):
    return json.dumps(Counter(str(x)), sort_keys=True)

double = bundle(trainable=True)(lambda_ := helper) if False else bundle(helper)

class Scorer(Module):
    def __init__(self):
        self.score = score
        self.later = [shape]

    def forward(self, x):
        try:
            made = score(x) + double(1)
        except Error:
            return None
        path = os.path.join("a", STYLE.data)
        return made.data, self.score(x, by=2).data, self.later[0](made).data, path, bool(PATTERN.match("aa"))
'''


def test_functions_constants_and_imports(program):
    module = program(FUNCTIONS)
    module.STYLE._set("long")
    it = module.Scorer()
    original = module.score.parameter.data
    module.score.parameter._set("def score(x, *, by=2.0):\n    return helper(x) * by + 0.5\n")
    source = same(module, it, "Scorer()", "it(2)")
    same(module, module.score, "score", "it(5)")
    for line in ("from collections import Counter", "import os", 'STYLE = "long"', "class Error(ValueError):"):
        assert line in source
    assert "collections.abc" not in source
    module.score.parameter._set(original)
    assert same(module, module.score, "score", "it(5)").rstrip().endswith("return helper(x) * by")


DATACLASS = """
from dataclasses import dataclass, field

from opto.trace import Node, model, node

@model
@dataclass
class Settings:
    prompt: Node = field(default_factory=lambda: node("p", trainable=True))
    size: int = 3
    style = node("plain", trainable=True)

    def forward(self, x):
        return self.prompt + x * self.size + self.style
"""


def test_dataclasses_and_attributes_of_the_class(program):
    module = program(DATACLASS)
    it = module.Settings(size=2)
    it.prompt._set("learnt")
    it.style._set("bold")
    source = same(module, it, "Settings(size=2)", "it('x')")
    assert source.count('style = "bold"') == 1


PASSED = """
from opto.trace import Module, bundle, node

@bundle(trainable=True)
def tool(x):
    return x

class Part(Module):
    def __init__(self):
        self.weight = node(1, trainable=True)
    def forward(self, x):
        return self.weight + x

class Whole(Module):
    def __init__(self, part, tools, pair=()):
        self.part = part
        self.tools = tools
        self.pair = pair
    def forward(self, x):
        return self.tools["t"](self.part(x)) + sum(item.data for item in self.pair)
"""


def test_what_is_passed_in_is_set(program):
    module = program(PASSED)
    it = module.Whole(module.Part(), {"t": module.tool}, (module.node(1, trainable=True), 2))
    it.pair = (module.node(5, trainable=True), module.node(2))
    it.part.weight._set(10)
    module.tool.parameter._set("def tool(x):\n    return -x\n")
    same(module, it, "Whole(Part(), {'t': None}, (0, 0))", "it(1)")


INHERITED = """
from opto.trace import Module, bundle, node

class Parent(Module):
    def __init__(self, start):
        self.start = node(start, trainable=True)

    @bundle(trainable=True)
    def act(self, x):
        return x + 1

    def forward(self, x):
        return self.act(x) * self.start

class Child(Parent):
    @bundle(trainable=True, allow_external_dependencies=True)
    def act(self, x):
        return super().act(x).data + 10

class Quiet(Child):
    pass
"""


def test_inheritance_and_super(program):
    module = program(INHERITED)
    it = module.Quiet(3)
    it(1)
    it.start._set(4)
    it.parameters_dict()["Parent.act"]._set("def act(self, x):\n    return x + 2\n")
    it.act.parameter._set("def act(self, x):\n    got = super().act(x)\n    return got + 20\n")
    same(module, it, "Quiet(3)", "it(1)")
    same(module, module.Child(2), "Child(2)", "it.start")


CLOSURE = '''
import asyncio
from opto.trace import bundle

def make(base):
    names = ["a", "b"]

    def inner(x):
        return x + base

    @bundle(trainable=True)
    async def outer(x):
        """Two
        lines."""
        return inner(x), names, """kept
        as it is"""

    return outer

outer = make(5)
'''


def test_closures_and_coroutines(program):
    module = program(CLOSURE)
    import asyncio

    here = unpack(asyncio.run(module.outer(1)))
    assert run(module.outer.export(), "__import__('asyncio').run(outer(1))") == here


TRACED_HELPERS = """
from opto.trace import bundle

K = 3

@bundle
def near(x):
    return x * K

def also(x):
    return near(x)
"""


def test_helpers_of_modules_without_opto_are_imported_and_others_taken_along(program):
    program("def far(x):\n    return x + 1\n", "plain_helpers_of_test_export")
    program(TRACED_HELPERS, "traced_helpers_of_test_export")
    module = program("""
        from opto.trace import bundle
        from plain_helpers_of_test_export import far
        from traced_helpers_of_test_export import also as renamed, near

        @bundle(trainable=True)
        def f(x):
            return far(near(x)), renamed(x)
    """)
    source = module.f.export()
    assert "from plain_helpers_of_test_export import far\n" in source
    assert "traced_helpers" not in source
    assert "renamed = also" in source


def test_a_file_can_be_written(tmp_path):
    @bundle(trainable=True)
    def double(x):
        return x + x

    source = double.export(tmp_path / "new" / "double.py")
    assert (tmp_path / "new" / "double.py").read_text() == source


LOOSE = """
import functools
import logging
import sys
from enum import Enum
from typing import NamedTuple

from opto.trace import Module, bundle, node

logger = logging.getLogger(__name__)
add = lambda x, y=2: x + y
START = object()

class Color(Enum):
    RED = 1

class Row(NamedTuple):
    x: int
    y: int = 0

def decorated(function):
    @functools.wraps(function)
    def wrapped(*args):
        return function(*args)
    return wrapped

@decorated
def down(x):
    return up(x - 1) if x > 0 else 0

def up(x):
    return down(x) + 1

class Agent(Module):
    def __init__(self, n):
        self.scale = node(0.5, trainable=True)
        self.items = [node(index, trainable=True) for index in range(n)]
        for index in range(n):
            setattr(self, f"p{index}", node(index, trainable=True))

    @bundle(trainable=True, allow_external_dependencies=True)
    def act(self, x):
        logger.debug("acting")
        text = f'''two
        lines {x}'''
        return text, Row(1), Color.RED.value, down(3), add(1), self.scale.data

    def forward(self, x):
        out = self.act(x)
        first, *rest = out
        seen = [item.data if hasattr(item, "data") else item for item in rest]
        total = sum(self.items)
        more = [item.data for item in self.items]
        return tuple(out.data), total.data, more, self.p1.data, len(seen), START is START, (-total).data, out[3].data
"""


def test_loops_enums_lambdas_and_decorated_functions(program):
    module = program(LOOSE)
    it = module.Agent(2)
    it.items[1]._set(50)
    it.p1._set(9)
    it.scale._set(0.25)
    use = "repr(it('x'))"
    source = it.export()
    assert run(source, f"(lambda it: {use})(Agent(2))") == eval(use, {"it": it})
    assert "import sys" not in source


NAMED = """
from opto.trace import Module, node, operators
from opto.trace import operators as ops

class Uses(Module):
    def __init__(self):
        self.p = node(-2.5, trainable=True)
    def forward(self, x):
        one = [ops.floor(self.p), ops.ceil(self.p), operators.abs(self.p), ops.neg(x), ops.not_(x), ops.clone(x)]
        two = [operators.add(self.p, 1), ops.power(x, 2), ops.mod(x, 2), ops.lt(x, 2), ops.eq(x, 3), ops.ne(x, 3)]
        return one + two + [ops.round(self.p), ops.upper("a"), ops.concat("a", "b"), ops.len_("abc")]
"""


def test_operators_by_name(program):
    module = program(NAMED)
    made = module.Uses()
    expected = [getattr(item, "data", item) for item in made(3)]
    assert run(made.export(), "Uses()(3)") == expected


AROUND = """
import functools
from opto.trace import Module, bundle

def shouting(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args).upper()
    return wrapper

@bundle
@shouting
def name(x): return f"<{x}>"

class Agent(Module):
    @bundle(trainable=True)
    @shouting
    def act(self, x): return x + "!"

    @property
    @bundle(trainable=True)
    def tone(self): return "."

    @tone.setter
    def tone(self, value): raise AttributeError

    @shouting
    @bundle(trainable=True)
    def end(self): return "end"

    def forward(self, x): return self.act(name(x)) + self.tone + self.end()
"""


def test_decorators_between_bundle_and_def_stay(program):
    module = program(AROUND)
    it = module.Agent()
    codes = it.parameters_dict()
    codes["act"]._set("def act(self, x):\n    return x + '?'")
    codes["tone"]._set("def tone(self):\n    return '!'")
    codes["end"]._set("def end(self):\n    return 'stop'")
    for exported, use in ((it, "Agent()('ada')"), (module.name, "name('ada')")):
        source = exported.export()
        assert run(source, f"str({use})") == eval(use, {"Agent": lambda: it, "name": module.name})
        assert source.count("def wrapper") == 1


# What cannot be exported


LAYOUTS = """
from collections import deque
from dataclasses import dataclass
import opto.trace.operators as ops
from opto.trace import Module, bundle, model, node

class Line(Module): prompt = node("v", trainable=True); size = 3

class In(Module):
    def __init__(self, s): self.p = s
    def forward(self, x): return self.p + x

class Short(Module):
    def __init__(self): p = node("s", trainable=True); self.a = In(p); self.b = In(p)
    def forward(self, x): return self.a(x), self.b(x), self.a.p is self.b.p
    async def later(self): return await self.later()

class Slotted(Module):
    __slots__ = ("p", "__q")
    def __init__(self, p):
        self.p, self.__q = node(p, trainable=True), node(p + "q", trainable=True)
    def forward(self, x):
        return self.p + self.__q + x

@dataclass
class Settings:
    prompt: object
    size: int = 3

class Held(Module):
    def __init__(self):
        self.settings, self.queue = Settings(node("x", trainable=True)), deque([node("y", trainable=True)])
        self.odd, self.pair = {node("z", trainable=True)}, (1, node("t", trainable=True))
        def inner(): return 1
        self.one = inner()
    def forward(self, x):
        return self.settings.prompt + self.queue[0] + next(iter(self.odd)) + self.pair[1] + x

class Shadows(Module):
    def __init__(self):
        self.p = node("x", trainable=True)
    @bundle(trainable=True)
    def act(self, bundle, model=""):
        node = bundle
        return node + model
    def forward(self, model):
        for node in [model]:
            pass
        return self.act(self.p, model) + node

class Named(Module):
    def __init__(self):
        self.p = node("Ab", trainable=True)
    def forward(self, x):
        return ops.upper(ops.concat(self.p, x))
"""


@pytest.mark.parametrize(
    ("made", "use"),
    [
        ("Line()", "it.prompt"),
        ("Short()", "it('x')"),
        ("Slotted('s')", "it('x')"),
        ("Held()", "it('x')"),
        ("Shadows()", "it('x')"),
        ("Named()", "it('x')"),
    ],
)
def test_layouts_and_holders(program, made, use):
    module = program(LAYOUTS)
    owner = eval(made, vars(module))
    for number, parameter in enumerate(owner.parameters()):
        if "def " not in parameter.data:
            parameter._set(f"{parameter.data}{number}\n")
    same(module, owner, made, use)


@pytest.mark.parametrize("margin", ["\t", "  ", " "])
def test_any_indentation(program, margin):
    lines = """
from opto.trace import Module, bundle, node

class Base(Module):
>def forward(self, x):
>>return x

class Agent(Base):
>"A docstring."
>def __init__(self):
>>self.prompts = [node(number, trainable=True) for number in range(2)]
>@bundle(trainable=True)
>def act(self, x):
>>return x
>def forward(self, x):
>>return self.act(super().forward(x)) + self.prompts[1]

class Short(Base): prompts = [node(number, trainable=True) for number in range(2)]
"""
    module = program(lines.replace(">", margin))
    for kind, use in ((module.Agent, "it(3)"), (module.Short, "(it(3), it.prompts[1])")):
        agent = kind()
        agent.prompts[1]._set("two\nlines" if kind is module.Short else 5)
        if kind is module.Agent:
            agent.act.parameter._set("def act(self, x):\n    return x * 2\n")
        source = same(module, agent, f"{kind.__name__}()", use)
    assert '            "two\\n"\n            "lines"\n' in source


def test_functions_of_one_factory_keep_what_they_were_made_with(program):
    module = program(
        """
        from opto.trace import Module, bundle

        def power(exponent):
            @bundle(trainable=True)
            def raised(x):
                return x ** exponent
            return raised

        class Powers(Module):
            def __init__(self):
                self.square, self.cube, self.more = power(2), power(3), [power(4)]
            def forward(self, x):
                return self.square(x), self.cube(x), self.more[0](x)
        """
    )
    powers = module.Powers()
    powers.cube.parameter._set("def raised(x):\n    return -(x ** exponent)\n")
    same(module, powers, "Powers()", "it(2)")


def test_what_is_shared_stays_shared(program):
    module = program(LAYOUTS)
    short = module.Short()
    short.a.p._set([1, 2])
    assert run(short.export(), "Short()([3])") == ([1, 2, 3], [1, 2, 3], True)


REFUSED = """
import threading
from dataclasses import dataclass
from opto.trace import Module, bundle, node, operators, stop_tracing
from opto.trace import ExecutionError
from opto.llm import ScriptedLLM

LOCK = threading.Lock()
llm = ScriptedLLM(["hi"])

class Stops(Module):
    def forward(self, x):
        with stop_tracing():
            return x

class Catches(Module):
    def forward(self, x):
        try:
            return x
        except ExecutionError:
            return None

class Lists(Module):
    def forward(self, x):
        return self.parameters()

@bundle
def asks(x):
    return llm(x)

@bundle
def locks(x):
    with LOCK:
        return x

class Held(Module):
    def __init__(self):
        self.x = [node(object(), trainable=True)][0]

two = bundle()(lambda x: x)

class Asks(Module):
    def forward(self, x):
        return operators.call_llm("Be brief.", x)

class Early(Module):
    def __init__(self, p=None):
        self.ps = [node(i, trainable=True) for i in range(2)]
        if p is None:
            return
        self.p = p

class Clash(Module):
    def forward(self, concat):
        return operators.concat(concat, "x")

@dataclass(frozen=True)
class Fixed:
    prompt: object

class Learns(Module):
    def __init__(self):
        self.p = node("x", trainable=True)
    def forward(self, x):
        y = self.p + x
        y.backward("more")
        return y

class Holds(Module):
    def __init__(self):
        self.fixed = Fixed(node("x", trainable=True))
"""


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ("Stops()", r"Stops cannot be exported because of stop_tracing in its line 3: it is opto's"),
        ("Catches()", r"because of ExecutionError in its line 5"),
        ("Lists()", r"because of self\.parameters in its line 3"),
        ("asks", "ScriptedLLM"),
        ("Held()", "x is in a object, which has no literal"),
        ("Asks()", r"call_llm\(\) cannot be exported because of as_llm"),
        ("Early()", "returns early, before its values could be set"),
        ("Clash()", r"because of operators\.concat in its line 3: concat is something else there"),
        ("Learns()", r"because of \.backward in its line 6: it is opto's"),
        ("Holds()", r"fixed\.prompt is in a Fixed, which has no literal"),
    ],
)
def test_what_needs_opto_is_named(program, tmp_path, made, words):
    module = program(REFUSED)
    with pytest.raises(ModuleError, match=words):
        eval(made, vars(module)).export(tmp_path / "exported.py")
    assert not (tmp_path / "exported.py").exists()


def test_a_plain_module_has_no_class_of_its_own():
    with pytest.raises(ModuleError, match="A plain Module cannot be exported"):
        Module().export()


def test_objects_are_made_as_the_program_makes_them(program):
    module = program(REFUSED)
    assert run(module.locks.export(), "locks(3)") == 3
    assert run(module.two.export(), "two(3)") == 3


def test_two_things_of_one_name_are_refused(program):
    def make(step):
        def helper(x):
            return x + step

        return bundle(trainable=True, source="def f(x):\n    return helper(x)\n")(_named_f(helper))

    def _named_f(helper):
        def f(x):
            return helper(x)

        return f

    class Two(Module):
        def __init__(self, a, b):
            self.a, self.b = a, b

    module = Two(make(1), make(2))
    with pytest.raises(ModuleError, match="two different things that are called"):
        module.export()


# Literals and layout

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
        | st.frozensets(st.text() | st.integers(), max_size=3)
        | st.sets(st.text() | st.integers(), max_size=3)
    ),
    max_leaves=8,
)


@given(plain)
def test_literals_give_the_value_back(value):
    assert repr(sorted_sets(eval(literal(value)))) == repr(sorted_sets(value))


def sorted_sets(value):
    if isinstance(value, set | frozenset):
        return type(value), sorted(value, key=repr)
    if isinstance(value, list | tuple):
        return type(value)(map(sorted_sets, value))
    return {key: sorted_sets(item) for key, item in value.items()} if isinstance(value, dict) else value


@given(st.lists(st.sampled_from(["x = 1", 'y = """a', 'b"""', "    # c", "", "\ty = 2", "if x:", "    z = 'q'"])))
def test_indenting_and_cutting_are_inverse(lines):
    text = "\n".join(["def f():", "    pass", *lines]) + "\n"
    try:
        ast.parse(text)
    except SyntaxError:
        return
    shifted = indent(text, "    ")
    assert ast.dump(ast.parse(f"if True:\n{shifted}").body[0].body[0]) == ast.dump(ast.parse(text).body[0])
    again = cut(shifted.split("\n"), 1, len(shifted.split("\n")) - 1)
    assert ast.dump(ast.parse(again)) == ast.dump(ast.parse(text))
