"""Objects that own parameters."""

from collections.abc import Iterator
from typing import Any, Self, TypeVar

from opto.errors import GraphError
from opto.nodes import ParameterNode
from opto.trace.broadcast import apply_op
from opto.trace.bundle import FunModule, trainable_definitions
from opto.trace.containers import NodeContainer
from opto.trace.copying import check_picklable, deep_copy, restore
from opto.trace.ownership import ParameterOwner, members_of, parameters_in
from opto.trace.source import Code

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
        for name, item in list(vars(self).items()):
            # Code that methods own is found through the methods, so that unused ones are found as well.
            if name != "_opto_code":
                yield f".{name}", item
        for name, item in _class_members(type(self)).items():
            if name not in vars(self):
                yield f".{name}", getattr(self, name) if _is_trainable(item) else item
        # Methods that were overridden, but are called by super(): their code is owned as well.
        paths = trainable_definitions(type(self))
        for definition, code in list(vars(self).get("_opto_code", {}).items()):
            if code.asked and "." in paths.get(definition, ""):
                yield f".{paths[definition]}", code.parameter

    def __copy__(self) -> Self:
        # The code of methods is made when it is first asked for. One dict for both, so that it is made for both.
        vars(self).setdefault("_opto_code", {})
        reduced: Any = object.__reduce_ex__(self, 4)
        make, arguments, state = (*reduced, None)[:3]
        twin: Self = make(*arguments)
        restore(twin, state)
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin: Self = deep_copy(self, memo)
        return twin

    def __reduce_ex__(self, protocol: Any) -> Any:
        reduced = super().__reduce_ex__(protocol)
        if isinstance(reduced, tuple) and len(reduced) > 2:
            check_picklable(type(self).__name__, reduced[2])
        return reduced

    def __repr__(self) -> str:
        return "\n".join([type(self).__name__, *_outline(self, {})])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:  # noqa: ARG002 - IPython's
        """Show notebooks the tree, in which each parameter can be opened."""
        from html import escape  # noqa: PLC0415 - only in notebooks

        items = [
            f"<details><summary><code>{escape(name)}</code>{_notes(item)}: {escape(_brief(item))}</summary>"
            f"<pre>{escape(item.domain.write(item._data))}</pre></details>"  # noqa: SLF001 - looking is no read
            for name, item in self.named_parameters()
        ]
        return {"text/plain": repr(self), "text/html": f"<b>{escape(type(self).__name__)}</b>{''.join(items)}"}


def _outline(value: Any, seen: dict[int, Any]) -> list[str]:
    """Return one line per parameter in *value*, and per container of some, drawn as a tree."""
    branches: list[list[str]] = []
    for step, item in members_of(value):
        # What holds nothing new is not shown; looking for that must not mark it as seen.
        if not any(parameters_in(item, "", dict(seen))):
            continue
        label = step.removeprefix(".")
        if isinstance(item, FunModule):
            item = item.parameter  # noqa: PLW2901 - a function stands for its code
        if isinstance(item, ParameterNode):
            seen[id(item)] = item
            branches.append([f"{label} = {_brief(item)}{_notes(item)}"])
        else:
            seen[id(item)] = item
            branches.append([f"{label}: {type(item).__name__}", *_outline(item, seen)])
    return [
        f"{mark}{line}"
        for number, branch in enumerate(branches, start=1)
        for mark, line in zip(_marks(len(branch), is_last=number == len(branches)), branch, strict=True)
    ]


def _marks(length: int, *, is_last: bool) -> list[str]:
    first, rest = ("└─ ", "   ") if is_last else ("├─ ", "│  ")
    return [first, *[rest] * (length - 1)]


def _brief(parameter: ParameterNode[Any]) -> str:
    """Return the value of *parameter* in one line."""
    value = parameter._data  # noqa: SLF001 - looking is no read
    if isinstance(parameter.domain, Code):
        first, _, rest = value.partition("\n")
        return f"{first} … ({rest.count(chr(10)) + 1} lines)"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _notes(parameter: ParameterNode[Any]) -> str:
    return "" if parameter.trainable else "  (frozen)"


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


# Below modules, containers need to know how their source is written; here is how.
