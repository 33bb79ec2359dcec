"""What source text speaks of without defining it."""

import ast
import dis
import symtable
from collections.abc import Iterator, Mapping
from types import CodeType
from typing import NamedTuple

__all__ = ["Names", "called_in", "imported_by", "names_annotated", "names_at_once", "names_in", "path_of"]


class Names(NamedTuple):
    """What some source text speaks of.

    Attributes:
        free: Names that it uses and does not define, built-in ones among them.
        modules: Modules that it imports.
        paths: Names with those of the attributes that it looks up: ``package.module.function``.
        bare: Names that it uses otherwise than to look up an attribute.
        imported: Modules that it imports, as they are written, with the name that it imports from each or None, and
            what it calls that.
    """

    free: tuple[str, ...]
    modules: tuple[str, ...]
    paths: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()
    imported: tuple[tuple[str, str | None, str], ...] = ()


def names_in(tree: ast.Module) -> Names:
    """Return what *tree* speaks of, and take its annotations off: nobody evaluates them, so they do not count."""
    imported = (*dict.fromkeys(_imported(tree)),)
    modules = (*dict.fromkeys(path for path, _, _ in imported if path[0] != "."),)
    _simplify(tree)
    top = symtable.symtable(ast.unparse(tree), "<names>", "exec")
    defined = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    free = dict.fromkeys(name for name in _global_names(top, is_top=True) if name not in defined)
    return Names((*free,), modules, _paths(tree), _bare(tree), imported)


def names_at_once(tree: ast.Module) -> frozenset[str]:
    """Return the names that *tree* uses when it is run, not only when functions in it are called."""
    found: set[str] = set()
    waiting: list[ast.AST] = [tree]
    while waiting:
        part = waiting.pop()
        if isinstance(part, ast.Name):
            found.add(part.id)
        elif isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += [*part.args.defaults, *filter(None, part.args.kw_defaults), *getattr(part, "decorator_list", ())]
        elif isinstance(part, ast.AnnAssign):
            waiting += filter(None, [part.value])
        else:
            waiting += ast.iter_child_nodes(part)
    return frozenset(found)


def names_annotated(tree: ast.Module) -> frozenset[str]:
    """Return the names in annotations of the attributes of classes: what makes data of classes may look at them."""
    found: set[str] = set()
    for part in ast.walk(tree):
        for item in part.body if isinstance(part, ast.ClassDef) else ():
            if isinstance(item, ast.AnnAssign):
                found |= {name.id for name in ast.walk(item.annotation) if isinstance(name, ast.Name)}
    return frozenset(found)


def imported_by(code: CodeType) -> set[str]:
    """Return the modules that *code* imports when it runs, without what is in them."""
    inner = (item for item in code.co_consts if isinstance(item, CodeType))
    own = (item.argval for item in dis.get_instructions(code) if item.opname == "IMPORT_NAME")
    return {name.partition(".")[0] for name in own if name}.union(*map(imported_by, inner))


def called_in(tree: ast.AST) -> Mapping[str, str]:
    """Return how *tree* calls what it finds by a name first: ``client.ask``, by ``client``."""
    found: dict[str, str] = {}
    for part in ast.walk(tree):
        path = path_of(part.func) if isinstance(part, ast.Call) else None
        if path is not None:
            found.setdefault(path.partition(".")[0], path)
    return found


def path_of(target: ast.AST) -> str | None:
    """Return how *target* is looked up, from a name on; None if that is no name."""
    path: list[str] = []
    while isinstance(target, ast.Attribute):
        path.insert(0, target.attr)
        target = target.value
    return ".".join((target.id, *path)) if isinstance(target, ast.Name) else None


def _paths(tree: ast.AST) -> tuple[str, ...]:
    found = (path_of(part) for part in ast.walk(tree) if isinstance(part, ast.Attribute))
    return (*dict.fromkeys(path for path in found if path is not None),)


def _bare(tree: ast.AST) -> tuple[str, ...]:
    parts = [*ast.walk(tree)]
    looked_into = {id(part.value) for part in parts if isinstance(part, ast.Attribute)}
    return (*dict.fromkeys(part.id for part in parts if isinstance(part, ast.Name) and id(part) not in looked_into),)


def _global_names(table: symtable.SymbolTable, *, is_top: bool) -> Iterator[str]:
    for symbol in table.get_symbols():
        if symbol.is_declared_global() or (symbol.is_referenced() and (is_top or symbol.is_global())):
            yield symbol.get_name()
    for child in table.get_children():
        yield from _global_names(child, is_top=False)


def _imported(tree: ast.AST) -> Iterator[tuple[str, str | None, str]]:
    for part in ast.walk(tree):
        if isinstance(part, ast.Import):
            for alias in part.names:
                yield alias.name, None, alias.asname or alias.name.partition(".")[0]
        elif isinstance(part, ast.ImportFrom):
            for alias in part.names:
                yield "." * part.level + (part.module or ""), alias.name, alias.asname or alias.name


def _simplify(tree: ast.AST) -> None:
    """Take the annotations off *tree*, and what would need a function around it."""
    for part in ast.walk(tree):  # which needs no deeper stack where there is a long chain of `elif`
        if isinstance(part, ast.arg):
            part.annotation = None
        elif isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            part.returns = None
        elif isinstance(part, ast.AnnAssign):
            part.annotation = ast.Constant(None)
        elif isinstance(part, ast.Nonlocal):
            part.__class__ = ast.Global  # type: ignore[assignment]  # the variable may be one around the text
