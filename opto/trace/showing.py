"""How modules and functions show themselves: the parameters in them, as a tree of text and for notebooks."""

from itertools import islice
from typing import Any, NamedTuple

from opto.nodes import ParameterNode, attempt, brief, without_halves
from opto.trace.bundle import FunModule
from opto.trace.ownership import ParameterOwner, members_of
from opto.trace.source import CodeParameter

__all__ = ["outline", "represented"]


def represented(owner: ParameterOwner) -> dict[str, str]:
    """Return *owner* by MIME type: its `repr`, and HTML in which each parameter can be opened."""
    from html import escape  # noqa: PLC0415 - only in notebooks

    parameters = list(owner.named_parameters())
    items = [
        f"<details><summary><code>{escape(name)}</code>{_notes(item)}: {escape(_brief(item))}</summary>"
        f"<pre>{escape(_in_full(item))}</pre></details>"
        for name, item in islice(parameters, _MOST_LINES)
    ]
    if len(parameters) > _MOST_LINES:
        items.append(f"… ({len(parameters):,} parameters in all)")
    shown = {"text/plain": repr(owner)}
    if items:
        title = getattr(owner, "__name__", None) or type(owner).__name__
        shown["text/html"] = f"<b>{escape(title)}</b>{''.join(items)}"
    return {mime: without_halves(text) for mime, text in shown.items()}


class _Branch(NamedTuple):
    """Something in a module that is drawn: a parameter, or what holds some."""

    label: str
    item: Any
    branches: "list[_Branch]"

    def __str__(self) -> str:
        if isinstance(self.item, ParameterNode):
            return f"{self.label} = {_brief(self.item)}{_notes(self.item)}"
        return f"{self.label}: {type(self.item).__name__}" if self.label else type(self.item).__name__


def _branch_of(module: Any) -> _Branch:
    """Return the tree of what holds parameters in *module*, each once; the rest is left out."""
    trunk = _Branch("", module, [])
    seen = {id(module): module}
    waiting = [(trunk, members_of(module))]
    while waiting:
        branch, members = waiting[-1]
        for step, item in members:
            if isinstance(item, FunModule):
                item = item.parameter  # noqa: PLW2901 - a function stands for its code
            if item is None or id(item) in seen:
                continue
            seen[id(item)] = item
            label = step.removeprefix(".") if step.isprintable() else ascii(step)[1:-1]
            found = _Branch(label, item, [])
            if isinstance(item, ParameterNode):
                branch.branches.append(found)
            else:
                waiting.append((found, members_of(item)))
                break
        else:
            waiting.pop()
            if waiting and branch.branches:
                waiting[-1][0].branches.append(branch)
    return trunk


def outline(module: Any) -> list[str]:
    """Return one line per parameter in *module*, and per container of some, drawn as a tree."""
    lines: list[str] = []
    waiting = [(_branch_of(module), "", "")]
    while waiting and len(lines) < _MOST_LINES:
        branch, before, below = waiting.pop()
        lines.append(f"{before}{branch}")
        for place, inner in enumerate(reversed(branch.branches)):
            fork, line = ("├─ ", "│  ") if place else ("└─ ", "   ")
            waiting.append((inner, below + fork, below + line))
    if waiting:
        lines.append(f"… ({len(module.parameters()):,} parameters in all)")
    return lines


#: Lines that are shown of a module: more say less.
_MOST_LINES = 200


def _brief(parameter: ParameterNode[Any]) -> str:
    """Return the value of *parameter* in one line."""
    value = parameter._data  # noqa: SLF001 - looking is no read
    if isinstance(parameter, CodeParameter):
        first, *rest = value.rstrip("\n").split("\n")
        return f"{first} … ({len(rest) + 1} lines)" if rest else first
    return brief(value, 80)


def _in_full(parameter: ParameterNode[Any]) -> str:
    value = parameter._data  # noqa: SLF001 - looking is no read
    return attempt(parameter.domain.write, value, fallback=brief(value, 80))


def _notes(parameter: ParameterNode[Any]) -> str:
    return "" if parameter.trainable else "  (frozen)"
