"""What code may import: an allow-list."""

import ast
from collections.abc import Iterator
from typing import Any

from opto.errors import DomainError
from opto.nodes import Domain, Frozen, read_as

__all__ = ["Imports"]


class Imports(Frozen, Domain):
    r"""Code that imports nothing but some modules, and what lies in them.

    It keeps honest code to what is installed and meant. It is no sandbox: code has other ways to whatever runs in
    the same process.

    Args:
        modules: Names of modules, such as ``math`` or ``os.path``; none to forbid imports.

    Example:
        >>> from opto.trace import bundle
        >>> @bundle(trainable=True, domain=Imports("math", "collections"))
        ... def area(radius):
        ...     return 3 * radius**2
        >>> area.parameter.accept("import os\ndef area(radius):\n    return 0")
        Traceback (most recent call last):
        opto.errors.DomainError: The code imports os. Import nothing but math and collections.
    """

    modules: tuple[str, ...]

    def __init__(self, *modules: str) -> None:
        self._hold(modules=modules)
        if wrong := [name for name in modules if not all(map(str.isidentifier, name.split(".")))]:
            raise DomainError(f"{wrong[0]!r} is no name of a module.", mend="Give names such as 'os.path'.")

    def read(self, raw: Any) -> Any:
        return read_as(str, raw)

    def check(self, value: str) -> None:
        try:
            tree = ast.parse(value)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise DomainError(
                f"The code does not parse ({type(error).__name__}: {error}).", mend="Give complete, valid Python."
            ) from error
        if foreign := [name for name in _imported(tree) if not self._allows(name)]:
            mend = f"Import nothing but {self._listed}." if self.modules else "Import nothing."
            raise DomainError(f"The code imports {', '.join(dict.fromkeys(foreign))}.", mend=mend)

    def _allows(self, name: str) -> bool:
        return any(name == module or name.startswith(f"{module}.") for module in ("__future__", *self.modules))

    @property
    def _listed(self) -> str:
        *first, last = self.modules
        return f"{', '.join(first)} and {last}" if first else last

    def describe(self) -> str:
        return f"code that imports nothing but {self._listed}" if self.modules else "code that imports nothing"


def _imported(tree: ast.AST) -> Iterator[str]:
    """Yield what *tree* gets hold of by importing, by its full name."""
    for part in ast.walk(tree):
        if isinstance(part, ast.Import):
            for alias in part.names:
                # `import os.path` is a way to all of os; `import os.path as path` is not.
                yield alias.name if alias.asname else alias.name.partition(".")[0]
        elif isinstance(part, ast.ImportFrom):
            base = "." * part.level + (part.module or "")
            # A module, or a name in one: `from os import path` is os.path.
            for alias in part.names:
                yield f"{base}{'' if base.endswith('.') else '.'}{alias.name}"
        elif isinstance(part, ast.Name) and part.id == "__import__":
            yield "by __import__"
