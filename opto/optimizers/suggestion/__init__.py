"""Suggestions: how a model is asked to write them, and how they are read.

A format only writes; one reader reads all formats, and answers in between: ``read_answer(format.write(suggestion))``
gives the suggestion back, whatever the values hold. Reading is pure; what cannot be read is a `SuggestionError`, never
a guess.
"""

from opto.optimizers.suggestion.calls import read_arguments, read_reply, schema, suggest_tool
from opto.optimizers.suggestion.reading import read_answer
from opto.optimizers.suggestion.tags import as_cdata
from opto.optimizers.suggestion.values import Suggestion
from opto.optimizers.suggestion.writing import FORMATS, AnswerFormat, FormatName, JsonFormat, TagFormat, ToolFormat

__all__ = [
    "FORMATS",
    "AnswerFormat",
    "FormatName",
    "JsonFormat",
    "Suggestion",
    "TagFormat",
    "ToolFormat",
    "as_cdata",
    "read_answer",
    "read_arguments",
    "read_reply",
    "schema",
    "suggest_tool",
]
