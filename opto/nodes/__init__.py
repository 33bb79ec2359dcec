"""The trace graph: nodes, operators, domains, feedback, and the backward pass.

Layer 1: it knows no language model and no source code.
"""

from opto.nodes.constants import attempt, brief, without_halves
from opto.nodes.containers import CONTAINERS, SCALARS, container_of
from opto.nodes.domains import (
    All,
    Check,
    Choices,
    Domain,
    OfType,
    Range,
    Schema,
    Text,
    as_domain,
    read_as,
    unfenced,
)
from opto.nodes.feedback import Feedback
from opto.nodes.frozen import Frozen
from opto.nodes.graph import TraceGraph, canonical_names, parameter_names
from opto.nodes.mutation import fingerprint, warn_if_changed
from opto.nodes.node import Node, ParameterNode, node, restart_numbers
from opto.nodes.operators import BINARY, CLONE, EQUAL, LENGTH, NOT_EQUAL, UNARY, Operator, write_arguments
from opto.nodes.packing import unpack
from opto.nodes.picture import write_call, write_constant
from opto.nodes.propagators import GraphPropagator, Propagator, SumPropagator, backward
from opto.nodes.results import ExceptionNode, MessageNode, Numbered, failure, pack, record
from opto.nodes.scope import (
    enter_open_scope,
    enter_scope,
    is_tracing,
    leave_open_scope,
    leave_scope,
    new_scope,
    reads_in,
    stop_tracing,
)
from opto.nodes.vertex import births

__all__ = [
    "BINARY",
    "CLONE",
    "CONTAINERS",
    "EQUAL",
    "LENGTH",
    "NOT_EQUAL",
    "SCALARS",
    "UNARY",
    "All",
    "Check",
    "Choices",
    "Domain",
    "ExceptionNode",
    "Feedback",
    "Frozen",
    "GraphPropagator",
    "MessageNode",
    "Node",
    "Numbered",
    "OfType",
    "Operator",
    "ParameterNode",
    "Propagator",
    "Range",
    "Schema",
    "SumPropagator",
    "Text",
    "TraceGraph",
    "as_domain",
    "attempt",
    "backward",
    "births",
    "brief",
    "canonical_names",
    "container_of",
    "enter_open_scope",
    "enter_scope",
    "failure",
    "fingerprint",
    "is_tracing",
    "leave_open_scope",
    "leave_scope",
    "new_scope",
    "node",
    "pack",
    "parameter_names",
    "read_as",
    "reads_in",
    "record",
    "restart_numbers",
    "stop_tracing",
    "unfenced",
    "unpack",
    "warn_if_changed",
    "without_halves",
    "write_arguments",
    "write_call",
    "write_constant",
]
