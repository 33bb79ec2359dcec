"""The text of a function: found wherever Python can show it, exactly, or asked for in one line."""

import importlib
import linecache
import os
import py_compile
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import opto
from opto.errors import SourceError
from opto.trace import bundle
from opto.trace.origin import source_of

PROGRAM = """\
from opto.trace import bundle

@bundle(
    trainable=True,  # a ) in a comment
    description="and ( in a text",
)
def work(x):
    # a comment
    return x + 1

if __name__ != "work_module":
    print(ascii(work.parameter.data), work(1).data)
"""
TEXT = "def work(x):\n    # a comment\n    return x + 1\n"
SHOWN = f"{TEXT!r} 2"


def run(*arguments, given=None):
    """Return the last line that a Python with these *arguments* writes."""
    environment = {**os.environ, "PYTHONPATH": str(Path(opto.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, input=given, capture_output=True, text=True, check=False
    )
    return (done.stdout + done.stderr).strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("encoded", "shown"),
    [
        (PROGRAM.encode(), SHOWN),
        (PROGRAM.replace("\n", "\r\n").encode(), SHOWN),
        (PROGRAM.replace("\n", "\r").encode(), SHOWN),
        (b"\xef\xbb\xbf" + PROGRAM.encode(), SHOWN),
        (b"one = 1\n\x0c\n" + PROGRAM.encode(), SHOWN),
        (
            b"# coding: latin-1\n" + PROGRAM.replace("a comment\n", "une idée\n").encode("latin-1"),
            SHOWN.replace("a comment", r"une id\xe9e"),
        ),
    ],
    ids=["plain", "crlf", "cr", "mark", "form feed", "latin-1"],
)
def test_in_files_of_all_kinds(tmp_path, encoded, shown):
    file = tmp_path / "program.py"
    file.write_bytes(encoded)
    assert run(str(file)) == shown


@pytest.mark.parametrize("options", [["-c", PROGRAM], ["-W", "ignore", "-c", PROGRAM, "-c"], ["-Bqc", PROGRAM]])
def test_in_commands(options):
    assert run(*options) == SHOWN
    assert run(f"-c{PROGRAM}") == SHOWN


def test_in_modules_in_archives(tmp_path):
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("packed.py", PROGRAM)
    assert run("-c", f"import sys; sys.path.insert(0, {str(tmp_path / 'archive.zip')!r}); import packed") == SHOWN


def test_in_doctests(tmp_path):
    file = tmp_path / "documented.py"
    examples = "\n".join(
        f"{'...' if line[:1] in {' ', ')'} or line.startswith('def') else '>>>'} {line}"
        for line in PROGRAM.splitlines()[:9]
        if line
    )
    file.write_text(f'"""\n{examples}\n>>> print(work.parameter.data, end="")\n{TEXT}"""\n')
    assert run("-m", "doctest", "-v", str(file)).startswith("Test passed")


CELLS = [
    """from opto.trace import bundle""",
    """
@bundle(trainable=True)
def work(x):
    return x + 1
print(repr(work.parameter.data), work(1).data)""",
    """
@bundle(trainable=True)
def work(x):
    return x + 2
print(repr(work.parameter.data), work(1).data)""",
    """%%time
class Agent:
    @bundle(trainable=True)
    def act(self, x):
        return [x, __class__]
print(repr(Agent().act.parameter.data))""",
    r"""
def make(k):
    @bundle(trainable=True)
    async def add(x):
        return x + k
    return add
add = make(3)
print((await add(1)).data, end=" ")
add.parameter._set("async def add(x):\n    return x / (k - 3)")
try:
    await add(1)
except ZeroDivisionError as error:
    print(error.exception_node.create_feedback("full"))""",
    r"""
try:
    exec("@bundle(trainable=True)\ndef work(x): return x")
except Exception as error:
    print(error)""",
]
REFUSED = (
    "The source of work() is not to be found in <string>. Define it with def in a file or a notebook, or pass its "
    "text: bundle(trainable=True, source='def …')."
)


def test_in_notebooks():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    client = NotebookClient(notebook, timeout=120, kernel_name="python3")
    client.create_kernel_manager()
    with client.setup_kernel(env={**os.environ, "PYTHONPATH": str(Path(opto.__file__).parents[1])}):
        for number, cell in enumerate(notebook.cells):
            client.execute_cell(cell, number)
    texts = ["".join(output["text"] for output in cell.outputs) for cell in notebook.cells[1:]]
    shown = [text.splitlines()[0] for text in texts]
    assert shown == [
        "'def work(x):\\n    return x + 1\\n' 2",
        "'def work(x):\\n    return x + 2\\n' 3",
        "'def act(self, x):\\n    return [x, __class__]\\n'",
        "4 in add, line 2: return x / (k - 3)  <--- (ZeroDivisionError) division by zero",
        REFUSED,
    ]


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (["-c", f"exec(compile({PROGRAM!r}, '<made>', 'exec'))"], None),
        (["-c", f"exec({PROGRAM!r})"], None),
        (["-"], PROGRAM),
    ],
    ids=["compile", "exec", "standard input"],
)
def test_where_no_text_is_kept_one_line_says_what_to_pass(arguments, given):
    said = run(*arguments, given=given)
    if given and sys.version_info >= (3, 13) and said == SHOWN:
        return  # some of these keep what they read
    assert said.endswith("or pass its text: bundle(trainable=True, source='def …').")


def test_the_text_at_the_same_place_of_a_command_is_not_that_of_what_it_executes():
    command = "\n".join([PROGRAM, f"other = {PROGRAM.replace('+ 1', '+ 7')!r}", "try:", "    exec(other)"])
    assert "not to be found" in run("-c", f"{command}\nexcept Exception as error:\n    print(error)")


def test_modules_without_their_source(tmp_path):
    file = tmp_path / "compiled_only.py"
    file.write_text(PROGRAM)
    py_compile.compile(str(file), str(tmp_path / "compiled_only.pyc"))
    file.unlink()
    assert "pass its text" in run("-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import compiled_only")


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module whose file can be rewritten."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "work_module.py").write_text(PROGRAM)
    importlib.invalidate_caches()
    yield importlib.import_module("work_module")
    del sys.modules["work_module"]


@pytest.mark.parametrize("new", ["+ 22", "- 1 ", "+ y ", "+ 1\n    # moved\n    return 0"])
def test_a_file_that_was_changed_since_is_no_source(module, new):
    linecache.clearcache()
    path = Path(module.__file__)
    path.write_text(PROGRAM.replace("+ 1", new) if "\n" not in new else PROGRAM.replace("return x + 1", "return 0"))
    with pytest.raises(SourceError, match="not to be found"):
        source_of(module.work.fun)

    path.write_text(PROGRAM)
    linecache.clearcache()
    assert source_of(module.work.fun) == TEXT


def test_a_module_that_is_loaded_again_has_its_new_source(module):
    linecache.getlines(module.__file__)
    Path(module.__file__).write_text(PROGRAM.replace("+ 1", "+ 222"))
    again = importlib.reload(module)
    assert again.work.parameter.data == TEXT.replace("+ 1", "+ 222")


def test_what_was_read_before_the_file_went_is_kept(module):
    Path(module.__file__).unlink()
    assert source_of(module.work.fun) == TEXT


@pytest.mark.parametrize(
    "text",
    [
        "def work(x):\n    return x\n    y = 1  # never\n",
        "def work(x):\n    while True:\n        return x\n    # the end\n\n    # is here\n",
        "def work(x):\n    x = 1\n    global nowhere\n",
        "def work(x):\n    if x:\n        return 1\n    if False:\n        print()\n    else:\n        pass\n",
        "def work(x): y = 1; return (x,\n    y)\n",
        "def work(x): \\\n    return x\n",
        'def work(x):\n    """Only this.\n\n  And this.\n    """\n',
        "def work(\n    x: int,  # one\n    *,\n    y: 'str' = '(',\n) -> None:\n    pass\n",
        "async def work(x):\n\tif x:\n\t\tawait x\n\treturn 1\n",
    ],
)
def test_code_that_never_runs_and_comments_at_the_end_belong_to_the_text(tmp_path, monkeypatch, text):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "written_module", raising=False)
    (tmp_path / "written_module.py").write_text(f"# before\n{text}\n# behind\n")
    assert source_of(importlib.import_module("written_module").work) == text


def test_what_stands_around_a_function_does_not_change_what_it_says():
    class Outer:
        class Inner:
            def method(self, x: "int"):
                """Several

                lines.
                """

                def inner(y: int) -> str:
                    return __class__, self.__hidden, y, sys.path.copy()

                class Local:
                    field = 1

                assert x, "no"
                return inner(x), Local, [item for item in x if item is not method]

    def method(x):
        nonlocal_value.append(x)
        return method(x)

    nonlocal_value = []
    assert source_of(Outer.Inner.method).startswith("def method(self, x:")
    assert source_of(method) == "def method(x):\n    nonlocal_value.append(x)\n    return method(x)\n"


def test_a_function_inside_another_decorator_says_where_to_put_bundle():
    def logged(function):
        def wrapper(*args):
            return function(*args)

        wrapper.__name__ = function.__name__
        return wrapper

    def work(x):
        return x

    with pytest.raises(SourceError, match=r"wrapped by another decorator.*right above def"):
        bundle(trainable=True)(logged(work))
