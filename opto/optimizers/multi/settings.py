"""How several candidates are to be made and chosen, as the user says it: in our words or in those of Trace."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import signature
from typing import Any, NamedTuple

from opto.errors import OptimizerError
from opto.llm import LLM
from opto.optimizers.multi.candidates import Source

__all__ = ["Said", "check_call", "checked_number"]

#: How candidates are asked for, and which is chosen: in our words and in those of Trace.
_GENERATIONS = {
    **{name: name for name in ("independent", "refinement", "alternatives")},
    **dict.fromkeys(("temperature_variation", "multi_llm", "multi_experts"), "independent"),
    "self_refinement": "refinement",
    "iterative_alternatives": "alternatives",
}
_SELECTIONS = {
    **{name: name for name in ("validation", "judge", "majority", "last")},
    **dict.fromkeys(("best_of_n", "bestofn", "moa", "mixture_of_agents"), "judge"),
    **dict.fromkeys(("last_of_n", "lastofn"), "last"),
}
#: Settings that Trace calls otherwise.
_OF_TRACE = {
    "temperature_min_max": "temperature_range",
    "generation_technique": "generation",
    "selection_technique": "selection",
    "experts_list": "experts",
    "llm_profiles": "llms",
}
#: Who answers if Trace's name for it asks for experts, and none are named.
_EXPERTS = (
    "an expert in the subject of the program",
    "an engineer who looks for the simplest cause",
    "a reviewer who looks for what everybody else has missed",
    "a writer of clear instructions",
    "a mathematician who counts and measures",
)


class Said(NamedTuple):
    """What the user said of how candidates are to be made and chosen; None for what was left open."""

    num_responses: int | None = None
    temperature_range: Sequence[float] | None = None
    llms: Sequence[Any] | None = None
    llm_weights: Sequence[float] | None = None
    experts: Sequence[str] | None = None
    generation: str | None = None
    selection: str | None = None

    def with_those_of_trace(self, settings: Mapping[str, Any]) -> tuple["Said", dict[str, Any]]:
        """Return this with what *settings* say in Trace's words, all in ours; and the other settings.

        Raises:
            OptimizerError: Something is said twice, or in words of nobody.
        """
        others = {name: value for name, value in settings.items() if name not in _OF_TRACE}
        theirs = {name: value for name, value in settings.items() if name in _OF_TRACE and value is not None}
        for name in theirs:
            if getattr(self, _OF_TRACE[name]) is not None:
                raise OptimizerError(f"{name} and {_OF_TRACE[name]} mean the same.", mend="Give one of them.")
        technique = str(theirs.get("generation_technique", "")).lower()
        # Trace looks at these only if the technique is theirs.
        for name, only in (("llm_profiles", "multi_llm"), ("experts_list", "multi_experts")):
            if technique not in {"", only}:
                theirs.pop(name, None)
        said = self._replace(**{_OF_TRACE[name]: value for name, value in theirs.items()})
        if technique == "multi_experts" and not said.experts:
            said = said._replace(experts=_EXPERTS[: said.num_responses or 3])
        generation = _known("generation", said.generation, _GENERATIONS)
        return said._replace(generation=generation, selection=_known("selection", said.selection, _SELECTIONS)), others

    def sources(self, llms: Sequence[LLM]) -> list[Source]:
        """Return of whom to ask the candidates: of *llms* in turn.

        Raises:
            OptimizerError: A setting makes no sense.

        Example:
            >>> from opto.llm import ScriptedLLM
            >>> small, large = ScriptedLLM([]), ScriptedLLM([])
            >>> found = Said(4, (0.0, 1.2), llm_weights=[3, 1]).sources([small, large])
            >>> [source.llm is large for source in found], [source.temperature for source in found]
            ([False, False, True, False], [0.0, 0.4, 0.8, 1.2])
        """
        _check_texts("experts", self.experts)
        experts, ends = self.experts or (), self.temperature_range
        by_default = len(self.llms or ()) or len(experts) or 3
        number = checked_number("num_responses", by_default if self.num_responses is None else self.num_responses)
        if ends is None and number > 1 and not (self.llms or experts or self.generation in _SHOWING):
            ends = (0.0, 1.0)  # or all would be the same
        models = _apportioned(llms, _checked_weights(self.llm_weights, len(llms)), number)
        heat: Sequence[float | None] = [None] * number if ends is None else _spread(ends, number)
        return [
            Source(models[turn], heat[turn], experts[turn % len(experts)] if experts else None)
            for turn in range(number)
        ]


#: Ways of asking in which a candidate differs because of those before it.
_SHOWING = ("refinement", "alternatives")


def checked_number(name: str, value: Any) -> int:
    if not isinstance(value, int) or value < 1:
        raise OptimizerError(f"{name} is {value!r}.", mend="Give a number from 1 on.")
    return value


def check_call(name: str, function: Callable[..., Any] | None, arguments: Sequence[Any], said: str) -> None:
    """Refuse a function that cannot be called with *arguments*, of which *said* tells."""
    if function is None:
        return
    try:
        expected = signature(function)
    except (TypeError, ValueError):
        return  # some builtins do not say
    try:
        expected.bind(*arguments)
    except TypeError as error:
        raise OptimizerError(
            f"{name} takes {expected}, and it is called with {said}.",
            mend=f"Give a function that can be called so ({error}).",
        ) from None


def _known(name: str, value: Any, words: Mapping[str, str]) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or value.lower() not in words:
        ours = dict.fromkeys(words.values())
        raise OptimizerError(f"There is no {name} {value!r:.80}.", mend=f"Choose one of {', '.join(ours)}.")
    return words[value.lower()]


def _items(value: Any, otherwise: list[Any]) -> list[Any]:
    """Return what is in *value*, of which there may be nothing; *otherwise* if it is no list of anything."""
    if value is None:
        return []
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else otherwise


def _check_texts(name: str, value: Any) -> None:
    if not all(isinstance(item, str) for item in _items(value, [None])):
        raise OptimizerError(f"{name} is {value!r:.80}.", mend="Give a list of texts.")


def _checked_weights(weights: Sequence[float] | None, number: int) -> Sequence[float]:
    weights = [1.0] * number if weights is None else weights
    found = _items(weights, [None])
    are_numbers = all(isinstance(item, int | float) for item in found)
    if not are_numbers or len(found) != number or min(found) < 0 or not sum(found) > 0:
        raise OptimizerError(
            f"llm_weights is {weights!r:.80} for {number} models.", mend="Give each of llms a number, 0 or more."
        )
    return weights


def _spread(ends: Sequence[float], number: int) -> list[float]:
    """Return *number* values from the first of *ends* to the last, at equal distances."""
    found = _items(ends, [])
    if len(found) != 2 or not all(isinstance(end, int | float) and end >= 0 for end in found):
        raise OptimizerError(f"temperature_range is {ends!r:.80}.", mend="Give two numbers, such as (0.0, 1.0).")
    first, last = ends
    # Rounded, because nobody wants to ask at a temperature of 0.30000000000000004.
    return [round(first + (last - first) * turn / max(number - 1, 1), 6) for turn in range(number)]


def _apportioned(llms: Sequence[LLM], weights: Sequence[float], number: int) -> list[LLM]:
    """Return *number* of *llms*, each as often as its weight says, and as evenly in order as can be."""
    counts, order = [0] * len(llms), []
    for turn in range(1, number + 1):
        behind = [weight * turn / sum(weights) - count for weight, count in zip(weights, counts, strict=True)]
        position = behind.index(max(behind))
        counts[position] += 1
        order.append(llms[position])
    return order
