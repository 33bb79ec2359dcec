"""The groups of `Mixed`: which parameters there are in each, and what is to optimize them."""

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from opto.errors import OptimizerError, OptoError
from opto.nodes import ParameterNode
from opto.optimizers.checks import checked
from opto.optimizers.optimizer import Optimizer
from opto.optimizers.optoprime import OptoPrime
from opto.optimizers.search import LocalSearch, Sampler, ScoreSearch, can_search

__all__ = ["Group", "groups_of", "not_taken"]

Maker = Callable[..., Optimizer]

_OF_THE_WHOLE = ("run", "propagator", "max_failures", "keep_best")


@dataclass(frozen=True)
class Group:
    """Parameters, and what is to optimize them.

    Attributes:
        parameters: What may be changed.
        maker: Makes an optimizer of them.
        settings: For it alone.
        place: Which group of the user's it is, in words; empty if there are none.
        chosen: True if the user did not say what is to optimize them.
    """

    parameters: Sequence[ParameterNode[Any]]
    maker: Maker
    settings: Mapping[str, Any]
    place: str = ""
    chosen: bool = True

    @property
    def origin(self) -> str:
        """Who said what is to optimize them."""
        if not self.chosen:
            return f"as {self.place} says"
        return f"chosen by Mixed{f' for {self.place}' if self.place else ''}"

    @property
    def made_by(self) -> str:
        return getattr(self.maker, "__name__", type(self.maker).__name__)

    @property
    def arguments(self) -> list[str]:
        """The settings that the optimizer is known to take."""
        return [name for name, item in _arguments(self.maker).items() if item.kind is item.KEYWORD_ONLY]

    def takes(self, name: str) -> bool:
        return name in _arguments(self.maker) and name not in self.settings

    def made(self, names: Mapping[ParameterNode[Any], str], defaults: Mapping[str, Any]) -> Optimizer:
        """Return the optimizer, to which the parameters have *names*; *defaults* are for all who take them.

        Raises:
            OptimizerError: What was made is no optimizer.
            TypeError: It does not take one of the settings.
        """
        mine = [names[item] for item in self.parameters]
        self._check_settings(", ".join(mine))
        known = {name: value for name, value in defaults.items() if self.takes(name)}
        if "context" in known:
            known["context"] = {name: text for name, text in known["context"].items() if name in mine}
        try:
            optimizer = self.maker(dict(zip(mine, self.parameters, strict=True)), **known, **self.settings)
        except (TypeError, OptoError) as error:
            error.add_note(f"It is the {self.made_by} for {', '.join(mine)}, {self.origin}.")
            raise
        if not isinstance(optimizer, Optimizer):
            raise OptimizerError(
                f"The optimizer of a group is a {type(optimizer).__name__}.",
                mend="Give a class of optimizers, or a function that returns one.",
            )
        if isinstance(optimizer, ScoreSearch):
            optimizer.searched = f", which searches {', '.join(mine)} ({self.origin}),"
        return optimizer

    def _check_settings(self, mine: str) -> None:
        arguments = _arguments(self.maker)
        if any(item.kind is item.VAR_KEYWORD for item in arguments.values()):
            return  # it says itself what it does not take
        if unknown := [name for name in self.settings if name not in arguments]:
            raise not_taken(f"{self.place.capitalize()} ({mine})", unknown, [self])


def groups_of(given: Any) -> list[Group]:
    """Read what a user gave as parameters or groups of them.

    Raises:
        OptimizerError: A group cannot be used, or a parameter is in two of them.
        TypeError: No optimizer that suits the parameters of a group takes one of its settings.
    """
    if (
        isinstance(given, Mapping)
        and "params" in given
        and not all(isinstance(i, ParameterNode) for i in given.values())
    ):
        raise OptimizerError("The parameters are a single group.", mend='Put it into a list: [{"params": [...], ...}].')
    groups = [item for item in given if isinstance(item, Mapping)] if isinstance(given, list) else []
    if not groups:
        return _fitting(checked(given), {})  # which says what is wrong with anything else
    if len(groups) < len(given):
        raise OptimizerError("Some of the parameters are in groups, and some are not.", mend="Put all into groups.")
    seen: set[ParameterNode[Any]] = set()
    found: list[Group] = []
    for position, group in enumerate(groups):
        if "params" not in group:
            raise OptimizerError(f"Group {position} has no 'params'.", mend='Write {"params": [...], ...}.')
        settings = {name: value for name, value in group.items() if name not in {"params", "optimizer"}}
        if common := [name for name in _OF_THE_WHOLE if name in settings]:
            raise OptimizerError(f"Group {position} sets {common[0]}.", mend="Set it for all groups together.")
        params = [group["params"]] if isinstance(group["params"], ParameterNode) else group["params"]
        parameters = checked(params)
        if twice := [item for item in parameters if item in seen]:
            raise OptimizerError(f"{twice[0].py_name} is in two groups.", mend="Leave it in one of them.")
        seen.update(parameters)
        if "optimizer" in group:
            if not callable(group["optimizer"]):
                raise OptimizerError(
                    f"The optimizer of group {position} is {group['optimizer']!r:.80}.",
                    mend="Give a class of optimizers, such as OptoPrime, with its settings beside it.",
                )
            found.append(Group(parameters, group["optimizer"], settings, f"group {position}", chosen=False))
        else:
            found += _fitting(parameters, settings, f"group {position}")
    return found


def _fitting(parameters: Sequence[ParameterNode[Any]], settings: Mapping[str, Any], place: str = "") -> list[Group]:
    """Return the parameters with optimizers that suit them."""
    search: Maker = Sampler if find_spec("optuna") else LocalSearch
    found = [
        Group(chosen, maker, {name: value for name, value in settings.items() if name in _arguments(maker)}, place)
        for maker, searched in ((search, True), (OptoPrime, False))
        if (chosen := [item for item in parameters if can_search(item) == searched])
    ]
    if unused := [name for name in settings if not any(name in group.settings for group in found)]:
        raise not_taken(f"{place.capitalize()} ({', '.join(item.py_name for item in parameters)})", unused, found)
    return found


def not_taken(where: str, names: Sequence[str], groups: Sequence[Group], own: Sequence[str] = ()) -> TypeError:
    """Return an error that says of settings that none of *groups* takes them, and which might have been meant.

    Args:
        where: Who sets them.
        names: The settings.
        groups: Those for which they are.
        own: What else could be set there.
    """
    known = dict.fromkeys([*own, *(name for group in groups for name in group.arguments)])
    near = [close for name in names for close in difflib.get_close_matches(name, known, n=1, cutoff=0.75)]
    made_by = " and ".join(dict.fromkeys(group.made_by for group in groups))
    mend = f"Did you mean {' and '.join(near)}?" if near else "Leave it out, or give an optimizer that takes it."
    return TypeError(f"{where} sets {', '.join(map(repr, names))}, unknown to {made_by}. {mend}")


def _arguments(maker: Maker) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(maker).parameters
