"""What to do about things that cannot enter the sandbox."""

from opto.errors import SandboxTransferError

__all__ = ["GENERAL", "advised", "refusal"]

#: Where it cannot be told by which way the candidate comes to it.
GENERAL = "Pass it as plain data, offer what is called there with Sandbox(hosts=[…]), or use isolation='none'."


def refusal(problem: str, *paths: str) -> SandboxTransferError:
    """Return the error for something that the candidate finds by *paths*, and that can be called outside."""
    mend = f"Offer what it calls there with Sandbox(hosts={[*paths]}), or use isolation='none'."
    return SandboxTransferError(problem, mend=mend)


def advised(error: SandboxTransferError, path: str) -> SandboxTransferError:
    """Return *error* with the way by which the candidate comes there, unless it has better advice."""
    return refusal(error.problem, path) if error.mend == GENERAL else error
