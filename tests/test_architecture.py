"""The rules that keep the library in layers: read from its source, not from what happens to be imported."""

import ast
import importlib.util
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(importlib.util.find_spec("opto").origin).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

#: What everything may import.
FOUNDATION = {"errors", "files", "hooks", "forks", "blocks", "callers", ""}  # `opto` itself holds the version

#: What each part of the library may import, besides itself and that.
ALLOWED = {
    "errors": set(),
    "files": set(),
    "hooks": set(),
    "forks": set(),
    "callers": set(),
    "blocks": {"callers", "forks"},
    "splice": set(),
    "structure": set(),
    "nodes": {"structure"},
    "llm": {"structure"},
    "sandbox": {"splice"},
    # Models are for `trace.operators.call_llm`, which is loaded when it is asked for.
    "trace": {"splice", "nodes", "sandbox", "llm"},
    "runs": {"nodes", "llm", "sandbox"},
    "optimizers": {"splice", "structure", "nodes", "llm", "sandbox", "runs"},
    "trainer": {"nodes", "llm", "sandbox", "trace", "runs", "optimizers"},
    "testing": {"nodes", "llm", "runs", "optimizers"},
    # Loaded by every pytest: what it needs of `llm` it imports when a test asks for it.
    "pytest_plugin": {"llm"},
    # Names under which programs for Trace import things.
    "utils": {"llm"},
    "view": {"nodes", "llm", "sandbox", "trace", "runs", "optimizers", "trainer"},
    "demo": {"nodes", "llm", "sandbox", "trace", "runs", "optimizers", "trainer", "testing", "view"},
    "cli": {"nodes", "llm", "sandbox", "trace", "runs", "optimizers", "trainer", "testing", "view", "demo"},
    "__main__": {"cli"},
    "": set(),
}

#: The borders to code that is not ours: user code in operators, bundles, models, classes, checks and validation; SDKs
#: in adapters; scripts of a server for tests; and threads, which hand on whatever ends them.
BROAD_EXCEPTS = {
    "opto.llm.bridge",
    "opto.nodes.constants",
    "opto.nodes.domains.base",
    "opto.nodes.failures",
    "opto.nodes.valuelike",
    "opto.optimizers.multi.choosing",
    "opto.optimizers.optimizer",
    "opto.runs.record",
    # Code that a model wrote, of which anything may come; and processes, which end with whatever ends the call.
    "opto.sandbox.candidate",
    "opto.sandbox.child.codec",
    "opto.sandbox.child.spaces",
    "opto.sandbox.child.words",
    "opto.sandbox.child.errors",
    "opto.sandbox.child.worker",
    "opto.sandbox.child.zygote",
    "opto.sandbox.errands",
    "opto.sandbox.monty",
    "opto.sandbox.processes.pool",
    "opto.sandbox.scope.remaking",
    "opto.sandbox.sandbox",
    "opto.sandbox.scope.receivers",
    "opto.sandbox.processes.talk",
    "opto.sandbox.processes.zygote",
    "opto.testing.asking",
    "opto.testing.server",
    "opto.trace.calls",
    "opto.trace.versions",
}

LONGEST = 450


def part(module):
    """Return the part of the library that *module* belongs to: ``nodes``, ``cli`` …; "" for `opto` itself."""
    return module.partition(".")[2].partition(".")[0]


@cache
def tree(module):
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def target(base, name):
    """Return what ``from base import name`` imports: a module of that name, unless *base* exports something else."""
    below = f"{base}.{name}"
    return below if below in MODULES and name not in exported(base) else base


@cache
def exported(module):
    """Return the names in ``__all__`` of *module*: `opto.nodes.node` is a module, but also a function."""
    for statement in tree(module).body if module in MODULES else ():
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", "") == "__all__":
            return frozenset(ast.literal_eval(statement.value))
    return frozenset()


def imports(module):
    """Yield ``(imported module, statement)`` for every import of the library in *module*, wherever it stands."""
    is_package = MODULES[module].name == "__init__.py"
    for statement in ast.walk(tree(module)):
        if isinstance(statement, ast.Import):
            found = [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom):
            base = statement.module or ""
            if statement.level:
                above = module.split(".")
                above = above[: len(above) - statement.level + is_package]
                base = ".".join([*above, *filter(None, [statement.module])])
            found = [target(base, alias.name) for alias in statement.names]
        else:
            continue
        for name in dict.fromkeys(found):
            if name.split(".")[0] == "opto":
                yield name, statement


def test_the_test_itself_sees_the_library():
    assert len(MODULES) > 30
    assert {name for name, _ in imports("opto.nodes.graph")} >= {"opto.nodes.picture", "opto.nodes.vertex"}


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module):
    wrong = [
        name
        for name, _ in imports(module)
        if part(name) not in {part(module), *FOUNDATION} and part(name) not in ALLOWED[part(module)]
    ]
    assert not wrong, f"{module} is below {wrong}, or beside"


def test_every_part_has_a_place():
    assert {part(module) for module in MODULES} <= set(ALLOWED)


@pytest.mark.parametrize("module", MODULES)
def test_packages_are_entered_by_their_door(module):
    wrong = [name for name, _ in imports(module) if name.count(".") > 1 and part(name) != part(module)]
    assert not wrong, f"{module} imports from inside a package: {wrong}"


def test_no_import_cycles():
    below = {module: {name for name, _ in imports(module) if name != module} for module in MODULES}
    # A package stands for its __init__: importing a module of one's own package runs no cycle.
    waiting, done = dict(below), set()
    while waiting:
        ready = [module for module, names in waiting.items() if not names - done - _packages_of(module)]
        assert ready, f"these import each other: {sorted(waiting)}"
        for module in ready:
            done.add(module)
            del waiting[module]


def _packages_of(module):
    steps = module.split(".")
    return {".".join(steps[:length]) for length in range(1, len(steps))}


@pytest.mark.parametrize("module", MODULES)
def test_the_library_is_imported_at_the_top_of_a_module(module):
    at_top = {
        id(statement) for statement in ast.walk(tree(module)) if isinstance(statement, ast.Import | ast.ImportFrom)
    }
    for function in ast.walk(tree(module)):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            at_top -= {id(statement) for statement in ast.walk(function)}
    hidden = [name for name, statement in imports(module) if id(statement) not in at_top]
    assert not hidden, f"{module} imports {hidden} inside a function"


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_imported_by_wildcard(module):
    names = [
        alias.name
        for statement in ast.walk(tree(module))
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    ]
    assert "*" not in names


@pytest.mark.parametrize("module", [name for name in MODULES if part(name) != "cli"])
def test_the_library_is_silent(module):
    calls = [found for found in ast.walk(tree(module)) if isinstance(found, ast.Call)]
    printed = [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
    assert not printed, f"{module} prints in lines {printed}"


@pytest.mark.parametrize("module", MODULES)
def test_only_borders_catch_everything(module):
    broad = []
    for found in ast.walk(tree(module)):
        if isinstance(found, ast.ExceptHandler):
            caught = (
                [] if found.type is None else [name.id for name in ast.walk(found.type) if isinstance(name, ast.Name)]
            )
            if found.type is None or {"Exception", "BaseException"} & set(caught):
                broad.append(found.lineno)
    assert not broad or module in BROAD_EXCEPTS, f"{module} catches everything in lines {broad}"


@pytest.mark.parametrize("module", sorted(BROAD_EXCEPTS))
def test_every_border_is_one(module):
    caught = [found.type for found in ast.walk(tree(module)) if isinstance(found, ast.ExceptHandler)]
    names = {name.id for name in caught if isinstance(name, ast.Name)}
    assert names & {"Exception", "BaseException"}, "remove it from the list"


@pytest.mark.parametrize("module", MODULES)
def test_modules_can_be_read_in_one_sitting(module):
    assert len(MODULES[module].read_text(encoding="utf-8").splitlines()) <= LONGEST


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_it_is_for(module):
    assert ast.get_docstring(tree(module))
