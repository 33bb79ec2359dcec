"""The command line: ``opto demo`` and ``opto show``."""

import argparse
import io
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from opto import __version__
from opto.demo import Crossing, Progress, choose_method, load_simulator, new_optimizer, optimize
from opto.errors import OptimizerError, OptoError, RunError
from opto.llm import environment_model
from opto.optimizers import describe_feedback
from opto.runs import Run, StepRecord

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 for an error that is explained, 2 for a wrong call."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a pipe may know no arrows
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
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def _demo(options: argparse.Namespace) -> None:
    method = options.optimizer or choose_method()
    steps = options.steps or (12 if method == "llm" else 60)
    crossing = Crossing()
    optimizer = new_optimizer(crossing, method, seed=options.seed)
    load_simulator()  # says what is missing before anything else is said or made
    optimizer.run = run = Run.new(options.runs, "traffic")
    print("A traffic light at a four-way crossing, half an hour simulated by UXsim.")
    print(f"Two green times, 15 to 90 s each, are set by {_who(method)}.")
    print("Lower delay is better: the score of the Trace paper, mean loss plus its spread over the routes.\n")
    print("  step   east-west   north-south     delay      best")
    progress = []
    try:
        for number, item in enumerate(optimize(crossing, optimizer, steps=steps), start=1):
            progress.append(item)
            refused = "; ".join(f"rejected {one.name}: {one.reason}" for one in item.record.rejected)
            said = refused if item.record.outcome == "updated" else f"{item.record.outcome}: {item.record.reason}"
            note = f"   {said}" if said else ""
            print(
                f"{number:6}{item.ew_green:10} s{item.ns_green:12} s{-item.score:10.2f}{-item.best:10.2f}{note}",
                flush=True,
            )
        _compare(progress[0], max(progress, key=lambda item: item.score))
        if all(item.record.outcome == "failed" for item in progress):
            raise OptimizerError("No step succeeded.", mend="Look at the reasons above.")
    finally:
        if optimizer.records:
            print(f"\nEvery step is a line of {run.steps_file}")
            print(f"Look at it with: {_called_as()} show {run.folder}")


def _called_as() -> str:
    """Return how the user started this program: it may not be on the PATH."""
    program = sys.argv[0]
    if Path(program).name != "opto":
        return f"{Path(sys.executable).name} -m opto"
    return "opto" if shutil.which("opto") else os.path.relpath(program)


def _compare(start: Progress, best: Progress) -> None:
    print(f"\nDelay {-start.score:.2f} with {start.ew_green} s and {start.ns_green} s", end="")
    print(f"  →  {-best.score:.2f} with {best.ew_green} s and {best.ns_green} s.")
    for end in start.result.approaches:
        before, after = start.result.approaches[end].delay, best.result.approaches[end].delay
        print(f"  From {end[0]}: {before:.1f} s lost per vehicle  →  {after:.1f} s")


def _who(method: str) -> str:
    if method == "llm":
        return f"OptoPrime, which asks {environment_model('optimizer')}"
    if method == "optuna":
        return "Optuna's TPE sampler, without a language model"
    reason = " (none is named in the environment)" if environment_model("optimizer") is None else ""
    return f"LocalSearch, without a language model{reason}"


def _show(options: argparse.Namespace) -> None:
    steps = Run(options.run).steps()
    if options.step is None:
        for record in steps:
            if record.anew:
                print("--- a program began anew, and added its steps")
            print(record)
        print(f"\n{_summary(steps)}")
        return
    found = [record for record in steps if record.step == options.step]
    if not found:
        raise RunError(
            f"There is no step {options.step} in {options.run!r}.", mend=f"It has the steps 1 to {len(steps)}."
        )
    for record in found:
        _show_step(record)


def _summary(steps: Sequence[StepRecord]) -> str:
    counts = {outcome: sum(record.outcome == outcome for record in steps) for outcome in _OUTCOMES}
    said = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    programs = 1 + sum(record.anew for record in steps)
    by = f" of {programs} programs, one after the other" if programs > 1 else ""
    said = f"{len(steps)} steps{by}: {said or 'nothing happened'}."
    if levels := dict.fromkeys(level for record in steps for level in record.isolation):
        said = f"{said} Changed code ran at the level {', '.join(levels)}."
    scores = {record.score: record for record in reversed(steps) if record.score is not None}
    if not scores:
        return said
    best = scores[max(scores)]
    values = ", ".join(f"{name} = {_short(value)}" for name, value in best.before.items())
    return f"{said} Best score {best.score:g} in step {best.step}: {values}"


_OUTCOMES = ("updated", "unchanged", "rejected", "failed")


def _show_step(record: StepRecord) -> None:
    print(record)
    for message in record.messages:
        print(f"\n--- {message['role']}\n{message['content']}")
    if record.reply:
        print(f"\n--- reply of {record.model}\n{record.reply}")
    if record.reasoning:
        print(f"\n--- reasoning\n{record.reasoning}")
    print("\n--- values")
    for name, value in record.before.items():
        print(f"{name} = {value}" + (f"\n  -> {record.update[name]}" if name in record.update else ""))
    for item in record.rejected:
        print(f"rejected {item.name} = {item.suggested!r}: {item.reason}")
    for said in record.feedback:
        print(f"feedback: {describe_feedback(said)}")
    for text in record.left_out:
        print(f"left out of the prompt: {text}")
    for candidate in record.candidates:
        source = ", ".join(part for part in (candidate.model, candidate.source) if part) or "the values in force"
        score = "" if candidate.score is None else f", score {candidate.score:g}"
        print(f"\n--- candidate {candidate.number} ({source}){score}: {candidate.reason}")
        for name, value in candidate.update.items():
            print(f"{name} -> {value}")


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 and "\n" not in text else f"{text[:57]!r}…"
