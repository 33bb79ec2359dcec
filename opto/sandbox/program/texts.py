"""Where functions and classes of the user's are written: in files, in cells of notebooks, in the middle of a line."""

import ast
import inspect
import linecache
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any, NamedTuple
from zlib import crc32

from opto.sandbox.child.definitions import Definition, Slot, defaults_of, slots_in
from opto.sandbox.program.written import function_in, is_of_program, lines_above, wrappings
from opto.splice import cut

__all__ = [
    "NoTextError",
    "Text",
    "classes_in",
    "is_own_text",
    "kept_defaults",
    "lambda_text",
    "methods_of",
    "name_of",
    "text_of",
]


class NoTextError(LookupError):
    """It stands nowhere, or nobody can tell where: what it is, and what is wrong with it."""


class Text(NamedTuple):
    """How a function or a class is written.

    Attributes:
        source: From its first decorator that counts to its last line.
        tree: The same.
        name: What it is called in there.
        first: The line of the file that it begins in.
        file: The name of the file.
    """

    source: str
    tree: ast.Module
    name: str
    first: int = 1
    file: str = ""


def name_of(value: Any) -> str:
    """Return the name that the text of a function or a class gives it: decorators may have changed the other one."""
    return str(value.__code__.co_name if isinstance(value, FunctionType) else value.__name__)


def text_of(value: Any, kept: int | None = None, text: str | None = None) -> Text:
    """Return how *value* is written.

    Args:
        value: A function or a class.
        kept: How many of its decorators are kept, from the lowest on; all if None.
        text: What takes the place of its source, from its definition on.

    Raises:
        NoTextError: Its source cannot be found.
    """
    name = name_of(value)
    if name == "<lambda>":
        found = lambda_text(value)
        if found is None:
            raise NoTextError("a lambda function, whose source cannot be found")
        source, code = f"lambda_ = {found}\n", value.__code__
        return Text(source, ast.parse(source), "lambda_", code.co_firstlineno, code.co_filename)
    file = f"<{name}, rewritten {crc32((text or '').encode()):08x}>"  # one for each text: whoever looks its lines up
    try:
        if text is not None and not kept:
            return Text(text, ast.parse(text), name, 1, file)
        lines, first, found_in = _lines_of(value)
        source = cut([line.rstrip("\r\n") for line in lines], 1, len(lines))
        tree = ast.parse(source)
        if kept is not None:
            above, below = lines_above(tree, name, kept), lines_above(tree, name, 0)
            rows = source.splitlines(keepends=True)
            source = "".join(rows[above:] if text is None else [*rows[above:below], text])
            tree, first = ast.parse(source), first + above
    except (OSError, TypeError, SyntaxError, IndexError, StopIteration):
        raise NoTextError(f"{name}, whose source cannot be found") from None
    if not any(getattr(item, "name", None) == name for item in tree.body):
        raise NoTextError(f"{name}, which has no def statement of its own")
    return Text(source, tree, name, first, found_in if text is None else file)


def _lines_of(value: Any) -> tuple[list[str], int, str]:
    try:
        # By its code, or it would be the source of what it wraps.
        lines, first = inspect.getsourcelines(value.__code__ if hasattr(value, "__wrapped__") else value)
    except (OSError, TypeError):
        if not isinstance(value, type):
            raise
        return _lines_of_class(value)
    return lines, first, inspect.getsourcefile(value) or "<unknown>"


def methods_of(kind: type) -> Iterator[tuple[str, FunctionType]]:
    """Yield the functions that stand in the body of *kind*, and the names that they have there."""
    for name, member in vars(kind).items():
        inner = function_in(member)
        inner = inspect.unwrap(inner) if callable(inner) else inner
        if isinstance(inner, FunctionType) and inner.__code__.co_qualname == f"{kind.__qualname__}.{inner.__name__}":
            yield name, inner


def classes_in(kind: type) -> Iterator[type]:
    """Yield the classes that stand in the body of *kind*."""
    for inner in [*vars(kind).values()]:
        if isinstance(inner, type) and inner.__qualname__ == f"{kind.__qualname__}.{inner.__name__}":
            yield inner


def _all_methods(kind: type) -> dict[str | None, FunctionType]:
    """Return the methods of *kind* and of classes in it, each with the names of those."""
    found: dict[str | None, FunctionType] = dict(methods_of(kind))
    for inner in classes_in(kind):
        found.update({f"{inner.__name__}.{name}": method for name, method in _all_methods(inner).items()})
    return found


def _lines_of_class(kind: type) -> tuple[list[str], int, str]:
    """Return the lines of a class whose module has no file: those of a cell.

    Raises:
        OSError: There is none that has it.
    """
    codes = [method.__code__ for _, method in methods_of(kind)]
    # What has no time of change was never in a file.
    cells = [file for file, entry in linecache.cache.items() if len(entry) > 1 and entry[1] is None]
    for file in dict.fromkeys((*(code.co_filename for code in codes), *reversed(cells))):
        tree = _tree_of(file)
        begins = {code.co_firstlineno for code in codes if code.co_filename == file}
        if tree is None or (codes and not begins):
            continue
        for item in reversed([*_definitions(tree.body, kind.__qualname__.split("."))]):
            first, last = min([item.lineno, *(part.lineno for part in item.decorator_list)]), item.end_lineno or 0
            if all(first <= line <= last for line in begins):
                return linecache.getlines(file)[first - 1 : last], first, file
    raise OSError(kind.__name__)


def _definitions(body: list[ast.stmt], path: list[str]) -> Iterator[ast.ClassDef]:
    """Yield the classes that go by *path*, from *body* on."""
    name, *rest = [part for part in path if part != "<locals>"]
    for item in body:
        if isinstance(item, Definition) and item.name == name:
            if rest:
                yield from _definitions(item.body, rest)
            elif isinstance(item, ast.ClassDef):
                yield item
        elif not isinstance(item, Definition):
            for part in ("body", "orelse", "finalbody"):
                yield from _definitions(getattr(item, part, []), path)


def lambda_text(function: FunctionType) -> str | None:
    """Return how a lambda function is written; None if it cannot be told.

    Its line may hold others: each of them is compiled, to see which one has its code.
    """
    code = function.__code__
    tree = _tree_of(code.co_filename, function.__globals__)
    if tree is None:
        return None
    alike = (part for part in ast.walk(tree) if isinstance(part, ast.Lambda) and part.lineno == code.co_firstlineno)
    looks = _looks_of(code)
    found = {ast.unparse(part) for part in alike if _compiled(part, code) == looks}
    return found.pop() if len(found) == 1 else None


def _compiled(part: ast.Lambda, code: CodeType) -> Any:
    """Return the looks of *part*, compiled where the names are around it that *code* finds there."""
    around: Any = ast.parse(f"def around({', '.join(code.co_freevars)}): return 0")
    around.body[0].body[0].value = part
    try:
        made: Any = compile(around, code.co_filename, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):  # as `await` is outside of what awaits
        return None
    for _ in range(2):
        made = next(item for item in reversed(made.co_consts) if isinstance(item, CodeType))
    return _looks_of(made)


def _looks_of(code: CodeType) -> Any:
    """Return what tells *code* from that of other functions in its line."""
    # What Python puts in front of the body has a line, and no columns.
    places = {place for place in code.co_positions() if place[2] is not None and place[2] != place[3]}
    constants = [_looks_of(item) if isinstance(item, CodeType) else repr(item) for item in code.co_consts]
    return code.co_varnames, code.co_freevars, code.co_code, repr(constants), places


def _tree_of(file: str, values: dict[str, Any] | None = None) -> ast.Module | None:
    try:
        return ast.parse("".join(linecache.getlines(file, values)))
    except (SyntaxError, ValueError):
        return None


def is_own_text(value: Any) -> bool:
    """True if *value* is not what the decorators of the function made of it that it says it wraps."""
    inner: Any = inspect.unwrap(value)
    if inner is value or not (isinstance(value, FunctionType) or is_of_program(type(value))):
        return False
    try:
        tree = text_of(inner).tree
    except NoTextError:
        return False
    decorators: list[Any] = next((getattr(item, "decorator_list", []) for item in tree.body), [])
    return len(decorators) < wrappings(value)


def kept_defaults(value: Any, text: Text, *, is_rewritten: bool) -> list[tuple[Slot, Any]]:
    """Return the default values in *text* that need not be computed anew: where they stand, and the objects.

    Args:
        value: The function or class.
        text: Of it.
        is_rewritten: True if that is not the text that it was made of: then only those are meant that are written in
            the same way.
    """
    name = name_of(value)
    slots = slots_in(text.tree, name)
    functions: dict[str | None, FunctionType] = (
        {None: value} if not isinstance(value, type) else {**_all_methods(value)}
    )
    written: dict[str, str] | None = None
    if is_rewritten and slots:
        try:
            before = slots_in(text_of(value, 0).tree, name)
        except NoTextError:
            return []
        written = {slot.argument: ast.unparse(slot.default) for slot in before}
    found = []
    for slot in slots:
        function = functions.get(slot.method)
        given = {} if function is None else defaults_of(function)
        is_same = written is None or written.get(slot.argument) == ast.unparse(slot.default)
        if slot.argument not in given or not is_same:
            continue
        object_ = given[slot.argument]
        plain = slot.default
        if isinstance(plain, ast.Constant) and type(plain.value) is type(object_) and plain.value == object_:
            continue
        found.append((slot, object_))
    return found
