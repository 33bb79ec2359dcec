"""The layout of an expression, kept where a new text takes its place."""

import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

__all__ = ["relaid", "unbroken"]

_LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
#: Comparing takes the square of this.
_MOST_WORDS = 300


class _Words(NamedTuple):
    """The words of a text, and what stands between them: ``gaps[i]`` before the word ``i``."""

    words: Sequence[str]
    gaps: Sequence[str]


def relaid(old: str, new: str) -> str:
    r"""Return *new* with the blanks, line ends and comments that *old* has between the same words.

    Both are parts of programs. The result need not be Python, such as where *new* has lost the brackets that let *old*
    go over several lines.

    Example:
        >>> print(relaid("(a<b  # small\n and c)", "(a <= b and c)"))
        (a<=b  # small
         and c)
    """
    before, after = _split(old), _split(new)
    if before is None or after is None:
        return new
    texts, gaps, shared = [], [], 0
    for text, gap, is_shared in _laid(before, after):
        texts.append(text)
        gaps.append(gap)
        shared += is_shared
    _keep_comments(gaps, before.gaps[1:])
    return "".join(part for pair in zip(["", *gaps[1:]], texts, strict=True) for part in pair) if shared else new


def _keep_comments(gaps: list[str], old: Sequence[str]) -> None:
    """Put the comments of *old* into *gaps* that have lost their place, in the order of the text."""
    lost = Counter(gap for gap in old if "#" in gap) - Counter(gap for gap in gaps[1:] if "#" in gap)
    free = (at for at in range(1, len(gaps)) if "#" not in gaps[at])
    for gap, at in zip(lost.elements(), free, strict=False):
        gaps[at] = gap


def unbroken(text: str) -> str:
    r"""Return the expression *text* without line ends outside of its own brackets.

    Example:
        >>> unbroken("f(a,\n  b) +\n  c")
        'f(a,\n  b) + c'
    """
    split = _split(text) if "\n" in text else None
    if split is None:
        return text
    written, depth = "", 0
    for word, gap in zip(split.words, split.gaps, strict=True):
        written += (" " if depth == 0 and "\n" in gap else gap) + word
        depth += (word in _OPENING) - (word in _CLOSING)
    return written


def _split(text: str) -> _Words | None:
    lines = [0]
    # In brackets, so that lines may end anywhere; what is in the first line stands one further.
    source = f"({text}\n)"
    for line in source.split("\n"):
        lines.append(lines[-1] + len(line) + 1)
    words, gaps, end = [], [], 1
    try:
        for token in tokenize.generate_tokens(io.StringIO(source, newline="\n").readline):
            if token.type not in _LAYOUT:
                start = lines[token.start[0] - 1] + token.start[1]
                gaps.append(source[end:start])
                end = lines[token.end[0] - 1] + token.end[1]
                words.append(source[start:end])
    except (tokenize.TokenError, SyntaxError):
        return None
    return _Words(words[1:-1], gaps[1:-1])


def _laid(old: _Words, new: _Words) -> Iterator[tuple[str, str, bool]]:
    """Yield the words of *new*, each with what stands before it, and whether it is one of *old*."""

    def gap(at: int, instead: int) -> str | None:
        """Return what stands before word *at* of *old* if it may stand before word *instead* of *new*."""
        if not 0 < at < len(old.words) or not 0 < instead < len(new.words):
            return None
        alike = [*map(_kind, old.words[at - 1 : at + 1])] == [*map(_kind, new.words[instead - 1 : instead + 1])]
        return old.gaps[at] if alike or "\n" in old.gaps[at] else None

    carried = None  # what stands before the next word, if it is not what stood there
    for kind, i1, i2, j1, j2 in _differences(old.words, new.words):
        follows = new.gaps[j2] if j2 < len(new.words) else ""
        if kind == "equal":
            for position in range(i1, i2):
                yield old.words[position], old.gaps[position] if carried is None else carried, True
                carried = None
        elif kind == "delete":
            carried = new.gaps[j1] if j1 < len(new.words) else ""
            if i1 > 0 and i2 < len(old.words):
                around = old.words[i1 - 1], old.words[i2]
                carried = _one_of(old.gaps[i1], old.gaps[i2], carried, around)
        else:
            first, last = gap(i1, j1), gap(i2, j2)
            if kind == "insert" and first is not None and first == last:
                # It is one and the same: a line ends behind what belongs to it.
                first, last = (first, None) if old.words[i1 - 1] in {*_OPENING, ","} else (None, last)
            for position in range(j1, j2):
                before = first if position == j1 else None
                yield new.words[position], new.gaps[position] if before is None else before, False
            carried = follows if last is None else last


def _kind(word: str) -> str:
    if word in _OPENING:
        return "("
    if word in _CLOSING:
        return ")"
    return word if word in {",", ".", ":"} else "sign" if re.fullmatch(r"[^\w\"']+", word) else "word"


def _one_of(left: str, right: str, new: str, around: tuple[str, str]) -> str:
    """Return what stands where words between *left* and *right* went away."""
    if "#" in left and "#" in right:
        return left + right
    for gap in (left, right):
        if "#" in gap:
            return gap
    before, behind = around
    if behind in _CLOSING or ("\n" in right and "\n" not in left):
        return right
    return left if before in _OPENING or "\n" in left else new


def _differences(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[str, int, int, int, int]]:
    """Yield how *new* comes of *old*, as `difflib` does."""
    shorter = min(len(old), len(new))
    first = next((at for at in range(shorter) if old[at] != new[at]), shorter)
    last = next((at for at in range(shorter - first) if old[-1 - at] != new[-1 - at]), shorter - first)
    old_end, new_end = len(old) - last, len(new) - last
    if first:
        yield "equal", 0, first, 0, first
    middle, other = old[first:old_end], new[first:new_end]
    if max(len(middle), len(other)) > _MOST_WORDS or not middle or not other:
        if middle or other:
            kind = "replace" if middle and other else "delete" if middle else "insert"
            yield kind, first, old_end, first, new_end
    else:
        for kind, i1, i2, j1, j2 in SequenceMatcher(None, middle, other, autojunk=False).get_opcodes():
            yield kind, first + i1, first + i2, first + j1, first + j2
    if last:
        yield "equal", old_end, len(old), new_end, len(new)
