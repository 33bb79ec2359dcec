"""LiteLLM, against a server; it pins openai 2, so it has an environment of its own."""

import asyncio
import gc
import importlib.util
import inspect
import json
import logging
import subprocess
import sys

import pytest

from opto import errors
from opto.llm import LLM, Reply, Tool, Usage, environment_model, image
from opto.llm.environment import Endpoint
from opto.llm.providers.failures import translate
from opto.testing import Cut, Failure, LLMServer, Raw, Slow

needs_litellm = pytest.mark.skipif(
    importlib.util.find_spec("litellm") is None, reason="needs openai 2: `make test-litellm` has both"
)
SOME_USAGE = Usage(12, 7, cached_tokens=4, reasoning_tokens=3)
ENDPOINT = Endpoint("litellm", "openai/m", None, "sk-very-secret")


def test_without_it_the_line_that_installs_it_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "litellm", None)
    with LLM("litellm:openai/m") as llm, pytest.raises(errors.MissingDependencyError) as info:
        llm("hi")
    assert 'pip install "opto-trace[litellm]"' in info.value.mend


def test_it_has_to_be_told_which_model():
    with pytest.raises(errors.BadRequestError, match="no name"):
        LLM("litellm:")


def test_the_environment_may_name_it_and_needs_no_key_that_opto_knows(monkeypatch):
    monkeypatch.setenv("OPTO_MODEL", "litellm:groq/some-model")
    assert environment_model() == "litellm:groq/some-model"
    assert LLM().model == "litellm:groq/some-model"
    assert not LLM().takes_tools


@pytest.fixture(scope="module")
def _end():
    """Let LiteLLM close the connections that it keeps for the process."""
    yield
    import litellm
    from litellm.llms.custom_httpx.async_client_cleanup import close_litellm_async_clients

    litellm.in_memory_llm_clients_cache.cache_dict.clear()
    asyncio.run(close_litellm_async_clients())
    gc.collect()


# It leaves sockets of event loops to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")  # of pydantic, about its classes
@pytest.mark.usefixtures("_end")
@needs_litellm
class TestLiteLLM:
    @pytest.fixture(params=["openai", "anthropic"])
    def provider(self, request):
        return request.param

    @pytest.fixture(params=["call", "acall"])
    def how(self, request):
        return request.param

    @pytest.fixture(autouse=True)
    def _imported(self, monkeypatch):
        monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        import litellm  # noqa: F401 - to be imported takes it longer than some tests allow for a call

    def ask(self, how, line, provider="openai", messages="hi", **settings):
        with LLMServer([line] * 2) as server:
            url = server.openai_url if provider == "openai" else server.anthropic_url
            name = f"litellm:{provider}/some-model"
            with LLM(name, base_url=url, api_key="sk-very-secret", retries=0, **settings) as llm:
                try:
                    return llm(messages) if how == "call" else asyncio.run(llm.acall(messages))
                finally:
                    self.requests = server.requests

    def fail(self, how, line, provider="openai", **settings):
        with pytest.raises(errors.LLMError) as info:
            self.ask(how, line, provider, **settings)
        return info.value

    def test_text_and_usage_come_back(self, how, provider):
        reply = self.ask(how, Reply("hello", "m", usage=SOME_USAGE), provider)
        assert (reply.text, reply.usage, reply.finish_reason) == ("hello", SOME_USAGE, "stop")
        assert (reply.request_id, reply.model) == ("req_1", "m" if provider == "openai" else reply.model)

    def test_nothing_is_sent_that_was_not_set(self, how):
        self.ask(how, "hello")
        assert self.requests[0].body == {"model": "some-model", "messages": [{"role": "user", "content": "hi"}]}
        assert self.requests[0].headers["authorization"] == "Bearer sk-very-secret"

    def test_settings_are_sent(self, how):
        self.ask(how, "hello", max_tokens=9, temperature=0.5)
        body = self.requests[0].body
        assert (body["max_tokens"], body["temperature"]) == (9, 0.5)

    def test_what_the_caller_passes_stays_as_it_is(self, how):
        metadata = {"user": "ada"}
        self.ask(how, "hello", metadata=metadata)
        assert metadata == {"user": "ada"}

    def test_tools_are_called(self, how, provider):
        tool = Tool("tool", "A tool.", {"type": "object", "properties": {"x": {"type": "integer"}}})
        reply = self.ask(how, Reply("", "m", arguments='{"x": 3}', finish_reason="tool"), provider, tool=tool)
        assert json.loads(reply.arguments) == {"x": 3}
        assert "_skip_mcp_handler" not in self.requests[0].body
        assert self.requests[0].body["tools"]

    def test_images_are_shown(self, how, provider):
        self.ask(how, "a cat", provider, [{"role": "user", "content": ["What?", image(b"\x89PNG\r\n\x1a\n")]}])
        kinds = [part["type"] for part in self.requests[0].body["messages"][0]["content"]]
        assert kinds == ["text", "image_url" if provider == "openai" else "image"]

    def test_a_form_is_asked_for(self, how):
        schema = {
            "type": "object",
            "properties": {"x": {"type": "integer"}},
            "required": ["x"],
            "additionalProperties": False,
        }
        assert self.ask(how, '{"x": 1}', schema=schema).value == {"x": 1}
        asked = self.requests[0].body["response_format"]
        assert asked["json_schema"] == {"name": "answer", "schema": schema, "strict": True}

    def test_usage_that_is_not_reported_is_none(self, how):
        body = '{"choices": [{"message": {"content": "a", "role": "assistant"}, "finish_reason": "stop"}]}'
        assert self.ask(how, Raw(body)).usage is None

    @pytest.mark.parametrize(
        ("line", "kind"),
        [
            (Failure(400), errors.BadRequestError),
            (Failure(401), errors.AuthenticationError),
            (Failure(403), errors.AuthenticationError),
            (Failure(404), errors.BadRequestError),
            (Failure(429), errors.RateLimitError),
            (Failure(429, code="insufficient_quota"), errors.QuotaError),
            (Failure(500), errors.ServerError),
            (Failure(503), errors.ServerError),
            (Failure(529), errors.ServerError),
            (Failure(400, "prompt is too long: 250000 tokens > 200000 maximum"), errors.ContextLengthError),
            (Failure(400, code="content_filter"), errors.ContentRefusedError),
            (Cut(), errors.LLMConnectionError),
            (Cut("hello"), errors.LLMConnectionError),
            (Raw("<html>hi</html>"), errors.ServerError),
            (Raw('{"id": '), errors.ServerError),
        ],
    )
    def test_failures_are_of_their_kind_and_happen_once(self, how, provider, line, kind):
        error = self.fail(how, line, provider)
        assert type(error) is kind
        assert len(self.requests) == 1
        if isinstance(line, Failure):
            assert error.status == line.status
            assert f"answered with status {line.status}: " in error.problem
            assert error.request_id == "req_1"
            assert line.message in error.problem
            assert line.message in error.raw

    def stop(self, how, name, **settings):
        """Return the error of a call for which nobody is asked."""
        with LLM(f"litellm:{name}", retries=0, **settings) as llm, pytest.raises(errors.LLMError) as info:
            llm("hi") if how == "call" else asyncio.run(llm.acall("hi"))
        assert info.value.status is None
        assert "status" not in info.value.problem
        assert "Traceback" not in info.value.problem
        return info.value

    @pytest.mark.parametrize("name", ["foo", "nobody/some-model"])
    def test_what_litellm_objects_to_is_its_own_and_no_answer(self, how, name):
        error = self.stop(how, name)
        assert type(error) is errors.BadRequestError
        assert "LLM Provider NOT provided." in error.problem
        assert f"model={name}" in error.problem
        assert "litellm.BadRequestError" not in error.problem

    @pytest.mark.parametrize(
        ("name", "variable"),
        [
            ("openai/gpt-4o", "OPENAI_API_KEY"),
            ("gemini/some-model", "GEMINI_API_KEY"),
            ("anthropic/some-model", "ANTHROPIC_API_KEY"),
            ("perplexity/some-model", "PERPLEXITY_API_KEY"),
        ],
    )
    def test_a_key_that_is_not_there_is_named(self, how, name, variable, monkeypatch):
        for known in ("OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "ANTHROPIC_API_KEY", "PERPLEXITY_API_KEY"):
            monkeypatch.delenv(known, raising=False)
        error = self.stop(how, name)
        assert type(error) is errors.AuthenticationError
        assert error.problem.startswith(f"litellm:{name} has no key: Missing ")
        assert error.mend == f"Set {variable}, or pass api_key=…."

    @pytest.mark.parametrize("name", ["openai/m", "anthropic/m", "gemini/m"])
    def test_nobody_at_the_address(self, how, name):
        with LLMServer() as server:
            url = server.anthropic_url
        error = self.stop(how, name, base_url=url, api_key="k")
        assert type(error) is errors.LLMConnectionError
        assert "cannot be reached" in error.problem

    def test_choices_that_are_none(self, how):
        assert type(self.fail(how, Raw('{"choices": []}'))) is errors.ServerError

    def test_how_long_to_wait_is_kept(self, how, provider):
        assert self.fail(how, Failure(429, headers={"retry-after": "7"}), provider).retry_after == 7.0

    def test_an_answer_that_comes_too_late(self, how, provider):
        assert type(self.fail(how, Slow(60), provider, timeout=0.3)) is errors.LLMTimeoutError

    def test_the_key_is_in_no_message(self, how, provider):
        error = self.fail(how, Failure(401, "Incorrect key: sk-very-secret"), provider)
        assert "sk-very-secret" not in f"{error} {error.raw}"
        assert "***" in error.problem

    def test_failures_that_pass_are_tried_again_by_opto(self, how):
        busy = Failure(503, headers={"retry-after-ms": "1"})
        with (
            LLMServer([busy, busy, "hello"]) as server,
            LLM("litellm:openai/m", base_url=server.openai_url, retries=4) as llm,
        ):
            reply = llm("hi") if how == "call" else asyncio.run(llm.acall("hi"))
        assert (reply.text, reply.retries, len(server.requests)) == ("hello", 2, 3)

    def test_a_refused_parameter_is_left_out(self, caplog):
        refused = Failure(400, "Unsupported parameter: 'seed' is not supported with this model.")
        with (
            LLMServer([refused, "one", "two"]) as server,
            LLM("litellm:openai/m", base_url=server.openai_url, seed=1) as llm,
        ):
            assert (llm("hi").left_out, llm("hi").left_out) == (("seed",), ("seed",))
        assert ["seed" in request.body for request in server.requests] == [True, False, False]

    def test_a_key_from_the_environment_goes_to_no_other_address(self, monkeypatch):
        monkeypatch.setenv("OPENAI_API_KEY", "sk-meant-for-openai")
        with LLMServer(["hello"]) as server, LLM("litellm:openai/m", base_url=server.openai_url) as llm:
            llm("hi")
        assert "sk-meant-for-openai" not in str(server.requests[0].headers)

    def test_nothing_is_printed_or_logged(self, how, capfd, caplog):
        with caplog.at_level(logging.WARNING, "LiteLLM"):
            pass  # so that the level is put back
        self.ask(how, "hello")
        self.fail(how, Failure(500))
        assert capfd.readouterr() == ("", "")

    def test_no_exception_of_litellm_is_unmapped(self):
        from litellm import exceptions

        classes = [
            kind
            for _, kind in inspect.getmembers(exceptions, inspect.isclass)
            if issubclass(kind, Exception) and kind.__module__ == exceptions.__name__
        ]
        assert len(classes) > 20
        for kind in classes:
            error = kind.__new__(kind)
            error.args = ("made by a test",)
            error.body = error.request_id = error.response = None
            error.message = error.llm_provider = error.model = "made by a test"
            error.max_retries = error.num_retries = error.litellm_debug_info = error.original_exception = None
            if not hasattr(error, "status_code"):
                error.status_code = 500
            mapped = type(translate(error, ENDPOINT))
            assert mapped is not errors.LLMError, f"{kind} falls through"
        told = {
            "ContextWindowExceededError": errors.ContextLengthError,
            "ContentPolicyViolationError": errors.ContentRefusedError,
            "Timeout": errors.LLMTimeoutError,
            "APIConnectionError": errors.LLMConnectionError,
            "BudgetExceededError": errors.QuotaError,
        }
        for name, kind in told.items():
            error = getattr(exceptions, name).__new__(getattr(exceptions, name))
            error.args, error.body, error.request_id, error.status_code = ("made by a test",), None, None, 400
            error.message = "made by a test"
            error.max_retries = error.num_retries = error.litellm_debug_info = None
            assert type(translate(error, ENDPOINT)) is kind

    def test_importing_it_through_opto_asks_no_network_and_says_nothing(self, monkeypatch):
        monkeypatch.delenv("LITELLM_LOCAL_MODEL_COST_MAP")
        program = (
            "import sys, os\n"
            "def hook(event, args):\n"
            "    if event in ('socket.connect', 'socket.getaddrinfo') and '127.0.0.1' not in str(args):\n"
            "        print('asked', event, args)\n"
            "sys.addaudithook(hook)\n"
            "from opto.llm import LLM\n"
            "from opto.testing import LLMServer\n"
            "assert 'litellm' not in sys.modules\n"
            "with LLMServer(['hello']) as server, LLM('litellm:openai/m', base_url=server.openai_url) as llm:\n"
            "    assert llm('hi').text == 'hello'\n"
            "assert 'LITELLM_LOCAL_MODEL_COST_MAP' not in os.environ\n"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert (done.stdout, done.stderr) == ("", "")
