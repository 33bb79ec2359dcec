"""What is said of things that cannot enter the sandbox, and what to do about them."""

from opto.errors import SandboxTransferError
from opto.sandbox.child.codec import CannotCrossError

__all__ = ["GENERAL", "advised", "not_entering", "refusal"]

#: Where it cannot be told by which way the candidate comes to it.
GENERAL = "Pass it as plain data, offer what is called there with Sandbox(hosts=[…]), or use isolation='none'."


def refusal(problem: str, *paths: str) -> SandboxTransferError:
    """Return the error for something that the candidate finds by *paths*, and that can be called outside."""
    mend = (
        f"Offer what it calls there with Sandbox(hosts={[*paths]}), if that returns plain data, or else a function of "
        "yours that does (hosts={'ask': ask}), or use isolation='none'."
    )
    return SandboxTransferError(problem, mend=mend)


def advised(error: SandboxTransferError, path: str) -> SandboxTransferError:
    """Return *error* with the way by which the candidate comes there, unless it has better advice."""
    return refusal(error.problem, path) if error.mend == GENERAL else error


def not_entering(what: str, name: str, error: CannotCrossError) -> SandboxTransferError:
    """Return the error for data that *what* calls *name*."""
    return SandboxTransferError(f"{what}() uses {name}, {error.what}, which cannot enter the sandbox.", mend=GENERAL)
