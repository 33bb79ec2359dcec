"""Writing traced programs: nodes, bundles, modules.

Programs written for Trace find what they import here.
"""

from opto.errors import ExecutionError
from opto.nodes import (
    Choices,
    Domain,
    Feedback,
    Node,
    Range,
    TraceGraph,
    is_tracing,
    node,
    stop_tracing,
)
from opto.trace.bundle import FunModule, bundle
from opto.trace.modules import Module, model

__all__ = [
    "Choices",
    "Domain",
    "ExecutionError",
    "Feedback",
    "FunModule",
    "Module",
    "Node",
    "Range",
    "TraceGraph",
    "bundle",
    "is_tracing",
    "model",
    "node",
    "stop_tracing",
]
