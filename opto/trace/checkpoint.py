"""Values of parameters in a file: written as a whole or not at all, read without running anything."""

import math
import os
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from opto import files
from opto.errors import DomainError, ModuleError
from opto.nodes import OfType, ParameterNode
from opto.trace.plaintext import read_toml, read_value, write_table
from opto.trace.source import Code

__all__ = ["Loaded", "load", "replace_file", "save"]

_FORMAT = 1
_HEAD = """\
# Values of the parameters of {owner}, as opto saves them: plain TOML, to be read, compared and edited.
# Nothing in it is executed when it is loaded.
format = {format}

"""


class Loaded(NamedTuple):
    """What `load` found.

    Attributes:
        loaded: Names of the parameters that have their value from the file.
        missing: Names of the parameters that the file does not have; they are unchanged.
        extra: Names in the file that the module does not have.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]


def save(file_name: "str | os.PathLike[str]", parameters: Iterable[tuple[str, ParameterNode[Any]]], owner: str) -> None:
    """Write the values of *parameters*, which belong to *owner*, to a file.

    Raises:
        ModuleError: A value or the file cannot be written.
    """
    values: dict[str, Any] = {}
    for name, parameter in parameters:
        if name in values:
            raise ModuleError(
                f"{owner} has two parameters {name!r}.", mend="Give the keys of its dict different texts."
            )
        values[name] = _checked(name, parameter)

    def refuse(name: str, reason: str) -> ModuleError:
        return ModuleError(
            f"Parameter {name!r} cannot be saved: it {reason}.",
            mend="Let parameters hold text, numbers, or lists, tuples, sets and dicts of these.",
        )

    text = _HEAD.format(owner=owner, format=_FORMAT) + write_table(values, "parameters", refuse)
    replace_file(file_name, text)


def _checked(name: str, parameter: ParameterNode[Any]) -> Any:
    """Return the value of *parameter* as it is written, if its domain will let it in again."""
    value = parameter._data  # noqa: SLF001 - saving is no part of a traced program
    plain = value.item() if _is_number_of_numpy(value) else value
    try:
        _let_in(parameter, plain)
    except DomainError as error:
        raise ModuleError(
            f"Parameter {name!r} cannot be saved, because it could not be loaded again: {error.problem}",
            mend=error.mend,
        ) from error
    return plain


def _let_in(parameter: ParameterNode[Any], value: Any) -> Any:
    """Return *value* as *parameter* may hold it.

    Raises:
        DomainError: It may not.
    """
    domain = parameter.domain
    if isinstance(domain, OfType) and type(value) is float and not math.isfinite(value):
        # Nobody may suggest infinity, but a program may begin with it.
        start = parameter._data  # noqa: SLF001 - as below
        if isinstance(start.item() if _is_number_of_numpy(start) else start, float):
            return domain.kind(value)
    # Not by `parameter.accept`: projections map what is suggested, and this was a value before.
    accepted = domain.accept(value)
    # Blanks around a suggested source mean nothing; those around a saved one come back.
    is_source = isinstance(domain, Code) and isinstance(value, str) and value.strip() == accepted.strip()
    return value if is_source else accepted


def _is_number_of_numpy(value: Any) -> bool:
    # By name, as domains do, which make the number one of numpy's again.
    return any(base.__module__ == "numpy" and base.__name__ == "generic" for base in type(value).__mro__)


def replace_file(file_name: "str | os.PathLike[str]", text: str) -> None:
    """Write *text* to a file, which then holds all of it, or what it held before.

    Raises:
        ModuleError: It cannot be written.
    """
    try:
        files.replace_file(file_name, text)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModuleError(
            f"The file {os.fspath(file_name)!r} cannot be written: {reason}.",
            mend="Choose another file, or make room and permissions there.",
        ) from error


def load(
    file_name: "str | os.PathLike[str]",
    parameters: Mapping[str, ParameterNode[Any]],
    owner: str,
    *,
    strict: bool = True,
) -> Loaded:
    """Put the values in a file into *parameters*, which belong to *owner*: all that fit, or none.

    Raises:
        ModuleError: The file cannot be read, or (if strict) has other names.
        DomainError: A parameter may not have its value.
    """
    held = _read(file_name)
    missing = tuple(name for name in parameters if name not in held)
    extra = tuple(name for name in held if name not in parameters)
    if strict and (missing or extra):
        lacks = [f"{words} {', '.join(map(repr, names))}" for words, names in _differences(missing, extra) if names]
        raise ModuleError(
            f"The file {os.fspath(file_name)!r} does not fit {owner}: {' and '.join(lacks)}.",
            mend="Load a file that was saved from such a module, or what fits of this one with strict=False.",
        )
    accepted: dict[str, Any] = {}
    for name, parameter in parameters.items():
        if name in held:
            try:
                accepted[name] = _let_in(parameter, held[name])
            except DomainError as error:
                raise DomainError(f"Parameter {name!r} in the file: {error.problem}", mend=error.mend) from error
    for name, value in accepted.items():
        parameters[name]._set(value)  # noqa: SLF001 - checked just before
    return Loaded(tuple(accepted), missing, extra)


def _differences(missing: tuple[str, ...], extra: tuple[str, ...]) -> list[tuple[str, tuple[str, ...]]]:
    return [("it lacks", missing), ("it has, but the module has not,", extra)]


def _read(file_name: "str | os.PathLike[str]") -> dict[str, Any]:
    """Return the values in the file by name, as they are written there."""
    try:
        with open(file_name, "rb") as file:
            content = file.read()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModuleError(
            f"The file {os.fspath(file_name)!r} cannot be read: {reason}.",
            mend="Give the file that save() wrote.",
        ) from error
    if content.startswith(b"\x80"):
        raise ModuleError(
            f"The file {os.fspath(file_name)!r} is a pickle, which may run code when it is loaded.",
            mend="Load it with the program that wrote it, put the values into the parameters, and save() them.",
        )
    try:
        document = read_toml(content.decode("utf-8-sig"))
        _check(document)
        return {name: read_value(raw) for name, raw in document["parameters"].items()}
    except (ValueError, RecursionError) as error:
        raise ModuleError(
            f"The file {os.fspath(file_name)!r} holds no saved parameters: {error}.",
            mend="Give a file that save() wrote, or undo what was edited in it.",
        ) from error


def _check(document: dict[str, Any]) -> None:
    version = document.get("format")
    if type(version) is int and version > _FORMAT:
        raise ValueError(f"it has format {version}, but this version of opto reads format {_FORMAT}")
    if type(version) is not int or version != _FORMAT or not isinstance(document.get("parameters"), dict):
        raise ValueError(f"it does not say 'format = {_FORMAT}' and '[parameters]'")
    unknown = [name for name in document if name not in {"format", "parameters"}]
    if unknown:
        raise ValueError(f"it has {', '.join(map(repr, unknown))} beside 'format' and 'parameters'")
