"""How changed code asks models: by `call_llm`, which is called outside for code whose original asks in this way."""

import ast
import sys
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

from opto.errors import BadRequestError
from opto.trace.source import closure_values

__all__ = ["asking_functions", "unheard"]

_NAMES = ("call_llm", "acall_llm")
#: Settings that choose neither the model nor what else is sent to it.
_SETTINGS = frozenset({"max_tokens", "temperature", "top_p", "seed", "stop", "schema", "timeout"})


def asking_functions(source: str, like: FunctionType) -> dict[str, Callable[..., Any]]:
    """Return what to call outside in the place of `call_llm`, by the names that *source*, of *like*, has for it.

    New code thus asks the models that the program asks, inside its budgets and ledgers, and none that it would not.
    """
    known = {id(getattr(_module("opto.trace.operators"), name, None)): name for name in _NAMES}
    found = {path: value for path, value, _ in _found_in(source, like)}
    offered = {}
    for path, value in found.items():
        root = path.partition(".")[0]
        # What else there is in a module would be out of reach.
        if id(value) in known and not any(other.startswith(f"{root}.") and other != path for other in found):
            offered[path] = _asking(value.fun, path, is_async=known[id(value)] == "acall_llm")
    return offered


def unheard(source: str, like: FunctionType, offers: Callable[[str], bool]) -> str | None:
    """Return, in two sentences, what in *source* asks models in a way that leads nowhere in a sandbox; None if nothing.

    Args:
        source: The text.
        like: The function of which it is the text.
        offers: Tells whether what goes by a name is called outside.
    """
    ways = [(_module("opto.llm"), name) for name in ("as_llm", "LLM")]
    ways += [(_module("opto.trace.operators"), name) for name in _NAMES]
    leading_nowhere = {id(getattr(module, name, None)) for module, name in ways}
    offered = asking_functions(source, like)
    for path, value, is_called in _found_in(source, like):
        if is_called and id(value) in leading_nowhere and path not in offered and not offers(path):
            return (
                f"{like.__name__}() asks a model by {path}(), and a sandbox has neither your models nor your keys. "
                "Use call_llm() of opto.trace.operators, imported by this name, which is called outside, or "
                "offer a function that asks: Sandbox(hosts={'ask': ask})."
            )
    return None


def _module(name: str) -> Any:
    """Return a module, if the program has loaded it."""
    return sys.modules.get(name)


def _found_in(source: str, like: FunctionType) -> Iterator[tuple[str, Any, bool]]:
    """Yield what *source* finds by a name, or in a module, with how it is written, and whether it is called."""
    values: Mapping[str, Any] = {**like.__globals__, **closure_values(like)}
    tree = ast.parse(source)
    called = {id(part.func) for part in ast.walk(tree) if isinstance(part, ast.Call)}
    for part in ast.walk(tree):
        names: list[str] = []
        inner: ast.AST = part
        while isinstance(inner, ast.Attribute):
            names.append(inner.attr)
            inner = inner.value
        if not isinstance(inner, ast.Name) or inner.id not in values:
            continue
        value = values[inner.id]
        for name in reversed(names):
            value = getattr(value, name, None) if isinstance(value, ModuleType) else None
        if value is not None and not isinstance(value, ModuleType):
            yield ".".join([inner.id, *reversed(names)]), value, id(part) in called


def _asking(function: Callable[..., Any], path: str, *, is_async: bool) -> Callable[..., Any]:
    def check(prompts: tuple[Any, ...], settings: Mapping[str, Any]) -> None:
        if any(callable(prompt) for prompt in prompts):
            raise BadRequestError(f"{path}() was given a model.", mend="Give it texts only: the program has a model.")
        if odd := sorted(settings.keys() - _SETTINGS):
            raise BadRequestError(
                f"{path}() was given {', '.join(odd)}.", mend=f"Set no more than {', '.join(sorted(_SETTINGS))}."
            )

    def ask(*prompts: Any, **settings: Any) -> Any:
        check(prompts, settings)
        return function(*prompts, **settings)

    async def aask(*prompts: Any, **settings: Any) -> Any:
        check(prompts, settings)
        return await function(*prompts, **settings)

    return aask if is_async else ask
