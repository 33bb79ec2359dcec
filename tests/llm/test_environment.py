from pathlib import Path
from typing import get_args

import anthropic
import openai
import pytest

from opto.errors import AuthenticationError, BadRequestError
from opto.llm import LLM, as_llm, environment_model
from opto.llm.environment import ANTHROPIC_DEFAULT_MODEL, NO_KEY, OPENAI_DEFAULT_MODEL, find_endpoint
from opto.testing import LLMServer

LOCAL = "http://localhost:11434/v1"


@pytest.fixture
def setenv(monkeypatch):
    return lambda **variables: [monkeypatch.setenv(name, value) for name, value in variables.items()]


def test_an_empty_environment_is_told_what_to_do():
    assert environment_model() is None
    for make in (LLM, as_llm):
        with pytest.raises(AuthenticationError) as info:
            make()
        for name in ("OPTO_MODEL", "OPENAI_BASE_URL", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
            assert name in info.value.problem
        assert "opto.optimizers.LocalSearch" in info.value.mend


@pytest.mark.parametrize(
    ("variables", "model"),
    [
        ({"OPENAI_API_KEY": "k"}, f"openai:{OPENAI_DEFAULT_MODEL}"),
        ({"OPENAI_API_KEY": "k", "OPENAI_MODEL": "mine"}, "openai:mine"),
        ({"ANTHROPIC_API_KEY": "k"}, f"anthropic:{ANTHROPIC_DEFAULT_MODEL}"),
        ({"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k"}, f"openai:{OPENAI_DEFAULT_MODEL}"),
        ({"OPENAI_API_KEY": "", "ANTHROPIC_API_KEY": "k"}, f"anthropic:{ANTHROPIC_DEFAULT_MODEL}"),
        ({"OPTO_MODEL": "anthropic:mine", "OPENAI_API_KEY": "k"}, "anthropic:mine"),
        ({"OPTO_MODEL": "mine", "ANTHROPIC_API_KEY": "k"}, "anthropic:mine"),
        ({"OPENAI_BASE_URL": LOCAL, "OPENAI_MODEL": "llama3.2:1b"}, "openai:llama3.2:1b"),
        ({"OPENAI_BASE_URL": LOCAL, "ANTHROPIC_API_KEY": "k"}, f"openai:(first model of {LOCAL})"),
        ({"OPENAI_BASE_URL": "https://api.openai.com/v1", "OPENAI_API_KEY": "k"}, f"openai:{OPENAI_DEFAULT_MODEL}"),
        ({"OPENAI_MODEL": "mine"}, None),
    ],
)
def test_the_environment_model_is_the_one_that_is_used(setenv, variables, model):
    setenv(**variables)
    assert environment_model() == model
    if model is not None:
        assert LLM().model == as_llm().model == model


def test_the_default_models_are_known_to_the_sdks():
    # SDKs of an earlier major are older than the models.
    if openai.__version__.startswith("3."):
        assert OPENAI_DEFAULT_MODEL in get_args(openai.types.ChatModel)
    if anthropic.__version__.startswith("2."):
        assert ANTHROPIC_DEFAULT_MODEL in get_args(get_args(anthropic.types.Model)[0])


def test_a_local_server_needs_no_key(setenv):
    setenv(OPENAI_BASE_URL=LOCAL)
    assert find_endpoint().api_key == NO_KEY
    setenv(OPENAI_API_KEY="k")
    assert find_endpoint().api_key == "k"


def test_a_server_from_the_environment_is_asked(setenv):
    with LLMServer(["hello"], models=["first"]) as server:
        setenv(OPENAI_BASE_URL=server.openai_url)
        with LLM() as llm:
            assert llm("hi").model == "first"


def test_what_is_passed_wins(setenv):
    setenv(OPTO_MODEL="anthropic:theirs", OPENAI_BASE_URL=LOCAL, OPENAI_API_KEY="theirs")
    endpoint = find_endpoint("mine", base_url="http://elsewhere/v1", api_key="my-key")
    assert (endpoint.provider, endpoint.model, endpoint.base_url, endpoint.api_key) == (
        "openai",
        "mine",
        "http://elsewhere/v1",
        "my-key",
    )


@pytest.mark.parametrize("name", ["llama3.2", "llama3.2:1b", "meta-llama/Llama-3", "opus"])
def test_names_of_local_models_are_taken_as_they_are(name):
    assert find_endpoint(name, base_url=LOCAL).model == name
    assert find_endpoint(f"openai:{name}", base_url=LOCAL).model == name


def test_a_provider_that_is_misspelt(setenv):
    for variables in ({}, {"OPENAI_API_KEY": "k"}):
        setenv(**variables)
        with pytest.raises(BadRequestError, match="Did you mean 'openai'"):
            LLM("opanai:gpt-5.4")


def test_a_name_that_nobody_is_asked_for():
    with pytest.raises(BadRequestError, match='"openai:some-model"'):
        LLM("some-model")
    with pytest.raises(BadRequestError, match="no name"):
        LLM("openai:")


def test_a_key_that_is_missing(setenv):
    with pytest.raises(AuthenticationError, match="OPENAI_API_KEY"):
        LLM("openai:gpt-5.4-mini")
    with LLM("anthropic:some-model") as llm, pytest.raises(AuthenticationError, match="ANTHROPIC_API_KEY"):
        llm("hi")


@pytest.mark.parametrize("url", ["localhost:11434", "sk-a-key-in-the-wrong-place", "ftp://localhost", "http://"])
def test_an_address_that_is_none(url):
    with pytest.raises(BadRequestError, match="not an address") as info:
        LLM("m", base_url=url)
    assert url not in info.value.problem


def test_the_documentation_names_the_default_models():
    said = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    assert f"`{OPENAI_DEFAULT_MODEL}`" in said
    assert f"`{ANTHROPIC_DEFAULT_MODEL}`" in said
