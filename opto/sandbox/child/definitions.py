"""Functions and classes in a text: their decorators, and their default values, whose places the very objects take."""

import ast
from types import FunctionType
from typing import Any

__all__ = ["Definition", "Slot", "defaults_of", "put_names", "slots_in", "without_decorators"]

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def without_decorators(tree: ast.Module, name: str) -> None:
    """Take the decorators off the definitions of *name* at the top of *tree*."""
    for item in tree.body:
        if isinstance(item, Definition) and item.name == name:
            item.decorator_list = []


def defaults_of(function: FunctionType) -> dict[str, Any]:
    """Return the default values of *function*, by argument."""
    code, values = function.__code__, function.__defaults__ or ()
    leading = code.co_varnames[code.co_argcount - len(values) : code.co_argcount]
    return dict(zip(leading, values, strict=True)) | (function.__kwdefaults__ or {})


class Slot:
    """One default value.

    Attributes:
        number: Of it in its text.
        method: The function in the body of a class that it belongs to, after the names of classes in that; None for the
            function itself.
        argument: Its name.
    """

    __slots__ = ("_among", "_index", "argument", "method", "number")

    def __init__(self, number: int, method: str | None, argument: str, among: list[Any], index: int) -> None:
        self.number, self.method, self.argument = number, method, argument
        self._among, self._index = among, index

    @property
    def default(self) -> ast.expr:
        """The expression."""
        expression: ast.expr = self._among[self._index]
        return expression

    def clear(self) -> None:
        """Let it speak of nothing."""
        self.put(ast.Constant(None))

    def put(self, expression: ast.expr) -> None:
        """Make it *expression*."""
        self._among[self._index] = ast.copy_location(expression, self.default)


def slots_in(tree: ast.Module, name: str) -> list[Slot]:
    """Return the default values of the function *name* at the top of *tree*, or of those in the body of that class.

    Those of functions of the same name, as getters and setters have it, are not among them.
    """
    found: list[Slot] = []
    for method, args in _functions_in(tree, name):
        leading = [*args.posonlyargs, *args.args]
        leading = leading[len(leading) - len(args.defaults) :]
        for among, arguments in ((args.defaults, leading), (args.kw_defaults, args.kwonlyargs)):
            for index, argument in enumerate(arguments):
                if among[index] is not None:
                    found.append(Slot(len(found), method, argument.arg, among, index))
    return found


def _functions_in(tree: ast.Module, name: str) -> list[tuple[str | None, ast.arguments]]:
    for item in reversed(tree.body):
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and item.name == name:
            return [(None, item.args)]
        if isinstance(item, ast.Assign) and isinstance(item.value, ast.Lambda):
            return [(None, item.value.args)]
        if isinstance(item, ast.ClassDef) and item.name == name:
            return _methods_in(item, "")
    return []


def _methods_in(tree: ast.ClassDef, path: str) -> list[tuple[str | None, ast.arguments]]:
    found: list[tuple[str | None, ast.arguments]] = []
    names = [getattr(part, "name", None) for part in tree.body]
    for part in tree.body:
        if isinstance(part, ast.ClassDef):
            found += _methods_in(part, f"{path}{part.name}.")
        elif isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) and names.count(part.name) == 1:
            found.append((f"{path}{part.name}", part.args))
    return found


def put_names(tree: ast.Module, name: str, numbers: dict[str, Any]) -> dict[str, Any]:
    """Put names in the places of the default values *numbers*; return what these are to stand for, by name."""
    free = {}
    for slot in slots_in(tree, name) if numbers else ():
        if str(slot.number) in numbers:
            free[f"_default_{slot.number}"] = numbers[str(slot.number)]
            slot.put(ast.Name(f"_default_{slot.number}", ast.Load()))
    return free
