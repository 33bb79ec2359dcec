"""Code that a model wrote runs inside limits. See ``docs/security.md``.

Example:
    >>> from opto.sandbox import Limits, Sandbox
    >>> sandbox = Sandbox(limits=Limits(seconds=1))
    >>> with sandbox.load("def spin(): return max(iter(int, 1))") as spin:
    ...     spin()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    opto.errors.SandboxTimeoutError: spin() did not finish within 1 s; it was in line 1. Make it end sooner: ...
"""

from opto.errors import (
    IsolationError,
    SandboxCrashError,
    SandboxError,
    SandboxForbiddenError,
    SandboxMemoryError,
    SandboxOutputError,
    SandboxTimeoutError,
    SandboxTransferError,
)
from opto.sandbox.limits import Limits
from opto.sandbox.sandbox import Candidate, Isolation, Sandbox

__all__ = [
    "Candidate",
    "Isolation",
    "IsolationError",
    "Limits",
    "Sandbox",
    "SandboxCrashError",
    "SandboxError",
    "SandboxForbiddenError",
    "SandboxMemoryError",
    "SandboxOutputError",
    "SandboxTimeoutError",
    "SandboxTransferError",
]
