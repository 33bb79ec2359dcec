"""`OptoPrimeV2` of Trace, at the path from which its programs import it."""

from collections.abc import Callable, Iterable
from typing import Any

from opto.errors import OptimizerError
from opto.llm import LLM
from opto.nodes import ParameterNode
from opto.optimizers.optoprime import OptoPrime

__all__ = [
    "OptimizerPromptSymbolSet",
    "OptimizerPromptSymbolSet2",
    "OptimizerPromptSymbolSetJSON",
    "OptoPrimeV2",
]


class OptimizerPromptSymbolSet:
    """What Trace calls the parts of prompt and answer. Of it, opto uses in which format the model is to answer.

    Titles and tags that a subclass changes are not used: templates (``system_prompt=``) are for that.

    Attributes:
        expect_json: Ask for JSON, not for tags.
    """

    expect_json = False


class OptimizerPromptSymbolSet2(OptimizerPromptSymbolSet):
    """Shorter tags in Trace; the same as `OptimizerPromptSymbolSet` here."""


class OptimizerPromptSymbolSetJSON(OptimizerPromptSymbolSet):
    """Answers in JSON."""

    expect_json = True


class OptoPrimeV2(OptoPrime):
    """`OptoPrime` with the settings of Trace's OptoPrimeV2: prompts in tags, with long values cut.

    Args:
        parameters: What may be changed.
        llm: The model, as for `OptoPrime`.
        initial_var_char_limit: Characters of a value that is not to be changed, of which no more are shown.
        truncate_expression: Returns a value as text of at most so many characters; None for its head and its tail.
        optimizer_prompt_symbol_set: Decides whether answers are asked for in JSON.
        settings: As for `OptoPrime`.

    Raises:
        OptimizerError: A setting makes no sense: the message names it.

    Example:
        >>> from opto.llm import ScriptedLLM
        >>> from opto.nodes import node
        >>> x = node("a", name="x", trainable=True)
        >>> optimizer = OptoPrimeV2([x], ScriptedLLM([]), initial_var_char_limit=10)
        >>> optimizer.backward(x + node("b" * 50, name="text"), "Too long.")
        >>> print(optimizer.problem_instance(optimizer.summarize()).inputs["text0"])
        'bbbb
        … (42 of 52 characters left out) …
        bbbb'
    """

    def __init__(
        self,
        parameters: Iterable[ParameterNode[Any]],
        llm: LLM | str | Callable[..., Any] | None = None,
        *,
        initial_var_char_limit: int = 2_000,
        truncate_expression: Callable[[Any, int], str] | None = None,
        optimizer_prompt_symbol_set: OptimizerPromptSymbolSet | None = None,
        **settings: Any,
    ) -> None:
        symbols = optimizer_prompt_symbol_set or OptimizerPromptSymbolSet()
        if not isinstance(symbols, OptimizerPromptSymbolSet):
            raise OptimizerError(
                f"optimizer_prompt_symbol_set is {symbols!r:.80}.", mend="Give an OptimizerPromptSymbolSet()."
            )
        for name in ("output_response_extractor", "custom_output_format_instruction"):
            if getattr(symbols, name, None) is not None:
                raise OptimizerError(
                    f"{type(symbols).__name__} has its own {name}, and answers are read in opto's formats only.",
                    mend="Leave it out; give system_prompt and user_prompt to change the prompt.",
                )
        if not isinstance(initial_var_char_limit, int) or initial_var_char_limit < 2:
            raise OptimizerError(
                f"initial_var_char_limit is {initial_var_char_limit!r}.", mend="Give a number from 2 on."
            )
        if truncate_expression is not None and not callable(truncate_expression):
            raise OptimizerError(
                f"truncate_expression is {truncate_expression!r:.80}.",
                mend="Give a function of a value and a number of characters that returns a text.",
            )
        if symbols.expect_json:
            settings.setdefault("answer_format", "json")
        super().__init__(parameters, llm, **settings)
        self.longest_value = initial_var_char_limit
        self.shorten = truncate_expression

    @property
    def initial_var_char_limit(self) -> int:
        """Characters of a value that is not to be changed, of which no more are shown."""
        return self.longest_value

    def add_context(self, context: str) -> None:
        """Add *context* to what is said about the whole problem."""
        self.problem_context = "\n\n".join(filter(None, [self.problem_context, context]))
