"""Doubles for tests: of programs that use opto, and of opto itself."""

from opto.testing.server import (
    Action,
    Cut,
    Exchange,
    Failure,
    LLMServer,
    Raw,
    RecordedRequest,
    Slow,
)

__all__ = [
    "Action",
    "Cut",
    "Exchange",
    "Failure",
    "LLMServer",
    "Raw",
    "RecordedRequest",
    "Slow",
]
