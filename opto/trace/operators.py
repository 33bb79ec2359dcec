# ruff: noqa: A001, PLW0108 - names of Trace that are Python's; builtins have no signature
"""Python's operators by name, each recorded: ``add(x, y)``, ``getitem(x, index)``, ``call_llm(prompt, question)``.

Nodes do all this by Python's own syntax as well, which graphs show as expressions, not as calls.
"""

import builtins
from collections.abc import Sequence
from copy import copy
from typing import Any

from opto.llm import as_llm
from opto.nodes import BINARY, CLONE, EQUAL, LENGTH, NOT_EQUAL, UNARY, Operator, node
from opto.trace.bundle import FunModule, bundle

__all__ = [
    "abs",
    "acall_llm",
    "add",
    "and_",
    "call",
    "call_llm",
    "capitalize",
    "ceil",
    "chr_",
    "clone",
    "concat",
    "cond",
    "dict_pop",
    "dict_popitem",
    "dict_update",
    "divide",
    "eq",
    "floor",
    "floor_divide",
    "format",
    "ge",
    "get",
    "getitem",
    "gt",
    "identity",
    "in_",
    "invert",
    "is_",
    "is_not",
    "join",
    "keys",
    "le",
    "len_",
    "list_append",
    "list_clear",
    "list_extend",
    "list_insert",
    "list_pop",
    "list_remove",
    "list_reverse",
    "list_sort",
    "lower",
    "lshift",
    "lt",
    "make_dict",
    "make_list",
    "make_set",
    "make_tuple",
    "mod",
    "multiply",
    "ne",
    "neg",
    "neq",
    "node_divmod",
    "node_getattr",
    "not_",
    "not_in",
    "or_",
    "ord_",
    "pop",
    "pos",
    "power",
    "replace",
    "round",
    "rshift",
    "set_add",
    "set_clear",
    "set_discard",
    "set_intersection_update",
    "set_pop",
    "set_remove",
    "set_symmetric_difference_update",
    "set_update",
    "split",
    "strip",
    "subtract",
    "swapcase",
    "title",
    "to_dict",
    "to_list",
    "to_set",
    "to_tuple",
    "trunc",
    "upper",
    "values",
    "xor",
]


def _of_one(operator: Operator) -> FunModule:
    compute = operator.function
    written = f"lambda x: {operator.write({'x': 'x'})}"
    return bundle(f"[{operator.name}] {operator.description}", source=written)(lambda x: compute(x))


def _of_two(operator: Operator) -> FunModule:
    compute = operator.function
    written = f"lambda x, y: {operator.write({'x': 'x', 'y': 'y'})}"
    return bundle(f"[{operator.name}] {operator.description}", source=written)(lambda x, y: compute(x, y))


# One value.

clone = _of_one(CLONE)
identity = clone
pos = _of_one(UNARY["__pos__"])
neg = _of_one(UNARY["__neg__"])
abs = _of_one(UNARY["__abs__"])
invert = _of_one(UNARY["__invert__"])
floor = _of_one(UNARY["__floor__"])
ceil = _of_one(UNARY["__ceil__"])
trunc = _of_one(UNARY["__trunc__"])
not_ = bundle("[not_] True if x is false or empty.")(lambda x: not x)
len_ = _of_one(LENGTH)
ord_ = bundle("[ord_] The code point of a character.")(lambda x: ord(x))
chr_ = bundle("[chr_] The character with a code point.")(lambda x: chr(x))
round = bundle("[round] x rounded to n digits after the point.")(lambda x, n=None: builtins.round(x, n))

# Two values.

add = _of_two(BINARY["__add__"])
subtract = _of_two(BINARY["__sub__"])
multiply = _of_two(BINARY["__mul__"])
divide = _of_two(BINARY["__truediv__"])
floor_divide = _of_two(BINARY["__floordiv__"])
mod = _of_two(BINARY["__mod__"])
node_divmod = bundle("[node_divmod] The quotient, rounded down, and the remainder of x / y.")(lambda x, y: divmod(x, y))
power = _of_two(BINARY["__pow__"])
lshift = _of_two(BINARY["__lshift__"])
rshift = _of_two(BINARY["__rshift__"])
and_ = _of_two(BINARY["__and__"])
or_ = _of_two(BINARY["__or__"])
xor = _of_two(BINARY["__xor__"])
lt = _of_two(BINARY["__lt__"])
le = _of_two(BINARY["__le__"])
eq = _of_two(EQUAL)
neq = _of_two(NOT_EQUAL)
ne = bundle("[ne] True if x differs from y.")(lambda x, y: x != y)
ge = _of_two(BINARY["__ge__"])
gt = _of_two(BINARY["__gt__"])
is_ = bundle("[is_] True if x and y are the same object.")(lambda x, y: x is y)
is_not = bundle("[is_not] True if x and y are two objects.")(lambda x, y: x is not y)
in_ = bundle("[in_] True if x is in y.")(lambda x, y: x in y)
not_in = bundle("[not_in] True if x is not in y.")(lambda x, y: x not in y)
concat = bundle("[concat] x and y joined.")(lambda x, y: x + y)
cond = bundle("[cond] x if the condition holds, else y.")(lambda condition, x, y: x if condition else y)

# Items and members.

getitem = bundle("[getitem] The item of x at an index, key or slice.")(lambda x, index: x[index])
get = bundle("[get] The value of a dict at a key, or the default.")(lambda x, key, default=None: x.get(key, default))
pop = bundle("[pop] The item of x at an index, taken out of x.")(lambda x, index=-1: x.pop(index))
node_getattr = bundle("[node_getattr] The attribute of an object with this name.")(lambda obj, attr: getattr(obj, attr))


def call(fun: Any, *args: Any, **kwargs: Any) -> Any:
    """Return the result of calling what *fun*, a node or a function, holds."""
    return node(fun)(*args, **kwargs)


# Text.

lower = bundle("[lower] x in lower case.")(lambda x: x.lower())
upper = bundle("[upper] x in upper case.")(lambda x: x.upper())
title = bundle("[title] x with every word capitalized.")(lambda x: x.title())
swapcase = bundle("[swapcase] x with upper and lower case exchanged.")(lambda x: x.swapcase())
capitalize = bundle("[capitalize] x with its first letter in upper case and the others in lower case.")(
    lambda x: x.capitalize()
)
split = bundle("[split] The parts of x between separators y, or between white space.")(
    lambda x, y=None, maxsplit=-1: x.split(y, maxsplit)
)
strip = bundle("[strip] x without the characters, or white space, at its ends.")(lambda x, chars=None: x.strip(chars))
replace = bundle("[replace] x with one text replaced by another.")(
    lambda x, old, new, count=-1: x.replace(old, new, count)
)
format = bundle("[format] The template x, filled in as by str.format.")(
    lambda x, *args, **kwargs: x.format(*args, **kwargs)
)
join = bundle("[join] Texts joined, with x between them.")(lambda x, *y: x.join(y))

# Containers.

to_list = bundle("[to_list] The items of x as a list.")(lambda x: list(x))
to_dict = bundle("[to_dict] The items of x as a dict.")(lambda x: dict(x))
to_set = bundle("[to_set] The items of x as a set.")(lambda x: set(x))
to_tuple = bundle("[to_tuple] The items of x as a tuple.")(lambda x: tuple(x))
make_list = bundle("[make_list] A list of the arguments.")(lambda *args: list(args))
make_dict = bundle("[make_dict] A dict of the arguments by name.")(lambda **kwargs: kwargs)
make_set = bundle("[make_set] A set of the arguments.")(lambda *args: set(args))
make_tuple = bundle("[make_tuple] A tuple of the arguments.")(lambda *args: args)
keys = bundle("[keys] The keys of a dict, as a list.")(lambda x: list(x.keys()))
values = bundle("[values] The values of a dict, as a list.")(lambda x: list(x.values()))

# Containers changed: each result is a copy with the change.


def _changed(x: Any, method: str, *args: Any, **kwargs: Any) -> Any:
    changed = copy(x)
    getattr(changed, method)(*args, **kwargs)
    return changed


dict_update = bundle("[dict_update] x with the items of y.")(lambda x, y: _changed(x, "update", y))
dict_pop = bundle("[dict_pop] x without a key.")(lambda x, key: _changed(x, "pop", key))
dict_popitem = bundle("[dict_popitem] x without its newest item.")(lambda x: _changed(x, "popitem"))
list_append = bundle("[list_append] x with y at its end.")(lambda x, y: _changed(x, "append", y))
list_clear = bundle("[list_clear] x without its items.")(lambda x: _changed(x, "clear"))
list_extend = bundle("[list_extend] x with the items of y at its end.")(lambda x, y: _changed(x, "extend", y))
list_insert = bundle("[list_insert] x with y put in at an index.")(lambda x, index, y: _changed(x, "insert", index, y))
list_pop = bundle("[list_pop] x without the item at an index.")(lambda x, index=-1: _changed(x, "pop", index))
list_remove = bundle("[list_remove] x without the first item that equals y.")(lambda x, y: _changed(x, "remove", y))
list_reverse = bundle("[list_reverse] x in reverse order.")(lambda x: _changed(x, "reverse"))
list_sort = bundle("[list_sort] x in order.")(
    lambda x, key=None, reverse=False: _changed(x, "sort", key=key, reverse=reverse)
)
set_add = bundle("[set_add] x with y in it.")(lambda x, y: _changed(x, "add", y))
set_clear = bundle("[set_clear] x without its items.")(lambda x: _changed(x, "clear"))
set_discard = bundle("[set_discard] x without y, if it is there.")(lambda x, y: _changed(x, "discard", y))
set_intersection_update = bundle("[set_intersection_update] What x shares with y.")(
    lambda x, y: _changed(x, "intersection_update", y)
)
set_pop = bundle("[set_pop] x without one of its items.")(lambda x: _changed(x, "pop"))
set_remove = bundle("[set_remove] x without y, which must be there.")(lambda x, y: _changed(x, "remove", y))
set_symmetric_difference_update = bundle("[set_symmetric_difference_update] What is in x or y only.")(
    lambda x, y: _changed(x, "symmetric_difference_update", y)
)
set_update = bundle("[set_update] x with the items of y.")(lambda x, y: _changed(x, "update", y))


@bundle
def call_llm(system_prompt: Any, *user_prompts: Any, **settings: Any) -> Any:
    """The answer of a language model to a system prompt and prompts of the user.

    A client or a function of messages may come first; else the model of `opto.llm.use_llm` or of the environment
    is asked.
    """
    given = (system_prompt, *user_prompts)
    return as_llm(_model_in(given))(_messages_in(given), **settings).text


@bundle
async def acall_llm(system_prompt: Any, *user_prompts: Any, **settings: Any) -> Any:
    """The answer of a language model to a system prompt and prompts of the user.

    As `call_llm`, without blocking the event loop.
    """
    given = (system_prompt, *user_prompts)
    return (await as_llm(_model_in(given)).acall(_messages_in(given), **settings)).text


def _model_in(given: Sequence[Any]) -> Any:
    """Return what comes before the prompts: a model, or None."""
    return given[0] if callable(given[0]) else None


def _messages_in(given: Sequence[Any]) -> list[dict[str, Any]]:
    prompts = given[1:] if given[0] is None or callable(given[0]) else given
    return [{"role": "user" if number else "system", "content": text} for number, text in enumerate(prompts)]
