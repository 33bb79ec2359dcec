"""What owns parameters: modules, functions, and the lists and dicts in them. How parameters are found and frozen."""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from copy import deepcopy
from functools import partial
from importlib import import_module
from itertools import count
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any, Self

from opto.errors import ModuleError
from opto.nodes import Node, ParameterNode, container_of

if TYPE_CHECKING:
    import os

    from opto.trace.checkpoint import Loaded

__all__ = ["ParameterOwner", "attributes_of", "items_of", "members_of", "near_misses", "parameters_in"]

#: What holds nothing, and is met so often that it is not looked at.
_ATOMS = {type(None), bool, int, float, str, bytes}


def _late(name: str) -> Any:
    """Return a module of this package that few programs need: imported at the top, it would slow all of them down."""
    return import_module(f"opto.trace.{name}")


class ParameterOwner:
    """What owns parameters: a module, or a trainable function.

    Example:
        >>> from opto.trace import bundle
        >>> @bundle(trainable=True)
        ... def double(x):
        ...     return x + x
        >>> isinstance(double, ParameterOwner), list(double.parameters_dict())
        (True, ['double'])
    """

    def parameters(self) -> list[ParameterNode[Any]]:
        """Return all parameters, each once, in the order of `named_parameters`."""
        return [parameter for _, parameter in self.named_parameters()]

    def named_parameters(self) -> Iterator[tuple[str, ParameterNode[Any]]]:
        """Yield ``(path, parameter)``: attributes in the order in which they were set, then methods.

        Paths read like Python: ``encoder.prompt``, ``steps[0]``, ``tools[search]``. A parameter that several
        attributes share is yielded under the first path.
        """
        for path, parameter in parameters_in(self, "", {}):
            yield path or parameter.stem, parameter

    def zero_feedback(self) -> None:
        """Forget the feedback on all parameters, whichever optimizer they belong to, if any.

        Feedback adds up on every parameter that it reaches, as gradients do: also on those that no optimizer clears.
        """
        for parameter in self.parameters():
            parameter.zero_feedback()

    def parameters_dict(self) -> dict[str, ParameterNode[Any]]:
        """Return the parameters by path."""
        return dict(self.named_parameters())

    def freeze(self, *names: str) -> list[str]:
        """Keep optimizers from changing parameters; return the paths of those that are named.

        A frozen parameter has ``trainable=False``. It is still listed, saved and loaded.

        Args:
            names: Paths (``encoder.prompt``), modules and lists for all that is in them (``encoder``), or patterns
                in which ``*`` and ``?`` stand for any text and any character (``tools.*``). None for all.

        Raises:
            ModuleError: A name fits no parameter; then nothing is frozen.

        Example:
            >>> from opto.trace import Module, node
            >>> module = Module()
            >>> module.prompt, module.style = node("Hello", trainable=True), node("short", trainable=True)
            >>> module.freeze("pro*"), module.prompt.trainable, module.style.trainable
            (['prompt'], False, True)
            >>> module.freeze("promt")
            Traceback (most recent call last):
            opto.errors.ModuleError: Module has no parameter 'promt'. Did you mean prompt?
        """
        return self._set_trainable(names, trainable=False)

    def unfreeze(self, *names: str) -> list[str]:
        """Let optimizers change parameters again; the arguments and the result are those of `freeze`."""
        return self._set_trainable(names, trainable=True)

    def _set_trainable(self, names: Iterable[str], *, trainable: bool) -> list[str]:
        known = self.parameters_dict()
        chosen = set(known) if not names else {path for name in names for path in self._paths_of(name, known)}
        found = [path for path in known if path in chosen]
        for path in found:
            known[path].trainable = trainable
        return found

    def _paths_of(self, name: str, known: dict[str, ParameterNode[Any]]) -> list[str]:
        """Return the paths among *known* that *name* stands for: a path, what is above one, or a pattern."""
        if name in known:
            return [name]
        pattern = re.escape(_dotted(name)).replace(r"\*", ".*").replace(r"\?", ".")
        fitting = re.compile(rf"(?:{pattern})(?:\..*)?", re.DOTALL)
        paths = [path for path in known if fitting.fullmatch(_dotted(path))]
        if not paths:
            # A shared parameter goes by its first path, but may be named by any.
            below = {id(item) for found in _found_at(self, name) for _, item in parameters_in(found, "", {})}
            paths = [path for path, item in known.items() if id(item) in below]
        if not paths:
            raise ModuleError(f"{_name_of(self)} has no parameter {name!r}.", mend=near_misses([name], known))
        return paths

    def copy(self) -> Self:
        """Return a deep copy that shares the parameters: the very same nodes, so feedback and updates reach both.

        What else it holds (histories, counters, caches) is its own, so copies can run side by side in threads.
        For a copy that learns by itself, use `copy.deepcopy`.

        Example:
            >>> from opto.trace import Module, node
            >>> module = Module()
            >>> module.prompt, module.seen = node("Hello", trainable=True), []
            >>> twin = module.copy()
            >>> twin.prompt is module.prompt, twin.seen is module.seen
            (True, False)
        """
        return deepcopy(self, {id(parameter): parameter for parameter in self.parameters()})

    def save(self, file_name: "str | os.PathLike[str]") -> None:
        r"""Write the values of all parameters to a text file (TOML) that people can read, compare and edit.

        Texts and code stand in it with real line breaks. The file is replaced as a whole or not at all.

        Raises:
            ModuleError: A value cannot be written, or the file cannot; the parameter or the file is named.

        Example:
            >>> import pathlib, tempfile
            >>> from opto.trace import Module, node
            >>> module = Module()
            >>> module.prompt = node("Be kind.\nBe brief.", trainable=True)
            >>> file = pathlib.Path(tempfile.mkdtemp(), "module.toml")
            >>> module.save(file)
            >>> print(file.read_text().partition("[parameters]")[2].strip())
            prompt = '''
            Be kind.
            Be brief.'''
        """
        _late("checkpoint").save(file_name, list(self.named_parameters()), owner=_name_of(self))

    def load(self, file_name: "str | os.PathLike[str]", *, strict: bool = True) -> "Loaded":
        """Read the values of the parameters from a file that `save` wrote; return what was found.

        Nothing in the file is executed: code stays text until it is called. Values are checked against the
        domains of the parameters, and put into them all together or not at all.

        Args:
            file_name: The file.
            strict: False to load what fits even if names are missing in the file, or unknown to this module.

        Raises:
            ModuleError: The file cannot be read, or (if strict) its names are not those of the parameters.
            DomainError: A value lies outside the domain of its parameter.
        """
        found: Loaded = _late("checkpoint").load(file_name, self.parameters_dict(), owner=_name_of(self), strict=strict)
        return found

    def export(self, file_name: "str | os.PathLike[str] | None" = None) -> str:
        """Return Python source that does the same without opto: current values are literals, current code is code.

        Decorators and nodes of opto are gone; imports, helpers, constants and classes that are used are kept. The
        class is exported, not this one object: make it with the same arguments.

        Args:
            file_name: A file to write the source to as well.

        Raises:
            ModuleError: Something cannot be said without opto; what and where is named.
        """
        source: str = _late("export").write_source(self)
        if file_name is not None:
            _late("checkpoint").replace_file(file_name, source)
        return source

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:  # noqa: ARG002 - IPython's
        """Show notebooks the parameters, each of which can be opened."""
        shown: dict[str, str] = _late("showing").represented(self)
        return shown

    def _members(self) -> Iterator[tuple[str, Any]]:
        """Yield what this holds, each with its step in a path: ``.name``, ``[key]``, or "" for itself."""
        for parameter in self.parameters():
            yield "", parameter


def parameters_in(value: Any, path: str, seen: dict[int, Any]) -> Iterator[tuple[str, ParameterNode[Any]]]:
    """Yield the parameters in *value* that are not yet *seen*, each with its path below *path*."""
    # On a list, not by recursion: modules may be nested thousands deep. By id, because two lists may be equal; with
    # the object, because the id of a method that was bound for the occasion would be free for the next one.
    waiting = [(path, iter([("", value)]))]
    while waiting:
        above, members = waiting[-1]
        for step, item in members:
            if id(item) in seen or type(item) in _ATOMS:
                continue
            seen[id(item)] = item
            below = f"{above}{step}".removeprefix(".")
            if isinstance(item, ParameterNode):
                yield below, item
            else:
                waiting.append((below, members_of(item)))
                break
        else:
            waiting.pop()


def members_of(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what an owner or a container holds, each with its step in a path; nothing for all else."""
    if isinstance(value, ParameterOwner):
        return value._members()  # noqa: SLF001 - its own class
    return items_of(value)


def items_of(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the items of a container, or the arguments of a `functools.partial`, as `members_of` does.

    Containers are those in which operators find nodes: with lists, tuples and dicts also sets, deques and dataclasses.
    """
    if isinstance(value, dict):
        # A text stands without quotes, if nothing else does that reads the same.
        others = {str(key) for key in list(value) if not isinstance(key, str)}
        for key, item in list(value.items()):
            is_clear = not isinstance(key, str) or (key not in others and not re.search(r"""[][]|^['"]""", key))
            yield f"[{key if is_clear else repr(key)}]", item
    elif isinstance(value, partial):
        yield "", value.func
        yield ".args", value.args
        yield ".keywords", value.keywords
    elif not isinstance(value, Node) and (container := container_of(type(value))) is not None:
        if container.names is None or isinstance(value, tuple):
            names: Iterable[str] = (f"[{index}]" for index in count())
        else:
            names = [f".{name}" for name in container.names(value)]
        yield from zip(names, container.items(value), strict=False)


def attributes_of(instance: Any) -> dict[str, Any]:
    """Return the attributes of *instance* by name, in slots as well; no property is evaluated."""
    found: dict[str, Any] = {}
    for base in reversed(type(instance).__mro__):
        for name, member in vars(base).items():
            if type(member) is MemberDescriptorType and base.__module__ != "builtins":
                with suppress(AttributeError):  # not assigned
                    found[name] = member.__get__(instance)
    for slot in ("__pydantic_extra__", "__pydantic_private__"):
        # Where pydantic keeps attributes that are no fields.
        found.update(found.pop(slot, None) or {})
    return {**found, **vars(instance)}


def near_misses(names: Iterable[str], known: Iterable[str]) -> str:
    """Return a sentence that says which of the *known* names might have been meant.

    Example:
        >>> near_misses(["promt"], ["prompt", "style"]), near_misses(["x"], ["prompt"]), near_misses(["x"], [])
        ('Did you mean prompt?', 'The parameters are prompt.', 'Make one with node(value, trainable=True).')
    """
    import difflib  # noqa: PLC0415 - only for errors

    known = list(known)
    near = [close for name in names for close in difflib.get_close_matches(name, known, n=2)]
    if near:
        return f"Did you mean {' or '.join(dict.fromkeys(near))}?"
    if not known:
        return "Make one with node(value, trainable=True)."
    return f"The parameters are {', '.join(known[:10])}{', …' * (len(known) > 10)}."


def _dotted(path: str) -> str:
    # So that `tools.*` means what is in `tools`, whether that is a module or a dict.
    return re.sub(r"\[([^\]]*)\]", r".\1", path)


def _found_at(value: Any, path: str) -> Iterator[Any]:
    """Yield what stands at *path* below *value*."""
    if not path:
        yield value
        return
    for step, item in members_of(value):
        wanted = step.removeprefix(".")
        if wanted and path.startswith(wanted) and path[len(wanted) :][:1] in {"", ".", "["}:
            yield from _found_at(item, path[len(wanted) :].removeprefix("."))


def _name_of(owner: Any) -> str:
    return getattr(owner, "__name__", None) or type(owner).__name__
