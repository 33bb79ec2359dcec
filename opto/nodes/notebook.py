"""How nodes and graphs show themselves in a notebook: as text, and as a picture where one can be drawn."""

from collections.abc import Callable
from typing import Any

from opto.nodes.constants import attempt

__all__ = ["mimebundle"]


def mimebundle(heading: str, tree: Callable[[], str], drawing: Callable[[], Any] | None) -> dict[str, str]:
    """Return representations by MIME type. It never raises: that would fail the cell of the notebook.

    Args:
        heading: The first line.
        tree: Gives the text below it; "" for none.
        drawing: Gives a `graphviz.Digraph`; None for no picture.
    """
    shown = {"text/plain": f"{heading}\n{attempt(tree, fallback='')}".rstrip()}
    # Asked first, because graphviz takes longer to be imported than a path to be searched.
    from shutil import which  # noqa: PLC0415 - only in notebooks, and a tenth of the time that importing opto takes

    if drawing is not None and which("dot"):
        picture = attempt(lambda: str(drawing().pipe(format="svg", encoding="utf-8", quiet=True)), fallback="")
        if picture:
            shown["image/svg+xml"] = picture
    return shown
