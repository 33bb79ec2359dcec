"""OPRO: a language model is shown the best values so far with their scores, and proposes better ones."""

from opto.llm import estimate_tokens
from opto.optimizers.asking import AskingOptimizer, Prompt
from opto.optimizers.memory import Judged, judged_before, render_rejected
from opto.optimizers.problem import describe_variables
from opto.optimizers.proposal import Evidence

__all__ = ["OPRO"]

SYSTEM = """\
You look for better values of some variables. You see what each of them must be, and the values that were tried, \
the worst first, with the feedback that they got. A score is better the higher it is.

{instructions}
A value that breaks its constraint is not used. Code must be complete, and keep its name and arguments."""


class OPRO(AskingOptimizer):
    """Optimize with a language model that reads past values and their scores (OPRO, arXiv 2309.03409, section 3).

    Unlike `OptoPrime` it is shown nothing of the program: only the variables, and the best of what was tried in
    ascending order, which in the paper's experiments worked better than any other order.

    Takes what `AskingOptimizer` takes. ``memory_size``, how many of the best values are shown, is 20 as in the paper.

    Example:
        >>> from opto.llm import ScriptedLLM
        >>> from opto.nodes import node
        >>> x = node(1, name="x", trainable=True)
        >>> optimizer = OPRO([x], ScriptedLLM(["<variable><name>x</name><value>2</value></variable>"]))
        >>> optimizer.backward(x * 3, -9.0)
        >>> print(optimizer.step(), "to", x.data)
        step 1 (score -9): updated x to 2
    """

    default_objective = "Give values of the variables that differ from all that were tried, and get a higher score."
    default_memory_size = 20

    def prompt(self, evidence: Evidence) -> Prompt:
        variables = self.variables_for(evidence)
        now = evidence.best or evidence
        tried = sorted(judged_before(self.records, evidence), key=lambda item: item.rank)
        del tried[: max(len(tried) - self.memory_size, 0)]
        tried = sorted([*tried, Judged(now.values, now.feedback, now.score)], key=lambda item: item.rank)
        head = [f"# Instruction\n{self.objective}", f"# Variables\n{describe_variables(variables)}"]
        tail = [render_rejected(self.records, self.variables), f"What should become of {', '.join(variables)}?"]
        system = SYSTEM.format(instructions=self._format.instructions)
        left = self.max_prompt_tokens - estimate_tokens("\n\n".join([system, *head, *tail]))
        blocks: list[str] = []
        for item in reversed(tried):
            block = str(item)
            left -= estimate_tokens(block) + 1
            if left < 0 and blocks:
                break
            blocks.insert(0, block)
        missing = len(tried) - len(blocks)
        history = "\n\n".join(["# Tried so far, the worst first", *blocks])
        return Prompt(
            [
                {"role": "system", "content": system},
                {"role": "user", "content": "\n\n".join(part for part in [*head, history, *tail] if part)},
            ],
            [f"the worst {missing} of {len(tried)} values that were tried"] if missing else [],
        )
