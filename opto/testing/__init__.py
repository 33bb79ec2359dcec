"""For tests, of programs that use opto and of opto itself: doubles, and what optimizers and adapters must keep."""

from opto.testing.actions import Action, Altered, Cut, Drip, Exchange, Failure, Raw, Slow
from opto.testing.adapters import AdapterContract
from opto.testing.contract import OptimizerContract
from opto.testing.endpoints import EndpointContract
from opto.testing.faults import FAULTS, Fault, Faults
from opto.testing.incoming import RecordedRequest
from opto.testing.server import LLMServer

__all__ = [
    "FAULTS",
    "Action",
    "AdapterContract",
    "Altered",
    "Cut",
    "Drip",
    "EndpointContract",
    "Exchange",
    "Failure",
    "Fault",
    "Faults",
    "LLMServer",
    "OptimizerContract",
    "Raw",
    "RecordedRequest",
    "Slow",
]
