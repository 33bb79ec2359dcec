"""The trace graph: nodes, operators, domains, feedback, and the backward pass.

Layer 1: it knows no language model and no source code.
"""

from opto.nodes.domains import Choices, Domain, OfType, Range, as_domain, read_as
from opto.nodes.feedback import Feedback
from opto.nodes.graph import TraceGraph
from opto.nodes.node import (
    ExceptionNode,
    MessageNode,
    Node,
    ParameterNode,
    failure,
    node,
    pack,
    record,
)
from opto.nodes.operators import Operator
from opto.nodes.propagators import GraphPropagator, Propagator, SumPropagator, backward
from opto.nodes.scope import is_tracing, stop_tracing
from opto.nodes.valuelike import unpack

__all__ = [
    "Choices",
    "Domain",
    "ExceptionNode",
    "Feedback",
    "GraphPropagator",
    "MessageNode",
    "Node",
    "OfType",
    "Operator",
    "ParameterNode",
    "Propagator",
    "Range",
    "SumPropagator",
    "TraceGraph",
    "as_domain",
    "backward",
    "failure",
    "is_tracing",
    "node",
    "pack",
    "read_as",
    "record",
    "stop_tracing",
    "unpack",
]
