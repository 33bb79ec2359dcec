"""What may stand in a function: its names, constants and expressions."""

import ast
from heapq import nsmallest
from typing import Any

from opto.optimizers.code_search.mutations.pieces import Piece
from opto.optimizers.code_search.mutations.text import Site, SourceText

__all__ = ["Scope", "is_condition", "is_value", "number_of"]


#: In long functions, what is near is likelier than what is not.
_MOST_NAMES, _MOST_PIECES = 16, 40


class Scope:
    """What is there to take from, in the functions of a text.

    Attributes:
        sites: All places of the text.
        constants: Those that stand in it, each once.
    """

    def __init__(self, text: SourceText) -> None:
        self.sites = list(text.sites())
        self._stores: list[Site] = []
        constants: dict[tuple[type, Any], Any] = {}
        self._conditions: dict[str, tuple[int, Piece]] = {}
        self._values: dict[str, tuple[int, Piece]] = {}
        for site in self.sites:
            part = site.part
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                self._stores.append(site)
            elif isinstance(part, ast.Constant):
                constants[type(part.value), part.value] = part.value
            elif is_condition(site):
                self._conditions.setdefault(text.text(part), (part.lineno, text.piece(part)))
            elif is_value(site) and not isinstance(part, ast.Name | ast.GeneratorExp | ast.Starred):
                self._values.setdefault(text.text(part), (part.lineno, text.piece(part)))
        self.constants = list(constants.values())

    def conditions(self, site: Site) -> list[Piece]:
        """Return expressions of which only the truth counts, those near to *site*."""
        return _near(self._conditions, site)

    def values(self, site: Site) -> list[Piece]:
        """Return expressions that are handed on as a whole, those near to *site*."""
        return _near(self._values, site)

    def names(self, site: Site) -> list[str]:
        """Return the names that have a value at *site*, as far as can be seen: those given last come first."""
        found: dict[str, None] = {}
        loops, functions = set(map(id, site.loops)), set(map(id, site.functions))
        for store in reversed(self._stores):
            # What a comprehension names is seen in it only, and what a function names, in that.
            inner = {id(item) for item in store.loops if isinstance(item, ast.expr)}
            if inner <= loops and functions.issuperset(map(id, store.functions)):
                again = any(id(item) in loops for item in store.loops)
                if (again or _place(store.statement) < _place(site.statement)) and store.part.id != "_":
                    found[store.part.id] = None
        inner_functions = [loop for loop in site.loops if isinstance(loop, ast.Lambda)]
        for function in (*reversed(inner_functions), *reversed(site.functions)):
            args = function.args
            every = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
            found |= {item.arg: None for item in every if item is not None}
        near = list(found)
        # Of many, those given last and the first arguments.
        return near if len(near) <= _MOST_NAMES else [*near[: _MOST_NAMES - 4], *near[-4:]]


def _near(found: dict[str, tuple[int, Piece]], site: Site) -> list[Piece]:
    if site.name in {"defaults", "kw_defaults"}:
        return []  # they know nothing of the function
    pieces = list(found.values())
    if len(pieces) > _MOST_PIECES:
        pieces = nsmallest(_MOST_PIECES, pieces, key=lambda item: abs(item[0] - site.part.lineno))
    return [piece for _, piece in pieces]


def _place(part: Any) -> tuple[int, int]:
    return part.lineno, part.col_offset


def is_condition(site: Site) -> bool:
    """True where only the truth of a value counts."""
    match site.parent:
        case ast.If() | ast.While() | ast.IfExp() | ast.Assert():
            return site.name == "test"
        case ast.comprehension():
            return site.name == "ifs"
        case ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
            return True
    return False


def is_value(site: Site) -> bool:
    """True where a value is handed on as a whole: returned, assigned, an argument, an element."""
    match site.parent:
        case ast.Return() | ast.Assign() | ast.AugAssign() | ast.Call() | ast.keyword():
            return site.name in {"value", "args"}
        case ast.ListComp() | ast.SetComp() | ast.GeneratorExp():
            return site.name == "elt"
        case ast.For() | ast.comprehension():
            return site.name == "iter"
        case ast.IfExp():
            return site.name != "test"
    return False


def number_of(part: Any) -> Any:
    """Return the number that *part* writes, with its sign; None if it is something else."""
    if isinstance(part, ast.UnaryOp) and isinstance(part.op, ast.USub):
        value = number_of(part.operand) if isinstance(part.operand, ast.Constant) else None
        return None if value is None else -value
    if isinstance(part, ast.Constant) and type(part.value) in {int, float}:
        return part.value
    return None
