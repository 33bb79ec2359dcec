"""What the text of a method uses of the object that it is called on, and of that object's classes."""

import ast
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

__all__ = ["Attributes", "Uses", "first_argument", "merged", "uses_in"]

#: Names of attributes, each with the names of its attributes that are used; None for any.
Attributes = Mapping[str, frozenset[str] | None]

#: What built-in functions ask of an object, by their names.
_ASKED = {
    "isinstance": (),
    "issubclass": (),
    "id": (),
    "callable": (),
    "type": (),
    "vars": ("__dict__",),
    "len": ("__len__",),
    "str": ("__str__", "__repr__"),
    "repr": ("__repr__",),
    "iter": ("__iter__",),
}
_BY_NAME = {"getattr", "hasattr", "setattr", "delattr"}
_ITEMS: dict[type, str] = {ast.Load: "__getitem__", ast.Store: "__setitem__", ast.Del: "__delitem__"}


class Uses(NamedTuple):
    """What some text uses.

    Attributes:
        own: Attributes that are looked up on the object, or on its class.
        above: Those that ``super()`` looks up, each with the class that it starts after; None for the one around it.
        of: Those that are looked up on classes that the text calls by their names.
        makes: True if it makes instances.
        is_whole: True if it uses the object in other ways.
    """

    own: Attributes = MappingProxyType({})
    above: frozenset[tuple[type | None, str]] = frozenset()
    of: frozenset[tuple[type, str]] = frozenset()
    makes: bool = False
    is_whole: bool = False


def merged(some: Iterable[Attributes]) -> Attributes:
    """Return all of *some* in one."""
    found: dict[str, frozenset[str] | None] = {}
    for attributes in some:
        for name, inner in attributes.items():
            known = found.get(name, frozenset())
            found[name] = None if known is None or inner is None else known | inner
    return found


def first_argument(tree: ast.AST, name: str) -> str | None:
    """Return the name of the first argument of the function *name* in *tree*."""
    for item in ast.walk(tree):
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and name == getattr(
            item, "name", "<lambda>"
        ):
            args = [*item.args.posonlyargs, *item.args.args]
            return args[0].arg if args else None
    return None


def uses_in(tree: ast.AST, receiver: str | None, class_named: Callable[[str], type | None]) -> Uses:
    """Return what *tree* uses of what it calls *receiver*.

    Args:
        tree: The text.
        receiver: The name of the object.
        class_named: Returns the class that a name stands for, if it is one of the object's.
    """
    found = _Finder(receiver, class_named)
    found.find(tree)
    return Uses(
        found.own,
        frozenset(found.above),
        frozenset(found.of),
        found.makes,
        found.is_whole,
    )


class _Finder(ast.NodeVisitor):
    def __init__(self, receiver: str | None, class_named: Callable[[str], type | None]) -> None:
        self._receiver, self._class_named = receiver, class_named
        self.own: Attributes = {}
        self.above: set[tuple[type | None, str]] = set()
        self.of: set[tuple[type, str]] = set()
        self.makes = self.is_whole = False
        self._waiting: list[ast.AST] = []

    def find(self, tree: ast.AST) -> None:
        """Look at all of *tree*, however deep it is: no visit begins another one."""
        self._waiting.append(tree)
        while self._waiting:
            self.visit(self._waiting.pop())

    def generic_visit(self, node: ast.AST) -> None:
        self._waiting += ast.iter_child_nodes(node)

    def visit_Name(self, node: ast.Name) -> None:
        self.is_whole = self.is_whole or node.id == self._receiver

    def visit_Attribute(self, node: ast.Attribute) -> None:
        value = node.value
        if self._is_object(value) or self._is_class(value):
            self._note(node.attr)
        elif isinstance(value, ast.Attribute) and self._is_object(value.value):
            self._note(value.attr, frozenset({node.attr}))
        elif _is_call(value, "super"):
            self.above.add((self._start(value), node.attr))
        elif (kind := self._kind(value)) is not None:
            self.of.add((kind, node.attr))
        else:
            self._waiting.append(value)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if self._is_object(node.value):
            self._note(_ITEMS[type(node.ctx)])
            self._waiting.append(node.slice)
        else:
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        function, args = node.func, node.args
        name = function.id if isinstance(function, ast.Name) else None
        is_about = bool(args) and (self._is_object(args[0]) or self._is_class(args[0]))
        if name == "super":
            self.is_whole = True
            args = []
        elif name in _BY_NAME and is_about and len(args) > 1 and isinstance(args[1], ast.Constant):
            self._note(str(args[1].value))
            args = args[2:]
        elif name in _ASKED:
            for asked in _ASKED[name] if is_about else ():
                self._note(asked)
            args = args[is_about:]
            args = [item for item in args if name not in {"isinstance", "issubclass"} or not isinstance(item, ast.Name)]
        elif self._is_object(function) or self._is_class(function) or self._kind(function) is not None:
            self.makes = True
            if self._is_object(function):
                self._note("__call__")
        elif isinstance(function, ast.Attribute) and self._kind(function.value) is not None:
            self._waiting.append(function)
            args = args[is_about:]  # a method of one of its classes, called on it
        else:
            self._waiting.append(function)
        self._waiting += [*args, *node.keywords]

    def _note(self, name: str, inner: frozenset[str] | None = None) -> None:
        self.own = merged((self.own, {name: inner}))

    def _is_object(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Name) and node.id == self._receiver

    def _is_class(self, node: ast.AST) -> bool:
        """True for ``__class__``, and the class of the object."""
        if isinstance(node, ast.Name):
            return node.id == "__class__"
        if isinstance(node, ast.Attribute):
            return node.attr == "__class__" and self._is_object(node.value)
        return isinstance(node, ast.Call) and _is_call(node, "type") and [*map(self._is_object, node.args)] == [True]

    def _kind(self, node: ast.AST) -> type | None:
        return self._class_named(node.id) if isinstance(node, ast.Name) and node.id != self._receiver else None

    def _start(self, call: Any) -> type | None:
        return self._kind(call.args[0]) if call.args else None


def _is_call(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
