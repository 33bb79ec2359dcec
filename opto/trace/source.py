"""The source of a function, and the function of a source. By syntax tree, never by searching text."""

import __future__

import ast
import linecache
import re
import sys
import textwrap
import weakref
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from types import CellType, CodeType, FunctionType
from typing import Any

from opto.errors import DomainError, SourceError
from opto.nodes import Domain, Frozen, unfenced

__all__ = ["Code", "closure_values", "compile_source", "signature_line", "source_of"]

#: Tells sources apart in tracebacks: two functions may have the same text, and different lives.
_version = count(1).__next__

Definition = ast.FunctionDef | ast.AsyncFunctionDef


def source_of(function: FunctionType) -> str:
    """Return the source of *function* from ``def`` on, without decorators and without outer indentation.

    Works wherever Python can show the lines of a traceback: files, notebooks, doctests.

    Raises:
        SourceError: The lines are not to be had, or are no longer those of the function.
    """
    code = function.__code__
    lines = [line.rstrip("\n") for line in linecache.getlines(code.co_filename, function.__globals__)] or _command()
    first, last = code.co_firstlineno, _last_line(code)
    # The last statement may go on below its last instruction. The rest of the file is not looked at: it may be
    # no Python at all, as where examples of a document are run.
    for end in range(last, min(last + 100, len(lines)) + 1):
        # Below an `if`, lines may keep their indentation; line 1 of the file is line 2 of the text.
        text = "\n".join(["if True:" if lines[first - 1][:1].isspace() else "", *lines[first - 1 : end]])
        try:
            tree = ast.parse(text)
        except SyntaxError:
            continue
        for found in ast.walk(tree):
            if isinstance(found, Definition) and found.name == code.co_name and _first_line(found) == 2:
                return _cut_out(text.split("\n"), found)
        break
    raise SourceError(
        f"The source of {function.__qualname__}() is not to be found in {code.co_filename}.",
        mend="Define it with def in a file or a notebook, or pass its text: bundle(trainable=True, source='def …').",
    )


def _command() -> list[str]:
    """Return the program of ``python -c``, which no file holds."""
    arguments = sys.orig_argv
    return arguments[arguments.index("-c") + 1].splitlines() if "-c" in arguments[:-1] else []


def _last_line(code: CodeType) -> int:
    """Return the last line that *code*, or code inside it, has an instruction for."""
    inner = [_last_line(item) for item in code.co_consts if isinstance(item, CodeType)]
    return max([code.co_firstlineno, *inner, *(line for _, _, line in code.co_lines() if line is not None)])


def _first_line(found: Definition) -> int:
    # A code object starts at its first decorator, a syntax tree at `def`.
    return min([found.lineno, *(decorator.lineno for decorator in found.decorator_list)])


def _cut_out(lines: list[str], found: Definition) -> str:
    # The lines of a text that spans several of them are part of a value: only layout may be moved.
    fixed = {
        number
        for part in ast.walk(found)
        if isinstance(part, ast.JoinedStr) or (isinstance(part, ast.Constant) and isinstance(part.value, str | bytes))
        if not _is_docstring(part, found)
        for number in range(part.lineno + 1, (part.end_lineno or part.lineno) + 1)
    }
    cut = []
    for number in range(found.lineno, (found.end_lineno or found.lineno) + 1):
        line = lines[number - 1]
        margin = min(found.col_offset, len(line) - len(line.lstrip()))
        cut.append(line if number in fixed else line[margin:])
    return "\n".join(cut).rstrip() + "\n"


def _is_docstring(part: ast.AST, found: Definition) -> bool:
    first = found.body[0]
    return isinstance(first, ast.Expr) and first.value is part


def closure_values(function: FunctionType) -> dict[str, Any]:
    """Return the closure variables of *function* that have a value, by name."""
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # not assigned yet
            found[name] = cell.cell_contents
    return found


def signature_line(definition: Definition) -> str:
    """Return the line that starts *definition*, such as ``def greet(name, *, polite=True):``."""
    kind = "async def" if isinstance(definition, ast.AsyncFunctionDef) else "def"
    returns = f" -> {ast.unparse(definition.returns)}" if definition.returns else ""
    return f"{kind} {definition.name}({ast.unparse(definition.args)}){returns}:"


def _parse(source: str, name: str) -> tuple[ast.Module, Definition]:
    """Return *source* as a tree, and the function *name* that it defines at its top level."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _unparsable(error) from error
    found = [item for item in tree.body if isinstance(item, Definition) and item.name == name]
    if not found:
        raise SourceError(f"The code does not define {name}().", mend=f"Keep the function and its name, {name}.")
    other = [item for item in tree.body if not isinstance(item, Definition)]
    if any(
        isinstance(part, ast.Name | ast.alias) and _bound_name(part) == name
        for item in other
        for part in ast.walk(item)
    ):
        raise SourceError(
            f"The code gives the name {name} to something else, too.", mend="Choose another name for that."
        )
    return tree, found[-1]


def _bound_name(part: ast.Name | ast.alias) -> str | None:
    if isinstance(part, ast.alias):
        return part.asname or part.name
    return part.id if isinstance(part.ctx, ast.Store) else None


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _unparsable(error: BaseException) -> SourceError:
    where = f" in line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
    reason = error.msg if isinstance(error, SyntaxError) else str(error)
    return SourceError(f"The code does not parse{where}: {reason}.", mend="Give complete, valid Python.")


def _globals_in(tree: ast.AST) -> frozenset[str]:
    """Return the names that code in *tree* declares global, in order to assign them."""
    return frozenset(name for part in ast.walk(tree) if isinstance(part, ast.Global) for name in part.names)


class Code(Frozen, Domain):
    r"""Source text that defines one function with one signature.

    Helper functions and imports may stand beside it. Annotations and default values may change; names and
    kinds of the arguments may not, because callers rely on them.

    Args:
        name: Name of the function.
        head: Its first line, as the user wrote it.
        free: Names of the closure variables of the original, which new code may use and assign.
        assigns: Global names that the original assigns. New code may not assign others: candidates would meet there.

    Example:
        >>> code = Code.of("def double(x):\n    return x + x\n", "double")
        >>> code.describe()
        'Python code that defines `def double(x):`'
        >>> code.accept("def double(x, y):\n    return 2 * x")
        Traceback (most recent call last):
        opto.errors.DomainError: The arguments of double() are (x, y). Keep the signature `def double(x):`.
    """

    name: str
    head: str
    free: tuple[str, ...]
    assigns: frozenset[str]

    def __init__(self, name: str, head: str, free: tuple[str, ...] = (), assigns: frozenset[str] = frozenset()) -> None:
        self._hold(name=name, head=head, free=free, assigns=assigns)

    @classmethod
    def of(cls, source: str, name: str, free: tuple[str, ...] = ()) -> "Code":
        """Return the domain of functions with the signature that *name* has in *source*.

        Raises:
            SourceError: *source* does not define it.
        """
        _, definition = _parse(source, name)
        return cls(name, signature_line(definition), free, _globals_in(definition))

    def read(self, raw: Any) -> str:
        """Return *raw* without a Markdown fence or an indentation of all lines around it."""
        if not isinstance(raw, str):
            raise DomainError(f"{raw!r:.200} is not source text.", mend=f"Give {self.describe()}.")
        text = re.sub(r"\A\s*\n", "", unfenced(raw)).rstrip() + "\n"
        # Models like to indent what stands between tags.
        return text if _parses(text) or not _parses(textwrap.dedent(text)) else textwrap.dedent(text)

    def write(self, value: Any) -> str:
        return str(value).rstrip("\n")

    def check(self, value: str) -> None:
        try:
            tree, definition = _parse(value, self.name)
            _make_code(tree, self.name, self.free, "<check>")
        except SourceError as error:
            raise DomainError(error.problem, mend=error.mend) from error
        if foreign := _globals_in(tree) - self.assigns:
            raise DomainError(
                f"The code assigns the global {', '.join(sorted(foreign))}.",
                mend="Keep what it computes in local names.",
            )
        wanted = ast.parse(f"{self.head} ...").body[0]
        assert isinstance(wanted, Definition)
        if _shape(definition) != _shape(wanted):
            arguments = ast.unparse(definition.args)
            raise DomainError(
                f"The arguments of {'async ' * isinstance(definition, ast.AsyncFunctionDef)}{self.name}() "
                f"are ({arguments}).",
                mend=f"Keep the signature `{self.head}`.",
            )

    def describe(self) -> str:
        return f"Python code that defines `{self.head}`"


def _shape(definition: Definition) -> tuple[Any, ...]:
    """Return what a caller relies on: kinds and names of the arguments, and which may be left out."""
    args = definition.args
    return (
        type(definition),
        [item.arg for item in args.posonlyargs],
        [item.arg for item in args.args],
        args.vararg and args.vararg.arg,
        [item.arg for item in args.kwonlyargs],
        args.kwarg and args.kwarg.arg,
        len(args.defaults),
        [item is not None for item in args.kw_defaults],
    )


def compile_source(
    source: str, like: FunctionType, owner: type | None = None, *, written: str | None = None
) -> FunctionType:
    """Return the function that *source* defines, living where *like* lives.

    It sees the same global names and the same closure variables (the very cells, so later changes are seen on
    both sides). Helpers and imports beside it are local to it: nothing is written to the user's module.
    Tracebacks show its lines.

    Args:
        source: The text.
        like: The original function.
        owner: The class in whose body *like* stands, if it does.
        written: The source of *like*. Defaults that are the same there keep the very objects of *like*.

    Raises:
        SourceError: *source* does not define a function with the name of *like*.
        Exception: Whatever statements beside the function raise.
    """
    name = like.__name__
    tree, _ = _parse(source, name)
    filename = f"<{name}, version {_version()}>"
    make_code = _make_code(
        tree, name, like.__code__.co_freevars, filename, class_name=None if owner is None else owner.__name__
    )
    cells = dict(zip(like.__code__.co_freevars, like.__closure__ or (), strict=True))
    if owner is not None:
        # For super() without arguments, which the original need not have used.
        cells.setdefault("__class__", CellType(owner))
    closure = tuple(cells[cell] for cell in make_code.co_freevars)
    made: FunctionType = FunctionType(make_code, like.__globals__, "make", None, closure)()
    made.__module__, made.__qualname__ = like.__module__, like.__qualname__
    if written is not None:
        _keep_defaults(made, like, _default_texts(source, name), _default_texts(written, name))
    _show_lines(made, filename, source)
    return made


def _default_texts(source: str, name: str) -> dict[str, str]:
    """Return the default values of the function *name*, by argument, as they are written."""
    args = _parse(source, name)[1].args
    leading = [*args.posonlyargs, *args.args]
    pairs = zip(leading[len(leading) - len(args.defaults) :], args.defaults, strict=True)
    named = zip(args.kwonlyargs, args.kw_defaults, strict=True)
    return {argument.arg: ast.dump(default) for argument, default in (*pairs, *named) if default is not None}


def _keep_defaults(made: FunctionType, like: FunctionType, new: dict[str, str], old: dict[str, str]) -> None:
    """Give *made* the default objects of *like* wherever both have the same default by text."""

    def by_name(function: FunctionType) -> dict[str, Any]:
        code, defaults = function.__code__, function.__defaults__ or ()
        leading = code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount]
        return dict(zip(leading, defaults, strict=True)) | (function.__kwdefaults__ or {})

    kept = {name: value for name, value in by_name(like).items() if name in new and new[name] == old.get(name)}
    now = by_name(made) | kept
    code = made.__code__
    leading = code.co_varnames[code.co_argcount - len(made.__defaults__ or ()) : code.co_argcount]
    made.__defaults__ = tuple(now[name] for name in leading) or None
    made.__kwdefaults__ = {name: now[name] for name in made.__kwdefaults__ or {}} or None


def _make_code(
    tree: ast.Module, name: str, free: tuple[str, ...], filename: str, *, class_name: str | None = None
) -> CodeType:
    """Compile *tree* as the body of a function that returns the function *name*, with *free* as closure variables."""
    body = [item for item in tree.body if not (isinstance(item, ast.ImportFrom) and item.module == "__future__")]
    for item in body:
        if isinstance(item, Definition) and item.name == name:
            item.decorator_list = []
    # outer() makes the free names local to a scope around make(), so that the compiler reads them from cells;
    # make() then gets the cells of the real function, and the new function gets them from make().
    make = _function("make", [*body, ast.Return(ast.Name(name, ast.Load()))])
    cells = dict.fromkeys([*free, "__class__"])
    outer = _function(
        "outer", [*(ast.Assign([ast.Name(cell, ast.Store())], ast.Constant(None)) for cell in cells), make]
    )
    # Inside a class of the same name, private names (self.__x) mean what they mean in the original.
    around = ast.parse(f"class {class_name or '_'}: ...")
    enclosing = around.body[0]
    assert isinstance(enclosing, ast.ClassDef)
    enclosing.body = [outer]
    if any(isinstance(item, ast.Return) for item in body):
        raise SourceError("The code does not parse: 'return' outside function.", mend="Give complete, valid Python.")
    try:
        # Annotations are not evaluated: they may speak of names that the code itself never needs.
        module = compile(
            ast.fix_missing_locations(around), filename, "exec", __future__.annotations.compiler_flag, dont_inherit=True
        )
    except (SyntaxError, ValueError, RecursionError) as error:
        raise _unparsable(error) from error
    return _inner(_inner(_inner(module, enclosing.name), "outer"), "make")


def _function(name: str, body: list[Any]) -> ast.FunctionDef:
    # Parsed, not built: the fields of the node differ between versions of Python.
    function = ast.parse(f"def {name}(): ...").body[0]
    assert isinstance(function, ast.FunctionDef)
    function.body = body
    return function


def _inner(code: CodeType, name: str) -> CodeType:
    return next(item for item in code.co_consts if isinstance(item, CodeType) and item.co_name == name)


def _show_lines(function: Callable[..., Any], filename: str, source: str) -> None:
    """Let tracebacks show the lines of *source* for as long as *function* lives."""
    lines = source.splitlines(keepends=True)
    # No modification time: linecache.checkcache() then leaves the entry alone.
    linecache.cache[filename] = (len(source), None, lines, filename)
    weakref.finalize(function, linecache.cache.pop, filename, None)
