"""Images in messages, as each provider is shown them."""

import asyncio
import base64
from pathlib import Path

import pytest

from opto.errors import BadRequestError
from opto.llm import LLM, ScriptedLLM, estimate_messages, estimate_tokens, image
from opto.llm.tokens import IMAGE_TOKENS
from opto.testing import LLMServer

PNG = b"\x89PNG\r\n\x1a\n and so on"
KINDS = {
    "image/png": PNG,
    "image/jpeg": b"\xff\xd8\xff\xe0 and so on",
    "image/gif": b"GIF87a and so on",
    "image/webp": b"RIFF\x10\x00\x00\x00WEBPVP8 and so on",
}
ENCODED = base64.b64encode(PNG).decode()
TURNS = [
    {"role": "system", "content": "Look well."},
    {"role": "user", "content": ["What is this?", image(PNG), image("https://opto.example/b.png")]},
    {"role": "assistant", "content": ["A cat."]},
    {"role": "user", "content": ["Sure?"]},
]


def url(part):
    return part["image_url"]["url"]


@pytest.mark.parametrize("media_type", KINDS)
def test_the_type_is_told_by_what_is_in_the_file(tmp_path, media_type):
    path = tmp_path / "picture.txt"
    path.write_bytes(KINDS[media_type])
    for source in (path, str(path), KINDS[media_type], bytearray(KINDS[media_type]), memoryview(KINDS[media_type])):
        head, _, data = url(image(source)).partition(",")
        assert head == f"data:{media_type};base64"
        assert base64.b64decode(data) == KINDS[media_type]


@pytest.mark.parametrize("source", ["https://opto.example/a.png", f"data:image/png;base64,{ENCODED}"])
def test_addresses_stay(source):
    assert image(source) == {"type": "image_url", "image_url": {"url": source}}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"BM a bitmap", "no image that models take.*PNG, JPEG, GIF or WebP"),
        (b"", "no image"),
        (b"RIFF\x10\x00\x00\x00WAVE", "no image"),
        (Path(__file__), "test_content.py' is no image"),
        ("no/such/file.png", "no/such/file.png' cannot be read.*No such file"),
        ("a\0b", "cannot be read"),
        (3, "A int is no image"),
        (None, "A NoneType is no image"),
    ],
)
def test_what_is_no_image(source, message):
    with pytest.raises(BadRequestError, match=message):
        image(source)


def sent(provider):
    with LLMServer(lambda messages: "ok") as server:
        address = server.anthropic_url if provider == "anthropic" else server.openai_url
        with LLM(f"{provider}:m", base_url=address) as llm:
            llm(TURNS)
            asyncio.run(llm.acall(TURNS))
    one, other = (request.body for request in server.requests)
    assert one == other
    return one


@pytest.mark.parametrize("provider", ["openai", "ollama"])
def test_chat_completions_are_shown_images(provider):
    turns = sent(provider)["messages"]
    assert turns[1]["content"] == [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{ENCODED}"}},
        {"type": "image_url", "image_url": {"url": "https://opto.example/b.png"}},
    ]
    assert turns[2]["content"] == [{"type": "text", "text": "A cat."}]


def test_responses_are_shown_images():
    turns = sent("openai-responses")["input"]
    assert turns[0]["content"] == [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": f"data:image/png;base64,{ENCODED}"},
        {"type": "input_image", "image_url": "https://opto.example/b.png"},
    ]
    assert turns[1]["content"] == [{"type": "output_text", "text": "A cat."}]


def test_anthropic_is_shown_images():
    body = sent("anthropic")
    assert body["system"] == "Look well."
    assert body["messages"][0]["content"] == [
        {"type": "text", "text": "What is this?"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ENCODED}},
        {"type": "image", "source": {"type": "url", "url": "https://opto.example/b.png"}},
    ]


def test_the_detail_that_is_asked_for_is_kept_where_there_is_such_a_thing():
    part = {"type": "image_url", "image_url": {"url": "https://opto.example/b.png", "detail": "low"}}
    with LLMServer(["ok"]) as server, LLM("openai-responses:m", base_url=server.openai_url) as llm:
        llm([{"role": "user", "content": [part]}])
    (shown,) = server.requests[0].body["input"][0]["content"]
    assert shown == {"type": "input_image", "image_url": "https://opto.example/b.png", "detail": "low"}


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_image", "file_id": "f"},
        {"type": "image", "source": {"type": "file", "file_id": "f"}},
        {"type": "image_url"},
        {"type": "audio"},
    ],
)
def test_parts_in_the_words_of_a_provider_stay(part):
    with LLMServer(lambda messages: "ok") as server:
        for provider, address in [("openai-responses", server.openai_url), ("anthropic", server.anthropic_url)]:
            with LLM(f"{provider}:m", base_url=address) as llm:
                llm([{"role": "user", "content": [part]}])
            turns = server.requests[-1].body.get("input") or server.requests[-1].body["messages"]
            assert turns[0]["content"] == [part]


def test_the_callers_messages_stay_as_they_are():
    turns = [{"role": "user", "content": ["What is this?", image(PNG)]}]
    llm = ScriptedLLM(["ok"])
    llm(turns)
    assert turns[0]["content"][0] == "What is this?"
    assert llm.calls[0].messages[0]["content"][0] == {"type": "text", "text": "What is this?"}


def test_an_image_is_not_counted_as_text():
    large = image(PNG + bytes(3_000_000))
    said = {"role": "user", "content": ["What is this?", large]}
    assert estimate_messages([said]) == estimate_tokens("What is this?") + IMAGE_TOKENS
    for part in ({"type": "image"}, {"type": "input_image"}, {"type": "input_audio"}, {"type": "document"}):
        assert estimate_messages([{"role": "user", "content": [{**part, "data": "A" * 10_000}]}]) == IMAGE_TOKENS


def test_other_contents_are_counted_as_text():
    assert estimate_messages([]) == estimate_messages([{"role": "user", "content": None}]) == 0
    assert estimate_messages([{"content": "one two"}, {"content": "one two"}]) == 2 * estimate_tokens("one two")
    assert estimate_messages([{"content": [{"type": "text", "text": "one two"}]}]) == estimate_tokens("one two")
    assert estimate_messages([{"content": [{"type": "tool_result", "content": "x " * 50}]}]) > 50


def test_a_large_image_fits_where_its_text_would_not():
    said = [{"role": "user", "content": [image(PNG + bytes(3_000_000))]}]
    with LLMServer(["ok"] * 2) as server, LLM("m", base_url=server.openai_url, tokens_per_minute=20_000) as llm:
        # The first of all would be let in whatever it costs.
        assert [llm(said, deadline=30).text for _ in range(2)] == ["ok", "ok"]
