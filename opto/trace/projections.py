"""Projections: functions that map a suggested value into what is wanted, before it is checked.

Any function will do: ``node(0.5, trainable=True, projections=[abs])``. The classes here are for code.
"""

import ast
from typing import Any

from opto.errors import MissingDependencyError, SourceError
from opto.splice import Splice

__all__ = ["BlackCodeFormatter", "DocstringProjection", "Projection"]


class Projection:
    """A projection with settings of its own. Subclasses define `project`.

    Example:
        >>> class Clip(Projection):
        ...     def __init__(self, low, high):
        ...         self.low, self.high = low, high
        ...     def project(self, x):
        ...         return min(max(x, self.low), self.high)
        >>> Clip(0, 1)(7)
        1
    """

    def __call__(self, x: Any) -> Any:
        return self.project(x)

    def project(self, x: Any) -> Any:
        """Return *x*, or what to take instead of it."""
        raise NotImplementedError(f"{type(self).__name__} does not define project(x).")


class BlackCodeFormatter(Projection):
    """Format code with Black. What does not parse is left for the check to reject, with the reason.

    Raises:
        MissingDependencyError: Black is not installed.
    """

    def project(self, x: str) -> str:
        try:
            import black  # noqa: PLC0415 - an optional package
        except ImportError as error:
            raise MissingDependencyError(
                "Formatting code needs Black.", mend="Install it: pip install black."
            ) from error
        try:
            formatted: str = black.format_str(x, mode=black.Mode())
        except black.InvalidInput:
            return x
        return formatted


class DocstringProjection(Projection):
    r'''Give the function in suggested code a docstring, whatever stands there.

    Args:
        docstring: The text between the quotes.

    Raises:
        SourceError: The code holds no function.

    Example:
        >>> print(DocstringProjection("Twice x.")("def double(x):\n    return 2 * x\n"), end="")
        def double(x):
            """Twice x."""
            return 2 * x
    '''

    def __init__(self, docstring: str) -> None:
        self.docstring = docstring

    def project(self, x: str) -> str:
        try:
            splice = Splice(x)
        except SyntaxError:
            return x  # left for the check, which says where
        functions = [item for item in splice.tree.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)]
        if not functions:
            raise SourceError(f"{x!r:.80} defines no function.", mend="Give code with a def statement.")
        # The last one: helpers stand before the function that uses them.
        first = functions[-1].body[0]
        if ast.get_docstring(functions[-1]) is not None:
            splice.replace(first, self._quoted())
            return splice.result()
        begin = splice.start(first)
        for decorator in getattr(first, "decorator_list", ()):
            begin = min(begin, splice.rfind("@", splice.start(decorator)))
        is_one_line = splice.has_text_before(begin)
        splice.change(begin, begin, self._quoted() + ("; " if is_one_line else splice.newline + splice.margin(first)))
        return splice.result()

    def _quoted(self) -> str:
        text = self.docstring.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
        return f'"""{text}"""' if not text.endswith('"') else f'"""{text[:-1]}\\""""'
