"""What is refused before anything of it is sent."""

import inspect

import anthropic
import openai
import pytest

from opto.errors import BadRequestError, kind_of
from opto.llm import LLM, DummyLLM, ScriptedLLM
from opto.nodes import node
from opto.testing import LLMServer
from opto.utils import llm as of_trace

KEY = "sk-very-secret"
OF_CLIENTS = {
    "api_key": KEY,
    "base_url": "http://127.0.0.1:9/v1",
    "adapter": object(),
    "role": "judge",
    "price": (1, 2),
    "ledger": None,
    "budget": None,
    "cassette": None,
    "requests_per_minute": 1,
    "tokens_per_minute": 1,
}
SLIPS = {
    "retrys": "retries",
    "max_retries": "retries",
    "time_out": "timeout",
    "timout": "timeout",
    "deadlin": "deadline",
    "request_per_minute": "requests_per_minute",
    "rollouts": "rollout",
    "legder": "ledger",
    "budgets": "budget",
    "max_token": "max_tokens",
    "maxtokens": "max_tokens",
    "baseurl": "base_url",
    "apikey": "api_key",
    "cassete": "cassette",
    "scheme": "schema",
}
#: Of vLLM, Ollama, OpenRouter and LiteLLM.
_OF_SERVERS = """
    best_of top_k min_p top_a typical_p repetition_penalty length_penalty early_stopping stop_token_ids ignore_eos
    min_tokens max_new_tokens skip_special_tokens truncate_prompt_tokens prompt_logprobs bad_words echo documents
    chat_template chat_template_kwargs add_generation_prompt structured_outputs guided_json guided_regex priority
    num_ctx num_predict keep_alive options format think mirostat repeat_penalty models provider route plugins
    transforms include_reasoning safety_settings thinking_budget cached_content fallbacks api_base api_version caching
    mock_response drop_params custom_llm_provider rules prompt_cache_key modalities
"""


@pytest.mark.parametrize("name", OF_CLIENTS)
def test_what_belongs_to_a_client_is_not_sent_with_a_call(name):
    with LLMServer(["hello"]) as server, LLM("m", base_url=server.openai_url) as llm:
        with pytest.raises(BadRequestError, match=f"{name} belongs to the client") as info:
            llm("hi", **{name: OF_CLIENTS[name]})
        assert KEY not in str(info.value)
        assert not server.requests


def test_what_a_call_may_have_of_its_own_is_sent_or_kept_to():
    with LLMServer(["hello"]) as server, LLM("m", base_url=server.openai_url) as llm:
        llm("hi", model="other", retries=0, deadline=60, timeout=30, rollout=1, max_tokens=5)
    body = server.requests[0].body
    assert (body["model"], body["max_tokens"]) == ("other", 5)
    assert not body.keys() & {"retries", "deadline", "timeout", "rollout"}


@pytest.mark.parametrize(("name", "meant"), SLIPS.items())
def test_a_slip_in_a_name_of_ours_is_not_taken_for_a_setting_of_the_provider(name, meant):
    with pytest.raises(BadRequestError, match=rf"^{name} is no setting that opto knows. Did you mean {meant}\?"):
        LLM("openai:m", api_key="k", **{name: 1})
    llm = ScriptedLLM(["hello"])
    with pytest.raises(BadRequestError, match=f"Did you mean {meant}"):
        llm("hi", **{name: 1})
    assert not llm.calls


def test_names_of_subclasses_are_known():
    with pytest.raises(BadRequestError, match="Did you mean profile"):
        of_trace.LLM(profil="small")
    assert ScriptedLLM(["hello"], profil="mine")("hi").text == "hello"


def test_settings_of_providers_pass():
    chat, claude = openai.OpenAI(api_key="k"), anthropic.Anthropic(api_key="k")
    asked = (chat.chat.completions.create, chat.responses.create, claude.messages.create, claude.beta.messages.create)
    names = {name for create in asked for name in inspect.signature(create).parameters}
    names = (names | set(_OF_SERVERS.split())) - {"messages", "tool", "schema", "timeout", "max_tokens"}
    llm = ScriptedLLM(["hello"] * 2, **dict.fromkeys(names - {"model"}, 1))
    llm("hi")
    llm("hi", **dict.fromkeys(names, 1))
    assert llm.calls[1].settings == dict.fromkeys(names, 1)


@pytest.mark.parametrize("limit", [0, -5, "50", 1.5, True])
def test_a_limit_that_is_none(limit):
    with pytest.raises(BadRequestError, match="max_tokens is .* Give a whole number from 1 on"):
        LLM("openai:m", api_key="k", max_tokens=limit)
    llm = ScriptedLLM(["hello"], max_tokens=node(limit))
    for settings in ({"max_tokens": limit}, {}):
        with pytest.raises(BadRequestError, match="max_tokens is"):
            llm("hi", **settings)
    assert not llm.calls


@pytest.mark.parametrize(("name", "kind"), [("ledger", "Ledger"), ("cassette", "Cassette")])
def test_the_path_of_a_file_is_no_ledger_and_no_cassette(name, kind):
    with pytest.raises(BadRequestError) as info:
        DummyLLM(str, **{name: "x.jsonl"})
    assert info.value.problem == f"The {name} is a str: 'x.jsonl'."
    assert info.value.mend == f"Write {name}={kind}('x.jsonl')."


def test_what_a_thing_is():
    assert [kind_of(thing) for thing in (None, 5, "", [], int, {1})] == [
        "None",
        "an int",
        "a str",
        "a list",
        "a class int",
        "a set",
    ]
