"""What is read from an answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Suggestion"]


@dataclass(frozen=True)
class Suggestion:
    """Values that a model or a search proposes, unchecked.

    Attributes:
        values: By name of the variable; empty if nothing should change. Text, if the format knows nothing else.
        reasoning: Why.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    reasoning: str = ""
