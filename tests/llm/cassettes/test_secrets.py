"""Keys and passwords are written down nowhere, and take no part in what a request is."""

import json

import pytest

from opto.errors import BadRequestError, CassetteError
from opto.llm import Cassette
from opto.llm.cassettes import Request
from tests.llm.cassettes.made import asking, said

# Put together here, so that nobody's scanner takes this file for a leak.
OPENAI = "sk-" + "proj-4fQ8zLr2VbN7wXy1TcGm"
ANTHROPIC = "sk-ant-" + "api03-7Yh3kQ-9zPq_2LmN5vB8xW"
SECRETS = [
    OPENAI,
    ANTHROPIC,
    "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc",
    "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a",
    "github_pat_" + "11ABCDEFG0abcdefghijkl_mnopqrstuv",
    "glpat-" + "a1B2c3D4e5F6g7H8i9J0",
    "AKIA" + "IOSFODNN7EXAMPLE",
    "AIza" + "SyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY",
    "xoxb-" + "123456789012-abcdefghijkl",
    "hf_" + "aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456",
    "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0." + "dozjgNryP4J3jVmNHl0w5N",
    "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEowIBAAKCAQEA\nabc=\n" + "-----END RSA PRIVATE KEY-----",
]
AZURE = "9f86d081884c7d659a2feaa0c55ad015"
AWS = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY7"


@pytest.mark.parametrize("secret", SECRETS, ids=lambda secret: secret[:9])
def test_what_looks_like_a_key_is_struck_out(secret):
    request = asking(f"My key is {secret}, keep it.")

    assert request.content["messages"][0]["content"] == "My key is [secret], keep it."
    assert request.key == asking("My key is [secret], keep it.").key == Request(**request.content).key


@pytest.mark.parametrize(
    "text",
    [
        f"api-key: {AZURE}",
        f"AZURE_OPENAI_API_KEY={AZURE}",
        f'{{"api_key": "{AZURE}"}}',
        json.dumps({"arguments": json.dumps({"api_key": AZURE})}),
        f"aws_secret_access_key = {AWS}",
        f"Authorization: Bearer {AZURE}",
        f"AccountKey={AWS}==;EndpointSuffix=core.windows.net",
        "postgres://me:" + f"{AZURE}@db.example.com/x",
        "https://me:" + "hunter2@example.com",
    ],
)
def test_what_is_called_a_key_is_struck_out(text):
    stored = asking(text).text

    assert "[secret]" in stored
    assert not any(secret in stored for secret in (AZURE, AWS, "hunter2"))


@pytest.mark.parametrize(
    "text",
    [
        "See desk-1234567890123456 and task-2026-11-22-number-12.",
        "Use sk-learn and ask-me-anything.",
        "The bearer of bad news has 12 tokens left; max_tokens=4096.",
        "token = encode_with_vocabulary_32k_and_2_more\nreturn token",
        "secret: the answer is 42, because everybody says so.",
        "api_key = os.environ['OPENAI_API_KEY']",
        "password: str = Field(min_length=12)",
        "See https://example.com:8080/a@b and mail me@example.com.",
        "token = tokenizer.encode_with_2_passes_10(text)",
        "def basic_understanding_1234567890123(x): pass",
        "9f86d081884c7d659a2feaa0c55ad015 is the hash of the commit.",
    ],
)
def test_what_is_none_stays(text):
    assert asking(text).content["messages"][0]["content"] == text


def test_the_key_of_the_client_is_struck_out_whatever_it_looks_like():
    key = "Tr0ub4dor&3"

    assert asking(f"({key})", secrets=[key]).key == asking("([secret])").key
    assert asking("no-key here, a test", secrets=["no-key", "test"]).key == asking("no-key here, a test").key


def test_names_tell_what_is_secret():
    body = {"api_key": "short", "auth": {"access_token": "abc", "Authorization": "xyz"}, "stop_token": "<end>"}
    stored = asking(extra_body=body).content["settings"]["extra_body"]

    assert stored == {
        "api_key": "[secret]",
        "auth": {"access_token": "[secret]", "Authorization": "[secret]"},
        "stop_token": "<end>",
    }


def test_a_key_that_is_everywhere_is_in_no_file_and_no_error(path):
    key = "Tr0ub4dor&3-of-the-client"
    request = Request(
        f"openai:{OPENAI}",
        [{"role": "system", "content": f"Use {key} or {ANTHROPIC}."}, {"role": "user", "content": [{"text": OPENAI}]}],
        {"extra_headers": {"x": OPENAI}, "extra_body": {key: [key], "x": {"api_key": AZURE}}, "user": OPENAI},
        secrets=[key],
    )
    secrets = [key, OPENAI, ANTHROPIC, AZURE]
    cassette = Cassette(path)
    cassette.keep(request, said(f"Your key is {key}.", arguments=f'{{"key": "{OPENAI}"}}', request_id=OPENAI))
    refused = BadRequestError(f"{OPENAI} may not use {key}", mend=f"Give up {ANTHROPIC}.")
    cassette.keep(request, refused)

    stored = path.read_text()
    replay = Cassette(path, mode="replay")
    assert stored.count("\n") == 2
    assert not [secret for secret in secrets if secret in stored]
    assert replay.find(request).text == "Your key is [secret]."
    with pytest.raises(BadRequestError, match=r"\[secret\] may not use"):
        replay.find(request)
    for other in (request, Request("openai:x", [{"role": "user", "content": OPENAI}])):
        with pytest.raises(CassetteError) as raised:
            replay.find(other)
        assert not [secret for secret in secrets if secret in str(raised.value)]


def test_another_key_asks_for_the_same(recorded):
    replay = recorded((asking(f"I am {OPENAI}.", secrets=["key-of-ada"]), said("hello")))

    assert replay.find(asking(f"I am {ANTHROPIC}.", secrets=["key-of-bob"])).text == "hello"
