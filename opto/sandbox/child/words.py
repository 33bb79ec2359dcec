"""What classes are called where something is said of their instances, and what attributes are called."""

from collections.abc import Iterable

__all__ = ["OWN", "in_full", "in_words", "is_among", "is_asked_for", "mangled", "with_article"]

#: How the names begin of what this library notes on objects for itself.
OWN = "_opto_"


def in_words(kind: type) -> str:
    """Return "a Point", "an Item"."""
    return with_article(str(kind.__name__)[:80])


def with_article(name: str) -> str:
    """Return *name* with its article."""
    return f"{'an' if name[:1] in 'AEIOUaeiou' else 'a'} {name}"


def in_full(kind: type) -> str:
    """Return "a re.Match", "a pandas.Series": as `in_words`, for what nobody may know by its name alone."""
    package = str(kind.__module__).partition(".")[0].lstrip("_")[:80]
    return with_article(f"{package}.{kind.__name__[:80]}")


def is_asked_for(name: str) -> bool:
    """True if whoever copies, pickles or looks at an object asks it for *name*, before its class."""
    return name[:2] == "__" == name[-2:] or name.startswith(OWN)


def is_among(offered: Iterable[str], path: str) -> bool:
    """True if what goes by *path* is among what is *offered*, or something in it."""
    return any(item == path or item.startswith(f"{path}.") for item in offered)


def mangled(name: str, owner: str) -> str:
    """Return what *name* means in the body of the class *owner*, where names may be private."""
    owner = owner.lstrip("_")
    return f"_{owner}{name}" if owner and name[:2] == "__" != name[-2:] else name


def said(error: Exception) -> str:
    """Return what *error* is and says, as far as it can."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # a class of the user's may do anything here
        return type(error).__name__
