"""Small changes of the source of functions, the likely ones with low costs: what `CodeSearch` tries."""

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from opto.optimizers.code_text import (
    AND,
    ARITH,
    COMPARE,
    ATOM,
    FACTOR,
    LEVEL_OF_SIGN,
    NOT,
    OR,
    OTHER_SIGNS,
    POWER,
    SIGNS,
    TERM,
    TEST,
    TUPLE,
    Edit,
    Piece,
    Site,
    SourceText,
)
from opto.optimizers.code_statements import statement_edits

__all__ = ["Mutation", "mutations"]


@dataclass(frozen=True)
class Mutation:
    """One change of a text.

    Attributes:
        kind: What is done, in a word or two.
        cost: How unlikely it is to be what is missing; the best have about 1.
        edits: Where the text changes.
        line: Number of the line of the statement that it is in.
        was: That statement as it was; with *edits*, what tells equal changes in several versions of a text.
    """

    kind: str
    cost: float
    edits: tuple[Edit, ...]
    line: int
    was: str
    offset: int

    @property
    def key(self) -> tuple[Any, ...]:
        """What is equal for the same change in another version of the text."""
        return self.was, self.offset, *(edit.text for edit in self.edits)


Found = Iterator[tuple[str, float, Piece]]


def mutations(source: str) -> list[Mutation]:
    """Return the changes of the functions in *source* that are one step away, each text once, the likely ones first.

    Example:
        >>> found = mutations("def larger(a, b):\\n    return a < b  # strictly\\n")
        >>> text = SourceText("def larger(a, b):\\n    return a < b  # strictly\\n")
        >>> [text.applied(found[position].edits).splitlines()[1] for position in (0, 1)]
        ['    return a <= b  # strictly', '    return a > b  # strictly']
    """
    text = SourceText(source)
    scope = _Scope(text)
    found: list[Mutation] = []
    for site in scope.sites:
        line, (start, _) = site.statement.lineno, text.span(site.statement)
        was = text.heads[line - 1]
        if site.is_statement:
            for kind, cost, edits in statement_edits(text, site, scope.names(site)):
                found.append(Mutation(kind, cost, edits, line, was, edits[0].start - start))
        else:
            for kind, cost, piece in _changes(text, scope, site):
                edit = text.replacing(site, piece)
                found.append(Mutation(kind, cost, (edit,), line, was, edit.start - start))
    found.sort(key=lambda item: item.cost)
    return found


class _Scope:
    """What may stand in a function: its names, constants and expressions."""

    def __init__(self, text: SourceText) -> None:
        self.sites = list(text.sites())
        self._stores: list[tuple[str, Any, tuple[ast.AST, ...], tuple[Any, ...]]] = []
        self.constants: dict[type, dict[Any, None]] = {}
        self.conditions: dict[str, Piece] = {}
        self.values: dict[str, Piece] = {}
        for site in self.sites:
            part = site.part
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                self._stores.append((part.id, part, site.loops, site.functions))
            if isinstance(part, ast.Constant):
                self.constants.setdefault(type(part.value), {})[part.value] = None
            if _is_condition(site) and not isinstance(part, ast.Constant):
                self.conditions.setdefault(text.text(part), text.piece(part))
            elif _is_value(site) and not isinstance(part, ast.Constant | ast.Name):
                self.values.setdefault(text.text(part), text.piece(part))

    def names(self, site: Site) -> list[str]:
        """Return the names that have a value at *site*, as far as can be seen: those nearest to it first."""
        found: dict[str, None] = {}
        around = set(map(id, site.loops))
        for name, part, loops, functions in reversed(self._stores):
            inner = [id(item) for item in loops if isinstance(item, ast.comprehension | ast.expr)]
            if set(inner) - around or not set(map(id, functions)) <= set(map(id, site.functions)):
                continue
            before = part.lineno < site.part.lineno or any(id(item) in around for item in loops)
            if before and name != "_":
                found[name] = None
        for loop in site.loops:
            if isinstance(loop, ast.Lambda):
                found |= dict.fromkeys(_arguments(loop.args))
        for function in reversed(site.functions):
            found |= dict.fromkeys(_arguments(function.args))
        return list(found)


def _arguments(args: ast.arguments) -> list[str]:
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
    return [item.arg for item in every if item is not None]


def _is_condition(site: Site) -> bool:
    """True where only the truth of a value counts."""
    if site.name == "test" or (isinstance(site.parent, ast.comprehension) and site.name == "ifs"):
        return True
    return isinstance(site.parent, ast.BoolOp) or (
        isinstance(site.parent, ast.UnaryOp) and isinstance(site.parent.op, ast.Not)
    )


def _is_value(site: Site) -> bool:
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


def _changes(text: SourceText, scope: _Scope, site: Site) -> Found:
    part = site.part
    if isinstance(getattr(part, "ctx", None), ast.Store | ast.Del):
        if isinstance(part, ast.Name) and isinstance(site.parent, ast.Assign | ast.AugAssign | ast.Subscript):
            for name in scope.names(site):
                if name != part.id:
                    yield "name", 3.5, Piece(name)
        return
    if isinstance(site.parent, ast.UnaryOp) and isinstance(site.parent.op, ast.USub) and _number(part) is not None:
        return  # is part of a negative number, which is changed as a whole
    for kind, change in _BY_TYPE:
        if isinstance(part, kind):
            yield from change(text, scope, site)
    yield from _grown(text, scope, site)


_COMPARISONS: dict[type, tuple[str, dict[str, float]]] = {
    ast.Lt: ("<", {"<=": 1, ">": 1.2, ">=": 1.3, "==": 2.2, "!=": 2.2}),
    ast.LtE: ("<=", {"<": 1, ">=": 1.2, ">": 1.3, "==": 2.2, "!=": 2.2}),
    ast.Gt: (">", {">=": 1, "<": 1.2, "<=": 1.3, "!=": 2.2, "==": 2.2}),
    ast.GtE: (">=", {">": 1, "<=": 1.2, "<": 1.3, "==": 2.2, "!=": 2.2}),
    ast.Eq: ("==", {"!=": 1, "<=": 1.8, ">=": 1.8, "<": 2, ">": 2, "in": 4}),
    ast.NotEq: ("!=", {"==": 1, "<": 1.8, ">": 1.8, "<=": 2, ">=": 2, "not in": 4}),
    ast.In: ("in", {"not in": 1, "==": 4}),
    ast.NotIn: ("not in", {"in": 1, "!=": 4}),
    ast.Is: ("is", {"is not": 1, "==": 3}),
    ast.IsNot: ("is not", {"is": 1, "!=": 3}),
}


def _compare(text: SourceText, scope: _Scope, site: Site) -> Found:
    parts = [site.part.left, *site.part.comparators]
    for position, operator in enumerate(site.part.ops):
        _, others = _COMPARISONS[type(operator)]
        for other, cost in others.items():
            yield "comparison", cost, Piece(_chain(text, site.part, parts, {position: other}), COMPARE)
    if len(parts) > 2:
        for position in range(len(parts) - 1):
            yield "comparison", 2.5, Piece(_chain(text, site.part, parts[position : position + 2], {}, position), COMPARE)


def _chain(text: SourceText, part: ast.Compare, parts: list[Any], others: dict[int, str], first: int = 0) -> str:
    words = [text.piece(parts[0]).within(COMPARE + 1)]
    for position, item in enumerate(parts[1:]):
        sign = others.get(position) or _COMPARISONS[type(part.ops[first + position])][0]
        words += [sign, text.piece(item).within(COMPARE + 1)]
    return " ".join(words)


_SAME_TURNED = {"*", "&", "|", "^"}


def _binary(text: SourceText, left: Piece, sign: str, right: Piece) -> Piece:
    level = LEVEL_OF_SIGN[sign]
    if sign == "**":
        return Piece(f"{left.within(level + 1)} ** {right.within(FACTOR)}", level)
    return Piece(f"{left.within(level)} {sign} {right.within(level + 1)}", level)


def _arithmetic(text: SourceText, scope: _Scope, site: Site) -> Found:
    part = site.part
    sign, left, right = SIGNS[type(part.op)], text.piece(part.left), text.piece(part.right)
    for other, cost in OTHER_SIGNS[sign].items():
        yield "operator", cost, _binary(text, left, other, right)
    if sign not in _SAME_TURNED:
        yield "operands", 2.2 if sign == "+" else 1.8, _binary(text, right, sign, left)
    yield "operands", 2.4, left
    yield "operands", 2.6, right
    if isinstance(part.left, ast.BinOp):  # (a + b) * c as a + b * c
        inner = SIGNS[type(part.left.op)]
        turned = _binary(text, text.piece(part.left.right), sign, right)
        yield "grouping", 3, _binary(text, text.piece(part.left.left), inner, turned)
    if isinstance(part.right, ast.BinOp):
        inner = SIGNS[type(part.right.op)]
        turned = _binary(text, left, sign, text.piece(part.right.left))
        yield "grouping", 3, _binary(text, turned, inner, text.piece(part.right.right))


def _boolean(text: SourceText, scope: _Scope, site: Site) -> Found:
    pieces = [text.piece(item) for item in site.part.values]
    word, other = ("and", "or") if isinstance(site.part.op, ast.And) else ("or", "and")
    yield "and or", 1, _joined(other, pieces)
    for position in range(len(pieces)):
        rest = [*pieces[:position], *pieces[position + 1 :]]
        yield "operands", 2.4, rest[0] if len(rest) == 1 else _joined(word, rest)
    if len(pieces) > 2:
        for position in range(1, len(pieces)):
            first, rest = pieces[:position], pieces[position:]
            groups = [item[0] if len(item) == 1 else _joined(word, item) for item in (first, rest)]
            yield "and or", 1.8, _joined(other, groups)


def _joined(word: str, pieces: Iterable[Piece]) -> Piece:
    level = AND if word == "and" else OR
    return Piece(f" {word} ".join(piece.within(level + 1) for piece in pieces), level)


def _unary(text: SourceText, scope: _Scope, site: Site) -> Found:
    if _number(site.part) is not None:
        yield from _constant(text, scope, site)
    elif isinstance(site.part.op, ast.Not):
        yield "not", 1, text.piece(site.part.operand)
    elif not isinstance(site.part.op, ast.UAdd):
        yield "sign", 1.4, text.piece(site.part.operand)


def _number(part: Any) -> Any:
    """Return the number that *part* writes, with its sign; None if it is something else."""
    if isinstance(part, ast.UnaryOp) and isinstance(part.op, ast.USub):
        value = _number(part.operand) if isinstance(part.operand, ast.Constant) else None
        return None if value is None else -value
    if isinstance(part, ast.Constant) and type(part.value) in {int, float}:
        return part.value
    return None


def _constant(text: SourceText, scope: _Scope, site: Site) -> Found:
    number = _number(site.part)
    if number is not None:
        found = _numbers(number, list(scope.constants.get(type(number), ())))
    else:
        value = site.part.value
        if type(value) is bool:
            found = {repr(not value): 1.0, "None": 4.5}
        elif isinstance(value, str):
            found = _texts(value, scope)
        elif value is None:
            found = dict.fromkeys(["0", "False", "True", '""', "[]"], 4.0)
        else:
            return
    for name in scope.names(site):
        found.setdefault(name, 4.0)
    for said, cost in found.items():
        yield "constant", cost, Piece(said, FACTOR if said.startswith("-") else ATOM)


def _numbers(number: int | float, others: Iterable[int | float]) -> dict[str, float]:
    found: dict[Any, float] = {number + 1: 1.1, number - 1: 1.1, -number: 1.8, 0: 2.2, 1: 2.2}
    for other in others:
        found.setdefault(other, 2.6)
    found |= {item: 3.0 for item in (number + 2, number - 2, 2) if item not in found}
    found |= {item: 3.8 for item in (number * 2, number // 2, number * 10, number / 10, 10, 100) if item not in found}
    if isinstance(number, int):
        found = {int(item): cost for item, cost in found.items() if item == int(item)}
    return {repr(item): cost for item, cost in found.items() if item != number}


def _texts(value: str, scope: _Scope) -> dict[str, float]:
    found: dict[str, float] = dict.fromkeys((item for item in scope.constants[str] if item != value), 2.4)
    for cost, item in (
        (2.8, ""),
        (3.2, " "),
        (4.2, value.swapcase()),
        (4.4, value.lower()),
        (4.4, value.upper()),
        (4.4, value.capitalize()),
        (4.6, value[1:]),
        (4.6, value[:-1]),
        (5.0, value[::-1]),
        (5.0, value.strip()),
        (5.0, f"{value} "),
        (5.0, ","),
    ):
        if item != value:
            found.setdefault(item, cost)
    return {repr(item): cost for item, cost in found.items()}


def _name(text: SourceText, scope: _Scope, site: Site) -> Found:
    names, name = scope.names(site), site.part.id
    called = isinstance(site.parent, ast.Call) and site.name == "func"
    for other in _CONFUSED.get(name, ()):
        yield "function", 1.5 if called else 2, Piece(other)
    if called and name not in names:
        return
    for position, other in enumerate(item for item in names if item != name):
        yield "name", 2 + min(position, 10) * 0.1, Piece(other)


_ALIKE = (
    "min max",
    "any all",
    "sorted reversed list",
    "sum len",
    "int float round",
    "str repr",
    "ord chr",
    "list set tuple",
    "abs int",
    "floor ceil",
    "range enumerate",
    "sum max min",
    "append extend",
    "lower upper swapcase",
    "islower isupper",
    "isdigit isalpha isalnum isnumeric",
    "startswith endswith",
    "strip lstrip rstrip",
    "find rfind index count",
    "split splitlines",
    "keys values items",
    "add discard remove",
    "union intersection difference symmetric_difference",
    "append remove",
    "ljust rjust",
    "sin cos tan",
    "isalpha isupper islower isspace",
)
_CONFUSED: dict[str, list[str]] = {}
for _group in _ALIKE:
    for _word in _group.split():
        _CONFUSED.setdefault(_word, []).extend(
            other for other in _group.split() if other != _word and other not in _CONFUSED[_word]
        )


def _attribute(text: SourceText, scope: _Scope, site: Site) -> Found:
    for other in _CONFUSED.get(site.part.attr, ()):
        yield "function", 1.6, Piece(f"{text.piece(site.part.value).within(ATOM)}.{other}")


def _call(text: SourceText, scope: _Scope, site: Site) -> Found:
    part = site.part
    args = [text.text(item) for item in part.args]
    keywords = [text.text(item) for item in part.keywords]
    function = text.piece(part.func).within(ATOM)

    def call(*arguments: str) -> Piece:
        return Piece(f"{function}({', '.join(arguments)})")

    if len(args) == 1 and isinstance(part.args[0], ast.GeneratorExp) and not keywords:
        args = []  # its brackets are those of the call
    for first in range(len(args)):
        for second in range(first + 1, len(args)):
            turned = [*args]
            turned[first], turned[second] = turned[second], turned[first]
            yield "arguments", 1.5, call(*turned, *keywords)
    for position in range(len(args) if len(args) > 1 or keywords else 0):
        yield "arguments", 2.6, call(*args[:position], *args[position + 1 :], *keywords)
    for position in range(len(keywords)):
        yield "arguments", 2.8, call(*args, *keywords[:position], *keywords[position + 1 :])
    name = part.func.id if isinstance(part.func, ast.Name) else getattr(part.func, "attr", "")
    if len(part.args) == 1 and args and isinstance(part.func, ast.Name):
        yield "call", 2.8, text.piece(part.args[0])
    if isinstance(part.func, ast.Attribute):
        yield "call", 3.2, text.piece(part.func.value)
    if name in {"sorted", "sort"} and "reverse" not in {item.arg for item in part.keywords}:
        yield "arguments", 2.4, call(*args, *keywords, "reverse=True")
    if name == "range" and args:
        yield from _range(text, part, call)


def _range(text: SourceText, part: ast.Call, call: Callable[..., Piece]) -> Found:
    args = [text.text(item) for item in part.args]
    if len(args) == 1:
        stop = text.piece(part.args[0])
        yield "bounds", 1.8, call("1", args[0])
        yield "bounds", 2.4, call("1", _shifted(stop, "+ 1"))
        yield "bounds", 3, call("2", args[0])
        yield "bounds", 3, call(_shifted(stop, "- 1"), "-1", "-1")
        yield "bounds", 3.2, call("2", _shifted(stop, "+ 1"))
        yield "bounds", 3.4, call("0", args[0], "2")
    elif len(args) == 2:
        start, stop = map(text.piece, part.args)
        yield "bounds", 2.4, call(_shifted(start, "+ 1"), _shifted(stop, "+ 1"))
        yield "bounds", 2.6, call("0", args[1])
        yield "bounds", 3, call(*args, "-1")
        yield "bounds", 3, call(*args, "2")
        yield "bounds", 3.2, call(args[1], args[0], "-1")


def _shifted(piece: Piece, by: str) -> str:
    """Return *piece* plus or minus something; "n - 1" plus 1 is "n"."""
    undone = "- 1" if by == "+ 1" else "+ 1"
    if piece.text.endswith(f" {undone}") and piece.level >= ARITH:
        return piece.text.removesuffix(f" {undone}")
    return f"{piece.within(ARITH)} {by}"


def _subscript(text: SourceText, scope: _Scope, site: Site) -> Found:
    part = site.part
    value = text.piece(part.value).within(ATOM)
    yield "index", 3.2, text.piece(part.value)
    if not isinstance(part.slice, ast.Slice):
        index = text.piece(part.slice)
        if _number(part.slice) is not None:
            yield "index", 2, Piece(f"{value}[{'0' if _number(part.slice) == -1 else '-1'}]")
            yield "index", 3.6, Piece(f"{value}[{index.text}:]")
            yield "index", 3.8, Piece(f"{value}[:{index.text}]")
        elif isinstance(part.slice, ast.Constant | ast.Tuple):
            return
        else:
            yield "index", 3, Piece(f"{value}[-{index.within(FACTOR)}]")
            yield "index", 4, Piece(f"{value}[{index.text}:]")
            yield "index", 4, Piece(f"{value}[:{index.text}]")
        return
    bounds = [part.slice.lower, part.slice.upper, part.slice.step]
    written = [text.text(item) if item is not None else "" for item in bounds]

    def cut(position: int, bound: str) -> Piece:
        new = [*written]
        new[position] = bound
        return Piece(f"{value}[{':'.join(new if new[2] else new[:2])}]")

    for position, bound in enumerate(bounds):
        if bound is not None:
            yield "bounds", 2.2, cut(position, "")
    if bounds[0] is None and bounds[2] is None:
        yield "bounds", 2.4, cut(0, "1")
    if bounds[1] is None and bounds[2] is None:
        yield "bounds", 2.4, cut(1, "-1")
    if bounds[2] is None:
        yield "bounds", 2.8, cut(2, "-1")
        yield "bounds", 3, cut(2, "2")
    yield "bounds", 2.6, Piece(f"{value}[{written[1]}:{written[0]}]")
    for name in scope.names(site) if bounds[2] is None else ():
        for position in (0, 1):
            if bounds[position] is None and name != value:
                yield "bounds", 2.9, cut(position, name)
                yield "bounds", 3.2, cut(position, f"{name} + 1")
                if position:
                    yield "bounds", 3.4, cut(position, f"-{name}")


def _if_else(text: SourceText, scope: _Scope, site: Site) -> Found:
    test, body, orelse = (text.piece(item) for item in (site.part.test, site.part.body, site.part.orelse))
    yield "branches", 1.5, Piece(f"{orelse.within(OR)} if {test.within(OR)} else {body.within(TEST)}", TEST)
    yield "branches", 3, body
    yield "branches", 3, orelse


def _comprehension(text: SourceText, scope: _Scope, site: Site) -> Found:
    written, (begin, _) = text.text(site.part), text.span(site.part)
    for generator in site.part.generators:
        for condition in generator.ifs:
            start, end = (offset - begin for offset in text.span(condition))
            raw = written.encode()
            keyword = raw.rfind(b"if", 0, start)
            if b")" not in raw[end:-1]:
                yield "filter", 2.4, Piece((raw[:keyword].rstrip() + raw[end:]).decode())
    if isinstance(site.part, ast.ListComp) and len(written) > 2:
        yield "function", 4.5, Piece(f"set({written[1:-1]})")


def _sequence(text: SourceText, scope: _Scope, site: Site) -> Found:
    items = [text.text(item) for item in site.part.elts]
    opening, closing = "[]" if isinstance(site.part, ast.List) else "()" if text.is_enclosed(site.part) else ("", "")
    level = ATOM if opening else TUPLE
    if len(items) == 2 or (isinstance(site.part, ast.Tuple) and len(items) == 3):
        for first in range(len(items) - 1):
            turned = [*items]
            turned[first], turned[first + 1] = turned[first + 1], turned[first]
            yield "order", 1.9, Piece(f"{opening}{', '.join(turned)}{closing}", level)


_BY_TYPE: tuple[tuple[Any, Callable[[SourceText, _Scope, Site], Found]], ...] = (
    (ast.Compare, _compare),
    (ast.BinOp, _arithmetic),
    (ast.BoolOp, _boolean),
    (ast.UnaryOp, _unary),
    (ast.Constant, _constant),
    (ast.Name, _name),
    (ast.Attribute, _attribute),
    (ast.Call, _call),
    (ast.Subscript, _subscript),
    (ast.IfExp, _if_else),
    (ast.ListComp | ast.SetComp | ast.GeneratorExp, _comprehension),
    (ast.Tuple | ast.List, _sequence),
)


def _grown(text: SourceText, scope: _Scope, site: Site) -> Found:
    """Yield what is longer: something that is missing around the expression at *site*."""
    part = site.part
    if isinstance(part, ast.GeneratorExp | ast.Starred | ast.Slice | ast.keyword | ast.JoinedStr):
        return
    piece = text.piece(part)
    if _is_condition(site):
        yield from _grown_condition(scope, site, piece)
        return
    is_value, is_index = _is_value(site), isinstance(site.parent, ast.Subscript) and site.name == "slice"
    is_bound = isinstance(site.parent, ast.Slice)
    compared = isinstance(site.parent, ast.Compare)
    counted = isinstance(part, ast.Name | ast.BinOp | ast.Call | ast.Attribute | ast.Subscript)
    if counted and (is_value or is_index or is_bound or compared or isinstance(site.parent, ast.BinOp)):
        is_range = isinstance(site.parent, ast.Call) and getattr(site.parent.func, "id", "") == "range"
        cost = 1.7 if is_range or is_index or is_bound else 2.6 if compared else 3.0
        for by in ("+ 1", "- 1"):
            yield "off by one", cost, Piece(_shifted(piece, by), ARITH)
    if not (is_value or compared):
        return
    called = isinstance(site.parent, ast.Call)
    if not isinstance(part, ast.Constant) and not isinstance(site.parent, ast.For | ast.comprehension):
        yield "sign", 3.4, Piece(f"-{piece.within(FACTOR)}", FACTOR)
        if not compared and not isinstance(site.parent, ast.AugAssign):
            yield "not", 1.6 if isinstance(part, ast.Compare | ast.BoolOp) else 3, Piece(f"not {piece.within(NOT)}", NOT)
    if isinstance(part, ast.Name | ast.Subscript | ast.Call) and not isinstance(part, ast.Constant):
        for cost, cut in ((3.2, "[::-1]"), (3.4, "[1:]"), (3.4, "[:-1]"), (3.8, "[0]"), (3.8, "[-1]")):
            yield "cut", cost + called * 0.2, Piece(f"{piece.within(ATOM)}{cut}")
    if not isinstance(part, ast.Constant):
        for cost, function in (
            (3.6, "abs"),
            (3.6, "len"),
            (3.6, "sorted"),
            (3.8, "int"),
            (3.8, "str"),
            (3.8, "set"),
            (3.8, "sum"),
            (4.2, "list"),
            (4.4, "max"),
            (4.4, "min"),
            (4.4, "round"),
        ):
            if getattr(getattr(part, "func", None), "id", "") != function:
                yield "call", cost, Piece(f"{function}({piece.within(TEST)})")
        for method in ("lower()", "upper()", "strip()", "split()"):
            yield "call", 4.6, Piece(f"{piece.within(ATOM)}.{method}")
    if isinstance(part, ast.Name | ast.BinOp | ast.Call | ast.Subscript | ast.Constant):
        for name in scope.names(site):
            if name != piece.text:
                for cost, sign in ((3.7, "+"), (3.7, "-"), (3.9, "*"), (4.4, "//"), (4.4, "%"), (4.6, "/")):
                    yield "operands", cost, _binary(text, piece, sign, Piece(name))
                yield "operands", 4.2, _binary(text, Piece(name), "+", piece)
                yield "operands", 4.2, _binary(text, Piece(name), "-", piece)
        for cost, more in ((3.8, "* 2"), (3.9, "// 2"), (4, "% 2"), (4.2, "/ 2"), (4.4, "% 10"), (4.4, "// 10")):
            yield "operands", cost, Piece(f"{piece.within(TERM)} {more}", TERM)
        yield "operands", 4, Piece(f"{piece.within(POWER + 1)} ** 2", POWER)
    for said, other in scope.values.items():
        if said != piece.text:
            yield "expression", 4.1, other


def _grown_condition(scope: _Scope, site: Site, piece: Piece) -> Found:
    part = site.part
    if not isinstance(part, ast.UnaryOp):
        yield "not", 2.2 if isinstance(part, ast.Compare) else 1.2, Piece(f"not {piece.within(NOT)}", NOT)
    in_boolean = isinstance(site.parent, ast.BoolOp)
    if not in_boolean:
        yield "condition", 3, Piece("True")
        yield "condition", 3, Piece("False")
    for said, other in scope.conditions.items():
        if said != piece.text:
            yield "condition", 3.4, other
            if not in_boolean:
                yield "condition", 3.9, _joined("and", (piece, other))
                yield "condition", 3.9, _joined("or", (piece, other))
    if in_boolean:
        return
    for name in scope.names(site):
        for cost, other in ((4.2, name), (4.3, f"not {name}"), (4.4, f"{name} > 0"), (4.6, f"{name} > 1")):
            extra = Piece(other, NOT if other.startswith("not") else ATOM if other == name else COMPARE)
            yield "condition", cost, _joined("and", (piece, extra))
            yield "condition", cost + 0.2, _joined("or", (piece, extra))
