"""The formats: how a model is asked to answer, and how opto itself writes an answer."""

import json
from collections.abc import Mapping
from typing import Any, Literal, Protocol

from opto.llm import Tool
from opto.nodes import ParameterNode
from opto.optimizers.suggestion.calls import TOOL_NAME, suggest_tool
from opto.optimizers.suggestion.tags import LOOKS_LIKE_STRUCTURE, as_cdata
from opto.optimizers.suggestion.values import Suggestion

__all__ = ["FORMATS", "AnswerFormat", "FormatName", "JsonFormat", "TagFormat", "ToolFormat"]

FormatName = Literal["auto", "tags", "json", "tool"]


class AnswerFormat(Protocol):
    """A way to write suggestions as text."""

    #: How to answer, in words for the model, followed by an example.
    instructions: str

    def write(self, suggestion: Suggestion) -> str:
        """Return *suggestion* as text, from which `read_answer` makes it again.

        Raises:
            ValueError: A number is not finite.
            TypeError: A value is neither text nor data that JSON can hold.
        """

    def tool(self, variables: Mapping[str, ParameterNode[Any]]) -> Tool | None:  # noqa: ARG002 - for overriding
        """Return the tool that the model is to call with its answer; None if it answers in words."""
        return None


class TagFormat(AnswerFormat):
    """Tags as in XML, without escapes: code and prose stand in them as they are.

    The tag around all of it tells an answer that was cut between two blocks.

    Example:
        >>> print(TagFormat().write(Suggestion({"x": "2"}, "Larger is better.")))
        <suggestion>
        <reasoning>
        Larger is better.
        </reasoning>
        <variable>
        <name>x</name>
        <value>
        2
        </value>
        </variable>
        </suggestion>
    """

    instructions = """\
Answer in this form, with nothing after it:
<suggestion>
<reasoning>
Why this feedback came, and which change would help.
</reasoning>
<variable>
<name>a variable to change</name>
<value>
its whole new value, without quotes or escapes
</value>
</variable>
</suggestion>
Give a <variable> for each change, none if nothing should change."""

    def write(self, suggestion: Suggestion) -> str:
        blocks = ["<suggestion>", f"<reasoning>\n{_as_it_is(suggestion.reasoning)}\n</reasoning>"]
        for name, value in suggestion.values.items():
            # Readers take CRLF for LF, as it depends on who sent the answer; in a string of JSON it is what it is.
            as_text = isinstance(value, str) and "\r" not in value
            text, kind = (value, "") if as_text else (json.dumps(value, allow_nan=False), ' type="json"')
            block = f"<name>{name}</name>\n<value{kind}>\n{_as_it_is(text)}\n</value>"
            blocks.append(f"<variable>\n{block}\n</variable>")
        return "\n".join([*blocks, "</suggestion>"])


def _as_it_is(text: str) -> str:
    return as_cdata(text) if LOOKS_LIKE_STRUCTURE.search(text) else text


class JsonFormat(AnswerFormat):
    """One JSON object, as OptoPrime of the Trace paper asks for it (arXiv 2406.16218, appendix).

    Example:
        >>> print(JsonFormat().write(Suggestion({"x": 2}, "Larger is better.")))
        {"reasoning": "Larger is better.", "suggestion": {"x": 2}}
    """

    instructions = """\
Answer with one JSON object and nothing else:
{"reasoning": "why the outputs got this feedback, and which change would help",
 "suggestion": {"name of a variable to change": its complete new value}}
Text and code are JSON strings. Leave out variables that stay as they are; {} changes nothing."""

    def write(self, suggestion: Suggestion) -> str:
        content = {"reasoning": suggestion.reasoning, "suggestion": dict(suggestion.values)}
        return json.dumps(content, allow_nan=False)


class ToolFormat(JsonFormat):
    """The call of a tool, whose arguments the provider holds to a schema; the same object where it cannot be called.

    Example:
        >>> from opto.nodes import node
        >>> ToolFormat().tool({"x": node(1, trainable=True)}).name
        'suggest'
    """

    instructions = f"""\
Answer by calling the tool {TOOL_NAME}. If you have no such tool, answer with its arguments as one JSON object:
{{"reasoning": "why the outputs got this feedback, and which change would help",
 "suggestion": {{"name of a variable to change": its complete new value}}}}
Leave out variables that stay as they are; an empty suggestion changes nothing."""

    def tool(self, variables: Mapping[str, ParameterNode[Any]]) -> Tool:
        return suggest_tool(variables)


#: By the name that users give; ``auto`` is one of these, depending on model and variables (see `AskingOptimizer`).
FORMATS: dict[FormatName, AnswerFormat] = {"tags": TagFormat(), "json": JsonFormat(), "tool": ToolFormat()}
