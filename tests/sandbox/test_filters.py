"""Warnings inside are shown, hidden or raised as the program would have it."""

import subprocess
import sys
import warnings

import pytest

from opto.sandbox import Sandbox

pytestmark = pytest.mark.filterwarnings("ignore:Code that a model wrote:RuntimeWarning")
SOURCE = """
import warnings
def f(kinds):
    for kind in kinds:
        warnings.warn("mind", {"U": UserWarning, "D": DeprecationWarning, "R": ResourceWarning}[kind])
"""


def said(kinds="UDR", like=None):
    """Return the first letters of the warnings that are shown inside."""
    with Sandbox("child").load(SOURCE, "f", like=like) as candidate:
        candidate(kinds)
        return "".join(line.split(": ")[1][0] for line in candidate.output.splitlines() if "Warning: " in line)


def like_of(module):
    namespace = {"__name__": module}
    exec("def f(kinds):\n    pass\n", namespace)
    return namespace["f"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [((), "UD"), (("-Wignore",), ""), (("-Wdefault",), "UDR"), (("-Wignore::UserWarning",), "D")],
    ids=repr,
)
def test_what_the_command_line_says_holds_inside(options, expected):
    program = (
        "import sys, warnings\n"
        "from opto.sandbox import Sandbox\n"
        f"with Sandbox('child').load({SOURCE!r}) as candidate:\n"
        "    candidate('UDR')\n"
        "    print(*[line.split(': ')[1][0] for line in candidate.output.splitlines()], sep='')\n"
    )
    done = subprocess.run([sys.executable, *options, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected


def test_the_first_filter_that_fits_counts():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert said() == ""
        warnings.filterwarnings("always", "MIN", UserWarning)
        assert said() == "U"
        warnings.filterwarnings("ignore", "something else")
        assert said() == "U"


def test_an_error_is_one():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        with pytest.raises(UserWarning, match="mind"):
            said("U")


def test_filters_for_a_module_hold_for_the_code_in_its_place():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", module="some.of_mine")
        assert said(like=like_of("some.of_mine.deep")) == "UDR"
        assert said(like=like_of("some.of_others")) == ""
        warnings.filterwarnings("always", category=UserWarning, module="__main__")
        assert said(like=like_of("__main__")) == "U"


def test_classes_that_nobody_has_there_are_left_out():
    class OwnWarning(UserWarning):
        pass

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", OwnWarning)
        assert said() == ""
