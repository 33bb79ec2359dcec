"""Alias of the propagators in `opto.nodes` for programs written for Trace."""

from opto.nodes import GraphPropagator, Propagator, SumPropagator, TraceGraph

__all__ = ["GraphPropagator", "Propagator", "SumPropagator", "TraceGraph"]
