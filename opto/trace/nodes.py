"""Alias of `opto.nodes` for programs written for Trace."""

from opto.nodes import ExceptionNode, MessageNode, Node, ParameterNode, node
from opto.trace.registry import GRAPH, Graph

__all__ = [
    "GRAPH",
    "IDENTITY_OPERATORS",
    "USED_NODES",
    "ExceptionNode",
    "Graph",
    "MessageNode",
    "Node",
    "ParameterNode",
    "node",
]

#: Operators whose result is their input; Trace leaves them out of simple pictures.
IDENTITY_OPERATORS = ("identity", "clone")

#: Which nodes a bundle reads is known to the call only: there is no stack of all calls to look at.
USED_NODES: tuple[()] = ()
