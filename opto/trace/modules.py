"""Objects that own parameters."""

from abc import ABCMeta
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Self, TypeVar

from opto.errors import GraphError
from opto.trace.broadcast import apply_op
from opto.trace.bundle import FunModule, bundled_in, trainable_definitions
from opto.trace.containers import NodeContainer
from opto.trace.copying import check_picklable, deep_copy, shallow_copy
from opto.trace.ownership import ParameterOwner, attributes_of, items_of
from opto.trace.showing import outline

__all__ = ["Module", "NodeContainer", "apply_op", "model"]

C = TypeVar("C", bound=type)


class Module(ParameterOwner):
    """An object that owns parameters: its trainable nodes, its trainable methods, and those of modules in it.

    Subclass it and define `forward`, or put `model` on a class of your own. Modules in attributes, lists and dicts
    belong to it; a parameter that is shared counts once.

    Copies: `copy.copy` shares everything; `copy.deepcopy` learns by itself, and shares only what cannot be copied
    (locks, sockets, clients); `copy` shares the parameters. Pickles hold the values, and functions by import path
    with their current source; to keep what was learnt, use `save`.

    Example:
        >>> from opto.trace import bundle, node
        >>> class Greeter(Module):
        ...     def __init__(self):
        ...         self.greeting = node("Hello", trainable=True, name="greeting")
        ...     def forward(self, name):
        ...         return self.greeting + ", " + name
        >>> greeter = Greeter()
        >>> greeter("Ada").data, [name for name, _ in greeter.named_parameters()]
        ('Hello, Ada', ['greeting'])
        >>> greeter
        Greeter
        └─ greeting = 'Hello'
    """

    def forward(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG002 - for overriding
        """Compute the output; `__call__` comes here."""
        raise GraphError(
            f"{type(self).__name__} is called, but defines no forward().",
            mend="Define forward(self, …), or call one of its methods.",
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def _members(self) -> Iterator[tuple[str, Any]]:
        attributes = attributes_of(self)
        for name, item in attributes.items():
            # Code that methods own is found through the methods, so that unused ones are found as well.
            if name != "_opto_code":
                yield f".{name}", item
        if isinstance(self, list | tuple | dict):
            yield from items_of(self)
        for name, item in _class_members(type(self)).items():
            if name not in attributes or isinstance(item, cached_property):  # which puts its value there
                function = bundled_in(item)
                is_trainable = isinstance(function, FunModule) and function.trainable
                # Each instance owns its methods; what stands behind a decorator is the same for all.
                yield f".{name}", item if not is_trainable else getattr(self, name) if item is function else function
        # Methods that were overridden, but are called by super(): their code is owned as well.
        paths = trainable_definitions(type(self))
        for definition, code in list(vars(self).get("_opto_code", {}).items()):
            if code.asked and "." in paths.get(definition, ""):
                yield f".{paths[definition]}", code.parameter

    def __copy__(self) -> Self:
        # The code of methods is made when it is first asked for. One dict for both, so that it is made for both.
        vars(self).setdefault("_opto_code", {})
        twin: Self = shallow_copy(self)
        return twin

    __deepcopy__ = deep_copy

    def __reduce_ex__(self, protocol: Any) -> Any:
        reduced = super().__reduce_ex__(protocol)
        if isinstance(reduced, tuple) and len(reduced) > 2:
            check_picklable(type(self).__name__, reduced[2])
        return reduced

    def __repr__(self) -> str:
        return "\n".join(outline(self))


def _class_members(kind: type) -> dict[str, Any]:
    """Return what classes from `kind` up to its farthest base define, inherited names first; nothing is evaluated."""
    return {
        name: member
        for base in reversed(kind.__mro__)
        for name, member in vars(base).items()
        if not name.startswith("__")
    }


def model(cls: C) -> C:
    """Make a class a `Module`: its instances own their parameters and trainable methods.

    Example:
        >>> from opto.trace import bundle
        >>> @model
        ... class Agent:
        ...     @bundle(trainable=True)
        ...     def act(self, observation):
        ...         return "wait"
        >>> [name for name, _ in Agent().named_parameters()], Agent.__name__
        (['act'], 'Agent')
    """
    if not isinstance(cls, type):
        raise GraphError(
            f"{getattr(cls, '__name__', cls)!r} is no class.", mend="Put @model on a class, and @bundle on a function."
        )
    if issubclass(cls, Module):
        return cls
    # A subclass under the same name: methods keep their zero-argument super(), pickling finds the class.
    members: dict[str, Any] = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    if type_parameters := getattr(cls, "__parameters__", ()):
        members["__orig_bases__"] = (cls[type_parameters], Module)  # type: ignore[index]  # it is generic
    members |= _fields_to_be(cls)
    if getattr(getattr(cls, "__deepcopy__", None), "__module__", "").startswith("pydantic."):
        members["__deepcopy__"] = deep_copy  # which shares locks; pydantic's would fail
    try:
        meta: Any = type(cls)
        made: C = meta(cls.__name__, (cls, Module), members)
    except TypeError as error:
        raise GraphError(
            f"No model can be made of {cls.__name__}: {str(error).rstrip('.')}.",
            mend=f"Make Module a base of it, class {cls.__name__}(…, Module), instead of @model.",
        ) from error
    return made


def _fields_to_be(cls: type) -> dict[str, Any]:
    """Return what decorators above `model`, such as `dataclass`, look for in a class itself."""
    known = vars(cls)
    if type(cls) not in (type, ABCMeta) or "__slots__" in known or "__dataclass_fields__" in known:
        return {}
    annotations = known.get("__annotations__", {})
    return {"__annotations__": annotations, **{name: known[name] for name in annotations if name in known}}
