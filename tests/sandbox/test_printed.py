"""What a candidate prints comes out where it went, in order."""

import subprocess
import sys

import pytest

from opto.errors import SandboxError
from opto.sandbox import Limits, Sandbox
from opto.sandbox.child.codes import ERRORS_BEGIN, ERRORS_END
from opto.sandbox.printed import Printed, Streams

pytestmark = pytest.mark.filterwarnings("ignore:Code that a model wrote:RuntimeWarning")
SOURCE = """
import logging, sys
def f(ends):
    print("one")
    print("two", file=sys.stderr)
    logging.warning("three")
    print("four")
    if ends:
        import os
        os._exit(3)
    return 1
"""
PIECES = [("out", "one\n"), ("err", "two\nWARNING:root:three\n"), ("out", "four\n")]


@pytest.mark.parametrize("level", ["auto", "child"])
@pytest.mark.parametrize("ends", [False, True])
def test_each_stream_is_shown_where_it_belongs(level, ends):
    shown = []
    told = {
        "printed": lambda text: shown.append(("out", text)),
        "printed_errors": lambda text: shown.append(("err", text)),
    }
    with Sandbox(level).load(SOURCE, **told) as candidate:
        for _ in range(2):
            shown.clear()
            if ends:
                with pytest.raises(SandboxError) as caught:
                    candidate(ends)
                assert caught.value.output == "".join(text for _, text in PIECES)
            else:
                assert candidate(ends) == 1
            assert shown == PIECES
            assert candidate.output == "".join(text for _, text in PIECES)


def test_who_asks_for_one_stream_gets_both_there():
    shown = []
    with Sandbox("child").load(SOURCE, printed=shown.append) as candidate:
        candidate(False)
    assert shown == [text for _, text in PIECES]


def test_output_of_a_program_is_that_of_its_functions_in_both_streams(tmp_path):
    program = (
        "import sys\n"
        "from opto.trace import bundle\n"
        "@bundle(trainable=True)\n"
        "def f(x):\n    return x\n"
        "text = 'def f(x):\\n    import sys\\n    print(1)\\n    print(2, file=sys.stderr)\\n    return x\\n'\n"
        "f.parameter._set(text)\n"
        "f(1)\n"
    )
    path = tmp_path / "program.py"
    path.write_text(program)
    done = subprocess.run([sys.executable, "-W", "ignore", path], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("1\n", "2\n")


def test_many_pieces_are_no_more_than_may_be_printed():
    printing = "print(i % 10, end='', file=[sys.stdout, sys.stderr][i % 2])"
    source = f"import sys\ndef f(n):\n    for i in range(n):\n        {printing}\n"
    shown = []
    with Sandbox("child", limits=Limits(output=1000)).load(source, printed_errors=shown.append) as candidate:
        candidate(1000)
        assert candidate.output == "0123456789" * 100
        assert shown == [str(i % 10) for i in range(1000) if i % 2]
        with pytest.raises(SandboxError, match="printed more than 1000 characters"):
            candidate(1001)
        assert candidate.output == "0123456789" * 100


@pytest.mark.parametrize(
    "errors",
    [5, None, [5], [[0]], [[1, 0]], [[2, 9]], [["a", "b"]], [[-1, 2]], [[10**9, 10**10]]],
    ids=repr,
)
def test_what_a_process_says_of_streams_is_only_believed_if_it_can_be(errors):
    shown = []
    assert Streams(shown.append, None).show(Printed.told({"out": "text", "err": errors}), 100) == "text"
    assert shown == ["text"]


def test_a_copy_that_breaks_off_is_read_as_far_as_it_goes():
    data = b"one" + ERRORS_BEGIN + b"two" + ERRORS_END + ERRORS_BEGIN + b"three" + ERRORS_END + b"four"
    assert [*filter(lambda piece: piece[0], Printed.copied(data).pieces())] == [
        ("one", False),
        ("twothree", True),
        ("four", False),
    ]
    for length in range(len(data)):
        text = Printed.copied(data[:length]).text
        assert "onetwothreefour".startswith(text)


def test_where_a_crash_was_is_known_however_much_was_printed():
    printing = "print(end='x', file=sys.stderr)"
    source = f"import os, sys\ndef f():\n    for _ in range(60000):\n        {printing}\n    os.abort()\n"
    with Sandbox("child").load(source, imports=["os"]) as candidate, pytest.raises(SandboxError) as caught:
        candidate()
    assert caught.value.line == 5
    assert caught.value.output == "x" * len(caught.value.output)
    assert len(caught.value.output) > 10_000
