"""What it costs to read what a candidate returns, for each MB of it as JSON: seconds, and MB of memory.

    python benchmarks/reading.py

Each kind of value is read in a list of as many of the smallest as fit into a tenth of a MB.
"""

import gc
import json
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from opto.sandbox.child.codec import Decoder, Encoder
from opto.sandbox.scope.values import Values

_SIZE = 100_000
_NONE: dict[str, Any] = {"!array": ["<f8", [0], ""]}
_MOMENTS: dict[str, Any] = {"!array": ["<M8[ns]", [0], ""]}
_ROWS: dict[str, Any] = {"!range-index": [0, 0, 1, [None]]}
_LABELS: dict[str, Any] = {"!index": [False, [None], [["array", _NONE]]]}
FORMS: dict[str, Any] = {
    "list": [],
    "dict": {},
    "set": {"!set": []},
    "set of ranges": {"!set": [{"!range": [0, 1, 1]}]},
    "deque": {"!deque": [[], None]},
    "tuple": {"!tuple": [1]},
    "OrderedDict": {"!ordered": []},
    "Counter": {"!counter": []},
    "defaultdict": {"!default": [None, []]},
    "Decimal": {"!decimal": "1"},
    "Fraction": {"!fraction": [1, 3]},
    "SimpleNamespace": {"!namespace": []},
    "exception": {"!error": ["ValueError", [], {}]},
    "object": {"!graph": [{"!instance": 0}, [["Thing", {}]]]},
    "datetime": {"!datetime": ["2024-01-01", 0, None]},
    "zone": {"!zone": "UTC"},
    "UUID": {"!uuid": "0" * 32},
    "Path": {"!path": ["Path", ""]},
    "array": _NONE,
    "number of numpy": {"!numpy": ["<f8", [], "AAAAAAAAAAA="]},
    "Timestamp": {"!moment": ["Timestamp", 0, "Europe/Paris"]},
    "NA": {"!missing": "NA"},
    "RangeIndex": _ROWS,
    "Index": _LABELS,
    "MultiIndex": {"!index": [True, [0, 0], [["object", []]] * 2]},
    "Categorical": {"!column": ["category", [{"!array": ["|i1", [0], ""]}, _LABELS], False]},
    "column of texts": {"!column": ["string", []]},
    "column of moments": {"!column": ["zone", _MOMENTS, "UTC"]},
    "Series": {"!series": [_ROWS, None, ["array", _NONE]]},
    "Series of Int64": {"!series": [_ROWS, None, ["Int64", []]]},
    "DataFrame of nothing": {"!frame": [_ROWS, _ROWS, []]},
    "DataFrame": {"!frame": [{"!range-index": [0, 1, 1, [0]]}, _ROWS, [["array", _NONE]]]},
}


class Thing:
    """A class of the user's."""


def cost(text: str, decoder: Decoder) -> tuple[float, float, float]:
    """Return what *text* takes to be read, as multiples: seconds for each MB, memory that it keeps, and at most."""
    gc.collect()
    started = time.perf_counter()
    decoder.decode(json.loads(text))
    seconds = time.perf_counter() - started
    gc.collect()
    tracemalloc.start()
    kept = [decoder.decode(json.loads(text))]
    gc.collect()
    size, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    kept.clear()
    return seconds / len(text) * 1e6, size / len(text), peak / len(text)


def main() -> None:
    values = Values(None, Encoder)  # type: ignore[arg-type] # which tells of no more classes
    values.known["Thing"] = Thing
    print("| read | s for each MB | memory kept | memory at most |\n|---|---|---|---|")
    for name, form in FORMS.items():
        try:
            values.decoder.decode(form)  # which imports what it needs
        except Exception as error:
            print(f"| {name} | {error} | | |")
            continue
        one = json.dumps(form, separators=(",", ":"))
        seconds, kept, peak = cost(f"[{','.join([one] * (_SIZE // len(one)))}]", values.decoder)
        print(f"| {name} | {seconds:.2f} | {kept:.1f} x | {peak:.1f} x |", flush=True)


if __name__ == "__main__":
    main()
