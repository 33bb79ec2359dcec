"""Alias of the propagators in `opto.nodes` for programs written for Trace."""

from opto.nodes import Propagator, SumPropagator

__all__ = ["AbstractPropagator", "Propagator", "SumPropagator"]

AbstractPropagator = Propagator
