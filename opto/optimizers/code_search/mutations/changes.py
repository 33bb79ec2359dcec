"""All small changes of the source of functions, the likely ones with low costs."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from opto.optimizers.code_search.mutations.growth import grown
from opto.optimizers.code_search.mutations.operators import (
    arithmetic,
    boolean,
    comparison,
    comprehension,
    if_else,
    sequence,
    unary,
)
from opto.optimizers.code_search.mutations.pieces import Piece
from opto.optimizers.code_search.mutations.scope import Scope, number_of
from opto.optimizers.code_search.mutations.statements import statement_edits
from opto.optimizers.code_search.mutations.text import Site, SourceText
from opto.optimizers.code_search.mutations.values import attribute, call, constant, name, subscript
from opto.splice import Edit

__all__ = ["Mutation", "mutations"]


#: Constants of which there is one each.
_SINGLE = ("None", "True", "False")
_IDENTITY = {ast.Is, ast.IsNot}
#: What is added to the cost of a change after which something there would be of no use.
_POINTLESS = 2.0


@dataclass(frozen=True, slots=True)
class Mutation:
    """One change of a text.

    Attributes:
        kind: What is done, in a word or two.
        cost: How unlikely it is to be what is missing: 1 is likely, 5 is not.
        edits: Where the text changes.
        lines: Numbers of the lines of the changed statement; of one with others in it, those above them.
        key: What is equal for the same change in another version of the text.
    """

    kind: str
    cost: float
    edits: tuple[Edit, ...]
    lines: range
    key: tuple[Any, ...]


def mutations(source: str) -> list[Mutation]:
    r"""Return the changes of the functions in *source* that are one step away, the likely ones first.

    Some may give the same text, or one that Python refuses.

    Example:
        >>> source = "def larger(a, b):\n    return a < b  # strictly\n"
        >>> text = SourceText(source)
        >>> [text.applied(change.edits).splitlines()[1] for change in mutations(source)[:2]]
        ['    return a <= b  # strictly', '    return a > b  # strictly']
    """
    text = SourceText(source)
    scope, found = Scope(text), []
    for site in scope.sites:
        start, written, lines = text.start(site.statement), text.line_of(site.statement), _lines(site.statement)
        for kind, cost, edits in _edits(text, scope, site, scope.names(site)):
            key = written, edits[0].start - start, *(edit.text for edit in edits)
            found.append(Mutation(kind, cost, edits, lines, key))
    return sorted(found, key=lambda item: item.cost)


def _lines(statement: Any) -> range:
    first = min([statement.lineno, *(item.lineno for item in getattr(statement, "decorator_list", ()))])
    inner = getattr(statement, "body", None) or getattr(statement, "cases", None)
    last = statement.end_lineno
    if inner:
        last = max(first, getattr(inner[0], "lineno", first + 1) - 1)
    return range(first, last + 1)


def _edits(
    text: SourceText, scope: Scope, site: Site, names: Sequence[str]
) -> Iterator[tuple[str, float, tuple[Edit, ...]]]:
    if site.is_statement:
        yield from statement_edits(text, site, names)
        return
    beside = _beside(text, site)
    for kind, cost, piece in _expressions(text, scope, site, names):
        more = _POINTLESS if piece.text in beside else 0
        yield kind, cost + more, (text.replacing(site, piece),)


def _beside(text: SourceText, site: Site) -> set[str]:
    """Return what at *site* would make what is around it pointless: ``x == x``, ``y if x else y``."""
    match site.parent:
        case ast.Compare():
            return {text.text(item) for item in (site.parent.left, *site.parent.comparators)}
        case ast.BoolOp():
            return {text.text(item) for item in site.parent.values}
        case ast.BinOp(op=ast.Sub() | ast.Div() | ast.FloorDiv() | ast.Mod()):
            return {text.text(site.parent.left), text.text(site.parent.right)}
        case ast.IfExp() if site.name != "test":
            return {text.text(site.parent.body), text.text(site.parent.orelse)}
        case ast.Return() if isinstance(site.part, ast.Constant):
            others = [item.value for item in _returns(site.functions[-1]) if item is not site.parent]
            truths = {text.text(item) if isinstance(item, ast.Constant) else "" for item in others if item is not None}
            return truths if len(truths) == 1 else set()
        case ast.Assign(targets=[ast.Name(id=name)]):
            return {name}
    return set()


def _returns(function: ast.AST) -> Iterator[ast.Return]:
    return (item for item in ast.walk(function) if isinstance(item, ast.Return))


def _expressions(
    text: SourceText, scope: Scope, site: Site, names: Sequence[str]
) -> Iterator[tuple[str, float, Piece]]:
    """Yield what may stand in place of the expression at *site*."""
    part = site.part
    if isinstance(getattr(part, "ctx", None), ast.Store | ast.Del):
        # Names of loops and of what is unpacked are rarely wrong.
        if isinstance(part, ast.Name) and isinstance(site.parent, ast.Assign | ast.AugAssign):
            for other in names:
                if other != part.id:
                    yield "name", 3.5, Piece(other)
        return
    if number_of(site.parent) is not None:
        return  # part of a negative number, which is changed as a whole
    if number_of(part) is not None or isinstance(part, ast.Constant):
        found = constant(part, scope.constants, names)
        if isinstance(site.parent, ast.Compare) and not _IDENTITY.isdisjoint(map(type, site.parent.ops)):
            # Python warns of `x is 0`.
            yield from (item for item in found if item[2].text in {*_SINGLE, *names})
            return
        yield from found
    else:
        yield from _by_type(text, site, names)
    yield from grown(text, scope, site, names)


def _by_type(text: SourceText, site: Site, names: Sequence[str]) -> Iterator[tuple[str, float, Piece]]:
    match site.part:
        case ast.Name():
            return name(site, names)
        case ast.Subscript():
            return subscript(text, site.part, names)
        case ast.BinOp():
            return arithmetic(text, site.part, site.parent)
        case ast.ListComp() | ast.SetComp() | ast.GeneratorExp():
            return comprehension(text, site.part, names)
    for kind, changed in _CHANGES:
        if isinstance(site.part, kind):
            found: Iterator[tuple[str, float, Piece]] = changed(text, site.part)
            return found
    return iter(())


_CHANGES: tuple[tuple[Any, Any], ...] = (
    (ast.Compare, comparison),
    (ast.BoolOp, boolean),
    (ast.UnaryOp, unary),
    (ast.Attribute, attribute),
    (ast.Call, call),
    (ast.IfExp, if_else),
    (ast.Tuple | ast.List, sequence),
)
