"""From the arguments of a call to named inputs, at the speed of a plain call.

`inspect.Signature.bind` takes longer than all else that a bundle does. So each function gets a twin: a generated
function with the same signature, which knows what to do with its arguments. Python itself binds them, and raises its
own `TypeError`.
"""

from collections.abc import Callable, Collection, Sequence
from textwrap import indent
from types import FunctionType
from typing import Any, NamedTuple

from opto.nodes import SCALARS, Node, Numbered, pack
from opto.trace.source import unwrapped

__all__ = ["Bound", "apply", "argument_names", "make_binder", "make_twin", "with_names"]

#: The arguments of one call: keys, inputs as they are recorded, plain values, the names under which the last of the
#: plain values are passed, and whether one of the plain values could be changed in place.
Bound = tuple[Collection[str], tuple[Any, ...], tuple[Any, ...], tuple[str, ...], bool]


def apply(function: Callable[..., Any], values: Sequence[Any], named: tuple[str, ...]) -> Any:
    """Call *function* with *values*, of which the last go by the names *named*."""
    split = len(values) - len(named)
    return function(*values[:split], **dict(zip(named, values[split:], strict=True)))


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
        >>> tuple(keys), plain, named
        (('x', '*more[0]', 'by'), (1, 5, 2), ('by',))
    """
    return make_twin(function, "return {keys}, {inputs}, {plain}, {named}, {mutable}")


def make_twin(function: Callable[..., Any], body: str, **names: Any) -> Callable[..., Any]:
    """Return a function with the signature of *function* and another body, which works on the bound arguments.

    Args:
        function: Any callable.
        body: Python text. It may speak of ``{keys}``, ``{inputs}``, ``{plain}``, ``{named}`` and ``{mutable}``, the
            parts of `Bound`; of ``{coded_keys}`` and ``{coded_inputs}``, which have the global name ``__code`` behind
            them; and of ``{call}``, which calls ``__function``.
        names: Global names of the body. They and its local ones begin with two underscores, to stay clear of arguments.
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
    if arguments.rest or arguments.more:
        values = (_display(leading), arguments.rest or "()", _display(arguments.keyword_only), arguments.more or "{}")
        head, parts = f"{_BOUND} = __spread(__arguments, {', '.join(values)})\n", _PARTS
    else:
        head, parts = _unrolled(leading, arguments.keyword_only)
    text = f"def __twin({', '.join(signature)}):\n" + indent(head + body.format(**parts), "    ")
    namespace: dict[str, Any] = {
        "__arguments": arguments,
        "__isinstance": isinstance,  # an argument may have the names of Python's own
        "__scalars": SCALARS,
        "__names": (*leading, *arguments.keyword_only),
        "__coded_names": (*leading, *arguments.keyword_only, "__code"),
        "__pack": pack,
        "__spread": _spread,
        "__apply": apply,
        "__function": function,
        "__Node": Node,
        **names,
    }
    # In the folder of this file, so that tracebacks for users leave it out.
    exec(compile(text, f"{__file__} (generated)", "exec"), namespace)  # noqa: S102 - only names of arguments go in
    twin: FunctionType = namespace.pop("__twin")
    twin.__defaults__, twin.__kwdefaults__ = defaults or None, keyword_defaults or None
    # Python names a function by this, in tracebacks and in the TypeError for arguments that do not fit.
    twin.__qualname__ = getattr(function, "__qualname__", "call")
    twin.__code__ = twin.__code__.replace(co_name=twin.__qualname__.rpartition(".")[2], co_qualname=twin.__qualname__)
    return twin


def with_names(twin: Any, **names: Any) -> Callable[..., Any]:
    """Return a copy of what `make_twin` returned with other global names: compiled once, it serves many."""
    copy = FunctionType(twin.__code__, {**twin.__globals__, **names}, twin.__name__, twin.__defaults__)
    copy.__kwdefaults__, copy.__qualname__ = twin.__kwdefaults__, twin.__qualname__
    return copy


_SELF = ("self",)
_BOUND = "__keys, __inputs, __plain, __named, __mutable"
_PARTS = {
    "keys": "__keys",
    "inputs": "__inputs",
    "coded_keys": '(*__keys, "__code")',
    "coded_inputs": "(*__inputs, __code)",
    "plain": "__plain",
    "named": "__named",
    "mutable": "__mutable",
    "call": "__apply(__function, __plain, __named)",
}


def _unrolled(positional: tuple[str, ...], keyword_only: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """Return how arguments that all have names are bound: without a loop or another call."""
    names = (*positional, *keyword_only)
    lines = ["__mutable = False\n"]
    for index, name in enumerate(names):
        lines += [f"if __isinstance({name}, __Node): __{index} = {name}._data\n", "else:\n"]
        if name != "self":  # which is given as it is: the nodes in it are noted when they are read
            lines.append(f" if {name}.__class__ not in __scalars: {name} = __pack({name})\n")
        lines.append(f" __{index} = {name}._data if __isinstance({name}, __Node) else {name}\n")
        if name != "self":  # a method may change its object
            lines.append(f"if __{index}.__class__ not in __scalars: __mutable = True\n")
    values = [f"__{index}" for index in range(len(names))]
    passed = [*values[: len(positional)], *map("{}={}".format, keyword_only, values[len(positional) :])]
    return "".join(lines), {
        "keys": "__names",
        "inputs": _display(names),
        "coded_keys": "__coded_names",
        "coded_inputs": _display((*names, "__code")),
        "plain": _display(values),
        "named": repr(keyword_only),
        "mutable": "__mutable",
        "call": f"__function({', '.join(passed)})",
    }


def _takes_self(function: FunctionType) -> bool:
    return function.__code__.co_argcount > 0 and function.__code__.co_varnames[:1] == _SELF


def _display(names: Sequence[str]) -> str:
    return f"({', '.join(names)}{',' * (len(names) == 1)})"


def _spread(
    arguments: _Arguments,
    leading: tuple[Any, ...],
    rest: tuple[Any, ...],
    keyword_only: tuple[Any, ...],
    more: dict[str, Any],
) -> Bound:
    first = (*arguments.positional_only, *arguments.positional)
    last = (
        arguments.keyword_only
        if not more
        else (*arguments.keyword_only, *(f"**{arguments.more}[{key}]" for key in more))
    )
    keys = (*first, *last) if not rest else Numbered(len(rest), form=f"*{arguments.rest}[{{}}]", first=first, last=last)
    given = (*leading, *rest, *keyword_only, *more.values())
    skipped = 1 if first[:1] == _SELF else 0  # as in `_unrolled`
    inputs = (*given[:skipped], *map(pack, given[skipped:]))
    plain = tuple([item._data if isinstance(item, Node) else item for item in inputs])  # noqa: SLF001 - given, not read
    mutable = any(item.__class__ not in SCALARS for item in plain[skipped:])
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
    inner = unwrapped(function)
    if arguments[:2] == ((), ()) and has_rest and isinstance(inner, FunctionType) and _takes_self(inner):
        arguments = arguments._replace(positional_only=_SELF)  # which the wrapper of a method passes on
    return arguments, function.__defaults__ or (), dict(function.__kwdefaults__ or {})
