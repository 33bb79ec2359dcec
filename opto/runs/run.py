"""The durable form of an optimization: a folder with one line of JSON per step."""

import json
import logging
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from opto.errors import RunError
from opto.files import append_lines
from opto.llm import Cassette
from opto.runs.record import StepRecord

if TYPE_CHECKING:
    import os

__all__ = ["Run"]

logger = logging.getLogger(__name__)


class Run:
    """A folder that keeps what happened.

    ``steps.jsonl`` holds one `StepRecord` per line. A line reaches the disk before `append` returns, so what was
    acknowledged survives a killed process. ``replies.jsonl`` holds what models said meanwhile: see `replies`.

    Args:
        folder: Where to keep it. Steps are added to those already there; one optimizer at a time numbers them.

    Example:
        >>> import tempfile
        >>> from opto.nodes import node
        >>> from opto.optimizers import LocalSearch
        >>> folder = tempfile.mkdtemp()
        >>> x = node(1, trainable=True, name="x", domain=range(10))
        >>> optimizer = LocalSearch([x], run=folder)
        >>> optimizer.backward(x * 2, 2.0)
        >>> record = optimizer.step()
        >>> [step.score for step in Run(folder).steps()]
        [2.0]
    """

    def __init__(self, folder: "str | os.PathLike[str]") -> None:
        self.folder = Path(folder)

    @classmethod
    def new(cls, parent: "str | os.PathLike[str]", name: str) -> "Run":
        """Return a run in a fresh folder below *parent*: *name*, the time of day, and a number if need be."""
        stem = f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        number = 1
        while True:
            folder = Path(parent) / (stem if number == 1 else f"{stem}-{number}")
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                number += 1
            except OSError as error:
                raise _unusable(folder, error) from error
            else:
                return cls(folder)

    @property
    def steps_file(self) -> Path:
        """The file that holds the steps."""
        return self.folder / "steps.jsonl"

    @cached_property
    def replies(self) -> Cassette:
        """Keeps what models answer, in ``replies.jsonl``: within its block, every reply is there before it is used.

        An optimizer's block is its step. ``with Cassette(run.replies.path):`` around a whole program keeps there what
        it asks between steps as well, and answers the same requests without paying again.
        """
        replies = Cassette(self.folder / "replies.jsonl", mode="keep")
        replies.warns_threads = False  # steps open it, and not the user
        return replies

    def prepare(self) -> None:
        """Make the folder, so that whatever is wrong with it shows before anything is paid for.

        Raises:
            RunError: It cannot be made, or is none.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(self.folder, error) from error

    def append(self, record: StepRecord) -> None:
        """Add *record* as one line.

        Raises:
            RunError: The folder cannot be written.
        """
        # By json, in ASCII: pydantic's own writer refuses lone surrogates, and knows no infinity.
        line = json.dumps(record.model_dump(mode="json")).encode() + b"\n"
        try:
            append_lines(self.steps_file, line)
        except OSError as error:
            raise _unusable(self.folder, error) from error

    def steps(self) -> list[StepRecord]:
        """Return all steps, oldest first. Lines that were torn by a killed process are left out, and logged.

        Raises:
            RunError: There is no run in the folder, or a line is whole but no step.
        """
        try:
            lines = self.steps_file.read_bytes().split(b"\n")
        except OSError as error:
            raise RunError(
                f"There are no steps in {str(self.folder)!r}: {error.strerror or error}.",
                mend="Give the folder of a run, as printed when it ended, or passed as run=.",
            ) from error
        records = []
        for number, line in enumerate(lines, start=1):
            try:
                content = json.loads(line)
            except ValueError:
                if line:
                    logger.warning("Line %d of %s cannot be read and is left out.", number, self.steps_file)
                continue
            try:
                records.append(StepRecord.model_validate(content))
            except ValidationError as error:
                raise RunError(
                    f"Line {number} of {str(self.steps_file)!r} is no step: {error.errors()[0]['msg']}.",
                    mend="Remove the line, or read the file with the version of opto that wrote it.",
                ) from error
        return records

    def last_step(self) -> int:
        """Return the number of the last step; 0 if there is none yet."""
        return max((record.step for record in self.steps()), default=0) if self.steps_file.exists() else 0

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"


def _unusable(folder: Path, error: OSError) -> RunError:
    return RunError(
        f"The run folder {str(folder)!r} cannot be written: {error.strerror or error}.",
        mend="Choose another folder with run=, or make room and permissions there.",
    )
