"""What bubblewrap lets in: Python, its packages, and the modules that the program imports itself."""

import sys

import pytest

from opto.errors import IsolationError
from opto.sandbox import Sandbox


@pytest.fixture
def strict():
    sandbox = Sandbox("strict")
    try:
        sandbox.prepare()
    except IsolationError:
        pytest.skip("the strict level is not to be had here")
    return sandbox


def loaded(sandbox, source, module):
    namespace = {"__name__": "program", "module": module}
    exec("def like(x):\n    return module\n", namespace)
    return sandbox.load(source, "like", like=namespace["like"])


def test_modules_of_the_users_own_are_there(strict, tmp_path, monkeypatch):
    import importlib

    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "of_a_file.py").write_text("def grow(x):\n    return x + 1\n")
    (tmp_path / "of_a_folder").mkdir()
    (tmp_path / "of_a_folder" / "__init__.py").write_text("from of_a_folder.inner import grow\n")
    (tmp_path / "of_a_folder" / "inner.py").write_text("def grow(x):\n    return x + 2\n")
    (tmp_path / "secret").write_text("nobody's business")
    for name, expected in (("of_a_file", 4), ("of_a_folder", 6)):
        module = importlib.import_module(name)
        with loaded(strict, "def like(x):\n    return module.grow(x) * 2\n", module) as candidate:
            assert candidate(1) == expected
        source = f"def like(x):\n    try:\n        return open({str(tmp_path / 'secret')!r}).read()\n"
        with loaded(
            strict, f"{source}    except OSError as error:\n        return module and 'none'\n", module
        ) as other:
            assert other(1) == "none"
        del sys.modules[name]


def test_candidates_with_the_same_modules_share_what_makes_their_processes(strict, tmp_path, monkeypatch):
    import importlib

    monkeypatch.syspath_prepend(tmp_path)
    makers = {}
    for name in ("of_one", "of_another"):
        (tmp_path / f"{name}.py").write_text("def grow(x):\n    return x + 1\n")
        module = importlib.import_module(name)
        candidates = [loaded(strict, "def like(x):\n    return module.grow(x)\n", module) for _ in range(2)]
        assert [each(1) for each in candidates] == [2, 2]
        makers[name] = {each._engine.newest._zygote.process_id for each in candidates}
        for each in candidates:
            each.close()
        del sys.modules[name]
    assert [len(found) for found in makers.values()] == [1, 1]
    assert makers["of_one"] != makers["of_another"]
