"""Print what a model is shown, as JSON.

Run in an environment with opto or with trace-opt, by the name of an optimizer that it has: ``OptoPrime``, or
``OptoPrimeV2`` where there is one.

- ``prompts NAME [--no-sources]``: characters of the prompt for each of the workflows, and for opto what it lacks.
- ``graph NAME SHAPE LENGTH``: the same for a graph of so many nodes, and the CPU seconds from feedback to prompt.
- ``show NAME WORKFLOW``: the prompt itself, as text.
"""

import ast
import gc
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from time import process_time
from typing import Any

from workflows import WORKFLOWS, Judged

from opto.trace import bundle, node


class Prompt:
    """A function in place of a model: it keeps what it is shown, and suggests nothing.

    Attributes:
        texts: What it was shown first: system prompt, then the rest.
        at: CPU time at which it was asked.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.at = 0.0

    def __call__(self, messages, **_):
        if not self.texts:
            self.at = process_time()
            blocks = [message["content"] for message in messages]
            # Some versions of OptoPrimeV2 give a list of blocks.
            self.texts = [text if isinstance(text, str) else "".join(map(_text_of, text)) for text in blocks]
        return _Answer()

    def __str__(self) -> str:
        return "\n".join(self.texts)


class _Answer:
    """An answer in the shape of OpenAI's."""

    def __init__(self) -> None:
        self.choices = [self]
        self.message = self
        self.content = "TERMINATE"
        self.model = "none"
        self.finish_reason = "stop"
        self.usage = None


def _text_of(block: Any) -> str:
    return block.get("text", "") if isinstance(block, dict) else str(block)


def shown(name: str, judged: Judged, **settings: Any) -> tuple[Any, Prompt, float]:
    """Return the optimizer, what the model is shown, and the CPU seconds from the feedback to that."""
    parameters, output, feedback = judged
    prompt = Prompt()
    optimizer = optimizer_class(name)(parameters, llm=prompt, **settings)
    gc.collect()
    began = process_time()
    optimizer.zero_feedback()
    optimizer.backward(output, feedback)
    optimizer.step()
    return optimizer, prompt, prompt.at - began


def optimizer_class(name: str) -> Callable[..., Any]:
    home = "opto.optimizers.optoprime_v2" if name == "OptoPrimeV2" else "opto.optimizers.optoprime"
    return getattr(importlib.import_module(home), name)


@bundle()
def total(*items):
    """Return the sum."""
    return sum(items)


def chain(length: int) -> Judged:
    """The parameter is used at the beginning only."""
    start, more = node(1.0, name="start", trainable=True), node(0.5, name="more")
    result = start
    for _ in range(length - 2):
        result = result + more
    return [start], result, "It should be 10."


def loop(length: int) -> Judged:
    """The parameter is used in every call."""
    step = node(1.0, name="step", trainable=True)
    result = node(0.5, name="start")
    for _ in range(length - 2):
        result = result + step
    return [step], result, "It should be 10."


def examples(length: int) -> Judged:
    """The parameter is used by each of many examples, which take twenty calls each."""
    step, more = node(1.0, name="step", trainable=True), node(0.5, name="more")
    results = []
    for _ in range(length // 20):
        result = step + more
        for _ in range(19):
            result = result + more
        results.append(result)
    return [step], total(*results), "It should be 10."


GRAPHS = {graph.__name__: graph for graph in (chain, loop, examples)}


def lost(optimizer: Any, prompt: Prompt) -> Iterator[str]:
    """Yield what of a trace is not in the prompt of opto's `OptoPrime`, found without the code that writes it."""
    from opto.nodes import canonical_names

    user, graph = f"\n{prompt.texts[-1]}\n", optimizer.trace_graph
    names = canonical_names(graph.nodes, optimizer.variables)
    code = next((part for part in user.split("\n\n") if part.strip().startswith("# Code\n")), "").strip()
    calls = {statement.targets[0].id: ast.unparse(statement.value) for statement in ast.parse(code).body}
    results = dict(line.split(" = ", 1) for line in code.split("\n")[1:])
    for item, name in names.items():
        if item.is_recorded:
            call = calls.pop(name, "")
            # A trainable function is called by its name, and not given its code.
            arguments = [names[parent] for key, parent in item.raw_inputs() if parent in names and key != "__code"]
            if not call or not all(argument in call for argument in arguments):
                yield f"the call of {name}"
        value, parameter = item._data, optimizer.variables.get(name)
        if parameter is not None:
            about = [parameter.domain.describe(), (parameter.description or "").rstrip("."), str(value).rstrip("\n")]
            yield from (f"{text!r} of {name}" for text in [f"\n{name}: ", *about] if text not in user)
        elif not (
            f"\n{name} = {value!r}\n" in user
            or f'\n<value of="{name}">\n{value}\n</value>' in user
            or results.get(name, "").endswith(f"  # {value!r}")
        ):
            yield f"the value of {name}"
    yield from (f"{name}, which was not called" for name in calls)
    yield from (f"the feedback {said.text!r}" for said in graph.feedback if said.text not in user)


def measured(name: str, judged: Judged, **settings: Any) -> dict[str, Any]:
    optimizer, prompt, seconds = shown(name, judged, **settings)
    found: dict[str, Any] = {"characters": sum(map(len, prompt.texts)), "seconds": seconds}
    if hasattr(optimizer, "records"):
        from opto.llm import estimate_tokens

        found["tokens"] = sum(map(estimate_tokens, prompt.texts))
        found["left out"] = list(optimizer.records[-1].left_out)
        found["lost"] = [] if found["left out"] else list(lost(optimizer, prompt))
    return found


if __name__ == "__main__":
    what, which, *rest = sys.argv[1:]
    if what == "show":
        print(shown(which, WORKFLOWS[rest[0]]())[1])
    elif what == "graph":
        make, length = GRAPHS[rest[0]], int(rest[1])
        measured(which, make(40))  # so that all that is loaded late is loaded
        print(json.dumps(measured(which, make(length))))
    else:
        options = {"show_sources": False} if "--no-sources" in rest else {}
        print(json.dumps({key: measured(which, make(), **options) for key, make in WORKFLOWS.items()}))
