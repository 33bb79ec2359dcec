"""What numpy lets an object do in place of an array: its functions, given a node, are operators like any other."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from opto.nodes.operators import BINARY, EQUAL, NOT_EQUAL, UNARY, Operator
from opto.nodes.packing import unpack
from opto.nodes.valuelike import call

__all__ = ["ArrayLike"]

# Where numpy has another name for what Python writes with a sign.
_SIGNS = {
    "remainder": "mod",
    "left_shift": "lshift",
    "right_shift": "rshift",
    "bitwise_and": "and_",
    "bitwise_or": "or_",
    "bitwise_xor": "xor",
    "less": "lt",
    "less_equal": "le",
    "greater": "gt",
    "greater_equal": "ge",
    "equal": "eq",
    "not_equal": "neq",
    "negative": "neg",
    "positive": "pos",
    "absolute": "abs",
}
_TABLE = {operator.name: operator for operator in (*BINARY.values(), *UNARY.values(), EQUAL, NOT_EQUAL)}


class ArrayLike:
    """A node as numpy meets it: ``np.mean(x)`` and ``array + x`` are recorded, and ``np.asarray(x)`` is its value."""

    __slots__ = ()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        import numpy as np  # noqa: PLC0415 - only numpy asks

        return np.array(self.data, dtype=dtype, copy=copy)  # type: ignore[attr-defined]  # of `ValueLike`

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """Do what the sign between an array and a node stands for, or a function of single numbers."""
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        has_sign = method == "__call__" and any(hasattr(unpack(item), "__array_interface__") for item in inputs)
        return call(_sign_operator(ufunc) if has_sign else _function_operator(function), inputs, kwargs)

    def __array_function__(self, function: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Do what a function of numpy does with nodes among its arguments, or inside them."""
        return call(_function_operator(function), args, kwargs)


@lru_cache(maxsize=512)
def _function_operator(function: Callable[..., Any]) -> Operator:
    first_line = (function.__doc__ or "").strip().split("\n")[0]
    return Operator(function.__name__, function, description=first_line)


@lru_cache(maxsize=512)
def _sign_operator(ufunc: Any) -> Operator:
    """Return the operator of Python that does the same with arrays, which may have come to numpy from there."""
    known = _TABLE.get(_SIGNS.get(ufunc.__name__, ufunc.__name__))
    if known is None:
        return _function_operator(ufunc)
    return Operator(known.name, ufunc, keys=known.keys, description=known.description, template=known.template)
