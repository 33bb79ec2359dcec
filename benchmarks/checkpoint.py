"""Print what it costs to save and load a module, as JSON: CPU milliseconds, the best of some rounds.

The module holds text parameters: prompts of eight lines, and with ``--code`` sources of functions.
"""

import json
import sys
import tempfile
from pathlib import Path
from time import process_time

from opto.trace import Module, bundle, node

LINE = "You are a careful assistant: answer step by step, rule {}.\n"
SOURCE = "def score(x):\n    total = 0\n" + "".join(f"    total += {n} * x\n" for n in range(20)) + "    return total\n"


def make(count: int, *, code: bool) -> Module:
    module = Module()
    if code:
        made = bundle(trainable=True, source=SOURCE)
        module.tools = [made(score) for _ in range(count)]
    else:
        text = "".join(LINE.format(number) for number in range(8))
        module.prompts = [node(f"{text}Prompt {number}.", trainable=True) for number in range(count)]
    return module


def score(x: int) -> int:
    return x


def main(count: int, rounds: int, *, code: bool) -> None:
    module = make(count, code=code)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "module.toml"
        module.save(file)
        module.load(file)
        saves, loads = [], []
        for _ in range(rounds):
            began = process_time()
            module.save(file)
            saved = process_time()
            module.load(file)
            loads.append(process_time() - saved)
            saves.append(saved - began)
        print(json.dumps({"save": 1e3 * min(saves), "load": 1e3 * min(loads), "bytes": file.stat().st_size}))


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:] if argument.isdigit()]
    main(*(numbers or [1000, 7]), code="--code" in sys.argv)
