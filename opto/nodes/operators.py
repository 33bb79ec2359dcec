"""The operators of Python's own syntax, in one table.

An `Operator` is what a graph remembers of a call: a name, what it means in words, the names of its inputs
and, for operators that Python writes in its own way, how. This module knows no nodes.
"""

import math
import operator as python
import re
from collections.abc import Callable, Hashable, Mapping
from collections.abc import Set as AbstractSet
from copy import copy, deepcopy
from functools import lru_cache
from typing import Any

from opto.nodes.constants import attempt

__all__ = [
    "BINARY",
    "CALL",
    "CLONE",
    "COPY",
    "ENTER",
    "EQUAL",
    "GETATTR",
    "GETITEM",
    "IN_PLACE",
    "ITEM",
    "LENGTH",
    "NEXT",
    "NOT_EQUAL",
    "POWER_MODULO",
    "REVERSED_ITEM",
    "ROUND",
    "UNARY",
    "Operator",
    "item_operator",
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
        source: Returns the text of a function of the user's own, or None if it cannot be found.

    Example:
        >>> add = BINARY["__add__"]
        >>> add.name, add.write({"x": "price0", "y": "2"})
        ('add', 'price0 + 2')
    """

    __slots__ = ("description", "function", "keys", "name", "packs", "source", "template")

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        *,
        keys: tuple[str, ...] = (),
        description: str | None = None,
        template: str | Callable[[Mapping[str, str]], str] | None = None,
        packs: bool = False,
        source: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.packs = packs
        self.source = source
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


def _in_place(method: str, plain: Operator) -> Operator:
    change = getattr(python, method)
    # On a copy, as `x + y` makes one: the graph holds the old value. What cannot be copied is changed, as Python does.
    return Operator(
        plain.name,
        lambda x, y: change(attempt(copy, x, fallback=x), y),
        keys=plain.keys,
        description=plain.description,
        template=plain.template,
    )


#: By Python's method: what ``x += y`` makes of values that can be changed, such as a list and any iterable.
IN_PLACE: dict[str, Operator] = {
    method: _in_place(method, plain) for name, plain in BINARY.items() if hasattr(python, method := f"__i{name[2:]}")
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
REVERSED_ITEM = Operator(
    "item",
    lambda x, index: list(reversed(x))[index],
    keys=("x", "index"),
    description="An item of x, by position from the end.",
    template="list(reversed({x}))[{index}]",
)


@lru_cache(maxsize=512)
def item_operator(kind: Hashable) -> Operator:
    """Return the operator that gives the items of a value of class *kind* when it is iterated.

    By index only where that is the same: sets have no positions, and dicts and pages are indexed by other things.
    """
    methods = [getattr(kind, name, None) for name in ("__iter__", "__getitem__")]
    by_index = hasattr(kind, "__array_interface__") or methods in _INDEXED
    return GETITEM if by_index else ITEM


_INDEXED = [[known.__iter__, known.__getitem__] for known in (list, tuple, str, bytes, bytearray, range)]
NEXT = _unary("next", "next({x})", next, "The next item of x.")
ENTER = _unary("enter", "{x}.__enter__()", lambda x: x.__enter__(), "What x gives to a with statement.")
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
    keys=("x",),
    description="The result of calling x.",
    template=_write_call,
)


def _of_sets(combine: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda self, other: combine(set(self), set(other))


class _Keys(list[Any]):
    """The keys of a dict as they were: a list, as for Trace, that is compared and combined as Python's view is."""

    __and__, __or__, __xor__, __sub__ = map(_of_sets, (python.and_, python.or_, python.xor, python.sub))
    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__
    __hash__ = None  # as of all lists

    def __rsub__(self, other: Any) -> Any:
        return set(other) - set(self)

    def __eq__(self, other: object) -> bool:
        return set(self) == other if isinstance(other, AbstractSet) else super().__eq__(other)


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
        kind = _Keys if name == "keys" else list
        return Operator(name, lambda x: kind(getattr(x, name)()), keys=("x",), description=first_line, template=write)
    return Operator(
        name,
        lambda x, /, *args, **kwargs: getattr(x, name)(*args, **kwargs),
        keys=("x",),
        description=first_line,
        template=write,
    )
