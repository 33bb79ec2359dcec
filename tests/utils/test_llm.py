"""The names of Trace for models, as its programs use them."""

import json
import pickle
import subprocess
import sys

import pytest

from opto import llm as edge
from opto.errors import AuthenticationError, BadRequestError
from opto.llm import Reply, ScriptedLLM, as_llm, environment_model
from opto.nodes import node
from opto.optimizers import OptoPrime
from opto.testing import LLMServer
from opto.trace.operators import call_llm
from opto.utils.llm import LLM, AbstractModel, AutoGenLLM, CustomLLM, DummyLLM, LiteLLM, LLMFactory

VARIABLES = (
    "OPTO_MODEL OPTO_OPTIMIZER_MODEL OPTO_TASK_MODEL OPENAI_API_KEY OPENAI_BASE_URL OPENAI_MODEL ANTHROPIC_API_KEY "
    "ANTHROPIC_BASE_URL TRACE_DEFAULT_LLM_BACKEND TRACE_LITELLM_MODEL DEFAULT_LITELLM_MODEL TRACE_CUSTOMLLM_URL "
    "TRACE_CUSTOMLLM_MODEL TRACE_CUSTOMLLM_API_KEY"
)
ASK = [{"role": "user", "content": "Hi."}]


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in VARIABLES.split():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(LLMFactory, "_profiles", dict(LLMFactory._profiles))


@pytest.fixture
def server():
    with LLMServer(lambda messages: f"<{messages[-1]['content']}>") as server:
        yield server


@pytest.fixture
def custom(server, monkeypatch):
    monkeypatch.setenv("TRACE_DEFAULT_LLM_BACKEND", "CustomLLM")
    monkeypatch.setenv("TRACE_CUSTOMLLM_URL", server.openai_url)
    monkeypatch.setenv("TRACE_CUSTOMLLM_MODEL", "house")
    monkeypatch.setenv("TRACE_CUSTOMLLM_API_KEY", "sk-house")
    return server


def sent(server):
    return [(request.body["model"], request.headers.get("authorization")) for request in server.requests]


# How a client is called.


@pytest.mark.parametrize(
    "call",
    [
        lambda llm: llm(messages=ASK),
        lambda llm: llm(ASK),
        lambda llm: llm.create(messages=ASK),
        lambda llm: llm.model(messages=ASK),
        lambda llm: llm.model(ASK),
    ],
    ids=["call", "positional", "create", "model", "model-positional"],
)
def test_every_way_to_call_gives_a_reply_in_openais_shape(custom, call):
    with LLM() as llm:
        reply = call(llm)
    assert reply.choices[0].message.content == "<Hi.>"
    assert reply.choices[0].finish_reason == "stop"
    assert sent(custom) == [("house", "Bearer sk-house")]


def test_a_client_of_trace_is_one_of_opto(custom):
    with LLM() as llm:
        assert isinstance(llm, edge.LLM)
        assert isinstance(llm, AbstractModel)
        assert as_llm(llm) is llm
        assert (str(llm.model), llm.model_name) == ("openai:house", "house")
        assert json.dumps({"model": llm.model}) == '{"model": "openai:house"}'
    assert isinstance(ScriptedLLM([]), AbstractModel)
    assert not isinstance(len, AbstractModel)


def test_settings_of_trace_are_taken(custom):
    with LLM("other", reset_freq=60, cache=True, max_retries=1, temperature=0.5) as llm:
        llm(messages=ASK, max_tokens=7)
    body = custom.requests[0].body
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("other", 0.5, 7)
    assert not {"reset_freq", "cache", "max_retries", "profile", "backend"} & body.keys()


def test_what_opto_takes_is_taken_too(server):
    with LLM("m", base_url=server.openai_url, role="judge") as llm:
        assert llm(ASK).text == "<Hi.>"
        assert llm.role == "judge"
    assert LLM(adapter=ScriptedLLM(["x"])._adapter)(ASK).text == "x"


# Which model it is.


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("gpt-4o", "openai:gpt-4o"),
        ("o3-mini", "openai:o3-mini"),
        ("ft:gpt-4o-mini:org::id", "openai:ft:gpt-4o-mini:org::id"),
        ("openai/gpt-4o", "openai:gpt-4o"),
        ("claude-3-5-sonnet-latest", "anthropic:claude-3-5-sonnet-latest"),
        ("anthropic/claude-x", "anthropic:claude-x"),
        ("openai:gpt-4o", "openai:gpt-4o"),
    ],
)
def test_names_of_litellm_go_to_the_provider_they_mean(monkeypatch, name, model):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    assert LLM(name).model == LiteLLM(model=name).model == LLM(name, backend="LiteLLM").model == model
    monkeypatch.setenv("TRACE_LITELLM_MODEL", name)
    assert LLM().model == LiteLLM().model == edge.LLM().model == environment_model() == model


def test_the_older_variable_is_read_where_the_newer_is_not_set(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("DEFAULT_LITELLM_MODEL", "gpt-old")
    assert LLM().model == LiteLLM().model == "openai:gpt-old"
    monkeypatch.setenv("TRACE_LITELLM_MODEL", "gpt-new")
    assert LLM().model == LiteLLM().model == "openai:gpt-new"


def test_optos_own_variable_precedes_those_of_trace(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("TRACE_LITELLM_MODEL", "gpt-trace")
    monkeypatch.setenv("OPTO_MODEL", "openai:mine")
    assert LLM().model == edge.LLM().model == "openai:mine"
    assert LiteLLM().model == "openai:gpt-trace"


def test_the_environment_chooses_the_backend_and_arguments_precede_it(custom, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-official")
    for llm in (LLM(), CustomLLM(), CustomLLM("mine"), edge.LLM(), LLM(backend="CustomLLM", model="named")):
        llm(ASK)
        llm.close()
    assert LLM(backend="LiteLLM", model="gpt-4o").model == "openai:gpt-4o"
    assert [model for model, _ in sent(custom)] == ["house", "house", "mine", "house", "named"]
    assert {key for _, key in sent(custom)} == {"Bearer sk-house"}


def test_a_key_for_somebody_else_is_not_sent_to_a_custom_server(custom, monkeypatch):
    monkeypatch.delenv("TRACE_CUSTOMLLM_API_KEY")
    monkeypatch.delenv("TRACE_CUSTOMLLM_MODEL")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-official")
    for llm in (LLM(), edge.LLM()):
        llm(ASK)
        llm.close()
    assert sent(custom) == [("gpt-4o", "Bearer no-key")] * 2


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: CustomLLM(), "CustomLLM has no address. Set TRACE_CUSTOMLLM_URL"),
        (lambda: LLM(backend="CustomLLM"), "Set TRACE_CUSTOMLLM_URL"),
        (lambda: AutoGenLLM(config_list=[{"model": "gpt-4"}]), r"nothing that opto uses.*DummyLLM\(wrapper.create\)"),
        (lambda: LLM(backend="AutoGen"), "nothing that opto uses"),
        (lambda: LLM(backend="Other"), "There is no backend 'Other'. Choose one of LiteLLM, CustomLLM"),
        (lambda: LLM(profile="huge"), "There is no profile 'huge'.*default, premium"),
        (lambda: LLM(), "No model is configured.*LocalSearch"),
        (lambda: LLM("gpt-4o"), "There is no key for openai:gpt-4o. Set OPENAI_API_KEY"),
    ],
)
def test_what_cannot_be_asked_says_what_to_do(make, words):
    with pytest.raises((BadRequestError, AuthenticationError), match=words):
        make()


@pytest.mark.parametrize(("value", "words"), [("AutoGen", "nothing that opto uses"), ("Other", "no backend 'Other'")])
def test_a_backend_that_is_not_there_is_not_passed_over_in_silence(monkeypatch, value, words):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("TRACE_DEFAULT_LLM_BACKEND", value)
    with pytest.raises(BadRequestError, match=words):
        LLM()
    with pytest.raises(BadRequestError, match=words):
        as_llm(None)
    assert LiteLLM("gpt-4o").model == "openai:gpt-4o"


# Profiles.


def test_profiles_stand_for_models_and_settings(custom):
    LLMFactory.register_profile("mine", "CustomLLM", model="big", temperature=0.5)
    assert LLMFactory.list_profiles() == ["default", "premium", "cheap", "fast", "reasoning", "mine"]
    assert LLMFactory.get_profile_info("mine") == {
        "backend": "CustomLLM",
        "params": {"model": "big", "temperature": 0.5},
    }
    assert LLMFactory.get_profile_info()["mine"] is LLMFactory.get_profile_info("mine")
    for llm in (
        LLMFactory.get_llm("mine"),
        LLM(profile="mine", temperature=1),
        LLMFactory.get_llm(),
        LLM(profile="fast"),
    ):
        llm(messages=ASK)
        llm.close()
    asked = [(request.body["model"], request.body.get("temperature")) for request in custom.requests]
    assert asked == [("big", 0.5), ("big", 1), ("house", None), ("house", None)]


# Models of one's own.


def answer(content):
    return {"choices": [{"message": {"content": content}}]}


class Shouting(AbstractModel):
    """As programs for Trace write them: a factory, and the property that calls what it made."""

    def __init__(self, reset_freq=None):
        super().__init__(
            lambda: made.append(1) or (lambda messages, **_: answer(messages[-1]["content"].upper())), reset_freq
        )

    @property
    def model(self):
        return lambda *args, **kwargs: self._model(*args, **kwargs)


made = []


class Kept(AbstractModel):
    def __init__(self):
        super().__init__(counted)


def counted():
    made.append(1)
    return lambda messages: answer(f"{len(made)}")


def test_a_model_of_ones_own_is_a_model_everywhere():
    llm = Shouting()
    assert llm(messages=ASK)["choices"][0]["message"]["content"] == "HI."
    assert call_llm(llm, "Be loud.", node("hello")).data == "HELLO"
    x = node("a", name="x", trainable=True)
    said = answer('{"suggestion": {"x": "b"}}')
    optimizer = OptoPrime([x], AbstractModel(lambda: lambda messages, **_: said))
    optimizer.backward(x + "!", "It should be b!")
    optimizer.step()
    assert x.data == "b"


def test_it_is_made_anew_when_its_time_is_over_and_when_it_is_unpickled():
    made.clear()
    often, once = Shouting(reset_freq=0), Shouting()
    for llm in (often, often, once, once):
        llm(messages=ASK)
    assert len(made) == 2 + 2
    made.clear()
    assert pickle.loads(pickle.dumps(Kept()))(messages=ASK) == answer("2")


@pytest.mark.parametrize("said", ["yes", answer("yes"), Reply("yes", model="m")], ids=["text", "dict", "reply"])
def test_a_function_in_place_of_a_model(said):
    llm = DummyLLM(lambda *args, **kwargs: said, reset_freq=5)
    for reply in (llm(messages=ASK), llm.create(messages=ASK), llm.model(messages=ASK)):
        assert reply.choices[0].message.content == "yes"
    assert isinstance(llm, edge.DummyLLM)
    assert isinstance(llm, AbstractModel)


# Without LiteLLM.


def test_other_providers_need_litellm_and_the_error_says_how_to_get_it_or_do_without():
    program = """
import sys
sys.modules["litellm"] = None  # not installed
from opto.utils.llm import LLM
for name in ("gemini/gemini-2.5-pro", "azure/o4-mini", "mistral-large"):
    try:
        LLM(name)(messages="Hi.")
    except Exception as error:
        print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    for line in lines:
        assert line.startswith("MissingDependencyError")
        assert "pip install" in line
        assert "litellm" in line
