"""Code that a model wrote runs inside limits. See ``docs/security.md``.

What runs it is loaded when it is asked for: programs that change no code do without.

Example:
    >>> from opto.sandbox import Limits, Sandbox
    >>> sandbox = Sandbox(limits=Limits(seconds=1))
    >>> with sandbox.load("def spin(): return max(iter(int, 1))") as spin:
    ...     spin()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    opto.errors.SandboxTimeoutError: spin() did not finish within 1 s; it was in line 1. Make it end sooner: ...
"""

from opto.sandbox.limits import Limits
from opto.sandbox.program.rewritten import Owned, Rewritten
from opto.sandbox.sandbox import Candidate, Isolation, Sandbox, current_sandbox, levels_in_use

__all__ = ["Candidate", "Isolation", "Limits", "Owned", "Rewritten", "Sandbox", "current_sandbox", "levels_in_use"]
