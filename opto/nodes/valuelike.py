"""A vertex that acts like its value: Python's operators, items, members and calls, recorded.

How a result is recorded is left to `Node`, which is built on this class.
"""

import operator as python
import os
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from typing import Any, Self

from opto.nodes.containers import CONTAINERS, SCALARS
from opto.nodes.kin import Kin
from opto.nodes.mutation import fingerprint, warn_if_changed
from opto.nodes.operators import (
    BINARY,
    CALL,
    CLONE,
    COPY,
    ENTER,
    EQUAL,
    GETATTR,
    GETITEM,
    IN_PLACE,
    LENGTH,
    NEXT,
    NOT_EQUAL,
    POWER_MODULO,
    REVERSED_ITEM,
    ROUND,
    UNARY,
    Operator,
    item_operator,
    method_operator,
)
from opto.nodes.packing import unpack
from opto.nodes.vertex import Vertex

__all__ = ["ValueLike", "call"]

# How values are recorded is known above `Node`, which is built on this module: `results` fills these in. They are no
# attributes of the class, because finding those would take a quarter of the time of a traced operator.
record: Callable[..., Any] = NotImplemented
pack: Callable[[Any], Any] = NotImplemented
failure: Callable[..., Exception] = NotImplemented


def _infix(operator: Operator) -> Callable[[Any, Any], Any]:
    compute, keys = operator.function, operator.keys

    # Written out, not built from the helpers of the class: this is the hot path of every traced program.
    def apply(self: Any, other: Any) -> Any:
        if isinstance(other, Vertex):
            plain = other._data
        elif other.__class__ in SCALARS:
            plain = other
        else:
            other = pack(other)
            plain = other._data if isinstance(other, Vertex) else other
        try:
            value = compute(self._data, plain)
        except Exception as cause:
            raise failure(operator, keys, (self, other), cause) from cause
        if value.__class__ in SCALARS or self._data.__class__ in CONTAINERS:
            return record(operator, keys, (self, other), value)
        return take_out(operator, keys, (self, other), value)

    return apply


def _in_place(plain: Callable[[Any, Any], Any], method: str) -> Callable[[Any, Any], Any]:
    changed = _infix(IN_PLACE[method])

    def apply(self: Any, other: Any) -> Any:
        kind = self._data.__class__
        return plain(self, other) if kind in SCALARS or not hasattr(kind, method) else changed(self, other)

    return apply


def _reflected(operator: Operator) -> Callable[[Any, Any], Any]:
    return lambda self, other: self._compute(operator, (other, self))


def _prefix(operator: Operator) -> Callable[[Any], Any]:
    return lambda self: self._compute(operator, (self,))


def take_out(operator: Operator, keys: tuple[str, ...], inputs: tuple[Any, ...], value: Any) -> Any:
    """Record a *value* that may be a node, or hold some: an object had them in it, and feedback must get there."""
    held = pack(value)
    if isinstance(held, Vertex):
        keys, inputs, value = (*keys, " reads 0"), (*inputs, held), held._data
    return record(operator, keys, inputs, value)


def _values(inputs: tuple[Any, ...]) -> list[Any]:
    return [item._data if isinstance(item, Vertex) else item for item in inputs]


def call(operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Apply *operator* to the values of any nodes among the arguments, or inside them, and record the result."""
    count, known = len(args), operator.keys
    keys = (
        *known,
        *(f"*args[{number}]" for number in range(count - len(known))),
        *(f"**kwargs[{name}]" for name in kwargs),
    )
    inputs = tuple(map(pack, (*args, *kwargs.values())))
    plain = _values(inputs)
    before = [(key, fingerprint(item)) for key, item in zip(keys, plain, strict=True) if item.__class__ not in SCALARS]
    try:
        value = operator.function(*plain[:count], **dict(zip(kwargs, plain[count:], strict=True)))
    except Exception as cause:
        raise failure(operator, keys, inputs, cause) from cause
    for key, was in before:
        warn_if_changed(operator.name, key, was, stacklevel=3)
    return take_out(operator, keys, inputs, value)


class ValueLike(Kin):
    """What Python lets an object do in place of its value.

    Results are nodes, except where Python insists on a plain answer (``len``, ``bool``, ``==``, ``in``, text).
    """

    __slots__ = ()

    @property
    def data(self) -> Any:
        """The plain value."""
        return self._data

    __getitem__ = _infix(GETITEM)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.__delitem__(key)

    def __delitem__(self, key: Any) -> None:
        example = "{**x, key: value}" if isinstance(self._data, dict) else "x[:1] + [value] + x[2:]"
        raise TypeError(
            f"Items of a node cannot be changed, and the {type(self._data).__name__} in {self!r} stays as it is. "
            f"Make a changed copy, such as {example}, in a bundled function."
        )

    # Python reflects comparisons by itself: 3 < node asks node > 3.
    __lt__, __le__, __gt__, __ge__ = (
        _infix(BINARY["__lt__"]),
        _infix(BINARY["__le__"]),
        _infix(BINARY["__gt__"]),
        _infix(BINARY["__ge__"]),
    )

    __add__, __radd__ = _infix(BINARY["__add__"]), _reflected(BINARY["__add__"])
    __sub__, __rsub__ = _infix(BINARY["__sub__"]), _reflected(BINARY["__sub__"])
    __mul__, __rmul__ = _infix(BINARY["__mul__"]), _reflected(BINARY["__mul__"])
    __truediv__, __rtruediv__ = _infix(BINARY["__truediv__"]), _reflected(BINARY["__truediv__"])
    __floordiv__, __rfloordiv__ = _infix(BINARY["__floordiv__"]), _reflected(BINARY["__floordiv__"])
    __mod__, __rmod__ = _infix(BINARY["__mod__"]), _reflected(BINARY["__mod__"])
    __divmod__, __rdivmod__ = _infix(BINARY["__divmod__"]), _reflected(BINARY["__divmod__"])
    _power, __rpow__ = _infix(BINARY["__pow__"]), _reflected(BINARY["__pow__"])
    __matmul__, __rmatmul__ = _infix(BINARY["__matmul__"]), _reflected(BINARY["__matmul__"])
    __lshift__, __rlshift__ = _infix(BINARY["__lshift__"]), _reflected(BINARY["__lshift__"])
    __rshift__, __rrshift__ = _infix(BINARY["__rshift__"]), _reflected(BINARY["__rshift__"])
    __and__, __rand__ = _infix(BINARY["__and__"]), _reflected(BINARY["__and__"])
    __or__, __ror__ = _infix(BINARY["__or__"]), _reflected(BINARY["__or__"])
    __xor__, __rxor__ = _infix(BINARY["__xor__"]), _reflected(BINARY["__xor__"])

    # What `x += y` changes is a copy, so that the graph keeps the old value; x is then another node.
    __iadd__, __isub__, __imul__ = (
        _in_place(__add__, "__iadd__"),
        _in_place(__sub__, "__isub__"),
        _in_place(__mul__, "__imul__"),
    )
    __itruediv__, __ifloordiv__ = _in_place(__truediv__, "__itruediv__"), _in_place(__floordiv__, "__ifloordiv__")
    __imod__, __ipow__ = _in_place(__mod__, "__imod__"), _in_place(_power, "__ipow__")
    __imatmul__ = _in_place(__matmul__, "__imatmul__")
    __ilshift__, __irshift__ = _in_place(__lshift__, "__ilshift__"), _in_place(__rshift__, "__irshift__")
    __iand__, __ior__, __ixor__ = (
        _in_place(__and__, "__iand__"),
        _in_place(__or__, "__ior__"),
        _in_place(__xor__, "__ixor__"),
    )

    __neg__, __pos__, __invert__, __abs__ = (
        _prefix(UNARY[method]) for method in ("__neg__", "__pos__", "__invert__", "__abs__")
    )
    __floor__, __ceil__, __trunc__ = (_prefix(UNARY[method]) for method in ("__floor__", "__ceil__", "__trunc__"))

    def __pow__(self, other: Any, modulo: Any = None) -> Any:
        return self._power(other) if modulo is None else self._compute(POWER_MODULO, (self, other, modulo))

    def __copy__(self) -> Any:
        return self._compute(COPY, (self,))

    def __round__(self, ndigits: int | None = None) -> Any:
        return self._compute(ROUND, (self, ndigits))

    def __iter__(self) -> Iterator[Any]:
        return self._items_by(iter, item_operator(self._data.__class__))

    def __reversed__(self) -> Iterator[Any]:
        return self._items_by(reversed, REVERSED_ITEM)

    def _items_by(self, order: Callable[[Any], Iterator[Any]], operator: Operator) -> Iterator[Any]:
        try:
            values = order(self.data)
        except Exception as cause:
            raise failure(operator, ("x",), (self,), cause) from cause
        return self._items(operator, values)

    def _items(self, operator: Operator, values: Iterator[Any]) -> Iterator[Any]:
        """Yield *values*, each recorded as an item when it is asked for: there may be no end of them."""
        keys, is_plain = operator.keys, self._data.__class__ in CONTAINERS
        position = 0
        try:
            for value in values:
                if is_plain or value.__class__ in SCALARS:
                    yield record(operator, keys, (self, position), value)
                else:
                    yield take_out(operator, keys, (self, position), value)
                position += 1
        except Exception as cause:
            raise failure(operator, keys, (self, position), cause) from cause

    def __next__(self) -> Any:
        try:
            value = next(self.data)
        except StopIteration:
            raise
        except Exception as cause:
            raise failure(NEXT, NEXT.keys, (self,), cause) from cause
        return take_out(NEXT, NEXT.keys, (self,), value)

    def __enter__(self) -> Any:
        return call(ENTER, (self,), {})

    def __exit__(self, *error: object) -> Any:
        return self.data.__exit__(*error)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return call(CALL, (self, *args), kwargs)

    def __getattr__(self, name: str) -> Any:
        # Only asked for what a node itself does not have: the members of the value. Notebooks look for their own.
        if name.startswith(("__", "_repr_", "_ipython_")) or name in Vertex.__slots__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return self._member(name)

    def getattr(self, name: str) -> Any:
        """Return the attribute *name* of the value as a node, even if nodes have one of that name."""
        return self._member(name)

    def _member(self, name: str) -> Any:
        try:
            member = getattr(self.data, name)
        except AttributeError as cause:
            held = type(self._data).__name__
            raise AttributeError(f"A node that holds a {held} has no {name!r}.") from cause
        except Exception as cause:
            raise failure(GETATTR, GETATTR.keys, (self, name), cause) from cause
        if isinstance(self._data, dict) and name == "items":
            return self._pairs
        if callable(member) and not isinstance(member, Vertex):
            return _Method(self, name)
        return take_out(GETATTR, GETATTR.keys, (self, name), member)

    def _pairs(self) -> list[tuple[Any, Any]]:
        """Return the items of a dict as pairs of nodes, each value taken by its key."""
        return [(key, self[key]) for key in self.keys()]

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Return the result of a *method* of the value as a node, even if nodes have one of that name."""
        return call(method_operator(method, self._data.__class__), (self, *args), kwargs)

    # What Python answers plainly, recorded.

    def eq(self, other: Any) -> Any:
        """Return ``self == other`` as a node."""
        return self._compute(EQUAL, (self, other))

    def neq(self, other: Any) -> Any:
        """Return ``self != other`` as a node."""
        return self._compute(NOT_EQUAL, (self, other))

    def len(self) -> Any:
        """Return the length of the value as a node."""
        return self._compute(LENGTH, (self,))

    def clone(self) -> Any:
        """Return a deep copy of the value, computed from this node."""
        return self._compute(CLONE, (self,))

    def detach(self) -> Self:
        """Return a node of its own with a deep copy of the value: a root, whatever this node was computed from."""
        return deepcopy(self)

    # Plain answers. They are reads like any other, but leave nothing to trace.

    def __str__(self) -> str:
        return str(self.data)

    def __format__(self, spec: str) -> str:
        return format(self.data, spec)

    def __bool__(self) -> bool:
        return bool(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __contains__(self, item: Any) -> bool:
        return unpack(item) in self.data

    def __int__(self) -> int:
        return int(self.data)

    def __float__(self) -> float:
        return float(self.data)

    def __complex__(self) -> complex:
        return complex(self.data)

    def __bytes__(self) -> bytes:
        return bytes(self.data)

    def __index__(self) -> int:
        return python.index(self.data)

    def __fspath__(self) -> str | bytes:
        path: str | bytes = os.fspath(self.data)
        return path

    def __dir__(self) -> Iterable[str]:
        return sorted({*super().__dir__(), *(name for name in dir(self._data) if not name.startswith("_"))})

    def __eq__(self, other: object) -> Any:
        answer = self.data == (other if other.__class__ in SCALARS else unpack(other))
        return answer if answer.__class__ is bool else self._answered(EQUAL, other, answer)

    def __ne__(self, other: object) -> Any:
        answer = self.data != (other if other.__class__ in SCALARS else unpack(other))
        return answer if answer.__class__ is bool else self._answered(NOT_EQUAL, other, answer)

    def _answered(self, operator: Operator, other: Any, answer: Any) -> Any:
        # numpy's yes and no are as plain as Python's. An array's answers, one per item, are a value like any other.
        is_one = answer.__class__.__name__ in {"bool", "bool_"}
        return answer if is_one else record(operator, operator.keys, (self, pack(other)), answer)

    __hash__ = object.__hash__

    def _compute(self, operator: Operator, inputs: tuple[Any, ...]) -> Any:
        """Apply *operator*, one input per key, and record the result."""
        inputs = tuple(map(pack, inputs))
        try:
            value = operator.function(*_values(inputs))
        except Exception as cause:
            raise failure(operator, operator.keys, inputs, cause) from cause
        return take_out(operator, operator.keys, inputs, value)


class _Method:
    """A method of a node's value: calling it records the call."""

    __slots__ = ("_name", "_receiver")

    def __init__(self, receiver: ValueLike, name: str) -> None:
        self._receiver = receiver
        self._name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        operator = method_operator(self._name, self._receiver._data.__class__)
        return call(operator, (self._receiver, *args), kwargs)

    def __repr__(self) -> str:
        return f"<method {self._name} of {self._receiver!r}>"
