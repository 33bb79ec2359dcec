"""For tests, of programs that use opto and of opto itself: doubles, and what every optimizer must keep."""

from opto.testing.contract import OptimizerContract
from opto.testing.server import (
    Action,
    Cut,
    Drip,
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
    "Drip",
    "Exchange",
    "Failure",
    "LLMServer",
    "OptimizerContract",
    "Raw",
    "RecordedRequest",
    "Slow",
]
