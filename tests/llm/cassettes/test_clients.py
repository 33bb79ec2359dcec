"""Clients that replay: without a key, without an SDK, without the environment in which they were recorded."""

import asyncio
import sys

import pytest

from opto.errors import AuthenticationError, BadRequestError, CassetteError
from opto.llm import LLM, Adapter, Cassette, DummyLLM, Ledger, Reply, ScriptedLLM, Tool, as_llm
from opto.testing import Failure, LLMServer
from tests.llm.cassettes.made import asking, said
from tests.llm.ways import ask

MODELS = ["openai:m", "openai-responses:m", "anthropic:c", "azure:d", "ollama:llama3.2:1b", "litellm:x/y"]


@pytest.fixture
def no_sdk(monkeypatch):
    for name in ("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY", "OPENAI_API_VERSION", "OLLAMA_HOST"):
        monkeypatch.delenv(name, raising=False)
    for name in ("openai", "anthropic", "litellm"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.usefixtures("no_sdk")
@pytest.mark.parametrize("model", MODELS)
def test_every_provider_is_replayed_with_nothing_there(model, recorded):
    replay = recorded((asking(model=model), said("hi")))

    with replay:
        assert LLM(model)("hello").text == "hi"
    assert LLM(cassette=Cassette(replay.path, mode="replay"))("hello").text == "hi"
    assert LLM(model.partition(":")[2], cassette=Cassette(replay.path, mode="replay"))("hello").text == "hi"


def test_a_name_that_means_several_models_is_not_guessed(recorded):
    replay = recorded((asking("a", model="openai:m"), said("A")), (asking("b", model="anthropic:m"), said("B")))

    with replay:
        with pytest.raises(BadRequestError, match="names no provider"):
            LLM("m")
        with pytest.raises(AuthenticationError, match="No model is configured"):
            LLM()
        assert LLM("openai:m")("a").text == "A"
        with pytest.raises(CassetteError, match="holds no reply"):
            LLM("openai:other")("a")


def test_what_replays_is_counted_and_costs_nothing(recorded):
    with recorded((asking(), said("hi"))), Ledger() as ledger:
        LLM("openai:m")("hello")

    (record,) = ledger.records
    assert (record.replayed, record.cost) == (True, 0)


def test_a_model_that_refuses_tools_does_so_again(path):
    tool = Tool("t", "d", {"type": "object", "properties": {}})

    def program(llm):
        try:
            return llm("hello", tool=tool).text
        except BadRequestError as error:
            return f"{llm('hello').text} {error.status}"

    with LLMServer([Failure(400, "No tools here."), "hi"]) as server, Cassette(path):
        assert program(LLM("m", base_url=server.openai_url)) == "hi 400"
    with Cassette(path, mode="replay"):
        assert program(LLM("openai:m")) == "hi 400"


def test_the_key_of_a_client_is_in_no_file(path):
    key = "9f86d081884c7d659a2feaa0c55ad015"  # as Azure gives them out: it looks like nothing in particular
    refused = Failure(400, f"The key {key} may not do this.")
    with LLMServer([f"Your key is {key}.", refused]) as server, Cassette(path):
        llm = LLM("m", base_url=server.openai_url, api_key=key, extra_headers={"x-key": key}, extra_body={"who": key})
        messages = [
            {"role": "system", "content": f"Use {key}."},
            {"role": "user", "content": [{"type": "text", "text": key}]},
        ]
        assert key in llm(messages).text
        with pytest.raises(BadRequestError):
            llm(key)
        assert all(request.headers["authorization"] == f"Bearer {key}" for request in server.requests)

    assert path.read_text().count("[secret]") >= 5
    assert key not in path.read_text()
    assert path.read_text().count("\n") == 2


def test_the_first_model_of_a_server_is_replayed_at_any_address(path, how):
    with LLMServer(["one", "two"]) as server, Cassette(path) as cassette, LLM(base_url=server.openai_url) as llm:
        assert [ask(llm, how, text).text for text in ("a", "b")] == ["one", "two"]
        assert llm.model == "openai:test-model", "which is told in bills and logs"
    assert cassette.only_model == "openai:(first model)"

    with Cassette(path, mode="replay"):
        elsewhere = LLM(base_url="http://localhost:1/v1")
        assert [elsewhere(text).text for text in ("a", "b")] == ["one", "two"]
        assert LLM()("a", rollout=0).text == "one"


class Own(Adapter):
    model = "local:own"

    def complete(self, messages, settings):
        return Reply("hi", model="own")


@pytest.mark.usefixtures("no_sdk")
@pytest.mark.parametrize("environment", [None, "openai:other"])
@pytest.mark.parametrize(
    "make", [lambda: ScriptedLLM(["hi"]), lambda: DummyLLM(lambda messages: "hi"), lambda: LLM(adapter=Own())]
)
def test_what_was_no_provider_is_replayed_without_one(make, environment, tmp_path, monkeypatch):
    path = tmp_path / "kept.jsonl"
    with Cassette(path):
        make()("hello")
    if environment is not None:
        monkeypatch.setenv("OPTO_MODEL", environment)
    replay = Cassette(path, mode="replay")
    llm = LLM(cassette=replay)
    assert (llm("hello").text, llm.model) == ("hi", make().model)
    with replay:
        inside = as_llm()
        assert asyncio.run(inside.acall("hello", rollout=0)).text == "hi"
    with pytest.raises(BadRequestError, match="answer from a cassette"):
        inside("hello")
