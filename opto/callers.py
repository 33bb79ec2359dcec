"""Who called the library: warnings point to the user's line."""

import os
import sys

__all__ = ["user_level"]

_PACKAGE = os.path.dirname(__file__) + os.sep


def user_level() -> int:
    """Return the ``stacklevel`` with which a warning of the caller points to the first line that is not opto's."""
    frame, level = sys._getframe(1), 1  # noqa: SLF001 - as `warnings` does
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    return level
