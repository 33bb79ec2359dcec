import pytest

from opto.llm.pacing import throttle

VARIABLES = [
    "OPTO_MODEL",
    "OPTO_OPTIMIZER_MODEL",
    "OPTO_JUDGE_MODEL",
    "OPTO_TASK_MODEL",
    "TRACE_DEFAULT_LLM_BACKEND",
    "TRACE_LITELLM_MODEL",
    "DEFAULT_LITELLM_MODEL",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "OPENAI_MODEL",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "AZURE_OPENAI_API_KEY",
    "AZURE_OPENAI_AD_TOKEN",
    "AZURE_OPENAI_ENDPOINT",
    "OPENAI_API_VERSION",
    "OLLAMA_API_KEY",
    "OLLAMA_HOST",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
]


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch, tmp_path):
    """Nothing of the machine's own accounts reaches a test."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    # Anthropic's SDK also looks for keys in files.
    monkeypatch.delenv("ANTHROPIC_CONFIG_DIR", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(autouse=True)
def _no_throttles():
    """A server that has a port by chance does not wait for what another one said there."""
    throttle._throttles.clear()


@pytest.fixture(params=["call", "acall"])
def how(request):
    """The way in which a client is asked: see `tests.llm.ways`."""
    return request.param
