"""Print what graphs of one shape cost in one library, as JSON: CPU seconds and bytes.

Seconds to build the graph, to go backward through it, and to release it; and the bytes that it holds. These are
growth of the process's memory, not what tracemalloc counts: users pay for rounding and gaps in the allocator too,
and tracemalloc would slow down what is timed. The value of each node, a float of 24 bytes, is in it.
"""

import gc
import json
import os
import sys
import timeit
from pathlib import Path
from time import process_time

from libraries import LIBRARIES, Library

WIDTH = 100


def chain(_: Library, parameter, length: int):
    """Each node is computed from the one before."""
    result = parameter
    for _ in range(length):
        result = result + 1.0
    return result


def fan_in(library: Library, parameter, length: int):
    """Nodes that know nothing of each other, and one that is computed from all of them."""
    return library.total(*[parameter + 1.0 for _ in range(length)])


def lattice(library: Library, parameter, length: int):
    """Rows in which each node is computed from two neighbours in the row before: paths without number."""
    row = [parameter + 0.0 for _ in range(WIDTH)]
    for _ in range(length // WIDTH - 1):
        # Turned by one, so that a neighbour is found on either side.
        row = [left + right for left, right in zip(row, row[1:] + row[:1], strict=True)]
    return library.total(*row)


def minibatch(library: Library, parameter, length: int):
    """Examples of twenty steps each, all with the same parameter, and their sum."""
    results = []
    for _ in range(length // 20):
        result = parameter + 1.0
        for _ in range(19):
            result = result + 1.0
        results.append(result)
    return library.total(*results)


SHAPES = {shape.__name__: shape for shape in (chain, fan_in, lattice, minibatch)}


def resident_bytes() -> int:
    """Return the memory in use. Linux only: the portable figure is a peak, and may be that of the parent."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0


def measure(library: Library, shape: str, length: int) -> dict[str, float]:
    build = SHAPES[shape]
    library.backward(build(library, library.parameter(0.0), 2 * WIDTH))  # so that all that is loaded late is loaded
    parameter = library.parameter(0.0)
    before = resident_bytes()

    began = process_time()
    result = build(library, parameter, length)
    built = process_time() - began
    held = resident_bytes() - before

    began = process_time()
    library.backward(result)
    backward = process_time() - began
    assert library.arrived(parameter)

    if hasattr(parameter, "zero_feedback"):
        parameter.zero_feedback()
    began = process_time()
    del result
    released = process_time() - began
    return {"build": built, "backward": backward, "release": released, "bytes": held}


def addition(library: Library, calls: int) -> dict[str, float]:
    """Return the CPU seconds of one x + y."""
    names = {"x": library.parameter(1.0), "y": library.parameter(2.0)}
    timer = timeit.Timer("x + y", "import gc; gc.enable()", timer=process_time, globals=names)
    return {"addition": min(timer.repeat(7, calls)) / calls}


if __name__ == "__main__":
    if "--no-gc" in sys.argv:
        gc.disable()
    name, shape, count = sys.argv[1:4]
    chosen = LIBRARIES[name]()
    print(json.dumps(addition(chosen, int(count)) if shape == "addition" else measure(chosen, shape, int(count))))
