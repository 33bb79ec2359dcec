"""The main job, end to end: a traced program around the crossing, and an optimizer that sets its green times.

It is written as any user of opto would write it. `optimize` is the whole loop.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from opto.demo.crossing import MAX_GREEN, MIN_GREEN, Result, simulate
from opto.llm import LLM, environment_model
from opto.optimizers import LocalSearch, Optimizer, OptoPrime, Sampler
from opto.runs import Run, StepRecord
from opto.trace import Feedback, Module, Node, Range, bundle, node

__all__ = ["Crossing", "Progress", "choose_method", "judge", "new_optimizer", "optimize"]

Method = Literal["llm", "local", "optuna"]

OBJECTIVE = (
    "Choose the two green times of a traffic light so that vehicles lose as little time as possible, and none of the "
    "directions is left waiting much longer than the others. The score is minus the overall delay, which adds to the "
    "mean loss its spread over the routes."
)


class Crossing(Module):
    """A four-way crossing whose two green times are parameters."""

    def __init__(self) -> None:
        domain = Range(MIN_GREEN, MAX_GREEN)
        self.ew_green = node(
            MIN_GREEN,
            name="ew_green",
            trainable=True,
            domain=domain,
            description="Seconds of green per cycle for traffic from west and east.",
        )
        self.ns_green = node(
            MIN_GREEN,
            name="ns_green",
            trainable=True,
            domain=domain,
            description="Seconds of green per cycle for traffic from north and south.",
        )

    def forward(self) -> Node[Result]:
        """Simulate half an hour with the current green times."""
        return _simulate_half_hour(self.ew_green, self.ns_green)  # type: ignore[no-any-return]  # a bundle returns Any


@bundle("[simulate_half_hour] Traffic of half an hour through the crossing with these green times, in seconds.")
def _simulate_half_hour(ew_green: int, ns_green: int) -> Result:
    return simulate(ew_green, ns_green)


def judge(result: Result) -> Feedback:
    """Return what there is to say about *result*: a score, and for each direction how long its vehicles waited."""
    waits = [
        f"Vehicles from {end[0]} lost {approach.delay:.1f} s each; {approach.finished} of {approach.vehicles} arrived."
        for end, approach in result.approaches.items()
    ]
    return Feedback(f"Overall delay {result.published_delay:.2f}. {' '.join(waits)}", score=-result.published_delay)


@dataclass(frozen=True)
class Progress:
    """One evaluation: what was tried, what came of it, and what the optimizer made of that."""

    ew_green: int
    ns_green: int
    result: Result
    score: float
    best: float
    record: StepRecord


def choose_method() -> Method:
    """Return ``llm`` if the environment names a language model, and ``local`` if it does not."""
    return "local" if environment_model("optimizer") is None else "llm"


def new_optimizer(crossing: Crossing, method: Method, *, run: Run | None = None, seed: int = 0) -> Optimizer:
    """Return the optimizer for *method*: `OptoPrime`, `LocalSearch`, or Optuna's TPE in a `Sampler`."""
    parameters = crossing.parameters()
    if method == "llm":
        return OptoPrime(parameters, LLM(role="optimizer"), objective=OBJECTIVE, memory_size=10, run=run)
    search = LocalSearch if method == "local" else Sampler
    return search(parameters, seed=seed, run=run)


def optimize(crossing: Crossing, optimizer: Optimizer, *, steps: int) -> Iterator[Progress]:
    """Evaluate and step, *steps* times, and yield what happened each time. The best green times stay in place."""
    for _ in range(steps):
        greens = crossing.ew_green.data, crossing.ns_green.data
        output = crossing()
        feedback = judge(output.data)
        optimizer.zero_feedback()
        optimizer.backward(output, feedback)
        record = optimizer.step().record
        best = optimizer.best()
        assert best is not None
        assert feedback.score is not None
        yield Progress(*greens, output.data, feedback.score, best.score, record)
    optimizer.restore(optimizer.best())
