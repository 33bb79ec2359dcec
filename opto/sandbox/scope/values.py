"""The user's values on their way to a candidate, and what comes back."""

import re
from collections.abc import Callable, MutableMapping
from enum import Enum
from functools import WRAPPER_ASSIGNMENTS
from importlib import import_module
from itertools import count
from logging import Logger
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, Protocol
from weakref import WeakValueDictionary

from opto.errors import SandboxTransferError
from opto.sandbox.child.codec import CannotCrossError, Decoder, Encoder
from opto.sandbox.child.functions import HARMLESS
from opto.sandbox.child.graphs import Value, Writing, is_instance, named_member, readers
from opto.sandbox.child.tables import READERS, write_table
from opto.sandbox.program.rewritten import Rewritten
from opto.sandbox.program.written import is_of_program
from opto.sandbox.scope.remaking import visible

__all__ = ["Inner", "Values"]

_FUNCTIONS = (FunctionType, BuiltinFunctionType, Rewritten)
#: Objects of the standard library, and the arguments that make one of them.
_MADE: dict[str, Callable[[Any], tuple[Any, dict[str, Any]]]] = {
    "functools.partial": lambda value: ((value.func, *value.args), value.keywords),
    "typing.TypeVar": lambda value: ((value.__name__, *value.__constraints__), {}),
    "typing.NewType": lambda value: ((value.__name__, value.__supertype__), {}),
    **{
        f"operator.{name}": lambda value: (value.__reduce__()[1], {})
        for name in ("itemgetter", "attrgetter", "methodcaller")
    },
}


def _logger(value: Logger) -> tuple[Any, dict[str, Any]]:
    return (value.name,), {}


class _Source(Protocol):
    """What tells candidates of classes and functions."""

    def adapt(self, value: Any, /) -> Any: ...
    def importable(self, value: Any, /) -> dict[str, str] | None: ...
    def key_of(self, kind: type, /) -> str: ...
    def key_of_function(self, function: Any, /) -> str: ...
    def key_of_mark(self, mark: object, /) -> str: ...


class Inner:
    """A function that a candidate returned: called outside, it runs where that runs, and keeps nothing between calls.

    Attributes:
        form: By which any process of the candidate finds it.
        number: By which other candidates know it. No two ever have the same.
    """

    __slots__ = ("__name__", "__qualname__", "__weakref__", "_call", "form", "number")

    def __init__(self, form: Any, name: str, call: Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]) -> None:
        self.form, self._call, self.number = form, call, next(_numbers)
        self.__name__ = self.__qualname__ = name

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self._call(self.form, args, kwargs)

    def is_of(self, caller: Any) -> bool:
        """True if it is *caller* that calls it."""
        return bool(caller == self._call)

    def __copy__(self) -> "Inner":
        return self

    def __deepcopy__(self, _: Any) -> "Inner":
        return self

    def __repr__(self) -> str:
        return f"<function {self.__name__} in the sandbox>"


_numbers = count(1)


class Values:
    """Turns values into forms, and forms into values.

    Attributes:
        decoder: For what comes out.
        known: The classes and functions that candidates were told of, by key.
        caller: Returns what calls a function that came out, if there is still something.

    Args:
        source: Tells candidates of more.
        encoder: The class that turns plain data into forms.
    """

    def __init__(self, source: _Source, encoder: type[Encoder]) -> None:
        self.known: dict[str, Any] = {}
        self._offered: MutableMapping[str, Inner] = WeakValueDictionary()
        self.caller: Callable[[], Any] = lambda: None
        self.decoder = Decoder(self._read)
        self._source, self._encoder = source, encoder
        self._readers = {**readers(self.known, self._read, keep_methods=True), **READERS}

    def form(self, value: Any) -> Any:
        """Return the form of *value*.

        Raises:
            CannotCrossError: It has none.
        """
        return self.writing().form(value)

    def writing(self) -> Writing:
        """Return what writes one value, or several that may refer to the same objects."""
        writing = Writing(self._write, self._encoder)
        # What objects that wrap a function say of that, for whoever looks at them.
        writing.left_out = (*WRAPPER_ASSIGNMENTS, "__wrapped__")
        return writing

    def offered(self, name: str) -> Callable[..., Any] | None:
        """Return the function of another candidate that went in as *name*; None if such functions have other names."""
        if not name.startswith("@"):
            return None
        return self._offered.get(name, _say_that_it_is_gone)

    def _write(self, writing: Writing, encoder: Encoder, value: Any, depth: int) -> Any:
        """Return the form of what is no plain data, on the way in."""
        source, kind = self._source, type(value)
        if value is writing.receiver:
            writing.has_met_receiver = True
            return {"!receiver": None}
        adapted = source.adapt(value)
        if isinstance(adapted, _FUNCTIONS):
            return self._function(value)
        if adapted is not value:  # it holds that, and programs ask it for its `data`
            return {"!held": encoder.encode(adapted, depth)}
        if isinstance(value, type):
            return self._imported(value) or {"!known": source.key_of(value)}
        if isinstance(value, MethodType):
            return {"!bound": [encoder.encode(value.__self__, depth), value.__name__]}
        made = _MADE.get(f"{kind.__module__}.{kind.__qualname__}")
        if made is not None or isinstance(value, Logger):
            args, kwargs = (_logger if made is None else made)(value)
            forms = {name: encoder.encode(item, depth) for name, item in kwargs.items()}
            how = [kind.__module__, kind.__qualname__] if made is not None else ["logging", "getLogger"]
            return {"!made": [*how, encoder.sequence(args, depth), forms]}
        if callable(value) and not is_of_program(kind) and (imported := self._imported(value)) is not None:
            return imported
        return self._object(writing, encoder, value, depth)

    def _object(self, writing: Writing, encoder: Encoder, value: Any, depth: int) -> Any:
        kind, key_of = type(value), self._source.key_of
        if kind is object:
            return {"!known": self._source.key_of_mark(value)}
        if (known := self._of_library(encoder, value, depth)) is not None:
            return known
        if isinstance(value, BaseException):
            named = kind.__name__ if kind.__module__ == "builtins" else key_of(kind)
            return {"!error": [named, encoder.sequence(value.args, depth), encoder.encode(vars(value), depth)]}
        if isinstance(value, Enum):
            return named_member(key_of(kind), value)
        if isinstance(value, tuple) and hasattr(kind, "_fields"):
            return {"!named": [key_of(kind), encoder.sequence(value, depth)]}
        if hasattr(kind, "__dataclass_fields__") or (is_of_program(kind) and is_instance(value)):
            return writing.instance(key_of(kind), value)
        return encoder.base(value, depth)

    def _of_library(self, encoder: Encoder, value: Any, depth: int) -> Any:
        """Return the form of an object of the standard library, numpy or pandas; None if it is none of those."""
        where = f"{type(value).__module__}.{type(value).__qualname__}"
        if where == "random.Random":
            return {"!random": ["random", "Random", encoder.encode(value.getstate(), depth)]}
        if where == "numpy.random._generator.Generator":
            bits = value.bit_generator
            return {"!random": ["numpy.random", type(bits).__name__, encoder.encode(bits.state, depth)]}
        if isinstance(value, Inner):
            return self._inner(value)
        if isinstance(value, re.Pattern):
            return {"!pattern": [encoder.encode(value.pattern), value.flags]}
        return write_table(encoder, value, depth)

    def _inner(self, value: Inner) -> Any:
        """Return the form of a function of this candidate, or of another one: that is called where it is."""
        if value.is_of(self.caller()):
            return value.form
        name = f"@{value.number}"
        self._offered[name] = value
        return {"!host": name}

    def _imported(self, value: Any) -> Any:
        """Return the form of what is found in a module that a child finds; None if *value* is not."""
        found = self._source.importable(value)
        return None if found is None else {"!import": [found["module"], found["name"]]}

    def _function(self, value: Any) -> Any:
        imported = self._imported(value)
        if imported is not None:
            return imported
        if isinstance(value, BuiltinFunctionType):
            raise CannotCrossError(f"the function {value.__name__}")
        registry = getattr(value, "registry", None)
        if registry is None or not hasattr(value, "dispatch"):
            return {"!known": self._source.key_of_function(value)}
        # Of `singledispatch`: what stands elsewhere in the program belongs to it.
        encode = self.writing().encoder.encode
        others = [[encode(kind), encode(function)] for kind, function in registry.items() if kind is not object]
        return {"!dispatch": [encode(registry[object]), others]}

    def _out(self, tag: str, content: Any, name: str) -> Inner:
        call = self.caller()
        if call is None:
            raise LookupError(tag)
        return Inner({tag: content}, name, call)

    def _read(self, tag: str, content: Any, value: Value) -> Any:
        """Return the value of a form that only both sides together understand, on the way out."""
        match tag:
            case "!harmless":
                module, name = content
                if name in HARMLESS[module] or "*" in HARMLESS[module]:
                    return getattr(import_module(module), name)
            case "!inner":
                return self._out(tag, content, visible(str(content[2])[:100]))
            case "!known" if callable(self.known[content]) and not isinstance(self.known[content], type):
                # One of the program's, which the candidate chose: it may be called as the candidate may call it.
                return self._out(tag, content, self.known[content].__name__)
            case _ if tag in self._readers:
                return self._readers[tag](content, value)
        raise LookupError(tag)


def _say_that_it_is_gone(*_: Any, **__: Any) -> None:
    raise SandboxTransferError(
        "A function of another candidate was called that the program does not hold any more.",
        mend="Pass it in each call that uses it, or keep it outside.",
    )
