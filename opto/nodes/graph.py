"""The trace graph: what lies between parameters and outputs."""

import keyword
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from opto.errors import GraphError
from opto.nodes import picture
from opto.nodes.feedback import Feedback
from opto.nodes.vertex import Vertex, ancestors, levels

if TYPE_CHECKING:
    import graphviz
    import networkx as nx

__all__ = ["TraceGraph", "canonical_names", "parameter_names"]

V = TypeVar("V", bound=Vertex)
Collapse = Literal["auto"] | bool
#: Nodes that can be read in a picture one by one.
MAX_NODES = 150


class TraceGraph:
    """Outputs, what was said about them, and every node they were computed from.

    Names inside a graph are canonical identifiers: parameters go by their stem (``price``; with a number if
    several share it), all others by stem and number in order of birth (``add0``). The same program gives the
    same names in any process, whatever ran before.

    Args:
        outputs: The nodes at which feedback was given, or a single one.
        feedback: What was said, one per output, in any form that `Feedback.of` reads.

    Attributes:
        outputs: The outputs, in the order given.
        feedback: One `Feedback` per output.
        nodes: Everything, oldest first; a topological order.
        values: The parameters' values when feedback was given; {} if it was not given by a backward pass.

    Example:
        >>> from opto.nodes import node
        >>> price = node(3, name="price", trainable=True)
        >>> graph = TraceGraph([price * 2], ["too dear"])
        >>> [graph.names[item] for item in graph.nodes]
        ['price', 'multiply0']
        >>> graph.to_networkx().edges
        OutEdgeView([('price', 'multiply0')])
    """

    def __init__(self, outputs: Vertex | Sequence[Vertex], feedback: Sequence[Any] = ()) -> None:
        self.outputs = (
            tuple(outputs) if isinstance(outputs, Iterable) and not isinstance(outputs, Vertex) else (outputs,)
        )
        if not self.outputs or not all(isinstance(output, Vertex) for output in self.outputs):
            raise GraphError(
                f"There is no graph of {outputs!r:.80}.", mend="Give one or more nodes that were computed."
            )
        self._said = tuple(item._data if isinstance(item, Vertex) else item for item in feedback)
        self.feedback = tuple(map(Feedback.of, self._said))
        self.nodes = tuple(ancestors(self.outputs))
        self.values: dict[Vertex, Any] = {}

    def __iter__(self) -> Iterator[Any]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    def __add__(self, other: "TraceGraph") -> "TraceGraph":
        """Return the graph of the outputs of both."""
        return self.joined([self, other])

    @classmethod
    def joined(cls, graphs: "Sequence[TraceGraph]") -> "TraceGraph":
        """Return the graph of the outputs of all *graphs*; of a single one, itself."""
        if len(graphs) == 1:
            return graphs[0]
        outputs = [output for graph in graphs for output in graph.outputs]
        return cls(outputs, [said for graph in graphs for said in graph._said])

    @property
    def user_feedback(self) -> Any:
        """The feedback as it was given, under Trace's name: that of a single output, or a list."""
        return self._said[0] if len(self._said) == 1 else list(self._said)

    @property
    def graph(self) -> list[tuple[int, Any]]:
        """Trace's view of the nodes: each with its level, which is 0 for roots, sorted by level."""
        return sorted(((level, item) for item, level in levels(self.nodes).items()), key=itemgetter(0))

    @classmethod
    def expand(cls, node: Vertex) -> "TraceGraph":
        """Return the graph behind *node*. What ran inside a call is part of it, where Trace has a graph of its own."""
        return cls(node)

    def visualize(
        self, simple_visualization: bool = True, reverse_plot: bool = False, print_limit: int = 100
    ) -> "graphviz.Digraph":
        """Return a picture, as `to_graphviz` does, with the settings of `Node.backward`."""
        return self.to_graphviz(max_value=print_limit, simple=simple_visualization, reverse=reverse_plot)

    def __repr__(self) -> str:
        counts = {"node": len(self), "parameter": len(self.parameters), "output": len(self.outputs)}
        said = [f"{count:,} {name}{'s' * (count != 1)}" for name, count in counts.items()]
        return f"<TraceGraph: {', '.join(said)}>"

    @cached_property
    def parameters(self) -> tuple[Any, ...]:
        """The trainable nodes, oldest first."""
        return tuple(item for item in self.nodes if item.trainable)

    @cached_property
    def names(self) -> dict[Vertex, str]:
        """The canonical name of every node."""
        return canonical_names(self.nodes, parameter_names(self.parameters))

    def where_lost(self, named: Mapping[str, Vertex], *, known: Container[Vertex] = ()) -> str:
        """Return what there is to say of parameters that the graph does not hold, and where they got lost.

        Takes one look at all objects of the process.

        Args:
            named: The parameters by name.
            known: Parameters that somebody optimizes, these among them.
        """
        text: str = late("lost").where_lost(named, self, known=known)
        return text

    def to_networkx(self) -> "nx.DiGraph[str]":
        """Return a `networkx.DiGraph` over the canonical names, with edges from inputs to results.

        Each node has the attributes ``kind`` (``parameter``, ``value``, ``result`` or ``exception``),
        ``value``, ``operator`` (a name, or None), ``description`` and ``output`` (True or False). Each edge has
        ``keys``: the names of the inputs that it stands for.
        """
        import networkx as nx  # noqa: PLC0415 - heavy: only where it is used

        graph: nx.DiGraph[str] = nx.DiGraph()
        for row in picture.rows(self.nodes, self.names, self.outputs):
            graph.add_node(
                row.name,
                kind=row.kind,
                value=row.value,
                operator=row.operator,
                description=row.description,
                output=row.is_output,
            )
            for parent, keys in row.parents.items():
                graph.add_edge(parent, row.name, keys=keys)
        return graph

    def to_graphviz(
        self,
        *,
        max_value: int = 60,
        collapse: Collapse = "auto",
        max_nodes: int = MAX_NODES,
        simple: bool = True,
        reverse: bool = False,
    ) -> "graphviz.Digraph":
        """Return a picture as a `graphviz.Digraph`; ``.source`` needs no program.

        Args:
            max_value: Characters of a value that are shown.
            collapse: True to show nodes that play the same part, such as the turns of a loop or the examples of
                a batch, as one box with a count; False for one box per node; ``"auto"`` for what can be read.
            max_nodes: The most nodes that ``"auto"`` shows one by one.
            simple: Leave out nodes that only hand on their input: copies, and lists of one node.
            reverse: Let arrows lead from results to their inputs, with the outputs on top.

        Drawing it (``.render()``, ``.pipe()``) needs the program ``dot``; without it the error says how to
        get it, and in a notebook the picture shows itself as text.
        """
        return late("drawing").draw(self._sketch(collapse, max_nodes, simple), max_value=max_value, reverse=reverse)

    def to_mermaid(
        self,
        *,
        max_value: int = 60,
        collapse: Collapse = "auto",
        max_nodes: int = MAX_NODES,
        simple: bool = True,
        reverse: bool = False,
    ) -> str:
        """Return a picture as text for Mermaid, which web pages such as a README on GitHub draw.

        The settings are those of `to_graphviz`. Mermaid itself refuses more than 500 arrows.

        Example:
            >>> from opto.nodes import node
            >>> print(TraceGraph([node(3, name="price", trainable=True) * 2]).to_mermaid())
            flowchart TD
              n0("price<br/>3"):::parameter
              n1(["multiply0<br/>6"]):::result
              n0 -->|"x"| n1
              classDef parameter fill:#ffe7ba,stroke:#555,color:#222
              classDef result fill:#e3eefc,stroke:#555,color:#222
              style n1 stroke-width:3px
        """
        sketch = self._sketch(collapse, max_nodes, simple)
        text: str = late("drawing").as_mermaid(sketch, max_value=max_value, reverse=reverse)
        return text

    def to_text(self, *, max_value: int = 60, collapse: Collapse = "auto", max_nodes: int = MAX_NODES) -> str:
        """Return one line per node, oldest first: what a terminal can show.

        The settings are those of `to_graphviz`.

        Example:
            >>> from opto.nodes import node
            >>> price = node(3, name="price", trainable=True)
            >>> print(TraceGraph([price * 2]).to_text())
            price = 3  (parameter)
            multiply0 = price * 2  → 6  (output)
        """
        return picture.as_text(self._sketch(collapse, max_nodes, simple=False), max_value)

    def to_tree(
        self,
        *,
        max_value: int = 60,
        collapse: Collapse = "auto",
        max_nodes: int = MAX_NODES,
        simple: bool = True,
        max_lines: int | None = None,
    ) -> str:
        """Return a tree of text, from the outputs down to the parameters. What is shared is drawn once.

        Args:
            max_value: As in `to_graphviz`, as are *collapse*, *max_nodes* and *simple*.
            collapse: True, False or ``"auto"``.
            max_nodes: The most nodes that ``"auto"`` shows one by one.
            simple: Leave out nodes that only hand on their input.
            max_lines: Lines after which the rest is only counted; None for all.

        Example:
            >>> from opto.nodes import node
            >>> price = node(3, name="price", trainable=True)
            >>> print(TraceGraph([price * 2 + price]).to_tree())
            add0 = multiply0 + price  → 9  (output)
            ├─ multiply0 = price * 2  → 6
            │  └─ price = 3  (parameter)
            └─ price (above)
        """
        tree: str = late("tree").as_tree(self._sketch(collapse, max_nodes, simple), max_value, max_lines=max_lines)
        return tree

    def _sketch(self, collapse: Collapse, max_nodes: int, simple: bool) -> picture.Sketch:
        is_large = len(self) > max_nodes if collapse == "auto" else collapse
        shown = picture.rows(self.nodes, self.names, self.outputs, simple=simple, calls=not is_large)
        return late("collapse").collapse(shown) if is_large else picture.one_by_one(shown)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        bundle: dict[str, str] = late("notebook").of_graph(self)
        return bundle


def late(name: str) -> Any:
    """Return a module of this package that few programs need: at the top, it would slow every program down."""
    return import_module(f"opto.nodes.{name}")


def parameter_names(parameters: Sequence[V]) -> dict[str, V]:
    """Return *parameters* by name: the stem as an identifier, numbered if several share it.

    The names depend on nothing but the parameters and their order.

    Example:
        >>> from opto.nodes import node
        >>> list(parameter_names([node(1, "x", True), node(2, "x", True), node(3, "y", True)]))
        ['x0', 'x1', 'y']
    """
    stems = [as_identifier(parameter.stem) for parameter in parameters]
    counts = Counter(stems)
    names: dict[str, V] = {}
    next_number: dict[str, int] = {}
    for stem, parameter in zip(stems, parameters, strict=True):
        name, number = stem, next_number.get(stem, 0)
        while (name == stem and counts[stem] > 1) or (name != stem and name in counts) or name in names:
            name, number = f"{stem}{number}", number + 1
        names[name] = parameter
        # What was taken once stays taken: thousands of parameters with one stem are named in one go.
        next_number[stem] = number
    return names


def canonical_names(nodes: Iterable[Vertex], parameters: Mapping[str, Vertex]) -> dict[Vertex, str]:
    """Return a name for each of *nodes*: that of *parameters*, or the stem and a running number."""
    names = {parameter: name for name, parameter in parameters.items()}
    taken = set(parameters)
    used: dict[str, int] = {}
    stems: dict[str, str] = {}
    for item in nodes:
        if item not in names:
            stem = stems.get(item.stem) or stems.setdefault(item.stem, identifier(item.stem))
            number = used.get(stem, 0)
            used[stem] = number + 1
            name = f"{stem}{number}"
            while name in taken:
                name += "_"
            taken.add(name)
            names[item] = name
    return names


def identifier(stem: str) -> str:
    """Return *stem* as a Python identifier to which a number can be appended.

    Example:
        >>> identifier("my prompt!"), identifier("2nd"), identifier("x1")
        ('my_prompt_', '_2nd', 'x1_')
    """
    name = as_identifier(stem)
    # "x1" with number 0 must not become the "x10" of stem "x".
    return f"{name}_" if name[-1].isdigit() else name


def as_identifier(text: str) -> str:
    """Return *text* with everything replaced that cannot stand in an identifier."""
    usable = [char if f"_{char}".isidentifier() and _is_normal(char) else "_" for char in text]
    name = "".join(usable) or "_"
    return name if name.isidentifier() and not keyword.iskeyword(name) else f"_{name}"


def _is_normal(char: str) -> bool:
    """True if Python writes a letter in a name as it is; "ﬁ" would become two."""
    if char.isascii():
        return True
    import unicodedata  # noqa: PLC0415 - takes a tenth of the time of importing opto.trace, for names that are rare

    return unicodedata.normalize("NFKC", char) == char
