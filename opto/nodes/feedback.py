"""What is said about an output: words, a score, or both."""

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

from opto.errors import BackwardError, ExecutionError
from opto.nodes.frozen import Frozen
from opto.nodes.vertex import Vertex

__all__ = ["Feedback"]


class Feedback(Frozen):
    """Feedback on one output.

    Args:
        text: What is good or bad about the output, in words.
        score: How good it is; higher is better. None if nobody measured it.
        scores: Further figures by name, such as one per objective.

    Example:
        >>> Feedback("Too long by 12 words.", score=-12)
        Feedback(text='Too long by 12 words.', score=-12.0, scores={})
    """

    text: str
    score: float | None
    scores: Mapping[str, float]

    def __init__(self, text: str = "", score: float | None = None, scores: Mapping[str, float] | None = None) -> None:
        if not isinstance(text, str):
            raise BackwardError(
                f"The text of a feedback is a {type(text).__name__} ({text!r:.80}).",
                mend="Give a score by name: Feedback(score=0.4).",
            )
        number = None if score is None else float(score)
        if number is not None and math.isnan(number):
            raise BackwardError("The score of a feedback is NaN.", mend="Leave the score out when it is unknown.")
        figures = {name: float(value) for name, value in (scores or {}).items()}
        self._hold(text=text, score=number, scores=figures)

    def __hash__(self) -> int:
        return hash((self.text, self.score, *self.scores.items()))

    @classmethod
    def of(cls, said: Any) -> "Feedback":
        """Read *said* as feedback: text, a number, ``(score, text)`` as guides give it, or an exception.

        A node is read as its value; an `ExecutionError` as the error that was raised, with its lines of code.

        Raises:
            BackwardError: *said* is none of these.

        Example:
            >>> Feedback.of((0.5, "half of it"))
            Feedback(text='half of it', score=0.5, scores={})
            >>> Feedback.of(ValueError("no digits")).text
            'ValueError: no digits'
        """
        if isinstance(said, Vertex):
            said = said._data
        if isinstance(said, cls):
            return said
        if hasattr(said, "item") and hasattr(said, "dtype") and not getattr(said, "shape", True):
            said = said.item()  # a number of numpy
        if isinstance(said, str):
            return cls(said)
        if isinstance(said, bool):
            # A test passed or not: the one reading of True and False that everybody shares.
            return cls("correct" if said else "incorrect", float(said))
        if isinstance(said, Real):
            return cls(score=float(said))
        if isinstance(said, ExecutionError):
            # What user code raised, and where: not what opto says to whoever called it.
            return cls(said.exception_node.create_feedback("full"))
        if isinstance(said, BaseException):
            return cls(f"{type(said).__name__}: {said}".rstrip(": "))
        match said:
            case (Real() as score, str() as text) | (str() as text, Real() as score):
                return cls(text, float(score))
        raise BackwardError(
            f"Feedback cannot be a {type(said).__name__} ({said!r:.80}).",
            mend="Give text, a number, (score, text), an exception, or opto.nodes.Feedback(text, score=…).",
        )

    def __str__(self) -> str:
        return self.text if self.text or self.score is None else f"score: {self.score:g}"
