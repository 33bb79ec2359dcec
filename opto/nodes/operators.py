"""The operators of Python's own syntax, in one table.

An `Operator` is what a graph remembers of a call: a name, what it means in words, the names of its inputs
and, for operators that Python writes in its own way, how. This module knows no nodes.
"""

import math
import operator as python
import re
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from copy import copy, deepcopy
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

__all__ = [
    "BINARY",
    "CALL",
    "CLONE",
    "CONTAINERS",
    "COPY",
    "EQUAL",
    "GETATTR",
    "GETITEM",
    "ITEM",
    "LENGTH",
    "NOT_EQUAL",
    "POWER_MODULO",
    "ROUND",
    "SCALARS",
    "UNARY",
    "Container",
    "Operator",
    "container_of",
    "method_operator",
    "write_arguments",
]


class Operator:
    """A named function whose calls are recorded.

    Args:
        name: How the operator is called in a graph, such as ``add``.
        function: What it computes, from plain values.
        keys: Names of its inputs, in order.
        description: What it does, in words for whoever optimizes. The default is the function's docstring.
        template: How Python writes a call, such as ``{x} + {y}``, or a function from the written inputs, by
            key, to the call; None for ``name(x=…, y=…)``.
        packs: True if it only puts its inputs into a container.

    Example:
        >>> add = BINARY["__add__"]
        >>> add.name, add.write({"x": "price0", "y": "2"})
        ('add', 'price0 + 2')
    """

    __slots__ = ("description", "function", "keys", "name", "packs", "template")

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        *,
        keys: tuple[str, ...] = (),
        description: str | None = None,
        template: str | Callable[[Mapping[str, str]], str] | None = None,
        packs: bool = False,
    ) -> None:
        self.packs = packs
        self.name = name
        self.function = function
        self.keys = keys
        self.description = description if description is not None else (function.__doc__ or "")
        self.template = template

    @classmethod
    def described(cls, description: str, name: str) -> "Operator":
        """Return the operator of a result that was computed elsewhere, from Trace's ``"[name] What it does."``."""
        if prefix := re.match(r"\s*\[([^\[\]]+)\]\s*", description):
            name, description = prefix[1], description[prefix.end() :]
        return cls(name, tuple, description=description)

    def __repr__(self) -> str:
        return f"Operator({self.name!r})"

    def write(self, arguments: Mapping[str, str]) -> str:
        """Return the call as one line of Python, with the inputs replaced by *arguments* (text by key)."""
        if self.template is None:
            return f"{self.name}({write_arguments(arguments)})"
        if isinstance(self.template, str):
            return self.template.format(**arguments)
        return self.template(arguments)


def write_arguments(arguments: Mapping[str, str]) -> str:
    """Return *arguments* as they stand between the brackets of a call.

    Example:
        >>> write_arguments({"x": "a", "*args[0]": "b", "**kwargs[key]": "c"})
        'a, b, key=c'
    """
    # Python takes no positional argument behind one that is named.
    last_positional = max((number for number, key in enumerate(arguments) if key[:1] == "*" != key[1:2]), default=-1)
    written = []
    for number, (key, value) in enumerate(arguments.items()):
        if key.startswith(" reads "):
            continue  # an input, but no argument
        name = key[key.index("[") + 1 : -1] if key.startswith("**") else key
        written.append(value if number <= last_positional else f"{name}={value}")
    return ", ".join(written)


def _binary(name: str, symbol: str, function: Callable[[Any, Any], Any], words: str) -> Operator:
    return Operator(name, function, keys=("x", "y"), description=words, template=f"{{x}} {symbol} {{y}}")


def _unary(name: str, template: str, function: Callable[[Any], Any], words: str) -> Operator:
    return Operator(name, function, keys=("x",), description=words, template=template)


#: By Python's method; ``__radd__`` and its like use the operator of ``__add__`` with the inputs exchanged.
BINARY: dict[str, Operator] = {
    "__add__": _binary("add", "+", python.add, "Sum of numbers, or concatenation of sequences."),
    "__sub__": _binary("subtract", "-", python.sub, "Difference x - y."),
    "__mul__": _binary("multiply", "*", python.mul, "Product, or repetition of a sequence."),
    "__truediv__": _binary("divide", "/", python.truediv, "Quotient x / y."),
    "__floordiv__": _binary("floor_divide", "//", python.floordiv, "Quotient x / y, rounded down."),
    "__mod__": _binary("mod", "%", python.mod, "Remainder of x / y, or formatting of text x with y."),
    "__divmod__": Operator(
        "divmod", divmod, keys=("x", "y"), description="Quotient and remainder of x / y.", template="divmod({x}, {y})"
    ),
    "__pow__": _binary("power", "**", python.pow, "x to the power of y."),
    "__matmul__": _binary("matmul", "@", python.matmul, "Matrix product."),
    "__lshift__": _binary("lshift", "<<", python.lshift, "x shifted left by y bits."),
    "__rshift__": _binary("rshift", ">>", python.rshift, "x shifted right by y bits."),
    "__and__": _binary("and_", "&", python.and_, "Bitwise and, or intersection of sets."),
    "__or__": _binary("or_", "|", python.or_, "Bitwise or, or union of sets or dicts."),
    "__xor__": _binary("xor", "^", python.xor, "Bitwise exclusive or, or symmetric difference of sets."),
    "__lt__": _binary("lt", "<", python.lt, "True if x is less than y."),
    "__le__": _binary("le", "<=", python.le, "True if x is at most y."),
    "__gt__": _binary("gt", ">", python.gt, "True if x is greater than y."),
    "__ge__": _binary("ge", ">=", python.ge, "True if x is at least y."),
}

UNARY: dict[str, Operator] = {
    "__neg__": _unary("neg", "-{x}", python.neg, "x with its sign changed."),
    "__pos__": _unary("pos", "+{x}", python.pos, "x with its sign unchanged."),
    "__invert__": _unary("invert", "~{x}", python.invert, "x with its bits inverted."),
    "__abs__": _unary("abs", "abs({x})", abs, "Absolute value."),
    "__floor__": _unary("floor", "math.floor({x})", math.floor, "Largest integer that is at most x."),
    "__ceil__": _unary("ceil", "math.ceil({x})", math.ceil, "Smallest integer that is at least x."),
    "__trunc__": _unary("trunc", "math.trunc({x})", math.trunc, "x without its fraction."),
}


GETITEM = Operator(
    "getitem",
    python.getitem,
    keys=("x", "index"),
    description="The item of x at an index, key or slice.",
    template="{x}[{index}]",
)
POWER_MODULO = Operator(
    "power",
    pow,
    keys=("x", "y", "modulo"),
    description="x to the power of y, modulo a number.",
    template="pow({x}, {y}, {modulo})",
)
COPY = Operator("copy", copy, keys=("x",), description="A shallow copy of x.", template="copy({x})")
CLONE = Operator("clone", deepcopy, keys=("x",), description="A deep copy of x.", template="deepcopy({x})")
EQUAL = _binary("eq", "==", python.eq, "True if x equals y.")
NOT_EQUAL = _binary("neq", "!=", python.ne, "True if x differs from y.")
LENGTH = _unary("len_", "len({x})", len, "Number of items of x.")
ITEM = Operator(
    "item",
    lambda x, index: list(x)[index],
    keys=("x", "index"),
    description="An item of x, by position.",
    template="list({x})[{index}]",
)
GETATTR = Operator(
    "getattr",
    getattr,
    keys=("x", "name"),
    description="The attribute of x with this name.",
    template="getattr({x}, {name})",
)
ROUND = Operator(
    "round",
    round,
    keys=("x", "ndigits"),
    description="x rounded to some digits after the point.",
    template="round({x}, {ndigits})",
)


def _write_call(arguments: Mapping[str, str]) -> str:
    function, *rest = arguments.items()
    return f"{function[1]}({write_arguments(dict(rest))})"


CALL = Operator(
    "call",
    lambda x, /, *args, **kwargs: x(*args, **kwargs),
    description="The result of calling x.",
    template=_write_call,
)


@lru_cache(maxsize=512)
def method_operator(name: str, owner: Hashable) -> Operator:
    """Return the operator that calls method *name* of a value of class *owner*.

    Example:
        >>> method_operator("upper", str).write({"x": "text0"})
        'text0.upper()'
    """

    def write(arguments: Mapping[str, str]) -> str:
        receiver, *rest = arguments.items()
        return f"{receiver[1]}.{name}({write_arguments(dict(rest))})"

    method = getattr(owner, name, None)
    first_line = (getattr(method, "__doc__", None) or "").strip().split("\n")[0]
    if name in {"keys", "values"} and isinstance(owner, type) and issubclass(owner, dict):
        # A view would change with the dict, and cannot be indexed or copied.
        return Operator(name, lambda x: list(getattr(x, name)()), description=first_line, template=write)
    return Operator(
        name,
        lambda x, /, *args, **kwargs: getattr(x, name)(*args, **kwargs),
        description=first_line,
        template=write,
    )


class Container(NamedTuple):
    """A class of containers, as far as nodes in them are concerned.

    Attributes:
        operator: What stands in a graph for the making of one.
        items: Its items in an order that depends on the items only. A dict's keys come before its values.
        build: A container like another one, from such a list.
        every: The same items in any order, one by one.
        names: The names of the items; None if they go by position.
    """

    operator: Operator
    items: Callable[[Any], list[Any]]
    build: Callable[[Any, list[Any]], Any]
    every: Callable[[Any], Iterable[Any]]
    names: Callable[[Any], Sequence[str]] | None = None


def _items(left: str, right: str) -> Callable[[Mapping[str, str]], str]:
    return lambda arguments: f"{left}{', '.join(arguments.values())}{right}"


def _write_tuple(arguments: Mapping[str, str]) -> str:
    comma = "," if len(arguments) == 1 else ""
    return f"({', '.join(arguments.values())}{comma})"


def _write_dict(arguments: Mapping[str, str]) -> str:
    written = list(arguments.values())
    half = len(written) // 2
    return "{" + ", ".join(f"{key}: {value}" for key, value in zip(written[:half], written[half:], strict=True)) + "}"


def _write_slice(arguments: Mapping[str, str]) -> str:
    return f"slice({', '.join(arguments.values())})"


def _in_order(items: Iterable[Any]) -> list[Any]:
    # The order of a set is that of hashes, which differ from process to process.
    return sorted(items, key=lambda item: (getattr(item, "birth", -1), type(item).__name__, repr(item)))


def _build_dict(_: Any, items: list[Any]) -> dict[Any, Any]:
    half = len(items) // 2
    return dict(zip(items[:half], items[half:], strict=True))


def _make(name: str, words: str, template: Callable[[Mapping[str, str]], str]) -> Operator:
    return Operator(name, tuple, description=words, template=template, packs=True)


#: Classes of values that hold nothing: they need no second look.
SCALARS: frozenset[type] = frozenset({int, float, str, bool, type(None), bytes, complex})

#: Containers in which nodes are looked for, by class; `container_of` knows more.
CONTAINERS: dict[type, Container] = {
    list: Container(_make("list", "A list of the items.", _items("[", "]")), list, lambda _, items: items, iter),
    tuple: Container(_make("tuple", "A tuple of the items.", _write_tuple), list, lambda _, items: tuple(items), iter),
    set: Container(_make("set", "A set of the items.", _items("{", "}")), _in_order, lambda _, items: set(items), iter),
    dict: Container(
        _make("dict", "A dict of the items, by key.", _write_dict),
        lambda old: [*old, *old.values()],
        _build_dict,
        lambda old: chain(old, old.values()),
    ),
    slice: Container(
        _make("slice", "Positions from start to stop.", _write_slice),
        lambda old: [old.start, old.stop, old.step],
        lambda _, items: slice(*items),
        lambda old: (old.start, old.stop, old.step),
    ),
}


def container_of(kind: type) -> Container | None:
    """Return how nodes are found in objects of class *kind*; None if they are looked at as a whole.

    Besides the built-in containers: their subclasses, named tuples, deques, dataclasses, and classes that say so with
    ``__node_container__ = True``, whose attributes are looked at.
    """
    return CONTAINERS.get(kind) or _learnt(kind)


@lru_cache(maxsize=1024)
def _learnt(kind: Hashable) -> Container | None:
    assert isinstance(kind, type)
    words = f"A {kind.__name__} of the items."
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        fields = kind._fields
        return Container(_named(kind), list, lambda _, items: kind(*items), iter, lambda _: fields)
    if issubclass(kind, frozenset):
        return Container(_make("frozenset", words, _call_of(kind)), _in_order, lambda _, items: kind(items), iter)
    if issubclass(kind, list | deque):
        return Container(_make(kind.__name__, words, _call_of(kind)), list, _refilled, iter)
    if issubclass(kind, dict):
        known = CONTAINERS[dict]
        operator = _make(kind.__name__, words, lambda arguments: f"{kind.__name__}({_write_dict(arguments)})")
        return known._replace(operator=operator, build=lambda old, items: _refilled(old, _build_dict(old, items)))
    if hasattr(kind, "__dataclass_fields__"):
        names = tuple(kind.__dataclass_fields__)
        return _of_attributes(kind, lambda old: [name for name in names if hasattr(old, name)])
    if getattr(kind, "__node_container__", False):
        return _of_attributes(kind, lambda old: list(vars(old)))
    return None


def _named(kind: type) -> Operator:
    return Operator(kind.__name__, kind, description=f"A {kind.__name__} of the items.", packs=True)


def _call_of(kind: type) -> Callable[[Mapping[str, str]], str]:
    return lambda arguments: f"{kind.__name__}([{', '.join(arguments.values())}])"


def _refilled(old: Any, items: Any) -> Any:
    """Return a copy of *old*, with whatever else it holds, with other *items*."""
    new = copy(old)
    new.clear()
    (new.update if isinstance(new, dict) else new.extend)(items)
    return new


def _of_attributes(kind: type, names: Callable[[Any], list[str]]) -> Container:
    def items(old: Any) -> list[Any]:
        return [getattr(old, name) for name in names(old)]

    def build(old: Any, values: list[Any]) -> Any:
        new = copy(old)
        for name, value in zip(names(old), values, strict=True):
            object.__setattr__(new, name, value)  # frozen dataclasses as well: nobody has seen this one yet
        return new

    return Container(_named(kind), items, build, items, names)
