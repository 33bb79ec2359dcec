"""The command line: ``opto demo`` and ``opto show``."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from opto import __version__
from opto.demo import Crossing, choose_method, new_optimizer, optimize
from opto.errors import OptoError
from opto.llm import environment_model
from opto.runs import Run, StepRecord

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 for an error that is explained, 2 for a wrong call."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except OptoError as error:
        print(f"opto: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nopto: stopped; finished steps are kept.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of a pipe (`| head`) has gone; nothing is left to be said to it.
        sys.stderr.close()
        return 0
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="opto", description="Autodiff for computational workflows.")
    parser.add_argument("--version", action="version", version=f"opto {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="optimize the green times of a simulated traffic light")
    demo.add_argument("--steps", type=_positive, help="evaluations (default: 60, or 12 with a language model)")
    demo.add_argument(
        "--optimizer",
        choices=["llm", "local", "optuna"],
        help="default: llm if the environment names a model (OPENAI_API_KEY, ANTHROPIC_API_KEY, OPENAI_BASE_URL, "
        "OPTO_MODEL), local if not",
    )
    demo.add_argument("--seed", type=int, default=0, help="seed of local and optuna (default: 0)")
    demo.add_argument("--runs", default="runs", metavar="FOLDER", help="where runs are kept (default: runs)")
    demo.set_defaults(command=_demo)

    show = commands.add_parser("show", help="show what happened in a run")
    show.add_argument("run", metavar="RUN", help="folder of a run")
    show.add_argument("--step", type=_positive, metavar="N", help="show one step in full")
    show.set_defaults(command=_show)
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not a positive number")
    return number


def _demo(options: argparse.Namespace) -> None:
    method = options.optimizer or choose_method()
    steps = options.steps or (12 if method == "llm" else 60)
    crossing = Crossing()
    run = Run.new(options.runs, "traffic")
    optimizer = new_optimizer(crossing, method, run=run, seed=options.seed)
    print("A traffic light at a four-way crossing, half an hour simulated by UXsim.")
    print(f"Two green times, 15 to 90 s each, are set by {_who(method)}.")
    print("Lower delay is better: mean loss per vehicle plus its spread over directions, in seconds.\n")
    print("  step   east-west   north-south     delay      best")
    progress = []
    for number, item in enumerate(optimize(crossing, optimizer, steps=steps), start=1):
        progress.append(item)
        note = "" if item.record.outcome == "updated" else f"   {item.record.outcome}: {item.record.reason}"
        print(
            f"{number:6}{item.ew_green:10} s{item.ns_green:12} s{-item.score:10.2f}{-item.best:10.2f}{note}",
            flush=True,
        )
    start, best = progress[0], max(progress, key=lambda item: item.score)
    print(f"\nDelay {-start.score:.2f} with {start.ew_green} s and {start.ns_green} s", end="")
    print(f"  →  {-best.score:.2f} with {best.ew_green} s and {best.ns_green} s.")
    for end in start.result.approaches:
        before, after = start.result.approaches[end].delay, best.result.approaches[end].delay
        print(f"  From {end[0]}: {before:.1f} s lost per vehicle  →  {after:.1f} s")
    print(f"\nEvery step is a line of {run.steps_file}")
    print(f"Look at it with: opto show {run.folder}")


def _who(method: str) -> str:
    if method == "llm":
        return f"OptoPrime, which asks {environment_model()}"
    reason = " (no language model is named in the environment)" if environment_model() is None else ""
    return {"local": "LocalSearch", "optuna": "Optuna's TPE sampler"}[method] + ", without a language model" + reason


def _show(options: argparse.Namespace) -> None:
    steps = Run(options.run).steps()
    if options.step is None:
        for record in steps:
            print(record)
        print(f"\n{_summary(steps)}")
        return
    found = [record for record in steps if record.step == options.step]
    if not found:
        print(f"There is no step {options.step}: the run has {len(steps)}.")
    for record in found:
        _show_step(record)


def _summary(steps: Sequence[StepRecord]) -> str:
    counts = {outcome: sum(record.outcome == outcome for record in steps) for outcome in _OUTCOMES}
    said = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    judged = [record for record in steps if record.score is not None]
    if not judged:
        return f"{len(steps)} steps: {said}."
    best = max(judged, key=lambda record: record.score or 0.0)
    values = ", ".join(f"{name} = {_short(value)}" for name, value in best.before.items())
    return f"{len(steps)} steps: {said}. Best score {best.score:g} in step {best.step}: {values}"


_OUTCOMES = ("updated", "unchanged", "rejected", "failed")


def _show_step(record: StepRecord) -> None:
    print(record)
    for message in record.messages:
        print(f"\n--- {message['role']}\n{message['content']}")
    if record.reply:
        print(f"\n--- reply of {record.model}\n{record.reply}")
    print("\n--- values")
    for name, value in record.before.items():
        print(f"{name} = {value}" if name not in record.changed else f"{name} = {value}\n  -> {record.changed[name]}")
    for item in record.rejected:
        print(f"rejected {item.name} = {item.suggested!r}: {item.reason}")
    for said in record.feedback:
        print(f"feedback: {said}")


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 and "\n" not in text else f"{text[:57]!r}…"
