"""What the program does about warnings, as plain data: its filters hold where its candidates run, too."""

import re
import warnings
from typing import Any

__all__ = ["told_filters"]


def told_filters() -> list[Any]:
    """Return the filters of this program: action, text, class, module and line of each, the first one first."""
    filters: Any = warnings.filters
    return [
        [action, _pattern(text), [category.__module__, category.__qualname__], module, line]
        for action, text, category, where, line in filters
        if isinstance(category, type)
        for module in _modules(where)
    ]


def _pattern(found: Any) -> str:
    return "" if found is None else found.pattern if isinstance(found, re.Pattern) else rf"{re.escape(found)}\Z"


def _modules(where: Any) -> list[str]:
    """Return patterns for the modules that are meant, with those that stand for modules of the program over there."""
    pattern = _pattern(where)
    if not pattern:
        return [""]
    main = [r"candidate\Z"] if re.match(pattern, "__main__") else []
    return main if where == "__main__" else [*main, rf"candidate\.(?:{pattern})", pattern]
