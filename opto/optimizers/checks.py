"""What is asked of parameters and of values before a step uses them."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from keyword import iskeyword
from typing import Any

from opto.errors import OptimizerError
from opto.nodes import Feedback, Node, ParameterNode, attempt, parameter_names, write_constant
from opto.runs import Rejection, as_json

__all__ = ["checked", "copied", "named", "recorded", "rejection", "same", "score_of", "sendable"]


def checked(parameters: Iterable[Any]) -> list[ParameterNode[Any]]:
    """Return the trainable ones of *parameters*, each once.

    Raises:
        OptimizerError: There is none, or something is no parameter.
    """
    if isinstance(parameters, type):
        raise OptimizerError(
            f"The parameters are the class {parameters.__name__}.",
            mend=f"Give those of an object: Optimizer({parameters.__name__}(…).parameters()).",
        )
    if hasattr(parameters, "parameters") and not isinstance(parameters, Node):
        raise OptimizerError(
            f"The parameters are a {type(parameters).__name__}.",
            mend="Give its parameters: Optimizer(it.parameters()).",
        )
    if isinstance(parameters, Node | str) or not isinstance(parameters, Iterable):
        is_method = callable(parameters) and not isinstance(parameters, Node)
        mend = "Call it: it.parameters()." if is_method else "Give a list: Optimizer([parameter])."
        raise OptimizerError(f"The parameters are a single {type(parameters).__name__}.", mend=mend)
    if isinstance(parameters, Mapping):
        parameters = parameters.values()
    found: dict[ParameterNode[Any], None] = {}
    for item in parameters:
        if hasattr(item, "parameters") and not isinstance(item, Node):
            raise OptimizerError(
                f"{item!r:.80} is no parameter, but has some.", mend="Give those: Optimizer(it.parameters())."
            )
        if not isinstance(item, ParameterNode):
            held = isinstance(item, list | tuple) and any(isinstance(part, ParameterNode) for part in item)
            raise OptimizerError(
                f"{item!r:.80} is no parameter{', but holds some' * held}.",
                mend="Give a flat list of them." if held else "Make it one with node(value, trainable=True).",
            )
        if item.trainable:
            found[item] = None
    if not found:
        raise OptimizerError(
            "There is no trainable parameter to optimize.",
            mend="Give node(value, trainable=True), or .parameters() of a trainable bundle or a module.",
        )
    return list(found)


def named(parameters: Sequence[ParameterNode[Any]], given: Any) -> dict[str, ParameterNode[Any]]:
    """Return *parameters* by name: by the names of *given*, if those were given, else by their own.

    Raises:
        OptimizerError: A name could not stand in a line of Python.
    """
    if not isinstance(given, Mapping):
        return parameter_names(parameters)
    if wrong := [name for name in given if not isinstance(name, str) or not name.isidentifier() or iskeyword(name)]:
        raise OptimizerError(
            f"{wrong[0]!r:.80} is no name for a variable.", mend="Give names of letters, digits and underscores."
        )
    chosen = set(parameters)
    by_parameter = {item: name for name, item in given.items() if item in chosen}
    return {by_parameter[item]: item for item in parameters}


def recorded(parameter: ParameterNode[Any] | None, value: Any) -> Any:
    """Return *value* as JSON from which the domain of *parameter* makes it again; if it cannot, what `as_json` says.

    None is for what is somebody else's parameter.

    Example:
        >>> from decimal import Decimal
        >>> from opto.nodes import node
        >>> recorded(node(Decimal("0.10"), trainable=True), Decimal("0.30"))
        '0.30'
    """
    plain = as_json(value)
    if parameter is None:
        return plain
    text = attempt(parameter.domain.write, value, fallback="") if isinstance(value, str) else None
    if value is None or type(value) in {bool, int} or (type(value) is str and text == value):
        return plain  # read as it is: code and prompts need not be checked again for every record
    return next((form for form in _forms(parameter, value, plain) if _makes(parameter, form, value)), plain)


def _forms(parameter: ParameterNode[Any], value: Any, plain: Any) -> Iterator[Any]:
    """Yield what *value* may be recorded as, the most readable first."""
    is_repr = isinstance(plain, str) and not isinstance(value, str)  # which sets have another of in each process
    if not is_repr:
        yield plain
    text = attempt(parameter.domain.write, value, fallback="")
    data = attempt(json.loads, text, fallback=None)
    if isinstance(data, dict | list):
        yield data
    yield text


def _makes(parameter: ParameterNode[Any], form: Any, value: Any) -> bool:
    domain = parameter.domain

    def is_it() -> bool:
        made = domain.accept(form)
        return type(made) is type(value) and bool(made == value)

    return attempt(is_it, fallback=False)


def score_of(said: Any, whose: str) -> float:
    """Return the score in what a function of the user's returned, of which errors speak as *whose*.

    Raises:
        OptimizerError: There is none.
        BackwardError: It is nothing that feedback can be.
    """
    if said is None:
        raise OptimizerError(f"{whose} returned None.", mend="Return a number, higher is better.")
    found = Feedback.of(said)
    if found.score is None:
        raise OptimizerError(
            f"{whose} gave no score, but {found.text!r:.80}.", mend="Return a number; higher is better."
        )
    return found.score


def rejection(name: str, raw: Any, reason: str) -> Rejection:
    return Rejection(name=name, suggested=as_json(raw), reason=reason)


def sendable(value: Any) -> Any:
    """Return *value*, unless it is a text that could not be sent to a model again."""
    if isinstance(value, str):
        value.encode()
    return value


def copied(value: Any) -> Any:
    """Return a copy of *value* that the program cannot change any more; the value itself if it cannot be copied."""
    return attempt(deepcopy, value, fallback=value)


def same(new: Any, old: Any) -> bool:
    """True if a value is the one in force. Arrays and the like do not compare to one bool: they count as new."""

    def equal() -> bool:
        # By text as well: [1, 0] equals [True, False].
        return bool(new == old) and write_constant(new) == write_constant(old)

    return type(new) is type(old) and attempt(equal, fallback=False)
