"""OPRO: a language model is shown the best values so far with their scores, and proposes better ones."""

from opto.llm import estimate_tokens
from opto.nodes import Feedback
from opto.optimizers.asking import AskingOptimizer, Prompt
from opto.optimizers.prompts import Judged, Variable, describe_variables, judged_before, render_variable
from opto.optimizers.proposal import Evidence
from opto.optimizers.suggestion import Suggestion

__all__ = ["OPRO"]


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
    default_system_prompt = """\
You look for better values of some variables. You see what each of them must be, and the values that were tried, \
the worst first, with the feedback that they got. Higher scores are better.

{answer_format}
Values that are not what their line says are not used. Code must be whole and keep its signature.

# Example
{example}"""
    default_user_prompt = """\
# Instruction
{objective}

# Context
{context}

# Variables
{variables}

# Tried so far, the worst first
{tried}

# Rejected in the step before
{rejected}

{request}"""
    sections = ("objective", "context", "variables", "tried", "rejected")
    slots = (*sections, "request", "answer_format", "example")
    required_slots = (("variables",), ("tried",), ("answer_format",))

    def prompt(self, evidence: Evidence) -> Prompt:
        variables = self.variables_for(evidence)
        now = evidence.best or evidence
        tried = sorted(judged_before(self.records, evidence, self.recorded), key=lambda item: item.rank)
        del tried[: max(len(tried) - self.memory_size, 0)]
        tried = sorted([*tried, Judged(self.recorded(now.values), now.feedback, now.score)], key=lambda item: item.rank)
        described = describe_variables(variables, self.context)
        around = self.filled(variables, variables=described, tried="…")
        left = self.max_prompt_tokens - estimate_tokens("\n\n".join(message["content"] for message in around))
        blocks: list[str] = []
        for item in reversed(tried):
            block = str(item)
            left -= estimate_tokens(block) + 1
            if left < 0 and blocks:
                break
            blocks.insert(0, block)
        missing = len(tried) - len(blocks)
        return Prompt(
            self.filled(variables, variables=described, tried="\n\n".join(blocks)),
            [f"the worst {missing} of {len(tried)} values that were tried"] if missing else [],
        )

    def example(self) -> str:
        variable = render_variable(Variable("size", "8", "an integer from 1 to 64"))
        tried = [Judged({"size": size}, [Feedback("", score)], score) for size, score in ((2, 0.3), (8, 0.6))]
        shown = "\n\n".join(["# Variables", variable, "# Tried so far, the worst first", *map(str, tried)])
        answer = Suggestion({"size": "20"}, "The score grows with the size, and much larger ones were not tried.")
        return f"{shown}\n\nAn answer:\n{self._format.write(answer)}"
