"""Writing traced programs: nodes, bundles, modules.

Programs written for Trace find what they import here.
"""

import importlib
import types

from opto.errors import ExecutionError
from opto.nodes import (
    Check,
    Choices,
    Domain,
    Feedback,
    Node,
    Range,
    Schema,
    Text,
    TraceGraph,
    backward,
    is_tracing,
    node,
    stop_tracing,
)
from opto.trace.broadcast import apply_op
from opto.trace.bundle import FunModule, bundle
from opto.trace.containers import NodeContainer
from opto.trace.imports import Imports
from opto.trace.memo import Memo, rollout
from opto.trace.modules import Module, model
from opto.trace.registry import GRAPH

__all__ = [
    "GRAPH",
    "Check",
    "Choices",
    "Domain",
    "ExecutionError",
    "Feedback",
    "FunModule",
    "Imports",
    "Memo",
    "Model",
    "Module",
    "Node",
    "NodeContainer",
    "Range",
    "Schema",
    "Text",
    "TraceGraph",
    "apply_op",
    "backward",
    "bundle",
    "is_tracing",
    "model",
    "node",
    "rollout",
    "stop_tracing",
]

#: Trace's name for what `model` makes of a class.
Model = Module

#: Modules that are loaded when they are first asked for: few programs use them.
_LATE = ("errors", "iterators", "nodes", "operators", "projections", "propagators", "utils")


def __getattr__(name: str) -> types.ModuleType:
    if name in _LATE:
        return importlib.import_module(f"opto.trace.{name}")
    raise AttributeError(f"module 'opto.trace' has no attribute {name!r}")
