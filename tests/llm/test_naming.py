"""What the names of models say, and what is said of names that say nothing."""

import pytest

from opto.errors import AuthenticationError, BadRequestError
from opto.llm import LLM, Adapter, as_llm, environment_model
from opto.utils import llm as of_trace

KEYS = {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k"}


@pytest.fixture
def setenv(monkeypatch):
    return lambda **variables: [monkeypatch.setenv(name, value) for name, value in variables.items()]


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("gpt-4o", "openai:gpt-4o"),
        ("o3-mini", "openai:o3-mini"),
        ("chatgpt-4o-latest", "openai:chatgpt-4o-latest"),
        ("ft:gpt-4o:org::id", "openai:ft:gpt-4o:org::id"),
        ("openai/gpt-4o", "openai:gpt-4o"),
        ("claude-x", "anthropic:claude-x"),
        ("anthropic/claude-x", "anthropic:claude-x"),
    ],
)
def test_a_name_alone_means_the_same_everywhere(setenv, name, model):
    setenv(**KEYS)
    assert LLM(name).model == of_trace.LLM(name).model == model
    setenv(OPTO_MODEL=name)
    assert LLM().model == environment_model() == model


def test_a_name_goes_to_its_maker_not_to_whoever_has_a_key(setenv):
    setenv(OPENAI_API_KEY="k")
    assert LLM("claude-x").model == "anthropic:claude-x"
    setenv(OPENAI_API_KEY="", ANTHROPIC_API_KEY="k")
    with pytest.raises(AuthenticationError, match="OPENAI_API_KEY"):
        LLM("gpt-4o")


@pytest.mark.parametrize("name", ["claude-x", "openai/gpt-4o", "meta-llama/Llama", "llama3.2:3b"])
def test_a_server_of_ones_own_calls_its_models_as_it_likes(setenv, name):
    url = "http://127.0.0.1:9/v1"
    assert LLM(name, base_url=url).model == f"openai:{name}"
    setenv(OPENAI_BASE_URL=url)
    assert LLM(name).model == f"openai:{name}"


@pytest.mark.parametrize("variables", [{}, KEYS])
@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("llama3.2:3b", '"ollama:llama3.2:3b"'),
        ("qwen3:8b", '"ollama:qwen3:8b"'),
        ("gpt-oss:20b", '"ollama:gpt-oss:20b"'),
        ("vllm:m", "LLM('m', base_url="),
        ("gemini:g-2", '"litellm:gemini/g-2"'),
        ("google:g-2", '"litellm:gemini/g-2"'),
        ("gemini/g-2", '"litellm:gemini/g-2"'),
        ("claude:opus", '"anthropic:opus"'),
        ("opnai:gpt-4o", '"openai:gpt-4o"'),
        ("openai", '"openai:" and a model'),
        ("ollama", '"ollama:" and a model'),
    ],
)
def test_what_to_write_instead(setenv, variables, name, mend):
    setenv(**variables)
    with pytest.raises(BadRequestError) as info:
        LLM(name)
    assert mend in info.value.mend
    assert "openai:openai" not in str(info.value)
    assert "OPTO_MODEL" not in str(info.value)
    setenv(OPTO_MODEL=name)
    with pytest.raises(BadRequestError, match=r"' in OPTO_MODEL (names|is)"):
        LLM()


def test_a_variable_of_a_role_is_named_as_well(setenv):
    setenv(OPTO_MODEL="openai:m", OPTO_JUDGE_MODEL="opnai:m")
    with pytest.raises(BadRequestError, match="in OPTO_JUDGE_MODEL"):
        LLM(role="judge")


@pytest.mark.parametrize("make", [LLM, as_llm, of_trace.LLM])
@pytest.mark.parametrize("model", ["", "  "])
def test_an_empty_name_is_not_the_model_of_the_environment(setenv, make, model):
    setenv(OPTO_MODEL="openai:m", **KEYS)
    with pytest.raises(BadRequestError, match=r"^The model is empty\. .* a variable that is not set"):
        make(model)


class Local(Adapter):
    def complete(self, messages, settings):
        raise AssertionError


@pytest.mark.parametrize(
    ("given", "is_", "mend"),
    [
        (5, "an int", '"openai:gpt-…"'),
        (lambda messages: "x", "a function", "DummyLLM"),
        (Local(), "a Local", "LLM(adapter=…)"),
    ],
)
def test_what_is_no_name(given, is_, mend):
    with pytest.raises(BadRequestError) as info:
        LLM(given)
    assert info.value.problem == f"The model is {is_}."
    assert mend in info.value.mend


@pytest.mark.parametrize(
    ("key", "problem"), [("", "api_key is empty."), (" \n", "api_key is empty."), (5, "api_key is an int.")]
)
def test_a_key_that_is_none(setenv, key, problem):
    setenv(**KEYS)
    with pytest.raises(AuthenticationError) as info:
        LLM("openai:m", api_key=key)
    assert info.value.problem == problem


@pytest.mark.parametrize(
    ("variable", "model"),
    [
        ("OPENAI_BASE_URL", "openai:m"),
        ("OPENAI_BASE_URL", "m"),
        ("OPENAI_BASE_URL", None),
        ("ANTHROPIC_BASE_URL", "anthropic:m"),
        ("AZURE_OPENAI_ENDPOINT", "azure:m"),
        ("OLLAMA_HOST", "ollama:m"),
    ],
)
def test_an_address_that_is_none_is_named_by_its_variable(setenv, variable, model):
    setenv(**KEYS, **{variable: "ftp://box"})
    with pytest.raises(BadRequestError, match=f"^{variable} is not an address"):
        LLM(model)


def test_an_address_that_is_no_text():
    with pytest.raises(BadRequestError, match="^base_url is an int, and not an address"):
        LLM("m", base_url=8000)
    with pytest.raises(BadRequestError, match="^base_url is not an address"):
        LLM("m", base_url="http://[::1")
