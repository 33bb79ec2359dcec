"""The function of a source, and what a source may be. By syntax tree, never by searching text."""

import __future__

import ast
import linecache
import re
import textwrap
import weakref
from contextlib import suppress
from itertools import count
from types import CellType, CodeType, FunctionType
from typing import Any

from opto.errors import DomainError, SourceError
from opto.nodes import Domain, Frozen, ParameterNode, unfenced
from opto.splice import is_generator

__all__ = [
    "Code",
    "CodeParameter",
    "Definition",
    "closure_values",
    "compile_source",
    "keep_defaults",
    "make_code",
    "parse",
    "rewrapped",
    "signature_line",
    "unwrapped",
    "version_name",
]

#: Tells sources apart in tracebacks: two functions may have the same text, and different lives.
_version = count(1).__next__

Definition = ast.FunctionDef | ast.AsyncFunctionDef

#: Functions around new code. No text can speak of these names, so they are in nobody's way.
_OUTER, _MAKE = "<outer>", "<make>"


def version_name(name: str) -> str:
    """Return what tracebacks call a new text of the function *name*."""
    return f"<{name}, version {_version()}>"


def closure_values(function: FunctionType) -> dict[str, Any]:
    """Return the closure variables of *function* that have a value, by name."""
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # not assigned yet
            found[name] = cell.cell_contents
    return found


def unwrapped(value: Any) -> Any:
    """Return the function inside decorators that say what they wrap."""
    while callable(value) and hasattr(value, "__wrapped__"):
        value = value.__wrapped__
    return value


def rewrapped(function: Any, inner: FunctionType, new: FunctionType) -> FunctionType:
    """Return what the decorators that made *function* of *inner* would have made of *new*.

    They are not run again: a wrapper is copied, and finds *new* in its closure. All else there is shared.

    Raises:
        SourceError: A wrapper keeps what it wraps somewhere else.
    """
    if function is inner:
        return new
    wrapped = function.__wrapped__
    closure = closure_values(function) if isinstance(function, FunctionType) else {}
    if not any(value is wrapped for value in closure.values()):
        raise SourceError(
            f"{new.__name__}() is inside a decorator that hides it, so no new source could take its place.",
            mend="Put bundle right above def, below the other decorators.",
        )
    put = rewrapped(wrapped, inner, new)
    cells = zip(function.__code__.co_freevars, function.__closure__, strict=True)
    made = FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        tuple(CellType(put) if closure.get(name) is wrapped else cell for name, cell in cells),
    )
    made.__kwdefaults__, made.__module__ = function.__kwdefaults__, function.__module__
    made.__qualname__ = function.__qualname__
    vars(made).update({**vars(function), "__wrapped__": put})
    return made


def signature_line(definition: Definition) -> str:
    """Return the line that starts *definition*, such as ``def greet(name, *, polite=True):``."""
    kind = "async def" if isinstance(definition, ast.AsyncFunctionDef) else "def"
    returns = f" -> {ast.unparse(definition.returns)}" if definition.returns else ""
    return f"{kind} {definition.name}({ast.unparse(definition.args)}){returns}:"


def parse(source: str, name: str) -> tuple[ast.Module, Definition]:
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
    return SourceError(
        f"The code does not parse{where} ({type(error).__name__}: {reason}).", mend="Give complete, valid Python."
    )


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
        also: What else must hold of the text.
        yields: True if the original is a generator function, as new code then has to be.

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
    also: Domain | None
    yields: bool

    def __init__(
        self,
        name: str,
        head: str,
        free: tuple[str, ...] = (),
        assigns: frozenset[str] = frozenset(),
        also: Domain | None = None,
        *,
        yields: bool = False,
    ) -> None:
        self._hold(name=name, head=head, free=free, assigns=assigns, also=also, yields=yields)

    @classmethod
    def of(cls, source: str, name: str, free: tuple[str, ...] = (), also: Domain | None = None) -> "Code":
        """Return the domain of functions with the signature that *name* has in *source*.

        Raises:
            SourceError: *source* does not define it.
        """
        _, definition = parse(source, name)
        yields = is_generator(definition)
        return cls(name, signature_line(definition), free, _globals_in(definition), also, yields=yields)

    def read(self, raw: Any) -> str:
        """Return *raw* without a Markdown fence or an indentation of all lines around it."""
        text = re.sub(r"\A\s*\n", "", unfenced(self._text(raw))).rstrip() + "\n"
        # Models like to indent what stands between tags.
        text = text if _parses(text) or not _parses(textwrap.dedent(text)) else textwrap.dedent(text)
        return text if self.also is None else self._text(self.also.read(text))

    def _text(self, raw: Any) -> str:
        if not isinstance(raw, str):
            raise DomainError(f"{raw!r:.200} is not source text.", mend=f"Give {self.describe()}.")
        return raw

    def write(self, value: Any) -> str:
        return str(value).rstrip("\n")

    def check(self, value: str) -> None:
        try:
            tree, definition = parse(self._text(value), self.name)
            make_code(tree, self.name, self.free, "<check>")
        except SourceError as error:
            raise DomainError(error.problem, mend=error.mend) from error
        if foreign := _globals_in(tree) - self.assigns:
            raise DomainError(
                f"The code assigns the global {', '.join(sorted(foreign))}.",
                mend="Keep what it computes in local names.",
            )
        wanted = ast.parse(f"{self.head} ...").body[0]
        assert isinstance(wanted, Definition)
        if type(definition) is not type(wanted):
            is_missing = isinstance(wanted, ast.AsyncFunctionDef)
            kind, other = ("no coroutine function", "is one") if is_missing else ("a coroutine function", "is none")
            raise DomainError(
                f"{self.name}() is {kind}, and the original {other}.",
                mend=f"{'Write async in front of def' if is_missing else 'Leave async out'}: `{self.head}`.",
            )
        if _shape(definition) != _shape(wanted):
            arguments = ast.unparse(definition.args)
            raise DomainError(
                f"The arguments of {self.name}() are ({arguments}).",
                mend=f"Keep the signature `{self.head}`.",
            )
        if is_generator(definition) != self.yields:
            raise DomainError(
                f"{self.name}() {'returns a value' if self.yields else 'yields'}, and the original does not.",
                mend="Yield items, as it does." if self.yields else "Return one value, as it does.",
            )
        if self.also is not None:
            self.also.check(value)

    def describe(self) -> str:
        also = f"; {self.also.describe()}" if self.also is not None else ""
        return f"Python code that defines `{self.head}`{also}"


class CodeParameter(ParameterNode[str]):
    """The parameter that holds the source of a function, whatever its domain is."""

    __slots__ = ()


def _shape(definition: Definition) -> tuple[Any, ...]:
    """Return what a caller relies on: kinds and names of the arguments, and which may be left out."""
    args = definition.args
    return (
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
    tree, _ = parse(source, name)
    filename = version_name(name)
    tree.body = [item for item in tree.body if not _is_main_block(item)]  # as where a module is imported
    making = make_code(
        tree, name, like.__code__.co_freevars, filename, class_name=None if owner is None else owner.__name__
    )
    cells = dict(zip(like.__code__.co_freevars, like.__closure__ or (), strict=True))
    if owner is not None:
        # For super() without arguments, which the original need not have used.
        cells.setdefault("__class__", CellType(owner))
    closure = tuple(cells[cell] for cell in making.co_freevars)
    shown = _show_lines(making, filename, source)  # to whoever looks at an error of what stands beside the function
    made: FunctionType = FunctionType(making, like.__globals__, "make", None, closure)()
    made.__module__, made.__qualname__ = like.__module__, like.__qualname__
    if written is not None:
        keep_defaults(made, like, source, written)
    shown.detach()
    _show_lines(made, filename, source)
    return made


def _default_texts(source: str, name: str) -> dict[str, str]:
    """Return the default values of the function *name*, by argument, as they are written."""
    args = parse(source, name)[1].args
    leading = [*args.posonlyargs, *args.args]
    pairs = zip(leading[len(leading) - len(args.defaults) :], args.defaults, strict=True)
    named = zip(args.kwonlyargs, args.kw_defaults, strict=True)
    return {argument.arg: ast.dump(default) for argument, default in (*pairs, *named) if default is not None}


def keep_defaults(made: FunctionType, like: FunctionType, source: str, written: str) -> None:
    """Give *made*, whose text is *source*, the default objects of *like* wherever both have the same one by text."""
    new, old = _default_texts(source, like.__name__), _default_texts(written, like.__name__)

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


def make_code(
    tree: ast.Module,
    name: str,
    free: tuple[str, ...],
    filename: str,
    *,
    class_name: str | None = None,
    # Annotations are not evaluated: they may speak of names that the code itself never needs.
    flags: int = __future__.annotations.compiler_flag,
) -> CodeType:
    """Compile *tree* as the body of a function that returns the function *name*, with *free* as closure variables."""
    body = [item for item in tree.body if not (isinstance(item, ast.ImportFrom) and item.module == "__future__")]
    for item in body:
        if isinstance(item, Definition) and item.name == name:
            item.decorator_list = []
    # <outer> makes the free names local to a scope around <make>, so that the compiler reads them from cells;
    # <make> then gets the cells of the real function, and the new function gets them from <make>.
    make = _function(_MAKE, [*body, ast.Return(ast.Name(name, ast.Load()))])
    cells = dict.fromkeys([*free, "__class__"])
    outer = _function(
        _OUTER, [*(ast.Assign([ast.Name(cell, ast.Store())], ast.Constant(None)) for cell in cells), make]
    )
    # Inside a class of the same name, private names (self.__x) mean what they mean in the original.
    around = ast.parse(f"class {class_name or '_'}: ...")
    enclosing = around.body[0]
    assert isinstance(enclosing, ast.ClassDef)
    enclosing.body = [outer]
    if any(isinstance(item, ast.Return) for item in body):
        raise SourceError("The code does not parse: 'return' outside function.", mend="Give complete, valid Python.")
    try:
        module = compile(ast.fix_missing_locations(around), filename, "exec", flags, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise _unparsable(error) from error
    made = _inner(_inner(_inner(module, enclosing.name), _OUTER), _MAKE)
    return _renamed(made, f"{made.co_qualname}.<locals>.").replace(co_name="<module>", co_qualname="<module>")


def _renamed(code: CodeType, prefix: str) -> CodeType:
    """Return *code* without *prefix* in the qualified names of functions and classes in it."""

    def renamed(constant: Any) -> Any:
        if isinstance(constant, CodeType):
            return _renamed(constant, prefix)
        return constant.removeprefix(prefix) if isinstance(constant, str) else constant

    return code.replace(
        co_qualname=code.co_qualname.removeprefix(prefix), co_consts=tuple(map(renamed, code.co_consts))
    )


def _is_main_block(item: ast.stmt) -> bool:
    if not isinstance(item, ast.If) or not isinstance(item.test, ast.Compare):
        return False
    sides = [item.test.left, *item.test.comparators]
    return {getattr(side, "id", getattr(side, "value", None)) for side in sides} == {"__name__", "__main__"}


def _function(name: str, body: list[Any]) -> ast.FunctionDef:
    # Parsed, not built: the fields of the node differ between versions of Python.
    function = ast.parse("def made(): ...").body[0]
    assert isinstance(function, ast.FunctionDef)
    function.name, function.body = name, body
    return function


def _inner(code: CodeType, name: str) -> CodeType:
    return next(item for item in code.co_consts if isinstance(item, CodeType) and item.co_name == name)


def _show_lines(owner: Any, filename: str, source: str) -> Any:
    """Let tracebacks show the lines of *source* for as long as *owner* lives; return what ends that."""
    lines = [f"{line}\n" for line in source.removesuffix("\n").split("\n")]  # only those that Python counts
    # No modification time: linecache.checkcache() then leaves the entry alone.
    linecache.cache[filename] = (len(source), None, lines, filename)
    return weakref.finalize(owner, linecache.cache.pop, filename, None)
