"""Print what a chain of operations costs, as JSON. The same text runs with trace-opt and with opto.

CPU seconds to build it, to send feedback back through it, and to release it; and the bytes that it holds. These
are growth of the process's memory, not what tracemalloc counts: users pay for rounding and gaps in the allocator
too, and tracemalloc would slow down what is timed. The value of each node, an int of 32 bytes, is in it.
"""

import gc
import json
import os
import sys
from pathlib import Path
from time import process_time

from opto.trace import node


def resident_bytes() -> int:
    """Return the memory in use. Linux only: the portable figure is a peak, and may be that of the parent."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0


def main(length: int) -> None:
    (node(0, trainable=True) + 1).backward("warm up")
    start = result = node(0, trainable=True)
    before = resident_bytes()

    began = process_time()
    for _ in range(length):
        result = result + 1
    build = process_time() - began
    held = resident_bytes() - before

    began = process_time()
    result.backward("Too large.")
    backward = process_time() - began

    assert result.data == length
    assert start.feedback
    began = process_time()
    start.zero_feedback()
    del result
    release = process_time() - began
    print(json.dumps({"build": build, "backward": backward, "release": release, "bytes": held}))


if __name__ == "__main__":
    if "--no-gc" in sys.argv:
        gc.disable()
    main(int(sys.argv[1]))
