"""Templates: the texts of a prompt, with named slots for what differs from step to step."""

import difflib
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from opto.errors import OptimizerError
from opto.llm import Message

__all__ = ["PromptTemplate", "Template", "masked"]

_SLOT = re.compile(r"\{\{(?P<text>\w+)\}\}|\{(?P<slot>[^\W\d]\w*)\}")
_BLANK_LINES = re.compile(r"(\n\s*\n)")


class Template:
    r"""A text with slots: names in braces, such as ``{objective}``.

    ``{{name}}`` stands for the text ``{name}``. Other braces stand for themselves, so that JSON and code need no
    escapes; what is put into a slot is not looked at. A paragraph with slots of which none has anything to say is left
    out, so that no heading stands above nothing.

    Args:
        text: The text.
        slots: The names that are known.
        name: What to call the text in errors.

    Attributes:
        slots: How often each slot is used.

    Raises:
        OptimizerError: A slot is not known.

    Example:
        >>> letter = Template('Dear {name},\n\nP.S.: {afterthought}\n\n{"to": {{name}}}', ["name", "afterthought"])
        >>> print(letter.fill({"name": "{name}"}))
        Dear {name},
        <BLANKLINE>
        {"to": {name}}
    """

    def __init__(self, text: str, slots: Collection[str], name: str = "the template") -> None:
        if not isinstance(text, str):
            raise OptimizerError(f"{name} is a {type(text).__name__}.", mend="Give a text with slots.")
        self.text = text
        found = [match["slot"] for match in _SLOT.finditer(text) if match["slot"]]
        self.slots = Counter(found)
        for slot in self.slots.keys() - set(slots):
            near = difflib.get_close_matches(slot, slots, n=1)
            others = f"Did you mean {{{near[0]}}}?" if near else f"There are {_listed(slots)}."
            raise OptimizerError(
                f"{{{slot}}} is no slot of {name}.", mend=f"{others} For the text itself, write {{{{{slot}}}}}."
            )

    def fill(self, values: Mapping[str, str]) -> str:
        """Return the text with *values* in its slots; a slot without one is empty."""
        return "".join(self._paragraphs(values))

    def _paragraphs(self, values: Mapping[str, str]) -> Iterator[str]:
        """Yield the paragraphs that have something to say, each with the blank lines before it."""
        started, blank = False, ""
        for position, part in enumerate(_BLANK_LINES.split(self.text)):
            if position % 2:
                blank = part
                continue
            slots = [match["slot"] for match in _SLOT.finditer(part) if match["slot"]]
            if not slots or any(values.get(slot) for slot in slots):
                yield (blank if started else "") + _SLOT.sub(
                    lambda match: f"{{{match['text']}}}" if match["text"] else values.get(match["slot"], ""), part
                )
                started = True


class PromptTemplate:
    """The two texts of a prompt: what the model is told as its system prompt, and as the user.

    Args:
        system: Template of the first; "" for a prompt that has none.
        user: Template of the second.
        slots: The names that are known in both.
        required: Slots without which the prompt makes no sense: of each of these groups, one must be there.

    Raises:
        OptimizerError: A slot is not known, or a required one is missing.

    Example:
        >>> prompt = PromptTemplate("", "Improve {variables}. {answer_format}", ["variables", "answer_format"])
        >>> prompt.fill({"variables": "x", "answer_format": "Say a number."})
        [{'role': 'user', 'content': 'Improve x. Say a number.'}]
    """

    def __init__(
        self, system: str, user: str, slots: Collection[str], *, required: Sequence[Collection[str]] = ()
    ) -> None:
        self.system = Template(system, slots, "system_prompt")
        self.user = Template(user, slots, "user_prompt")
        self.slots = self.system.slots + self.user.slots
        for choice in required:
            if not self.slots.keys() & set(choice):
                raise OptimizerError(
                    f"The prompt has no slot for the {next(iter(choice)).replace('_', ' ')}.",
                    mend=f"Write {_listed(choice, 'or')} where it is to stand, in system_prompt or user_prompt.",
                )

    def fill(self, values: Mapping[str, str]) -> list[Message]:
        """Return the messages, with *values* in the slots. If there is nothing to say as the user, all is said so."""
        system, user = (template.fill(values).strip("\n") for template in (self.system, self.user))
        if not user.strip():
            system, user = "", system  # providers take no conversation without it
        messages: list[Message] = [{"role": "system", "content": system}] if system.strip() else []
        return [*messages, {"role": "user", "content": user}]


def masked(mask: Collection[str], sections: Collection[str], whose: str) -> frozenset[str]:
    """Return which of the *sections* of a prompt *mask* leaves out: ``code`` for ``"#Code"`` or ``"# Code"``.

    Raises:
        OptimizerError: There is no such section.

    Example:
        >>> sorted(masked(["#Instruction", "# Left out"], ["objective", "left_out"], "OptoPrime"))
        ['left_out', 'objective']
    """
    known = {name: name for name in sections}
    if "objective" in known:
        known["instruction"] = "objective"  # its title
    found = set()
    for title in [mask] if isinstance(mask, str) else mask:
        name = str(title).strip().lstrip("#").strip().casefold().replace(" ", "_")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            others = f"There are {', '.join(known)}." if known else "Leave mask out."
            raise OptimizerError(
                f"The prompt of {whose} has no section {title!r}.", mend=f"Did you mean {near[0]}?" if near else others
            )
        found.add(known[name])
    return frozenset(found)


def _listed(slots: Collection[str], conjunction: str = "and") -> str:
    *others, last = [f"{{{slot}}}" for slot in slots]
    return f"{', '.join(others)} {conjunction} {last}" if others else last
