"""Compare opto's estimate of tokens with two vocabularies of OpenAI's: ``python benchmarks/tokens.py``.

Runs in the environment of trace-opt, in which LiteLLM brings the vocabularies along: nothing is downloaded.
"""

import base64
import importlib.util
import json
import os
import random
import string
import sys
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
LANGUAGES = {
    "Arabic": "الذكاء الاصطناعي هو سلوك وخصائص معينة تتسم بها البرامج الحاسوبية. ",
    "Chinese": "人工智能是计算机科学的一个分支，它企图了解智能的实质，并生产出一种新的智能机器。",  # noqa: RUF001 - what looks like Latin is not
    "French": "L'été dernier, nous avons visité des châteaux à côté de la forêt. ",
    "German": "Die Bücher stehen überall in schönen Regalen, und größere liegen auf dem Fußboden. ",
    "Greek": "Η Ελλάδα είναι χώρα της νοτιοανατολικής Ευρώπης. ",  # noqa: RUF001 - what looks like Latin is not
    "Hindi": "नई दिल्ली भारत की राजधानी है और यह एक बड़ा शहर है। ",
    "Japanese": "東京は日本の首都であり、多くの人が住んでいます。",
    "Korean": "서울은 대한민국의 수도이며 많은 사람들이 살고 있습니다. ",
    "Russian": "Москва является крупнейшим по численности населения городом России. ",
    "Thai": "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย ",
}


def parts(text: str, size: int = 2_000) -> Iterator[str]:
    return (text[start : start + size] for start in range(0, len(text), size))


def texts() -> Iterator[tuple[str, str]]:
    """Yield texts as they occur in prompts, each with its kind."""
    some = random.Random(0)
    for file in sorted((CHECKOUT / "opto").rglob("*.py")):
        yield from (("code", part) for part in parts(file.read_text(encoding="utf-8")))
    for file in [*sorted((CHECKOUT / "docs").glob("*.md")), CHECKOUT / "README.md", CHECKOUT / "CHANGELOG.md"]:
        yield from (("prose", part) for part in parts(file.read_text(encoding="utf-8")))
    for name, sentence in LANGUAGES.items():
        yield name, sentence * 5
    for _ in range(30):
        yield "floats", str([some.random() * 10 ** some.randrange(6) for _ in range(80)])
        yield "integers", str([some.randrange(10 ** some.randrange(1, 9)) for _ in range(80)])
        rows = [{"id": some.randrange(999), "name": f"user{some.randrange(99)}", "ok": True} for _ in range(30)]
        yield "JSON", json.dumps(rows, indent=some.choice([None, 2]))
        yield "base64", base64.b64encode(some.randbytes(600)).decode()
        yield "hexadecimal", some.randbytes(400).hex()
        yield "punctuation", "".join(some.choice(string.punctuation) for _ in range(400))
        yield (
            "random words",
            " ".join("".join(some.choices(string.ascii_lowercase, k=some.randrange(2, 12))) for _ in range(150)),
        )
        lines = [
            f'  File "app/step_{number}.py", line {number}, in run\n    return a[{number}] / b' for number in range(9)
        ]
        yield "tracebacks", "Traceback (most recent call last):\n" + "\n".join(lines)


def main() -> None:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would ask the network for prices
    import litellm.litellm_core_utils.tokenizers as vocabularies  # before tiktoken looks for its files

    os.environ["TIKTOKEN_CACHE_DIR"] = str(Path(vocabularies.__file__).parent)
    import tiktoken

    encodings = [tiktoken.get_encoding(name) for name in ("cl100k_base", "o200k_base")]
    # By its file: this environment has no opto.
    spec = importlib.util.spec_from_file_location("tokens", CHECKOUT / "opto" / "llm" / "tokens.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    ratios: dict[str, list[float]] = {}
    for kind, text in texts():
        # The vocabulary that needs more is the one to be safe against.
        truth = max(len(encoding.encode(text, disallowed_special=())) for encoding in encodings)
        ratios.setdefault(kind, []).append(module.estimate_tokens(text) / truth)
    for kind, found in ratios.items():
        found.sort()
        print(f"{kind:14} {len(found):4} texts: {found[0]:.2f} to {found[-1]:.2f}, median {found[len(found) // 2]:.2f}")
    least = min(min(found) for found in ratios.values())
    print(f"The estimate is at least {least:.2f} of the truth.")
    sys.exit(least < 0.9)


if __name__ == "__main__":
    main()
