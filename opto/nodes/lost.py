"""Where parameters lost their connection to the outputs. Looked for when it is too late, so that no run pays for it."""

import gc
import math
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from numbers import Real
from pathlib import Path
from types import CellType, CodeType, FunctionType
from typing import Any, NamedTuple

from opto.nodes.constants import attempt, brief
from opto.nodes.containers import SCALARS, container_of
from opto.nodes.graph import TraceGraph
from opto.nodes.vertex import Vertex, by_birth

__all__ = ["where_lost"]

#: How much is looked at: parameters, values made of each, plain values in the graph, characters of a text.
MAX_PARAMETERS, MAX_DERIVED, MAX_PLAIN, MAX_TEXT = 3, 20, 5000, 100_000
#: A text of this length does not stand in another one by chance.
TELLING = 8

LOOK = (
    "Look for .data or text formatting, such as an f-string, that takes a value out of its node on the way, and for "
    "plain functions that do."
)
GIVE_THE_NODE = "Give the node itself there, not .data or text made of it."
GIVE_THE_ORIGINAL = "Give the optimizer the parameters of the very object that runs, not of a copy."
READ_OPENLY = "Pass it as an argument; or read .data and not ._data, in threads with contextvars.copy_context()."
GO_OUTSIDE = "Compute it outside of stop_tracing()."


class Plain(NamedTuple):
    """A plain value in a graph: (part of) an input of *vertex*, or, with no key, of that root itself."""

    vertex: Vertex
    key: str | None
    value: Any
    #: If the value is a text: what to look for others in.
    text: str | None = None


def where_lost(named: Mapping[str, Vertex], graph: TraceGraph, *, known: Container[Vertex] = ()) -> str:
    """Return what there is to say of parameters that *graph* does not hold: which they are, and where they got lost.

    Takes one look at all objects of the process, for the living nodes among them; beyond that, little.

    Args:
        named: The parameters by name.
        graph: The graph of the outputs.
        known: Parameters that are copies of none of them, whatever they look like.

    Example:
        >>> from opto.nodes import node
        >>> prompt = node("Answer in one word.", name="prompt", trainable=True)
        >>> question = node("Q: what is 2 + 2? A: ") + f"{prompt}"
        >>> print(where_lost({"prompt": prompt}, TraceGraph(question)))
        No feedback reaches prompt: no output depends on it as recorded: its value stands in the plain input 'y' of \
add0. Give the node itself there, not .data or text made of it.
    """
    living = _living_nodes()
    plain = _plain_values(graph)
    is_one = len(named) == 1
    they, stop = ("it", ":") if is_one else ("them", ".")
    said = [f"No feedback reaches {', '.join(named)}: no output depends on {they} as recorded{stop}"]
    advice: dict[str, None] = {}
    for name, parameter in islice(named.items(), MAX_PARAMETERS):
        if copy := _copy_of(parameter, graph, known):
            place, mend = f"{graph.names[copy]} in the graph is another node with its name and value", GIVE_THE_ORIGINAL
        else:
            place, mend = _place(parameter, graph, plain, _derived(parameter, living)[-MAX_DERIVED:])
        said.append(f"{place}." if is_one else f"{name}: {place}.")
        advice[mend] = None
    return " ".join([*said, *advice])


def _place(parameter: Vertex, graph: TraceGraph, plain: Sequence[Plain], derived: Sequence[Vertex]) -> tuple[str, str]:
    """Return where *parameter* was lost, from the surest sign to the weakest, and what to do."""
    sure, source, found = _met(plain, (*reversed(derived), parameter))
    if sure:
        return f"{_value_of(source, parameter)} stands in {_where(found, graph)}", GIVE_THE_NODE
    if reader := next((item for item in graph.nodes[-MAX_PLAIN:] if _uses(item, parameter)), None):
        return f"{_named(reader, graph)} uses it by name, but does not let its read be seen", READ_OPENLY
    if stopped := next((item for item in graph.nodes if item.operator and not item.is_recorded), None):
        why = "was computed while tracing was stopped, so what is behind it is not known"
        return f"{_named(stopped, graph)} {why}", GO_OUTSIDE
    if found:
        return f"{_value_of(source, parameter)} may be what stands in {_where(found, graph)}", GIVE_THE_NODE
    last = f"the last value made of it that is still in memory is {_shown(derived[-1])}" if derived else None
    came = dict.fromkeys(_where(item, graph) for item in plain if _could_hold_another(item.value))
    where = f"; it may have come in as {', or as '.join(list(came)[:2])}" if came else ""
    return f"{last or 'no node that was made of it is still in memory, if there ever was one'}{where}", LOOK


def _could_hold_another(value: Any) -> bool:
    """True for what other values could be part of: no number, and no text as short as a separator."""
    return len(value) >= TELLING if isinstance(value, str | bytes) else type(value) not in SCALARS


def _value_of(source: Vertex, parameter: Vertex) -> str:
    return "its value" if source is parameter else f"the value of {_shown(source)}, made of it,"


def _shown(vertex: Any) -> str:
    return f"{vertex.py_name} ({brief(vertex._data, 40)})"


def _where(plain: Plain, graph: TraceGraph) -> str:
    if plain.key is None:
        return f"{_named(plain.vertex, graph)}, a node that was made of a plain value"
    return f"the plain input {plain.key!r} of {_named(plain.vertex, graph)}"


def _named(vertex: Vertex, graph: TraceGraph) -> str:
    """Return the name of a node in the graph; of the result of a user's function, its file and line as well."""
    code = getattr(vertex.operator and vertex.operator.function, "__code__", None)
    if code is None or Path(code.co_filename).is_relative_to(_PACKAGE):
        return graph.names[vertex]
    return f"{graph.names[vertex]} ({Path(code.co_filename).name}:{code.co_firstlineno})"


_PACKAGE = Path(__file__).parent.parent


def _living_nodes() -> list[Vertex]:
    """Return all nodes of the process, oldest first. Nothing but their inputs holds them together."""
    # By type(), because objects of users may answer for __class__ what they like.
    return sorted((item for item in gc.get_objects() if issubclass(type(item), Vertex)), key=by_birth)


def _derived(parameter: Vertex, living: Sequence[Vertex]) -> list[Vertex]:
    """Return what was computed from *parameter*, oldest first."""
    found = {parameter: None}
    for item in living:
        if any(isinstance(above, Vertex) and above in found for above in item._inputs):
            found[item] = None
    del found[parameter]
    return list(found)


def _copy_of(parameter: Vertex, graph: TraceGraph, known: Container[Vertex]) -> Vertex | None:
    """Return a parameter in the graph that has the name and the value of *parameter*: a deep copy, most likely."""
    alike = (item for item in graph.parameters if item.stem == parameter.stem and _equal(item._data, parameter._data))
    return next((item for item in alike if item not in known), None)


def _uses(vertex: Vertex, parameter: Vertex) -> bool:
    """True if *vertex* is the result of a function whose code names *parameter*, as a variable or an attribute."""
    function = vertex.operator and vertex.operator.function
    if not isinstance(function, FunctionType):
        return False
    names = _names_in(function.__code__)
    owners = [function.__globals__, *(_attributes(item) for _, item in vertex.raw_inputs())]
    held = [owner.get(name) for owner in owners for name in names]
    return any(item is parameter for item in (*held, *map(_content, function.__closure__ or ())))


def _names_in(code: CodeType) -> set[str]:
    """Return the names of globals and attributes in *code*, also in functions that are made inside."""
    inner = (_names_in(item) for item in code.co_consts if isinstance(item, CodeType))
    return set(code.co_names).union(*inner)


def _attributes(thing: Any) -> Mapping[str, Any]:
    # Some objects have none, or are another one now and then, as some proxies.
    found = attempt(object.__getattribute__, thing, "__dict__", fallback=None)
    return found if isinstance(found, Mapping) else {}


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None  # not assigned yet


def _plain_values(graph: TraceGraph) -> list[Plain]:
    """Return the plain values of the graph and what is inside them, newest first."""
    found = (part for vertex in reversed(graph.nodes) for item in _plain_of(vertex) for part in _opened(item))
    return list(islice(found, MAX_PLAIN))


def _plain_of(vertex: Vertex) -> Iterator[Plain]:
    if vertex.operator is None and not vertex.trainable:
        yield Plain(vertex, None, vertex._data)
    for key, value in vertex.raw_inputs():
        if not isinstance(value, Vertex):
            yield Plain(vertex, key, value)


def _opened(plain: Plain) -> Iterator[Plain]:
    """Yield *plain* as it is, and for every item in its containers once."""
    waiting: list[Any] = [plain.value]
    seen: set[int] = set()
    while waiting:
        item = waiting.pop()
        yield plain._replace(value=item, text=_folded(item) if isinstance(item, str) else None)
        container = container_of(type(item))
        if container is not None and id(item) not in seen:
            seen.add(id(item))
            waiting += container.every(item)


def _met(plain: Sequence[Plain], sources: Iterable[Vertex]) -> tuple[bool, Any, Any]:
    """Return if it is sure, which of *sources* has its value among *plain*, and where; None twice if none has."""
    maybe: tuple[bool, Any, Any] = (False, None, None)
    for source in sources:
        value = _Value(source._data)
        for item in plain:
            likeness = value.likeness(item)
            if likeness == 2:
                return True, source, item
            if likeness and maybe[1] is None:
                maybe = (False, source, item)
    return maybe


class _Value:
    """A value that is looked for in others, where it may have come as text."""

    def __init__(self, data: Any) -> None:
        self.data = _without_numpy(data)
        self.is_telling = _is_telling(self.data)
        self.texts = {_folded(text) for text in _as_texts(self.data)} - {""}

    def likeness(self, plain: Plain) -> int:
        """Return 2 if *plain* is this value, or a text with it; 1 if that may be chance; 0 if it is neither."""
        other = _without_numpy(plain.value)
        if self.data is other or _equal(self.data, other):
            return 2 if self.is_telling else 1
        if plain.text is not None:
            return self._likeness_of_text(plain.text)
        if isinstance(other, Real) and isinstance(self.data, float):
            return int(other in {int(self.data), round(self.data)}) if math.isfinite(self.data) else 0
        return 0

    def _likeness_of_text(self, other: str) -> int:
        held = [text for text in self.texts if text in other]
        if any(len(text) >= TELLING for text in held):
            return 2
        if isinstance(self.data, str) and len(other) >= 2 * TELLING and any(other in text for text in self.texts):
            return 2  # a piece of it
        return int(any(re.search(rf"(?<![\w.]){re.escape(text)}(?!\w|\.\w)", other) for text in held))


def _as_texts(data: Any) -> Iterator[str]:
    """Yield how *data* reads when it is formatted, shown or written as JSON."""
    import json  # noqa: PLC0415 - for those who lost something only

    if isinstance(data, str):
        yield data
        yield json.dumps(data)[1:-1]
    elif data is not None and not isinstance(data, bool):
        for show in (str, repr, json.dumps):
            yield attempt(show, data, fallback="")


def _folded(text: str) -> str:
    """Return *text* without what functions like ``upper``, ``strip`` and ``dedent`` change."""
    return " ".join(text[:MAX_TEXT].casefold().split())


def _without_numpy(value: Any) -> Any:
    small = attempt(lambda: hasattr(value, "tolist") and getattr(value, "size", MAX_PLAIN) < MAX_PLAIN, fallback=False)
    value = value.tolist() if small else value
    return list(value) if type(value) is tuple else value


def _is_telling(data: Any) -> bool:
    """True if two values do not come to be the same by chance."""
    if type(data) in SCALARS:
        return len(brief(data, TELLING)) >= TELLING
    return attempt(len, data, fallback=2) > 1


def _equal(data: Any, value: Any) -> bool:
    # Arrays give no one answer, and users write what they like.
    return type(data) is type(value) and attempt(lambda: bool(data == value), fallback=False)
