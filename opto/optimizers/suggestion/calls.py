"""Suggestions as calls of a tool: the schema that a provider holds a model to, and reading what was called with."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from opto.errors import SuggestionError
from opto.llm import Reply, Tool
from opto.nodes import All, Check, Choices, OfType, ParameterNode, Range
from opto.optimizers.suggestion.reading import read_answer
from opto.optimizers.suggestion.values import Suggestion

__all__ = ["TOOL_NAME", "read_arguments", "read_reply", "schema", "suggest_tool"]

TOOL_NAME = "suggest"


def schema(variables: Mapping[str, ParameterNode[Any]]) -> dict[str, Any]:
    """Return the JSON schema of a suggestion for *variables*, by name.

    It says what providers can enforce: types, bounds, options. What else a domain asks for stands in the descriptions,
    and is checked when the suggestion comes.

    Example:
        >>> from opto.nodes import node
        >>> size = node(3, name="size", trainable=True, domain=Range(0, 9))
        >>> schema({"size": size})["properties"]["suggestion"]["properties"]
        {'size': {'type': 'integer', 'minimum': 0, 'maximum': 9, 'description': 'an integer from 0 to 9'}}
    """
    values = {name: _described(parameter) for name, parameter in variables.items()}
    if all(map(_PROPERTY.fullmatch, values)):
        suggestion: dict[str, Any] = {"type": "object", "properties": values, "additionalProperties": False}
    else:
        # Providers refuse other names of properties; as values, any name will do.
        change = {"name": {"type": "string", "enum": list(values)}, "value": {"description": "its complete new value"}}
        about = "; ".join(f"{name}: {item['description']}" for name, item in values.items())
        item = {"type": "object", "properties": change, "required": ["name", "value"], "additionalProperties": False}
        suggestion = {"type": "array", "items": item, "description": about}
    suggestion["description"] = " ".join([_SUGGESTION, suggestion.get("description", "")]).strip()
    return {
        "type": "object",
        "properties": {"reasoning": {"type": "string", "description": _REASONING}, "suggestion": suggestion},
        "required": ["reasoning", "suggestion"],
        "additionalProperties": False,
    }


_REASONING = "Why the outputs got this feedback, and which change would help."
_SUGGESTION = "The complete new values of the variables that you change; others are left out."
#: Names that Anthropic takes for properties; OpenAI takes more.
_PROPERTY = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_TYPES: dict[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    tuple: "array",
    set: "array",
    dict: "object",
}


def _described(parameter: ParameterNode[Any]) -> dict[str, Any]:
    domain, value = parameter.domain, parameter._data  # noqa: SLF001 - no read of the program
    about = [domain.describe(), parameter.description or ""]
    return {**_restricted(domain, value), "description": "; ".join(part for part in about if part)}


def _restricted(domain: Any, value: Any) -> dict[str, Any]:
    match domain:
        case Choices() if all(isinstance(option, str | int | float | None) for option in domain.options):
            return {"enum": list(domain.options)}
        case Range():
            ends = {"minimum": domain.low, "maximum": domain.high}
            bounds = {key: end for key, end in ends.items() if isinstance(end, int | float) and math.isfinite(end)}
            return {"type": "integer" if domain.kind is int else "number", **bounds}
        case Choices():
            return {"type": "string"}
        case All():
            # Conditions restrict in words only.
            first = next((part for part in domain.parts if not isinstance(part, Check)), domain.parts[0])
            return _restricted(first, value)
        case OfType():
            kind = domain.kind
        case _:
            kind = type(value)
    named = next((_TYPES[base] for base in kind.__mro__ if base in _TYPES), None)
    if named is None:
        # Of a type of the user's own: as Python writes it. Nothing is known of what begins as None.
        return {} if kind is type(None) else {"type": "string"}
    return {"type": named, "items": {}} if named == "array" else {"type": named}


def suggest_tool(variables: Mapping[str, ParameterNode[Any]]) -> Tool:
    """Return the tool that a model calls to suggest values for *variables*: ``llm(messages, tool=…)``."""
    return Tool(
        TOOL_NAME, "Suggest better values for the variables, or none if nothing should change.", schema(variables)
    )


def read_arguments(arguments: str | Mapping[str, Any]) -> Suggestion:
    """Return the suggestion with which the tool was called.

    Stricter than `read_answer`: both keys must be there, as some providers make a whole object of a call that was cut.

    Raises:
        SuggestionError: It cannot be read, or is not complete.

    Example:
        >>> read_arguments({"reasoning": "Larger is better.", "suggestion": {"x": 2}})
        Suggestion(values={'x': 2}, reasoning='Larger is better.')
    """
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    try:
        content = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        content = None
    if isinstance(content, dict) and not {"reasoning", "suggestion"} <= content.keys():
        raise SuggestionError(
            f"The call of {TOOL_NAME} has no 'reasoning' and 'suggestion'.",
            mend=f"Call {TOOL_NAME} with both; leave the suggestion empty if nothing should change.",
        )
    return read_answer(text)


def read_reply(reply: Reply, names: Mapping[str, Any]) -> Suggestion:
    """Return the suggestion in *reply*: what the tool was called with, else what was said.

    Raises:
        SuggestionError: There is none, or it is not complete.
    """
    return read_answer(reply.text, names) if reply.arguments is None else read_arguments(reply.arguments)
