"""Alias of the default propagator in `opto.nodes` for programs written for Trace."""

from opto.nodes import GraphPropagator, TraceGraph

__all__ = ["GraphPropagator", "TraceGraph"]
