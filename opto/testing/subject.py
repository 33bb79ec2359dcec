"""What a contract needs to know of an optimizer: how to make it, and what it is for."""

from collections.abc import Sequence
from typing import Any

from opto.nodes import Choices, Feedback, Node, ParameterNode, Range, node
from opto.optimizers import Optimizer, Step
from opto.runs import StepRecord

__all__ = ["Subject"]


class Subject:
    """Makes optimizers, and programs for them. What a subclass defines is checked each time it is used."""

    def make(self, parameters: Any, **settings: Any) -> Optimizer:
        """Return a new optimizer of *parameters*, with *settings* of `Optimizer`, such as ``run`` and ``keep_best``.

        An optimizer with an ``__init__`` of its own passes them on to ``super().__init__``.
        """
        raise NotImplementedError(f"{type(self).__name__} must define make(parameters, **settings).")

    def parameters(self) -> list[ParameterNode[Any]]:
        """Return two new parameters or more, of different names, with a domain that does not take ``object()``."""
        return [
            node(1, name="size", trainable=True, domain=Range(0, 100)),
            node("a", name="mode", trainable=True, domain=Choices("a", "b", "c")),
        ]

    def program(self, parameters: Sequence[ParameterNode[Any]]) -> list[Node[Any]]:
        """Return a list of outputs that depend on *parameters*, the first on all of them."""
        size, mode = parameters
        return [size * 2 + mode.count("b"), mode.upper()]

    def feedback(self, outputs: Sequence[Node[Any]]) -> list[Feedback]:
        """Return what is said about each of *outputs*: words and a score, for optimizers that need either."""
        first = outputs[0].data
        score = -abs(first - 9) if isinstance(first, int | float) else -float(len(str(first)))
        return [Feedback("so so", score=score)] * len(outputs)

    # What follows is for no one to change.

    def _made(self, parameters: Any, **settings: Any) -> Optimizer:
        """Return what `make` makes, which must have the *settings*."""
        optimizer: Any = self.make(parameters, **settings)
        said = f"make() returned {optimizer!r:.80}. Return an optimizer of the parameters."
        assert isinstance(optimizer, Optimizer), said
        for name, value in settings.items():
            has = optimizer.run if name == "run" else getattr(optimizer, f"_{name}")
            said = (
                f"The optimizer that make() returned was given {name}={value!r:.80}, and has {has!r:.80}. "
                "Pass **settings on to it, and in its __init__ on to super().__init__()."
            )
            assert has is not None if name == "run" else has == value, said
        return optimizer

    def _given(self) -> list[ParameterNode[Any]]:
        """Return what `parameters` returns, which must be two or more."""
        found: Any = self.parameters()
        said = f"parameters() returned {found!r:.80}. Return a list of two or more, made by node(…, trainable=True)."
        assert isinstance(found, list), said
        assert all(isinstance(item, ParameterNode) for item in found), said
        assert len(found) > 1, said
        return found

    def _outputs(self, parameters: Sequence[ParameterNode[Any]]) -> list[Node[Any]]:
        """Return what `program` returns, which must be a list of nodes."""
        found: Any = self.program(parameters)
        kind = "a single node, " if isinstance(found, Node) else ""
        said = f"program() returned {kind}{found!r:.80}. Return a list of outputs, computed from the parameters."
        assert isinstance(found, list), said
        assert found, said
        assert all(isinstance(item, Node) for item in found), said
        return found

    def judge(self, optimizer: Optimizer) -> None:
        """Run the program, and give feedback."""
        optimizer.zero_feedback()
        outputs = self._outputs(optimizer.parameters)
        optimizer.backward(outputs, self.feedback(outputs))

    def run(self, optimizer: Optimizer, steps: int = 3) -> list[StepRecord]:
        """Return the records of some steps."""
        for _ in range(steps):
            self.judge(optimizer)
            optimizer.step()
        return optimizer.records

    def _updating(self, optimizer: Optimizer, *, bypassing: bool = False) -> Step:
        for _ in range(3):
            self.judge(optimizer)
            step = optimizer.step(bypassing=bypassing)
            if step.outcome == "updated":
                return step
        raise AssertionError("It proposed no change within the first three steps.")
