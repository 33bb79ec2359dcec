"""Source of traced programs, rewritten to plain Python: decorators and nodes of opto go, what they hold stays."""

import ast
import builtins
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from opto.errors import ModuleError
from opto.nodes import Node, ParameterNode, node
from opto.splice import Splice
from opto.trace.bundle import FunModule, bundle
from opto.trace.fragments import NoLiteralError, literal
from opto.trace.ownership import ParameterOwner, attributes_of

__all__ = ["DATA_HELPER", "Rewriter", "decorators_of_opto", "is_inlined", "is_of_opto", "meaning_of"]

MISSING: Any = object()

#: Expressions that need no brackets wherever they stand.
_ATOMS = (
    *(ast.Name, ast.Constant, ast.JoinedStr, ast.Attribute, ast.Call, ast.Subscript),
    *(ast.List, ast.Dict, ast.Set),
)

#: What values do not have.
_OF_NODES = {name for name in dir(ParameterNode) if name[0] != "_"} - {"data", "call"}

#: Stands in exported source for ``.data`` where the source does not show whether that was asked of a node.
DATA_HELPER = '''\
def _data(value):
    """Return what was the data of a node: here, a value is its own."""
    if type(value).__module__ == "numpy":
        return value
    return getattr(value, "data", value)
'''


def is_of_opto(value: Any) -> bool:
    """True for modules, classes and functions of opto."""
    if isinstance(value, ModuleType):
        name = value.__name__
    elif isinstance(value, FunModule):
        name = getattr(value.fun, "__module__", None) or ""
    elif isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        name = getattr(value, "__module__", None) or ""
    else:
        return False
    return name.partition(".")[0] == "opto"


def is_inlined(value: Any, home: str) -> bool:
    """True if *value* has to stand in the exported file: it comes from the same module, or from one that uses opto."""
    module = getattr(value, "__module__", None) or ""
    if module == home or (isinstance(value, type) and issubclass(value, ParameterOwner)):
        return True
    found = vars(sys.modules[module]) if module in sys.modules else {}
    return not is_of_opto(value) and any(
        isinstance(item, Node | ParameterOwner) or is_of_opto(item) for item in list(found.values())
    )


def decorators_of_opto(definition: Any, names: Mapping[str, Any]) -> list[ast.expr]:
    """Return those decorators of *definition* that are opto's."""
    return [item for item in definition.decorator_list if is_of_opto(meaning_of(_called(item), names))]


def _called(item: ast.expr) -> ast.expr:
    return item.func if isinstance(item, ast.Call) else item


def meaning_of(expression: ast.expr, names: Mapping[str, Any]) -> Any:
    """Return what *expression*, a path of names through modules and classes, stands for; MISSING if unknown."""
    if isinstance(expression, ast.Name):
        return names.get(expression.id, getattr(builtins, expression.id, MISSING))
    if isinstance(expression, ast.Attribute):
        base = meaning_of(expression.value, names)
        if isinstance(base, ModuleType | type):
            return getattr(base, expression.attr, MISSING)
    return MISSING


class Rewriter:
    """Changes one piece of source; the changes are left in a `Splice`.

    Args:
        splice: The source.
        names: What its global names stand for.
        where: What the source is, for errors.
        kind: The class that is rewritten, or None.

    Attributes:
        instance: An instance of *kind*, or None.
        unique: True if there is no other: nodes in its attributes are written as literals in place of what made them.
        written: The nodes that were, by id.
        imports: Modules that the source goes into by name, such as ``os.path``.
        functions: Functions of opto that the source calls, by the names that it has for them now.
        needs_helper: True if `DATA_HELPER` is needed.
    """

    def __init__(self, splice: Splice, names: Mapping[str, Any], *, where: str, kind: type | None = None) -> None:
        self.splice = splice
        self.names = names
        self.where = where
        self.kind = kind
        self.instance: Any = None
        self.unique = False
        self.written: set[int] = set()
        self.imports: set[str] = set()
        self.functions: dict[str, Any] = {}
        self.needs_helper = False
        self._in_function = False
        self._in_bundle = False
        self._locals: dict[str, list[Any]] = {}

    def visit(self, part: ast.AST) -> None:
        """Rewrite *part* and all that is in it."""
        method = getattr(self, f"_visit_{type(part).__name__}", None)
        if method is None or not method(part):
            self._refuse_opto(part)
            for child in ast.iter_child_nodes(part):
                self.visit(child)

    def function(self, part: Any, *, in_bundle: bool) -> None:
        """Rewrite a function, in whose body values are plain if it is a bundle."""
        outer = self._in_function, self._in_bundle, self._locals
        self._in_function, self._in_bundle, self._locals = True, in_bundle, {**self._locals, **_assigned(part)}
        self._decorators(part)
        self._annotation(part.returns, "->")
        for child in ast.iter_child_nodes(part):
            if child not in part.decorator_list and child is not part.returns:
                self.visit(child)
        self._in_function, self._in_bundle, self._locals = outer

    def _meaning(self, expression: ast.expr) -> Any:
        root = expression
        while isinstance(root, ast.Attribute):
            root = root.value
        # A variable of the function may have the name of something else outside.
        is_local = isinstance(root, ast.Name) and root.id in self._locals
        return MISSING if is_local else meaning_of(expression, self.names)

    def _decorators(self, part: Any) -> None:
        gone = decorators_of_opto(part, self.names)
        for item in part.decorator_list:
            if item in gone:
                begin = self.splice.line(self.splice.start(item))
                self.splice.change(begin, self.splice.next_line(self.splice.end(item)))
            else:
                self.visit(item)

    # Each of these returns True if it has dealt with all that is in the part.

    def _visit_FunctionDef(self, part: Any) -> bool:  # noqa: N802 - named as in ast.NodeVisitor
        is_bundle = self._in_bundle or any(
            self._meaning(_called(item)) is bundle and not _is_open(item) for item in part.decorator_list
        )
        self.function(part, in_bundle=is_bundle)
        return True

    _visit_AsyncFunctionDef = _visit_FunctionDef  # noqa: N815 - as above

    def _visit_arg(self, part: ast.arg) -> bool:
        self._annotation(part.annotation, ":")
        return True

    def _annotation(self, annotation: ast.expr | None, sign: str) -> None:
        """Leave out an annotation that speaks of opto."""
        if annotation is None:
            return
        if any(is_of_opto(self._meaning(item)) for item in ast.walk(annotation) if isinstance(item, ast.expr)):
            start = self.splice.start(annotation)
            begin = self.splice.rstrip(self.splice.rfind(sign, start)) if sign else start
            self.splice.change(begin, self.splice.end(annotation), "" if sign else "object")
        else:
            self.visit(annotation)

    def _visit_AnnAssign(self, part: ast.AnnAssign) -> bool:  # noqa: N802 - named after the class of ast
        self.visit(part.target)
        # Not left out: it makes a field of a dataclass.
        self._annotation(part.annotation, "")
        if part.value is not None:
            self._assigned_value([part.target], part.value)
        return True

    def _visit_Assign(self, part: ast.Assign) -> bool:  # noqa: N802 - named after the class of ast
        for target in part.targets:
            self.visit(target)
        self._assigned_value(part.targets, part.value)
        return True

    def _assigned_value(self, targets: list[ast.expr], value: ast.expr) -> None:
        held: Any = MISSING
        if len(targets) == 1:
            target = targets[0]
            if isinstance(target, ast.Name) and self.kind is not None and not self._in_function:
                held = vars(self.kind).get(target.id, MISSING)
            elif self.unique and isinstance(target, ast.Attribute):
                held = self._attribute(target)
        self._value(value, held)

    def _value(self, expression: ast.expr, held: Any) -> None:
        """Rewrite *expression*, which made *held*: nodes that it makes are written as the values they hold now."""
        if isinstance(held, Node) and self._is_node_call(expression):
            try:
                self.splice.replace(expression, literal(held, self.splice.margin(expression)))
            except NoLiteralError:
                self.visit(expression)
            else:
                self.written.add(id(held))
            return
        pairs = _items(expression, held)
        if not pairs:
            self.visit(expression)
            return
        given = {id(item) for item, _ in pairs}
        for item, inner in pairs:
            self._value(item, inner)
        for child in ast.iter_child_nodes(expression):
            if id(child) not in given:
                self.visit(child)

    def _is_node_call(self, expression: ast.expr) -> bool:
        return isinstance(expression, ast.Call) and self._meaning(expression.func) is node

    def _visit_Call(self, part: ast.Call) -> bool:  # noqa: N802 - named after the class of ast
        called = self._meaning(part.func)
        makes_bundle = isinstance(part.func, ast.Call) and self._meaning(part.func.func) is bundle
        if called is node or called is bundle or makes_bundle or getattr(called, "__name__", "") == "model":
            if called is node or makes_bundle or is_of_opto(called):
                self._unwrap(part)
                return True
        elif called is isinstance and len(part.args) == 2:
            kind = self._meaning(part.args[1])
            if isinstance(kind, type) and issubclass(kind, Node):
                self.splice.replace(part, "False")
                return True
        elif isinstance(part.func, ast.Attribute) and part.func.attr == "call" and self._is_node(part.func.value):
            return self._method_call(part, part.func)
        return False

    def _unwrap(self, part: ast.Call) -> None:
        """Replace ``node(value, …)`` by ``value``."""
        inner = part.args[0] if part.args else next((item.value for item in part.keywords if item.arg == "data"), None)
        if inner is None:
            raise self._refused(part, ast.unparse(part.func), "it is called without a value")
        self._keep_only(part, inner)
        self.visit(inner)

    def _keep_only(self, part: ast.expr, inner: ast.expr) -> None:
        is_atom = isinstance(inner, _ATOMS) and inner.lineno == inner.end_lineno
        start, end = self.splice.start(part), self.splice.end(part)
        self.splice.change(start, self.splice.start(inner), "" if is_atom else "(")
        self.splice.change(self.splice.end(inner), end, "" if is_atom else ")")

    def _method_call(self, part: ast.Call, func: ast.Attribute) -> bool:
        """Replace ``node.call("upper", x)`` by ``node.upper(x)``."""
        first = part.args[0] if part.args else None
        if not isinstance(first, ast.Constant) or not isinstance(first.value, str):
            return False
        rest = [*part.args[1:], *part.keywords]
        begin = self.splice.start(rest[0]) if rest else self.splice.end(first)
        self.splice.change(self._dot(func), begin, f".{first.value}(")
        self.visit(func.value)
        for item in rest:
            self.visit(item)
        return True

    def _visit_Attribute(self, part: ast.Attribute) -> bool:  # noqa: N802 - named after the class of ast
        found = self._meaning(part)
        if isinstance(found, ModuleType) and not is_of_opto(found):
            self.imports.add(found.__name__)
        elif isinstance(found, FunModule) and is_of_opto(found) and isinstance(part.ctx, ast.Load):
            # Such as `operators.concat`: a function that can stand in the file, as others can.
            if part.attr in self._locals or self.names.get(part.attr, found) is not found:
                raise self._refused(part, ast.unparse(part), f"{part.attr} is something else there")
            self.functions[part.attr] = found
            self.splice.replace(part, part.attr)
            return True
        self._refuse_own_methods(part)
        if part.attr in _OF_NODES and self._is_node(part.value):
            raise self._refused(part, f".{part.attr}", "it is opto's")
        if part.attr != "data" or not isinstance(part.ctx, ast.Load) or found is not MISSING:
            return False
        is_node = self._is_node(part.value)
        if is_node is None:
            self.needs_helper = True
            self.splice.change(self.splice.start(part), self.splice.start(part), "_data(")
            self.splice.change(self._dot(part), self.splice.end(part), ")")
        elif is_node:
            self.splice.change(self._dot(part), self.splice.end(part))
        self.visit(part.value)
        return True

    def _dot(self, part: ast.Attribute) -> int:
        # Brackets around the value end behind it.
        return self.splice.rfind(".", self.splice.end(part))

    def _refuse_own_methods(self, part: ast.Attribute) -> None:
        is_self = isinstance(part.value, ast.Name) and part.value.id == "self" and self.instance is not None
        if is_self and part.attr != "forward" and not part.attr.startswith("__"):
            owner = next((kind for kind in type(self.instance).__mro__ if part.attr in vars(kind)), object)
            if part.attr not in attributes_of(self.instance) and is_of_opto(owner):
                raise self._refused(part, f"self.{part.attr}", "it is opto's")

    def _refuse_opto(self, part: ast.AST) -> None:
        if isinstance(part, ast.Name | ast.Attribute) and isinstance(part.ctx, ast.Load):
            found = self._meaning(part)
            if is_of_opto(found) and not isinstance(found, ModuleType):
                raise self._refused(part, ast.unparse(part), "it is opto's")

    def _refused(self, part: Any, what: str, why: str) -> ModuleError:
        return ModuleError(
            f"{self.where} cannot be exported because of {what} in its line {part.lineno}: {why}.",
            mend="Keep what needs opto out of the program that you export, in the code that optimizes it.",
        )

    def _attribute(self, expression: ast.expr) -> Any:
        """Return what stands at ``self.name`` or in a global name now; MISSING for all other expressions."""
        if isinstance(expression, ast.Name) and expression.id in self._locals:
            return MISSING
        if isinstance(expression, ast.Attribute) and isinstance(expression.value, ast.Name):
            if expression.value.id == "self" and self.instance is not None:
                return _held(self.instance, expression.attr)
        elif isinstance(expression, ast.Attribute):
            base = self._attribute(expression.value)
            return _held(base, expression.attr) if isinstance(base, ParameterOwner) else MISSING
        return self._meaning(expression)

    def _is_node(self, expression: ast.expr) -> bool | None:
        """True if *expression* gives a node in opto, False if it does not, None if that cannot be seen."""
        unknown = False if self._in_bundle else None
        match expression:
            case ast.Constant() | ast.List() | ast.Tuple() | ast.Dict() | ast.Set() | ast.JoinedStr() | ast.Compare():
                return False
            case ast.Call(func=func):
                return self._gives_node(func)
            case ast.BinOp(left=left, right=right):
                return self._is_node(left) or self._is_node(right)
            case ast.Subscript(value=inner) if isinstance(held := self._attribute(inner), list | tuple | dict):
                items = held.values() if isinstance(held, dict) else held
                return any(isinstance(item, Node) for item in items) or unknown
            case ast.UnaryOp(operand=inner) | ast.Await(value=inner) | ast.Subscript(value=inner):
                return self._is_node(inner)
            case ast.Name() | ast.Attribute():
                return self._names_node(expression, unknown)
        return unknown

    def _gives_node(self, function: ast.expr) -> bool | None:
        """Say of the result of a call of *function* what `_is_node` says."""
        called = self._attribute(function)
        if isinstance(called, FunModule | ParameterOwner) or called is node:
            return True
        if isinstance(function, ast.Name) and function.id == "self":
            return True
        # A method of a node gives one; what other functions give cannot be seen.
        is_method = isinstance(function, ast.Attribute) and self._is_node(function.value)
        return is_method or (False if self._in_bundle else None)

    def _names_node(self, expression: ast.Name | ast.Attribute, unknown: bool | None) -> bool | None:
        if isinstance(expression, ast.Name) and expression.id in self._locals:
            return self._is_local_node(expression.id)
        if isinstance(expression, ast.Name) and expression.id == "self":
            return False
        found = self._attribute(expression)
        if found is not MISSING:
            return isinstance(found, Node)
        is_member = isinstance(expression, ast.Attribute) and self._is_node(expression.value)
        return is_member or unknown

    def _is_local_node(self, name: str) -> bool | None:
        makers = self._locals[name]
        known = self._locals
        # A name may be made from itself.
        self._locals = {key: value for key, value in known.items() if key != name}
        answers = {self._is_node(maker) if maker is not None else None for maker in makers}
        self._locals = known
        if self._in_bundle:
            return True in answers
        return answers.pop() if len(answers) == 1 else None


def _items(expression: ast.expr, held: Any) -> list[tuple[ast.expr, Any]]:
    """Return the items of a list, tuple or dict in the source, each with the item that *held* has in its place."""
    if isinstance(expression, ast.List | ast.Tuple) and isinstance(held, list | tuple):
        is_whole = not any(isinstance(item, ast.Starred) for item in expression.elts)
        return list(zip(expression.elts, held, strict=False)) if is_whole and len(expression.elts) == len(held) else []
    if isinstance(expression, ast.Dict) and isinstance(held, dict):
        return [
            (item, held.get(key.value, MISSING))
            for key, item in zip(expression.keys, expression.values, strict=True)
            if isinstance(key, ast.Constant)
        ]
    return []


def _held(instance: Any, name: str) -> Any:
    """Return the attribute *name* of a module without running a property."""
    attributes = attributes_of(instance)
    if name in attributes:
        return attributes[name]
    member = next((vars(kind)[name] for kind in type(instance).__mro__ if name in vars(kind)), MISSING)
    return getattr(member, "__func__", member)


def _is_open(decorator: ast.expr) -> bool:
    """True if a bundle works on the nodes themselves."""
    return isinstance(decorator, ast.Call) and any(
        item.arg in {"traceable_code", "process_inputs"} for item in decorator.keywords
    )


def _assigned(function: Any) -> dict[str, list[Any]]:
    """Return what the local names of *function* are made from; None for arguments and what cannot be seen."""
    made: dict[str, list[Any]] = {item.arg: [None] for item in ast.walk(function.args) if isinstance(item, ast.arg)}
    made.pop("self", None)
    for part in ast.walk(function):
        targets, value = [], None
        if isinstance(part, ast.Assign):
            targets, value = part.targets, part.value
        elif isinstance(part, ast.AnnAssign | ast.NamedExpr) and part.value is not None:
            targets, value = [part.target], part.value
        elif isinstance(part, ast.For | ast.AsyncFor | ast.comprehension):
            # An item of what is gone through.
            targets, value = [part.target], ast.Subscript(part.iter, ast.Constant(None), ast.Load())
        for target in targets:
            if isinstance(target, ast.Name):
                made.setdefault(target.id, []).append(value)
            elif isinstance(target, ast.Tuple | ast.List):
                for item in ast.walk(target):
                    if isinstance(item, ast.Name):
                        made.setdefault(item.id, []).append(None)
    return made
