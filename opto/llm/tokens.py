"""How many tokens a text takes, where no tokenizer is at hand."""

import re

__all__ = ["estimate_tokens"]

#: A word; capitals; digits; blanks, and whether a digit follows; other blank space; other scripts; anything else.
_PIECES = re.compile(r"([A-Z]?[a-z]+)|([A-Z]+)|([0-9]+)|( +)(?=([0-9])?)|([\t\n\r]+)|([^\x00-\x7f]+)|.", re.DOTALL)
_VOWELS = re.compile("[aeiouy]", re.IGNORECASE)
#: Tokens per character up to a code point: the younger the script in Unicode, the rarer it is in vocabularies.
_SCRIPTS = (
    (0x250, 0.6),
    (0x370, 0.9),
    (0x400, 1.1),
    (0x600, 0.85),
    (0x800, 1.0),
    (0x2000, 1.5),
    (0xD7B0, 1.7),
    (0x110000, 2.6),
)


def estimate_tokens(text: str) -> int:
    r"""Return about how many tokens *text* has, rather too many than too few.

    Made for prompts with code, prose and data. Against the vocabularies of OpenAI's models it was never more than 10 %
    too low, and between 1.1 and 1.7 times the truth for English and code (`benchmarks/tokens.py`).

    Example:
        >>> estimate_tokens("def double(x):\n    return 2 * x"), estimate_tokens("")
        (15, 0)
    """
    total = 0.0
    for piece in _PIECES.finditer(text):
        size = piece.end() - piece.start()
        match piece.lastindex:
            case 1:
                total += _word(piece[0])
            case 2:
                total += 1 if size == 1 else 0.6 * size
            case 3:
                total += (size + 2) // 3
            case 4:
                total += 1 if size > 1 else 0.12
            case 5:
                total += 1 + (size > 1)
            case 6:
                total += 0.9 + size / 10
            case 7:
                total += sum(_other(ord(char)) for char in piece[0])
            case _:
                total += 0.95
    return round(total + 0.49)


def _word(word: str) -> float:
    size = len(word)
    if size < 4:
        return 1.0 if size < 3 else 1.2
    # What cannot be pronounced is no word, and is cut into pairs of letters.
    if size > 20 or not 0.26 <= len(_VOWELS.findall(word)) / size <= 0.58:
        return size / 1.8
    return 1.25 if size < 6 else size / 4.2


def _other(point: int) -> float:
    return next(tokens for end, tokens in _SCRIPTS if point < end)
