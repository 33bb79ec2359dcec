"""A model that chooses among candidates: it answers with the number of one of them, and with nothing else."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opto.errors import SuggestionError
from opto.llm import LLM, Message, Reply, estimate_tokens
from opto.nodes import Choices, ParameterNode
from opto.optimizers.acceptance import check
from opto.optimizers.asking import LEAST_PROMPT, AskingOptimizer
from opto.optimizers.multi.candidates import Option
from opto.optimizers.prompts import Problem, cut_middle, render_value
from opto.optimizers.proposal import Evidence, Proposal
from opto.optimizers.suggestion import Suggestion

__all__ = ["Judge"]

SYSTEM = """\
You choose among candidates for new values of some variables of a program. You see one run of the program, what was \
said about its results, and the candidates. Choose the one that will improve the results most: say what speaks for \
each of them and what against, then give the number of one. Do not write values of your own; every candidate can be \
used as it stands, and what it does not mention stays as it is.

{instructions}
The only variable here is choice, and its value is the number of a candidate."""

#: Part of the prompt that the candidates may take, the rest is for the problem.
_SHARE = 2 / 3
_SLACK = 50
#: An answer that is no more than a number.
_BARE = re.compile(r"[\s*_`\"'#(]*(?:candidate[\s*_`\"'#:(]*)?(\d+)[\s*_`\"'.)]*", re.IGNORECASE)


class Judge(AskingOptimizer):
    """Asks a model which of some candidates is the best.

    The number is a variable like any other: it is asked for in the same formats, read by the same reader, checked
    against its domain, and sent back with the reason if it is none.

    Args:
        llm: The model.
        settings: As for `AskingOptimizer`.
    """

    role = "judge"

    def __init__(self, llm: LLM, **settings: Any) -> None:
        super().__init__([_choice([1])], llm, **settings)

    def choose(
        self,
        options: Sequence[Option],
        variables: Mapping[str, ParameterNode[Any]],
        evidence: Evidence,
        problem: Callable[[int], Problem],
    ) -> Proposal:
        """Return the answer: it has an error, or its suggestion has the ``choice``, a number of one of *options*.

        Args:
            options: The candidates, two or more.
            variables: What they are about.
            evidence: What they are an answer to.
            problem: Returns the problem, in at most so many tokens.
        """
        numbers = [option.number for option in options]
        self.variables = {"choice": _choice(numbers)}
        system = SYSTEM.format(instructions=self._format.instructions)
        about = f"\n\n# Context\n{self.problem_context}" if self.problem_context else ""
        head = f"# Instruction\n{self.objective}{about}"
        tail = f"Which candidate is the best? The choice is one of {', '.join(map(str, numbers))}."
        left = self.max_prompt_tokens - estimate_tokens(f"{system}\n\n{head}\n\n{tail}") - _SLACK
        candidates = _written(options, variables, round(left * _SHARE))
        left = max(left - estimate_tokens(candidates), LEAST_PROMPT // 2)
        user = "\n\n".join([head, problem(left).render(), candidates, tail])
        messages: list[Message] = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        return self._asked(Proposal(messages=messages), evidence)

    def variables_for(self, evidence: Evidence) -> Mapping[str, ParameterNode[Any]]:  # noqa: ARG002 - overridden
        return self.variables

    def _read(self, reply: Reply, variables: Mapping[str, ParameterNode[Any]]) -> Suggestion:
        try:
            said = super()._read(reply, variables)
        except SuggestionError:
            bare = _BARE.fullmatch(reply.text) if reply.finish_reason in {"stop", "other"} else None
            if bare is None:
                raise
            said = Suggestion({"choice": bare[1]})
        chosen = check(said, variables).values
        if "choice" not in chosen:
            wanted = variables["choice"].domain.describe()
            raise SuggestionError("The answer names no candidate.", mend=f"Give choice, which must be {wanted}.")
        # A judge that writes values of its own has not been asked for them.
        return Suggestion({"choice": chosen["choice"]}, said.reasoning)


def _choice(numbers: Sequence[int]) -> ParameterNode[Any]:
    return ParameterNode(numbers[0], name="choice", domain=Choices(*numbers))


def _written(options: Sequence[Option], variables: Mapping[str, ParameterNode[Any]], max_tokens: int) -> str:
    """Return *options* as text, with values cut in the middle if there is no room for all of them."""
    texts = [
        {name: item.domain.write(option.update[name]) for name, item in variables.items() if name in option.update}
        for option in options
    ]
    most = max((len(text) for values in texts for text in values.values()), default=0)
    while True:
        blocks = ["# Candidates"]
        for option, values in zip(options, texts, strict=True):
            lines = [render_value("value", cut_middle(text, most), of=name) for name, text in values.items()]
            blocks.append("\n".join([f"Candidate {option.number}:", *(lines or ["(all stays as it is)"])]))
        written = "\n\n".join(blocks)
        if estimate_tokens(written) <= max_tokens or most <= _SLACK:
            return written
        most = most * 3 // 4
