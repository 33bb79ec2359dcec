"""Objects that own parameters."""

from collections.abc import Iterator
from typing import Any, TypeVar

from opto.errors import GraphError
from opto.nodes import ParameterNode
from opto.trace.bundle import FunModule, trainable_definitions

__all__ = ["Module", "model"]

C = TypeVar("C", bound=type)


class Module:
    """An object that owns parameters: its trainable nodes, its trainable methods, and those of modules in it.

    Subclass it and define `forward`, or put `model` on a class of your own.

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
    """

    def forward(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG002 - for overriding
        """Compute the output; `__call__` comes here."""
        raise GraphError(
            f"{type(self).__name__} is called, but defines no forward().",
            mend="Define forward(self, …), or call one of its methods.",
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def parameters(self) -> list[ParameterNode[Any]]:
        """Return all parameters, each once, in the order of `named_parameters`."""
        return [parameter for _, parameter in self.named_parameters()]

    def named_parameters(self) -> Iterator[tuple[str, ParameterNode[Any]]]:
        """Yield ``(path, parameter)``: attributes in the order in which they were set, then methods.

        Paths read like Python: ``encoder.prompt``, ``steps[0]``, ``tools[search]``. A parameter that several
        attributes share is yielded under the first path.
        """
        yield from _parameters_in(self, "", set())

    def parameters_dict(self) -> dict[str, ParameterNode[Any]]:
        """Return the parameters by path."""
        return dict(self.named_parameters())


def _parameters_in(value: Any, path: str, seen: set[int]) -> Iterator[tuple[str, ParameterNode[Any]]]:
    # By id: two lists may be equal, and nodes compare by value. The ids stay valid while the module lives.
    if id(value) in seen:
        return
    if isinstance(value, ParameterNode):
        seen.add(id(value))
        yield path, value
    elif isinstance(value, FunModule):
        for parameter in value.parameters():
            yield from _parameters_in(parameter, path, seen)
    elif isinstance(value, Module | list | tuple | dict):
        seen.add(id(value))
        for step, item in _members_of(value):
            yield from _parameters_in(item, f"{path}{step}".lstrip("."), seen)


def _members_of(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what *value* holds, each with its step in a path: ``.name`` or ``[key]``."""
    if isinstance(value, Module):
        for name, item in list(vars(value).items()):
            # Code that methods own is found through the methods, so that unused ones are found as well.
            if name != "_opto_code":
                yield f".{name}", item
        for name, item in _class_members(type(value)).items():
            if name not in vars(value):
                yield f".{name}", getattr(value, name) if _is_trainable(item) else item
        # Methods that were overridden, but are called by super(): their code is owned as well.
        paths = trainable_definitions(type(value))
        for definition, code in list(vars(value).get("_opto_code", {}).items()):
            if code.asked and "." in paths.get(definition, ""):
                yield f".{paths[definition]}", code.parameter
    else:
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield f"[{key}]", item


def _class_members(kind: type) -> dict[str, Any]:
    """Return what classes from `kind` up to its farthest base define, inherited names first; nothing is evaluated."""
    return {
        name: member
        for base in reversed(kind.__mro__)
        for name, member in vars(base).items()
        if not name.startswith("__")
    }


def _is_trainable(member: Any) -> bool:
    function = getattr(member, "__func__", member)  # of a static or class method
    return isinstance(function, FunModule) and function.trainable


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
    if issubclass(cls, Module):
        return cls
    # A subclass under the same name: methods keep their zero-argument super(), pickling finds the class.
    members = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    made: C = type(cls).__call__(type(cls), cls.__name__, (cls, Module), members)
    return made
