"""Code that a model wrote runs inside limits. See ``docs/security.md``.

Example:
    >>> from opto.sandbox import Limits, Sandbox
    >>> sandbox = Sandbox(limits=Limits(seconds=1))
    >>> with sandbox.load("def spin(x):\\n    while True:\\n        x += 1\\n") as spin:
    ...     spin(1)
    Traceback (most recent call last):
    opto.errors.SandboxTimeoutError: spin() did not finish within 1 s; it was in line 3. Make it end sooner: let every loop come to an end, and wait for nothing.
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
