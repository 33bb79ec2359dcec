"""Functions and classes of the program are made once, in the module that they stand in, whoever speaks of them."""

import linecache
import sys
from urllib.parse import urlsplit

import pytest

from opto.errors import SandboxTransferError
from opto.sandbox import Rewritten, Sandbox

pytestmark = pytest.mark.filterwarnings("ignore:Code that a model wrote:RuntimeWarning")

TEXTS = {
    "shared_words": "def clean(text):\n    return text.strip()\n",
    "first_words": "from shared_words import clean\ndef get():\n    return clean\n",
    "second_words": "from shared_words import clean as other\ndef get():\n    return other\n",
    "words": "from first_words import get\nfrom second_words import get as get_other\n"
    "def clean(text):\n    return 'top'\n"
    "def make():\n    def clean(text):\n        return 'within'\n    return clean\n"
    "made = make()\n"
    "class Kind:\n    name = 'top'\n"
    "def make_kind():\n    class Kind:\n        name = 'within'\n    return Kind\n"
    "Made = make_kind()\n"
    "import functools\n"
    "cached = functools.lru_cache(clean)\n"
    "class Odd:\n    pass\n"
    "Odd.__name__ = 'Even'\n"
    "def original(x):\n    return x\n",
}


@pytest.fixture
def like(tmp_path, monkeypatch):
    for name, text in TEXTS.items():
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    import words

    yield words.original
    for name in TEXTS:
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("[get() is get_other(), get()(x)]", [True, "a"]),
        ("[clean(x), made(x)]", ["top", "within"]),
        ("[made(x), clean(x)]", ["within", "top"]),
        ("[Kind().name, Made().name]", ["top", "within"]),
        ("[Made().name, Kind().name]", ["within", "top"]),
        ("cached(x)", "top"),
        ("[get()(x), clean(x), made(x)]", ["a", "top", "within"]),
    ],
)
def test_they_are_those_that_their_names_stand_for(like, expression, expected):
    source = f"def original(x):\n    return {expression}\n"
    with Sandbox("child").load(source, like=like) as candidate:
        assert candidate(" a ") == expected


def test_classes_that_are_found_inside_are_those(like):
    with Sandbox("child").load("def original(x):\n    return [x.netloc, x]\n", like=like) as candidate:
        given = urlsplit("http://here/there")
        assert candidate(given) == ["here", given]
        assert type(candidate(given)[1]) is type(given)


def test_what_its_text_calls_otherwise_is_said(like):
    with pytest.raises(
        SandboxTransferError, match=r"original\(\) uses Even, which has no def statement of its own, so"
    ):
        Sandbox("child").load("def original(x):\n    return Odd()\n", like=like)


def test_lambda_functions_whose_file_is_no_python_have_no_source(like, monkeypatch):
    monkeypatch.setitem(linecache.cache, "<broken>", (4, None, ["%magic f = lambda x: x\n"], "<broken>"))
    exec(compile("f = lambda x: x", "<broken>", "exec"), vars(sys.modules["words"]))
    with pytest.raises(SandboxTransferError, match="uses a lambda function, whose source cannot be found, so"):
        Sandbox("child").load("def original(x):\n    return f(x)\n", like=like)


def test_a_text_takes_the_place_of_a_source_that_nobody_has(like):
    space = vars(sys.modules["words"])
    exec("def nowhere(text):\n    return 'as it was'\n", space)

    def adapt(value):
        return Rewritten(value, "def nowhere(text):\n    return 'new'\n") if value is space["nowhere"] else value

    with Sandbox("child").load("def original(x):\n    return nowhere(x)\n", like=like, adapt=adapt) as candidate:
        assert candidate(1) == "new"
