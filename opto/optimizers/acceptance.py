"""What of a suggestion can be used: whose value each is meant to be, and whether its domain accepts it."""

import difflib
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from opto.nodes import ParameterNode
from opto.optimizers.checks import rejection, sendable
from opto.optimizers.suggestion import Suggestion
from opto.runs import Rejection

__all__ = ["Checked", "check"]


class Checked(NamedTuple):
    """What of a suggestion can be used.

    Attributes:
        values: The values that the domains accept, by variable.
        rejected: The others, each with its reason.
        said: All that was suggested for a variable, as it was suggested.
    """

    values: Mapping[str, Any]
    rejected: list[Rejection]
    said: Mapping[str, Any]


def check(
    suggestion: Suggestion, variables: Mapping[str, ParameterNode[Any]], *, taken: Collection[str] = ()
) -> Checked:
    """Return what of *suggestion* can be used. Nothing is changed.

    Args:
        suggestion: Values by name, unchecked.
        variables: The parameters that it may be about, by name.
        taken: Names that mean something else where the suggestion was made.
    """
    values: dict[str, Any] = {}
    said: dict[str, Any] = {}
    rejected: list[Rejection] = []
    names = _names(variables, taken)
    for called, raw in suggestion.values.items():
        name = names.get(called) or _in_other_case(called, names)
        if name is None:
            near = difflib.get_close_matches(called, variables, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"The variables are {', '.join(variables)}."
            rejected.append(rejection(called, raw, f"There is no variable {called!r}. {hint}"))
        elif name in values:
            rejected.append(rejection(called, raw, f"{name} was given two values. Give it one."))
        else:
            said[name] = raw
            try:
                values[name] = sendable(variables[name].accept(raw))
            except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, AssertionError) as error:
                # DomainError is one of these; domains and projections that users write raise others.
                rejected.append(rejection(name, raw, _in_words(error)))
    return Checked(values, rejected, said)


def _in_words(error: Exception) -> str:
    # Of other kinds than these, the words alone tell little: KeyError says 'x'.
    meant_to_be_read = str(error) and isinstance(error, ValueError | AssertionError)
    return str(error) if meant_to_be_read else f"{type(error).__name__}: {error}".rstrip(": ")


def _names(variables: Mapping[str, ParameterNode[Any]], taken: Collection[str]) -> dict[str, str]:
    """Return the names that a suggestion may use: those shown, and those of Trace if nothing else is called so.

    Trace's are ``x0``, as in its papers, or ``x:0``, and ``parameter.py_name``, by which scripts in place of a model
    go.
    """
    aliases = {f"{name}{end}": name for name in variables for end in ("0", ":0")}
    aliases |= {alias: name for name, item in variables.items() for alias in (item.py_name, item.name)}
    return {alias: name for alias, name in aliases.items() if alias not in taken} | {name: name for name in variables}


def _in_other_case(said: str, names: Mapping[str, str]) -> str | None:
    """Return the only variable that is meant by *said* if letters may be large or small; None if there is none."""
    meant = {name for alias, name in names.items() if alias.casefold() == said.casefold()}
    return meant.pop() if len(meant) == 1 else None
