"""Alias of `opto.errors` for programs written for Trace."""

from opto.errors import ExecutionError, MissingInputsError

__all__ = ["ExecutionError", "TraceMissingInputsError"]

TraceMissingInputsError = MissingInputsError
