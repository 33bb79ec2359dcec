"""The fixture ``cassette``: real runs of pytest in a folder of their own, by the openai SDK against a server."""

import json
import tomllib
from pathlib import Path

import openai  # noqa: F401 - once, and not for each run
import pytest

import opto
from opto.testing import LLMServer

pytest_plugins = ["pytester"]

ROOT = Path(opto.__file__).parent.parent
PLUGIN = "opto.pytest_plugin"
KEY = "sk-test-0123456789abcdefghij"

GREETING = """
    from opto.llm import LLM

    def test_greeting(cassette):
        assert LLM("openai:m")("Greet Ada.").text == "Dear Ada."
"""


class Project:
    """A folder with tests, and the ways to run them."""

    def __init__(self, pytester, monkeypatch, *, in_process_of_its_own):
        self.pytester = pytester
        self._monkeypatch = monkeypatch
        self._start = pytester.runpytest_subprocess if in_process_of_its_own else pytester.runpytest_inprocess
        self.path = pytester.path
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        # A project of a user has neither our settings nor our plugins of pytest.
        self.settings()
        pytester.makeconftest(f"pytest_plugins = [{PLUGIN!r}]")

    def settings(self, *lines):
        lines = ["[pytest]", "asyncio_default_fixture_loop_scope = function", *lines]
        (self.path / "pytest.ini").write_text("\n".join(lines))

    def run(self, *arguments, **outcomes):
        """Run the tests where there is neither key nor server."""
        result = self._start("-p", "no:cacheprovider", "-W", "error", *arguments)
        result.assert_outcomes(**outcomes)
        return result.stdout

    def ask(self, replies, *arguments, **outcomes):
        """Run them where there are both, and return what was asked."""
        with LLMServer(replies) as server, self._monkeypatch.context() as patch:
            patch.setenv("OPENAI_API_KEY", KEY)
            patch.setenv("OPENAI_BASE_URL", server.openai_url)
            self.run(*arguments, **outcomes)
            return [request.messages[-1]["content"] for request in server.requests]

    def cassettes(self):
        return sorted(str(path.relative_to(self.path / "cassettes")) for path in self.path.glob("cassettes/*/*"))


@pytest.fixture
def project(request, pytester, monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL", "OPTO_MODEL", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return Project(pytester, monkeypatch, in_process_of_its_own="installed" in request.fixturenames)


def test_what_was_recorded_is_replayed_without_key_and_server(project):
    project.pytester.makepyfile(test_hello=GREETING)

    assert project.ask(["Dear Ada."], "--cassettes=record", passed=1) == ["Greet Ada."]
    assert project.cassettes() == ["test_hello/test_greeting.jsonl"]
    assert KEY not in (project.path / "cassettes/test_hello/test_greeting.jsonl").read_text()
    project.run(passed=1)
    assert project.ask([], passed=1) == [], "nor is anybody asked where there are both"


def test_what_is_missing_is_named_with_the_command_that_records_it(project):
    project.pytester.makepyfile(test_hello=GREETING)

    said = (
        "*CassetteError: There is no cassette '*cassettes/test_hello/test_greeting.jsonl'. Record what is missing"
        " with `pytest test_hello.py::test_greeting --cassettes=auto`, or everything anew with"
        " `pytest test_hello.py::test_greeting --cassettes=record`."
    )
    project.run(failed=1).fnmatch_lines([said])
    project.ask(["Dear Ada."], "--cassettes=auto", passed=1)
    project.pytester.makepyfile(test_hello=GREETING.replace("Greet Ada", "Greet Bob"))
    project.run(failed=1).fnmatch_lines(
        [
            "*holds no reply to this request. The nearest one, in line 1, differs first in messages?0?.content, *er 6",
            '*recorded: "Greet Ada."',
            '*asked:    "Greet Bob."',
        ]
    )


def test_auto_asks_for_what_is_missing_only(project):
    twice = GREETING + '        assert LLM("openai:m")(["Ho?", "Hi?"][HI]).text\n'
    for hi, asked in ((0, ["Greet Ada.", "Ho?"]), (1, ["Hi?"])):
        project.pytester.makepyfile(test_hello=twice.replace("HI", str(hi)))
        replies = ["Dear Ada.", "Yes."] if hi == 0 else ["Yes."]
        assert project.ask(replies, "--cassettes=auto", passed=1) == asked
    project.run(passed=1)


def test_recording_again_drops_what_is_not_asked_any_more(project):
    for name in ("Ada", "Bob"):
        project.pytester.makepyfile(test_hello=GREETING.replace("Ada", name))
        project.ask([f"Dear {name}."], "--cassettes=record", passed=1)

    lines = (project.path / "cassettes/test_hello/test_greeting.jsonl").read_text().splitlines()
    assert [json.loads(line)["reply"]["text"] for line in lines] == ["Dear Bob."]


def test_a_test_that_asks_nothing_needs_no_file(project):
    project.pytester.makepyfile(test_hello="def test_nothing(cassette):\n    assert not cassette.asks\n")

    project.run(passed=1)
    assert project.cassettes() == []


def test_each_test_has_a_file_of_its_own(project):
    project.pytester.makepyfile(
        test_hello="""
            import pytest
            from opto.llm import LLM

            LONG = "x" * 300

            @pytest.mark.parametrize("text", ["a", "A", "a/b", "a b", "a-b", "", "ü", LONG, LONG + "y"])
            def test_echo(cassette, text):
                assert LLM("openai:m")(f"Say {text!r}.").text == f"Say {text!r}."

            class TestGroup:
                def test_echo(self, cassette):
                    assert LLM("openai:m")("Say group.").text == "Say group."
        """
    )
    project.ask(lambda messages: messages[-1]["content"], "--cassettes=record", passed=10)

    files = project.cassettes()
    assert len(files) == 10
    assert len({name.lower() for name in files}) == 10, "on systems that do not tell a from A, too"
    assert {"test_hello/test_echo-a.jsonl", "test_hello/TestGroup.test_echo.jsonl"} <= set(files)
    assert max(len(name) for name in files) < 140
    project.run(passed=10)


def test_replies_that_nobody_wanted_fail_a_test_if_that_is_wanted(project):
    more = GREETING + '        LLM("openai:m")("And Bob.")\n'
    project.pytester.makepyfile(test_hello=more)
    project.ask(["Dear Ada.", "Dear Bob."], "--cassettes=record", "--cassettes-strict", passed=1)
    project.run("--cassettes-strict", passed=1)

    project.pytester.makepyfile(test_hello=GREETING)
    project.run(passed=1)
    project.run("--cassettes-strict", failed=1).fnmatch_lines(
        [
            "1 recorded replies of '*test_greeting.jsonl' were not asked for:",
            "  openai:m: 'And Bob.'",
            "*--cassettes=record`.",
        ]
    )
    project.settings("cassettes_strict = true")
    project.run(failed=1)
    project.pytester.makepyfile(test_hello=GREETING + "        assert False, 'for another reason'\n")
    project.run(failed=1).no_fnmatch_line("*were not asked for*")


@pytest.mark.parametrize("mode", ["replay", "auto", "record"])
def test_a_test_that_asks_nothing_leaves_nothing_unused(project, mode):
    project.pytester.makepyfile(test_hello="def test_nothing(cassette):\n    pass\n")

    project.run("--cassettes-strict", f"--cassettes={mode}", passed=1)
    assert project.cassettes() == []


def test_a_file_that_cannot_be_read_fails_the_test_and_not_the_hook(project):
    project.pytester.makepyfile(test_hello="def test_nothing(cassette):\n    pass\n")
    path = project.path / "cassettes/test_hello/test_nothing.jsonl"
    path.mkdir(parents=True)

    said = project.run("--cassettes-strict", failed=1)
    said.fnmatch_lines(["*CassetteError: The cassette * cannot be read: Is a directory. *"])
    said.no_fnmatch_line("*PluggyTeardownRaisedWarning*")


def test_a_setting_that_says_neither_yes_nor_no_is_named(project):
    project.pytester.makepyfile(test_hello="def test_nothing(cassette):\n    pass\n")
    project.settings("cassettes_strict = yes please")

    result = project.pytester.runpytest_inprocess("-p", "no:cacheprovider")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = "ERROR: cassettes_strict is neither true nor false: *yes please*. Write `cassettes_strict = true`."
    result.stderr.fnmatch_lines([said])
    result.stderr.no_fnmatch_line("*INTERNALERROR*")


def test_a_project_may_keep_them_elsewhere(project):
    project.pytester.makeconftest(
        f"""
        import pytest
        pytest_plugins = [{PLUGIN!r}]

        @pytest.fixture
        def cassette_path(request):
            return request.config.rootpath / "cassettes" / "all" / f"{{request.node.name}}.jsonl"
        """
    )
    project.pytester.makepyfile(test_hello=GREETING)
    project.ask(["Dear Ada."], "--cassettes=record", passed=1)

    assert project.cassettes() == ["all/test_greeting.jsonl"]


def test_asynchronous_tests_and_threads_have_it_too(project):
    project.pytester.makepyfile(
        test_hello="""
            import asyncio
            from concurrent.futures import ThreadPoolExecutor
            import pytest
            from opto.llm import LLM

            @pytest.mark.asyncio
            async def test_tasks(cassette):
                async with LLM("openai:m") as llm:
                    replies = await asyncio.gather(*[llm.acall(f"Say {n}.") for n in range(4)])
                assert [reply.text for reply in replies] == [f"Say {n}." for n in range(4)]

            def test_threads(cassette):
                with LLM("openai:m", cassette=cassette) as llm, ThreadPoolExecutor(4) as pool:
                    replies = list(pool.map(lambda n: llm(f"Say {n}."), range(4)))
                assert [reply.text for reply in replies] == [f"Say {n}." for n in range(4)]
        """
    )
    project.ask(lambda messages: messages[-1]["content"], "--cassettes=record", passed=2)
    project.run(passed=2)


def test_an_optimization_is_replayed_as_it_was(project):
    project.pytester.makepyfile(
        test_hello="""
            from opto.llm import LLM
            from opto.nodes import node
            from opto.optimizers import OptoPrimeMulti

            def test_steps(cassette, tmp_path):
                x = node(1, name="x", trainable=True)
                settings = {"num_responses": 3, "max_workers": 3, "selection": "last"}
                optimizer = OptoPrimeMulti([x], "openai:m", run=tmp_path, **settings)
                for _ in range(3):
                    optimizer.zero_feedback()
                    optimizer.backward(x * 3, "Larger.")
                    optimizer.step()
                said = [[item.reply for item in record.candidates] for record in optimizer.records]
                with open("said.txt", "a") as file:
                    print(said, [record.after for record in optimizer.records], file=file)
                assert (tmp_path / "replies.jsonl").read_bytes().count(b"\\n") == 9
        """
    )
    numbers = iter(range(2, 99))
    answer = "<variable><name>x</name><value>{}</value></variable>"
    project.ask(lambda messages: answer.format(next(numbers)), "--cassettes=record", passed=1)
    project.run("--cassettes-strict", passed=1)

    recorded, replayed = (project.path / "said.txt").read_text().splitlines()
    assert recorded == replayed
    assert all(answer.format(number) in recorded for number in range(2, 11))


@pytest.fixture
def installed(project, monkeypatch):
    """A project where opto is installed: pytest finds the plugin by itself."""
    entries = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    metadata = project.path / "installed" / "opto_trace-0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: opto-trace\nVersion: 0\n")
    lines = "".join(f"{name} = {module}\n" for name, module in entries.items())
    (metadata / "entry_points.txt").write_text(f"[pytest11]\n{lines}")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{metadata.parent}")
    (project.path / "conftest.py").unlink()
    return project


def test_pytest_finds_it_where_opto_is_installed(installed):
    installed.pytester.makepyfile(test_hello=GREETING)
    installed.ask(["Dear Ada."], "--cassettes=record", passed=1)
    installed.run(passed=1)
    installed.pytester.makeconftest(f"pytest_plugins = [{PLUGIN!r}]")
    installed.run(passed=1)
    installed.run("-p", PLUGIN, passed=1)


def test_tests_that_do_not_use_it_load_nothing_of_opto(installed):
    installed.pytester.makepyfile(
        test_other="""
            import sys

            def test_nothing():
                loaded = sorted(name for name in sys.modules if name.partition(".")[0] == "opto")
                assert loaded == ["opto", "opto.pytest_plugin"]
        """
    )
    installed.run(passed=1)


def test_a_fixture_of_somebody_else_of_this_name_is_left_alone(installed):
    installed.pytester.makepyfile(
        test_other="""
            import pytest

            @pytest.fixture
            def cassette():
                return "theirs"

            def test_theirs(cassette):
                assert cassette == "theirs"
        """
    )
    installed.run("--cassettes-strict", passed=1)


def test_threads_of_a_test_ask_nobody_either(project):
    project.pytester.makepyfile(
        test_threads="""
        from concurrent.futures import ThreadPoolExecutor
        from opto.llm import LLM

        def test_threads(cassette):
            with ThreadPoolExecutor(2) as pool:
                replies = list(pool.map(LLM("openai:m"), ["Greet Ada.", "Greet Bob."]))
            assert [reply.text for reply in replies] == ["Dear all."] * 2
        """
    )
    assert len(project.ask(["Dear all."] * 2, "--cassettes=record", passed=1)) == 2
    assert project.ask([], passed=1) == []
    project.run(passed=1)
