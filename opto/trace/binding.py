"""From the arguments of a call to named inputs, at the speed of a plain call.

`inspect.Signature.bind` takes longer than all else that a bundle does. So each function gets a binder: a
generated function with the same signature. Python itself binds the arguments, and raises its own `TypeError`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from opto.nodes import MUTABLE, SCALARS, Node, pack

__all__ = ["Bound", "argument_names", "make_binder"]

#: The arguments of one call: keys, inputs as they are recorded, plain values, the names under which the last of the
#: plain values are passed, and whether one of the plain values could be changed in place. A bare tuple, because a
#: class of its own would double the cost of binding.
Bound = tuple[tuple[str, ...], tuple[Any, ...], tuple[Any, ...], tuple[str, ...], bool]


class _Arguments(NamedTuple):
    """The arguments in a signature, by kind."""

    positional_only: tuple[str, ...] = ()
    positional: tuple[str, ...] = ()
    rest: str | None = None
    keyword_only: tuple[str, ...] = ()
    more: str | None = None


def argument_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of the positional arguments of *function*."""
    arguments = _arguments(function)[0]
    return (*arguments.positional_only, *arguments.positional)


def make_binder(function: Callable[..., Any]) -> Callable[..., Bound]:
    """Return a function with the signature of *function* that returns its arguments as `Bound`.

    Values in ``*args`` and ``**kwargs`` are inputs of their own: ``*args[0]``, ``**kwargs[name]``. Containers
    with nodes in them are packed.

    Example:
        >>> from opto.nodes import node
        >>> def scale(x, *more, by=2): ...
        >>> keys, inputs, plain, named, _ = make_binder(scale)(node(1), 5)
        >>> keys, plain, named
        (('x', '*more[0]', 'by'), (1, 5, 2), ('by',))
    """
    arguments, defaults, keyword_defaults = _arguments(function)
    leading = (*arguments.positional_only, *arguments.positional)
    first_default = len(leading) - len(defaults)
    signature = [name if index < first_default else f"{name}=None" for index, name in enumerate(leading)]
    if arguments.positional_only:
        signature.insert(len(arguments.positional_only), "/")
    if arguments.rest or arguments.keyword_only:
        signature.append(f"*{arguments.rest or ''}")
    signature += [f"{name}=None" if name in keyword_defaults else name for name in arguments.keyword_only]
    if arguments.more:
        signature.append(f"**{arguments.more}")
    if arguments.rest or arguments.keyword_only or arguments.more:
        values = (_display(leading), arguments.rest or "()", _display(arguments.keyword_only), arguments.more or "{}")
        body = f" return __spread(__arguments, {', '.join(values)})"
    else:
        body = _unrolled(leading)
    namespace: dict[str, Any] = {
        "__arguments": arguments,
        "__scalars": SCALARS,
        "__keys": leading,
        "__mutable_types": MUTABLE,
        "__pack": pack,
        "__spread": _spread,
        "__Node": Node,
    }
    exec(f"def binder({', '.join(signature)}):\n{body}", namespace)  # noqa: S102 - only names of arguments go in
    binder: Callable[..., Bound] = namespace["binder"]
    # Python names a function by these in the TypeError for arguments that do not fit.
    vars_of: Any = binder
    vars_of.__defaults__, vars_of.__kwdefaults__ = defaults or None, keyword_defaults or None
    vars_of.__qualname__ = getattr(function, "__qualname__", "call")
    return binder


def _unrolled(names: tuple[str, ...]) -> str:
    """Return the body of the binder of a function with positional arguments only: no loop, no second call."""
    lines = []
    for index, name in enumerate(names):
        lines += [f" if isinstance({name}, __Node): __{index} = {name}._data\n", " else:\n"]
        if name != "self":  # which is given as it is: the nodes in it are noted when they are read
            lines.append(f"  if {name}.__class__ not in __scalars: {name} = __pack({name})\n")
        lines.append(f"  __{index} = {name}._data if isinstance({name}, __Node) else {name}\n")
        lines.append(f" if __{index}.__class__ in __mutable_types: __mutable = True\n")
    inputs, values = _display(names), _display(tuple(f"__{index}" for index in range(len(names))))
    return f" __mutable = False\n{''.join(lines)} return __keys, {inputs}, {values}, (), __mutable"


def _display(names: tuple[str, ...]) -> str:
    return f"({', '.join(names)}{',' * (len(names) == 1)})"


def _spread(
    arguments: _Arguments,
    leading: tuple[Any, ...],
    rest: tuple[Any, ...],
    keyword_only: tuple[Any, ...],
    more: dict[str, Any],
) -> Bound:
    keys = (
        *arguments.positional_only,
        *arguments.positional,
        *(f"*{arguments.rest}[{index}]" for index in range(len(rest))),
        *arguments.keyword_only,
        *(f"**{arguments.more}[{name}]" for name in more),
    )
    inputs = tuple(map(pack, (*leading, *rest, *keyword_only, *more.values())))
    plain = tuple([item._data if isinstance(item, Node) else item for item in inputs])  # noqa: SLF001 - given, not read
    mutable = any(type(item) in MUTABLE for item in plain)
    return keys, inputs, plain, (*arguments.keyword_only, *more), mutable


def _arguments(function: Callable[..., Any]) -> tuple[_Arguments, tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of *function*, the defaults of the last positional ones, and of the keyword-only ones."""
    code = getattr(function, "__code__", None)
    if code is None:
        # A builtin or a callable object: whatever it takes, by position and by name.
        return _Arguments(rest="args", more="kwargs"), (), {}
    names = code.co_varnames
    positional, keyword_only = code.co_argcount, code.co_argcount + code.co_kwonlyargcount
    has_rest, has_more = bool(code.co_flags & 0x04), bool(code.co_flags & 0x08)
    arguments = _Arguments(
        positional_only=names[: code.co_posonlyargcount],
        positional=names[code.co_posonlyargcount : positional],
        rest=names[keyword_only] if has_rest else None,
        keyword_only=names[positional:keyword_only],
        more=names[keyword_only + has_rest] if has_more else None,
    )
    return arguments, function.__defaults__ or (), dict(function.__kwdefaults__ or {})
