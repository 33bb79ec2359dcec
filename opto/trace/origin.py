"""The source of a function, from wherever it stands. By syntax tree, never by searching text."""

import __future__

import ast
import linecache
import re
import sys
import weakref
from collections.abc import Iterator
from itertools import pairwise
from types import CodeType, FunctionType
from typing import Any

from opto.errors import SourceError
from opto.splice import cut
from opto.trace.source import Definition, make_code, parse

__all__ = ["first_line", "source_of", "text_of"]


def source_of(function: FunctionType) -> str:
    """Return the source of *function* from ``def`` on, without decorators and without outer indentation.

    Works wherever Python can show the lines of a traceback: files, notebooks, doctests.

    Raises:
        SourceError: The lines are not to be had, or are no longer those of the function.
    """
    code = function.__code__
    for lines in _texts(function):
        found = _written(lines, code)
        if found is not None and _is_text_of(found, function):
            return found
    raise SourceError(
        f"The source of {function.__qualname__}() is not to be found in {code.co_filename}.",
        mend="Define it with def in a file or a notebook, or pass its text: bundle(trainable=True, source='def …').",
    )


#: What was found before, as long as the functions live: optimizers ask in every step.
_found: "weakref.WeakKeyDictionary[FunctionType, str | None]" = weakref.WeakKeyDictionary()


def text_of(function: Any) -> str | None:
    """Return the source of *function*, or None if it has none that can be found."""
    if not isinstance(function, FunctionType):
        return None
    if function not in _found:
        try:
            _found[function] = source_of(function)
        except SourceError:
            _found[function] = None
    return _found[function]


def _texts(function: FunctionType) -> Iterator[list[str]]:
    """Yield the lines of the file of *function*: as they were when last looked at, and as they are now."""
    filename = function.__code__.co_filename
    yield _lines_of(filename, function)
    linecache.checkcache(filename)
    yield _lines_of(filename, function)
    if filename == "<timed exec>" and "IPython" in sys.modules:
        # The cell below %%time, which the notebook runs, but does not file.
        yield sys.modules["IPython"].get_ipython().history_manager.input_hist_raw[-1].split("\n")[1:]
    if filename == "<string>":
        # The program of ``python -c``, which no file holds; options may stand before the c, and the text behind it.
        for argument, following in pairwise([*sys.orig_argv, ""]):
            if found := re.fullmatch(r"-[bBdEiIOPqsSuvx]*c(.*)", argument, re.DOTALL):
                yield (found[1] or following).split("\n")
                break


def _lines_of(filename: str, function: FunctionType) -> list[str]:
    return [line.rstrip("\n") for line in linecache.getlines(filename, function.__globals__)]


def _written(lines: list[str], code: CodeType) -> str | None:
    """Return the text of the function with this *code*, if it stands in *lines* where the code says."""
    first, last = code.co_firstlineno, _last_line(code)
    if last > len(lines):
        return None
    # The last statement may go on below its last instruction, and code that never runs has none. The rest of the file
    # is not looked at: it may be no Python at all, as where examples of a document are run.
    for end in (_end_of_block(lines, first, last), *range(last, min(last + 100, len(lines)) + 1)):
        # Below an `if`, lines may keep their indentation; line 1 of the file is line 2 of the text.
        text = "\n".join(["if True:" if lines[first - 1][:1].isspace() else "", *lines[first - 1 : end]])
        try:
            tree = ast.parse(text)
        except SyntaxError:
            continue
        for found in ast.walk(tree):
            if isinstance(found, Definition) and found.name == code.co_name and first_line(found) == 2:
                return _cut_out(text.split("\n"), found)
        break
    return None


def _margin(line: str) -> int:
    return len(line) - len(line.lstrip())


def _end_of_block(lines: list[str], first: int, last: int) -> int:
    """Return the number of the last line at or below *last* that is indented more than line *first*."""
    end = last
    for number in range(last, len(lines)):
        if lines[number].strip():
            if _margin(lines[number]) <= _margin(lines[first - 1]):
                break
            end = number + 1
    return end


def _is_text_of(source: str, function: FunctionType) -> bool:
    """True if *function* can have been compiled from *source*: False where a file was changed since."""
    code, name = function.__code__, function.__name__
    tree, _ = parse(source, code.co_name)
    if name not in code.co_freevars:
        tree.body.insert(0, ast.Global([code.co_name]))  # where it calls itself
    around = function.__qualname__.split(".")[-2:-1]
    flags = code.co_flags & __future__.annotations.compiler_flag
    made = make_code(tree, name, code.co_freevars, "<check>", class_name="".join(around).strip("<>"), flags=flags)
    found = next(item for item in _codes_in(made) if item.co_name == code.co_name)
    new, old = _words(found), _words(code)
    # There are tools that add to what is written, such as pytest to assertions.
    return new < old or (new == old and _steps(found) == _steps(code))


def _codes_in(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes_in(constant)


def _words(code: CodeType) -> set[Any]:
    """Return the names and constants in *code* and the functions in it."""
    # Bodies of classes hold the number of their first line. Docstrings are as far from the margin as their function.
    codes = [code, *(item for item in _codes_in(code) if item.co_flags & _OPTIMIZED)]
    words: set[Any] = set()
    for item in codes:
        words.update(item.co_names, item.co_varnames, item.co_freevars, item.co_cellvars)
        for constant in item.co_consts:
            if not isinstance(constant, CodeType):
                words.add((type(constant), " ".join(constant.split()) if isinstance(constant, str) else constant))
    return words


def _steps(code: CodeType) -> list[Any]:
    """Return what *code* does, without how: calls and global names are compiled by what stands around a function."""
    import dis  # noqa: PLC0415 - only where a function is made trainable

    return [
        (step.opname, None if isinstance(step.argval, CodeType) else step.argval)
        for step in dis.get_instructions(code)
        if step.opname.startswith(("BINARY", "COMPARE", "CONTAINS", "IS_OP", "LOAD_CONST", "LOAD_FAST", "UNARY"))
    ]


#: Flag of the code of functions.
_OPTIMIZED = 0x01


def _last_line(code: CodeType) -> int:
    """Return the last line that *code*, or code inside it, has an instruction for."""
    inner = [_last_line(item) for item in code.co_consts if isinstance(item, CodeType)]
    return max([code.co_firstlineno, *inner, *(line for _, _, line in code.co_lines() if line is not None)])


def first_line(found: Any) -> int:
    """Return the line of *found*, a function or a class, with its decorators: there its code object starts, too."""
    lines: list[int] = [found.lineno, *(decorator.lineno for decorator in found.decorator_list)]
    return min(lines)


def _cut_out(lines: list[str], found: Definition) -> str:
    end = found.end_lineno or found.lineno
    # A comment at the end is no part of the tree, but of the text.
    for number in range(end, len(lines)):
        if not lines[number].lstrip().startswith("#") and lines[number].strip():
            break
        end = number + 1 if lines[number].strip() and _margin(lines[number]) > found.col_offset else end
    return cut(lines, found.lineno, end)
