"""Modules and functions as plain Python source that needs no opto."""

import ast
import sys
import textwrap
from collections.abc import Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

from opto.errors import ModuleError
from opto.nodes import Node, ParameterNode
from opto.splice import Splice, indent
from opto.trace.bundle import FunModule, bundled_in
from opto.trace.definition import Definition
from opto.trace.fragments import NoLiteralError, global_names, literal, spread
from opto.trace.ownership import ParameterOwner
from opto.trace.places import owners_in, places_in
from opto.trace.plain import DATA_HELPER, Rewriter, decorators_of_opto, is_inlined, is_of_opto, meaning_of
from opto.trace.source import closure_values, unwrapped
from opto.trace.written import (
    NAMES_OF_OPERATORS,
    class_text,
    function_text,
    has_path,
    names_of,
    names_of_class,
    source_now,
    statement_of,
    written_class,
)

__all__ = ["write_source"]


def write_source(owner: Any) -> str:
    """Return Python source that does what *owner*, a module or a bundled function, does, without opto.

    Raises:
        ModuleError: Something cannot be said without opto.

    Example:
        >>> from opto.trace import bundle
        >>> @bundle(trainable=True)
        ... def double(x):
        ...     return x + x
        >>> print(write_source(double).partition("annotations")[2].strip())
        def double(x):
            return x + x
    """
    return _Export(owner).text()


class _Export:
    """The parts of one exported file, in the order in which they must stand."""

    def __init__(self, root: Any) -> None:
        self.root = root
        self.parts: list[str] = []
        self.imports: set[str] = set()
        self.needs_helper = False
        #: What each name stands for: one name cannot stand for two things in one file.
        self.named: dict[str, Any] = {}
        #: Parameters that stand in the file, by id, and the source that methods have there, by definition.
        self.written: set[int] = set()
        self.methods: dict[Definition, str] = {}
        self.instances: list[tuple[str, Any]] = []
        self.functions: dict[Definition, FunModule] = {}
        for expression, value in owners_in(root, "self", {}):
            if isinstance(value, FunModule):
                self.functions.setdefault(value._definition, value)  # noqa: SLF001 - what `bundle` made
            elif isinstance(value, ParameterOwner):
                self.instances.append((expression, value))

    def text(self) -> str:
        if isinstance(self.root, FunModule):
            name = self.root.__name__
            if not name.isidentifier():  # a lambda
                known = vars(sys.modules[self._home()]) if self._home() in sys.modules else {}
                name = next((key for key, value in known.items() if value is self.root), name)
            self._add_function(name, self.root)
        else:
            kind = type(self.root)
            if is_of_opto(kind):
                raise ModuleError(
                    f"A plain {kind.__name__} cannot be exported: its class is opto's.",
                    mend="Write a class of your own for it.",
                )
            for _, instance in self.instances[1:]:
                if type(instance) is not kind:
                    self._add(type(instance).__name__, type(instance))
            self._add_class(kind)
            name = kind.__name__
        head = f'"""{name}, as it was optimized with opto. This file does not need opto."""\n'
        future = "from __future__ import annotations\n"
        parts = [head, future, *(["".join(f"{line}\n" for line in sorted(self.imports))] if self.imports else [])]
        parts += [f"\n{part}" for part in ([DATA_HELPER] if self.needs_helper else []) + self.parts]
        text = "\n".join(parts)
        try:
            ast.parse(text)
        except SyntaxError as error:
            line = (text.splitlines() or [""])[(error.lineno or 1) - 1].strip()
            raise ModuleError(
                f"{self._title()} cannot be exported: {line!r} would not parse there ({error.msg}).",
                mend="Write that part of the program in a plainer way, one statement per line.",
            ) from error
        return text

    # What a name stands for

    def _add(self, name: str, value: Any) -> None:
        """Add what *name* stands for, and all that it needs, unless it is there already."""
        key = _key(value)
        if name in self.named:
            if self.named[name] is not key and not (_is_plain(key) and self.named[name] == key):
                raise ModuleError(
                    f"{self._title()} cannot be exported: it uses two different things that are called {name}.",
                    mend="Give one of them another name.",
                )
            return
        self.named[name] = key
        if isinstance(value, ModuleType):
            self._refuse(name, value.__name__)
            self.imports.add(f"import {value.__name__}" + (f" as {name}" if value.__name__ != name else ""))
        elif isinstance(value, FunModule):
            self._add_function(name, value)
        elif isinstance(value, type) and is_inlined(value, self._home()):
            self._add_class(value)
        elif isinstance(unwrapped(value), FunctionType) and value.__name__ != "<lambda>":
            self._add_plain_function(name, value)
        elif has_path(value):
            self._import(name, value.__module__, value.__name__)
        else:
            self._add_constant(name, value)

    def _import(self, name: str, module: str, attribute: str) -> None:
        self._refuse(name, module)
        if module != "builtins":
            self.imports.add(f"from {module} import {attribute}" + (f" as {name}" if attribute != name else ""))
        elif attribute != name:
            self.parts.append(f"{name} = {attribute}\n")

    def _refuse(self, name: str, module: str) -> None:
        if module.partition(".")[0] == "opto":
            raise ModuleError(
                f"{self._title()} cannot be exported because of {name}: it is opto's.",
                mend="Keep what needs opto out of the program that you export, in the code that optimizes it.",
            )

    def _home(self) -> str:
        return str(getattr(self.root if not isinstance(self.root, FunModule) else self.root.fun, "__module__", ""))

    def _title(self) -> str:
        return self.root.__name__ if isinstance(self.root, FunModule) else type(self.root).__name__

    def _add_constant(self, name: str, value: Any) -> None:
        if isinstance(value, Node):
            self.written.add(id(value))
        try:
            self.parts.append(f"{name} = {literal(value)}\n")
        except NoLiteralError as error:
            made = getattr(unwrapped(value), "__module__", "") or ""
            for module in filter(None, map(sys.modules.get, (made, self._home(), type(value).__module__))):
                statement = statement_of(module, name)
                if statement is not None:
                    self._add_text(statement, vars(module), f"The statement of {name}")
                    return
            raise ModuleError(
                f"{self._title()} cannot be exported: {name} is {error}, of which no source is found.",
                mend=f"Give {name} at the top of its module, or make it where it is used.",
            ) from None

    # Pieces of source

    def _add_text(self, text: str, names: Mapping[str, Any], where: str, **about: Any) -> None:
        """Add *text*, rewritten, after all that it needs."""
        self.parts.append(self._rewritten(text, names, where, **about))

    def _rewritten(
        self, text: str, names: Mapping[str, Any], where: str, *, in_bundle: bool = False, instance: Any = None
    ) -> str:
        splice = Splice(text)
        rewriter = Rewriter(splice, names, where=where)
        rewriter.instance = instance
        for part in splice.tree.body:
            if in_bundle and isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
                rewriter.function(part, in_bundle=True)
            else:
                rewriter.visit(part)
        return self._finish(splice.result(), rewriter)

    def _finish(self, text: str, rewriter: Rewriter) -> str:
        """Add all that *text* needs."""
        self.written |= rewriter.written
        self.needs_helper |= rewriter.needs_helper
        needed = global_names(text)
        names = {**rewriter.names, **rewriter.functions}
        roots = {name for name in needed if isinstance(names.get(name), ModuleType)}
        # `import a` does not make `a.b` known.
        self.imports |= {f"import {name}" for name in rewriter.imports if name.split(".")[0] in roots and "." in name}
        for name in needed:
            # Names such as `__name__` are given to every module.
            if name in names and not name.startswith("__"):
                self._add(name, names[name])
        return text

    def _add_plain_function(self, name: str, value: Any) -> None:
        function = unwrapped(value)
        if not is_inlined(function, self._home()):
            self._import(name, function.__module__, function.__qualname__)
            return
        text = function_text(function)
        self._add_text(text, names_of(function), f"{function.__qualname__}()")
        if function.__name__ != name:
            self.parts.append(f"{name} = {function.__name__}\n")

    def _add_function(self, name: str, function: FunModule) -> None:
        """Add a bundled function as the plain function that it runs now."""
        # The version that the exported module holds, if it holds one of its own.
        function = self.functions.get(function._definition, function)  # noqa: SLF001 - as above
        if function.fun.__name__ == "<lambda>":
            if (written := function._definition.options.source) is None:  # noqa: SLF001 - as above
                self._add_constant(name, function)
            elif written != f"lambda x: {name}(x)":  # which Python has
                self._add_text(f"{name} = {written}\n", NAMES_OF_OPERATORS, name)
            return
        if not isinstance(function.fun, FunctionType):
            self._import(name, function.fun.__module__, function.fun.__qualname__)
            return
        if function.parameter is not None:
            self.written.add(id(function.parameter))
        own = function.fun.__name__
        if own == name or own not in self.named:
            self.named[own] = _key(function)
            owner = function._owner if isinstance(function._owner, ParameterOwner) else None  # noqa: SLF001 - as above
            self.parts.append(self._function_text(function._definition, source_now(function), owner))  # noqa: SLF001 - as above
        else:
            self._add(own, function)
        if own != name:
            self.parts.append(f"{name} = {own}\n")

    def _function_text(self, definition: Definition, source: str | None, instance: Any = None) -> str:
        """Return the function of *definition* with *source*, or as it was written; with the decorators that stay."""
        function = definition.inner
        assert isinstance(function, FunctionType)
        names = names_of(function)
        where = f"{function.__qualname__}()"
        is_plain = not definition.options.is_open
        try:
            written = function_text(function)
        except ModuleError:
            if source is None:
                raise
            written = source
        if source is None:
            return self._rewritten(written, names, where, in_bundle=is_plain, instance=instance)
        source = source.rstrip("\n") + "\n"
        tree = ast.parse(written).body[0]
        gone = decorators_of_opto(tree, names)
        kept = [f"@{ast.unparse(item)}\n" for item in getattr(tree, "decorator_list", []) if item not in gone]
        body = ast.parse(source).body
        if len(body) > 1:
            # Helpers beside a function are its own: another function may have some of the same name.
            inner = f"def _make_{function.__name__}():\n{indent(source, '    ')}\n    return {function.__name__}\n"
            made = self._rewritten(inner, names, where, in_bundle=is_plain, instance=instance)
            decorated = "".join(f"{function.__name__} = {line[1:-1]}({function.__name__})\n" for line in reversed(kept))
            return f"{made}\n\n{function.__name__} = _make_{function.__name__}()\n{decorated}"
        return self._rewritten("".join(kept) + source, names, where, in_bundle=is_plain, instance=instance)

    # Classes

    def _add_class(self, kind: type) -> None:
        kind = written_class(kind)
        members = [item for _, item in self.instances if written_class(type(item)) is kind or isinstance(item, kind)]
        instance = members[0] if members else None
        self.named[kind.__name__] = self.named.get(kind.__name__, kind)
        names = names_of_class(kind)
        splice = Splice(spread(class_text(kind)))
        rewriter = Rewriter(splice, names, where=kind.__qualname__, kind=kind)
        rewriter.instance, rewriter.unique = instance, len(members) == 1
        definition = splice.tree.body[0]
        assert isinstance(definition, ast.ClassDef)
        replaced = self._methods(kind, definition, splice, instance)
        self._head(definition, splice, rewriter)
        for part in definition.body:
            if id(part) not in replaced:
                rewriter.visit(part)
        is_module = issubclass(kind, ParameterOwner) or any(isinstance(item, kind) for _, item in self.instances)
        defined = {getattr(part, "name", "") for part in definition.body}
        ends = splice.end(definition)
        if is_module and "forward" in defined and "__call__" not in defined:
            call = "def __call__(self, *args, **kwargs):\n    return self.forward(*args, **kwargs)\n"
            splice.change(ends, ends + 1, f"\n\n{indent(call, splice.margin(definition.body[0]))}")
        # All that the class needs, and with it parameters that are written elsewhere, before what is left over.
        text = self._finish(splice.result(), rewriter)
        if isinstance(self.root, ParameterOwner) and written_class(type(self.root)) is kind:
            text = self._with_values(text)
        self.parts.append(text)

    def _head(self, definition: ast.ClassDef, splice: Splice, rewriter: Rewriter) -> None:
        """Leave out decorators and bases of opto."""
        rewriter._decorators(definition)  # noqa: SLF001 - a part of its work
        kept = []
        for base in definition.bases:
            found = ast.unparse(base)
            if not is_of_opto(meaning_of(base, rewriter.names)):
                kept.append(found)
        if len(kept) < len(definition.bases):
            kept += [f"{item.arg}={ast.unparse(item.value)}" for item in definition.keywords]
            begin = splice.rfind("(", splice.start(definition.bases[0]))
            end = splice.find(")", splice.end((definition.keywords or definition.bases)[-1])) + 1
            splice.change(begin, end, f"({', '.join(kept)})" if kept else "")

    def _methods(self, kind: type, definition: ast.ClassDef, splice: Splice, instance: Any) -> set[int]:
        """Put the current code of trainable methods in place; return the parts of the tree that they replace, by id."""
        replaced = set()
        for part in definition.body:
            member = bundled_in(vars(kind).get(getattr(part, "name", "")))
            if not isinstance(member, FunModule) or not member.trainable or member._definition in self.methods:  # noqa: SLF001 - as above
                continue  # also a setter, which has the name of its property
            code = vars(instance).get("_opto_code", {}).get(member._definition) if instance is not None else None  # noqa: SLF001 - as above
            parameter = code.parameter if code is not None else member.parameter
            assert parameter is not None
            source = parameter._data  # noqa: SLF001 - exporting is no part of a traced program
            self.methods[member._definition] = source  # noqa: SLF001 - as above
            self.written.add(id(parameter))
            text = indent(self._function_text(member._definition, source, instance), splice.margin(part))  # noqa: SLF001 - as above
            begin = min(splice.line(splice.start(item)) for item in (part, *getattr(part, "decorator_list", ())))
            splice.change(begin, splice.next_line(splice.end(part)), text)
            replaced.add(id(part))
        return replaced

    def _with_values(self, text: str) -> str:
        """Return the class *text* with assignments of those values that its source could not show."""
        lines = list(self._assignments())
        if not lines:
            return text
        splice = Splice(text)
        definition = splice.tree.body[0]
        assert isinstance(definition, ast.ClassDef)
        is_dataclass = any("dataclass" in ast.unparse(item) for item in definition.decorator_list)
        name = "__post_init__" if is_dataclass else "__init__"
        own = next((part for part in definition.body if isinstance(part, ast.FunctionDef) and part.name == name), None)
        # Not by `indent`: literals have no lines inside texts.
        body = "".join(f"{line}\n" for line in ["# What was optimized.", *lines])
        if own is not None:
            if any(isinstance(part, ast.Return) for child in ast.iter_child_nodes(own) for part in _own_parts(child)):
                raise ModuleError(
                    f"{self._title()} cannot be exported: its {name}() returns early, before its values could be set.",
                    mend="Let it run to its end.",
                )
            end = splice.next_line(splice.end(own))
            splice.change(end, end, textwrap.indent(body, splice.margin(own.body[0])))
        else:
            arguments = "self" if is_dataclass else "self, *args, **kwargs"
            start = "" if is_dataclass else "super().__init__(*args, **kwargs)\n"
            made = f"def {name}({arguments}):\n{textwrap.indent(start + body, '    ')}"
            end = len(text.encode())
            splice.change(end, end, f"\n{textwrap.indent(made, splice.margin(definition.body[0]))}")
        return splice.result()

    def _assignments(self) -> Iterator[str]:
        done: set[str] = set()
        first: dict[int, str] = {}
        for place in places_in(self.root, "self", "self", self.root, {}):
            if isinstance(place.value, ParameterNode) and id(place.value) not in self.written:
                if place.assignable in done:
                    continue
                done.add(place.assignable)
                known = first.setdefault(id(place.value), place.expression)
                try:
                    # What is shared stays shared.
                    is_again = known != place.expression == place.assignable
                    value = known if is_again else literal(place.around)
                except NoLiteralError as error:
                    where = place.expression.removeprefix("self.")
                    raise ModuleError(
                        f"{self._title()} cannot be exported: {where} is in {error}, which has no literal.",
                        mend="Keep the parameter in an attribute, a list or a dict, with a value of built-in types.",
                    ) from None
                yield f"{place.assignable} = {value}"
            elif (
                isinstance(place.value, FunModule)
                and not {id(item) for item in place.value.parameters()} <= self.written
            ):
                yield f"{place.assignable} = {self._function_named(place.value)}"
        for expression, instance in self.instances:
            yield from self._own_methods(expression, instance)

    def _function_named(self, function: FunModule) -> str:
        """Add a trainable function; return the expression for it."""
        name, original = function.__name__, function.fun
        assert isinstance(original, FunctionType)  # it is trainable
        closure = closure_values(original)
        inside = {name: function, **closure}
        is_taken = any(key in self.named and self.named[key] is not _key(value) for key, value in inside.items())
        if not (closure and is_taken and all(_is_plain(value) for value in closure.values())):
            self._add(name, function)
            return name
        # Made by a function like another one: each keeps what it was made with.
        made = f"_make_{name}_{sum(part.startswith(f'def _make_{name}') for part in self.parts)}"
        own = "".join(f"{key} = {literal(value)}\n" for key, value in closure.items())
        body = indent(f"{own}{source_now(function)}\n", "    ")
        self._add_text(f"def {made}():\n{body}    return {name}\n", names_of(original), f"{name}()", in_bundle=True)
        self.written |= {id(parameter) for parameter in function.parameters()}
        return f"{made}()"

    def _own_methods(self, expression: str, instance: Any) -> Iterator[str]:
        """Yield how methods are set whose code differs between instances of one class."""
        for definition, code in vars(instance).get("_opto_code", {}).items():
            source = code.parameter._data  # noqa: SLF001 - as above
            if definition not in self.methods or self.methods[definition] == source:
                continue
            if "super" in global_names(source) or "__class__" in source:
                raise ModuleError(
                    f"{self._title()} cannot be exported: {expression}.{definition.function.__name__}() uses super(), "
                    "and differs between objects of one class.",
                    mend="Name the base class instead of super().",
                )
            number = sum(part.startswith(f"def _{definition.function.__name__}_") for part in self.parts)
            name = f"_{definition.function.__name__}_{number}"
            text = self._function_text(definition, source, instance)
            self.parts.append(
                f"def {name}(self):\n{indent(text, '    ')}    return {definition.function.__name__}.__get__(self)\n"
            )
            yield f"{expression}.{definition.function.__name__} = {name}({expression})"


def _own_parts(part: ast.AST) -> Iterator[ast.AST]:
    """Yield *part* and what is in it, but not what is in functions and classes that it defines."""
    yield part
    if not isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
        for child in ast.iter_child_nodes(part):
            yield from _own_parts(child)


def _key(value: Any) -> Any:
    """Return what tells things apart that may have one name: a bundle is its function, unless that may change."""
    if isinstance(value, FunModule):
        return value._definition if value.trainable else value.fun  # noqa: SLF001 - as above
    return value


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool | bytes | None)
