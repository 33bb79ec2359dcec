"""Servers that send anything at all: each ends in a reply or in an error by kind, which tells what came and no key."""

import asyncio
import gzip
import json
from dataclasses import dataclass

import pytest

from opto import errors
from opto.llm import LLM
from opto.testing import Action, Failure, LLMServer, Raw

KEY = "sk-very-secret"
JSON = "content-type: application/json\r\n"
OK = f"HTTP/1.1 200 OK\r\n{JSON}"


@pytest.fixture(params=["openai", "anthropic"])
def provider(request):
    return request.param


@dataclass(frozen=True)
class Wire(Action):
    """A response byte by byte; where it says LENGTH and BODY, those of an answer are put."""

    head: str
    body: object = None
    encode: object = bytes

    async def play(self, exchange):
        answer = exchange.answer("hello").partition(b"\r\n\r\n")[2]
        body = self.encode(answer) if self.body is None else self.body
        head = self.head.replace("LENGTH", str(len(body))).replace("SHORT", str(len(body) - 5))
        await exchange.write(head.replace("LONG", str(len(body) + 5)).encode("latin-1") + b"\r\n\r\n" + body)
        exchange.hang_up()


def chunked(body):
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


def page(title):
    return f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body>{'<p>nginx</p>' * 500}</body></html>"


REPLIES = {
    "HTTP/1.0": Wire("HTTP/1.0 200 OK\r\ncontent-type: application/json"),
    "until the end": Wire(OK.rstrip()),
    "in chunks": Wire(f"{OK}transfer-encoding: chunked", encode=chunked),
    "after 100": Wire(f"HTTP/1.1 100 Continue\r\n\r\n{OK}content-length: LENGTH"),
    "after 103": Wire(f"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n{OK}content-length: LENGTH"),
    "many headers": Wire(OK + "".join(f"x-{n}: {n}\r\n" for n in range(500)) + "content-length: LENGTH"),
    "header of another alphabet": Wire(f"{OK}x-name: Gr\xfc\xdfe\r\ncontent-length: LENGTH"),
    "cookies": Wire(f"{OK}set-cookie: a=b\r\ncontent-length: LENGTH"),
    "compressed": Wire(f"{OK}content-encoding: gzip\r\ncontent-length: LENGTH", encode=gzip.compress),
    "encoding of nobody": Wire(f"{OK}content-encoding: klingon\r\ncontent-length: LENGTH"),
    "charset of nobody": Wire(OK.replace("json", "json; charset=klingon") + "content-length: LENGTH"),
    "byte order mark": Wire(f"{OK}content-length: LENGTH", encode=lambda body: b"\xef\xbb\xbf" + body),
}


@pytest.mark.parametrize("name", REPLIES)
def test_what_is_strange_but_an_answer(provider, how, name):
    reply = outcome(provider, how, REPLIES[name])
    assert reply.text == "hello"
    assert reply.usage.output_tokens == 1


KINDS = {
    "length too short": (Wire(f"{OK}content-length: SHORT"), errors.ServerError, "in {"),
    "length too long": (Wire(f"{OK}content-length: LONG"), errors.LLMConnectionError, "did not send a whole answer"),
    "length below 0": (Wire(f"{OK}content-length: -5"), errors.LLMConnectionError, "Content-Length"),
    "two lengths": (
        Wire(f"{OK}content-length: 5\r\ncontent-length: 9"), errors.LLMConnectionError, "Content-Length"),
    "chunk that is none": (Wire(f"{OK}transfer-encoding: chunked", b"zz\r\nhello"), errors.LLMConnectionError, "chunk"),
    "chunk cut off": (Wire(f"{OK}transfer-encoding: chunked", b'ff\r\n{"id"'), errors.LLMConnectionError, "whole"),
    "huge header": (Wire(f"{OK}x-big: {'a' * 200_000}"), errors.LLMConnectionError, "too long"),
    "no status": (Wire("HTTP/1.1 OK"), errors.LLMConnectionError, "status line"),
    "other protocol": (Wire("SSH-2.0-OpenSSH_9.2"), errors.LLMConnectionError, "did not send a whole answer"),
    "TLS where none is": (Wire("", b"\x15\x03\x01\x00\x02\x02\x46"), errors.LLMConnectionError, "did not send"),
    "compressed badly": (
        Wire(f"{OK}content-encoding: gzip\r\ncontent-length: LENGTH", b"no gzip"), errors.ServerError, "decomp"),
    "compressed and cut": (
        Wire(f"{OK}content-encoding: gzip\r\ncontent-length: LENGTH", encode=lambda b: gzip.compress(b)[:-20]),
        errors.ServerError, "in {"),
    "other letters": (
        Wire(f"{OK}content-length: LENGTH", encode=lambda b: b.replace(b"hello", b"h\xe9llo")), errors.ServerError,
        "codec"),
    "no content": (Wire("HTTP/1.1 204 No Content"), errors.ServerError, "the body is empty"),
    "reset content": (Wire("HTTP/1.1 205 Reset\r\ncontent-length: 0", b""), errors.ServerError, "the body is empty"),
    "empty": (Wire(f"{OK}content-length: 0", b""), errors.ServerError, "the body is empty"),
    "not modified": (Wire("HTTP/1.1 304 Not Modified"), errors.BadRequestError, "Not Modified"),
    "redirect to nowhere": (
        Wire("HTTP/1.1 302 Found\r\ncontent-length: 0", b""), errors.BadRequestError, "302: Found"),
    "status of nobody": (Wire("HTTP/1.1 999 What\r\ncontent-length: 0", b""), errors.ServerError, "no reason"),
    "null": (Raw("null"), errors.ServerError, "null"),
    "true": (Raw("true"), errors.ServerError, "true"),
    "number": (Raw("3"), errors.ServerError, "3"),
    "list": (Raw("[]"), errors.ServerError, "[]"),
    "NaN": (Raw('{"choices":[{"message":{"content":NaN}}]}'), errors.ServerError, "NaN"),
    "deep": (Raw("[" * 100_000 + "]" * 100_000), errors.ServerError, "recursion"),
    "large number": (Raw(f'{{"choices": [], "n": {"9" * 5000}}}'), errors.ServerError, "digits"),
    "error in a success": (Raw('{"error":{"message":"on fire","type":"server_error"}}'), errors.ServerError, "on fire"),
    "events": (Raw('data: {"choices":[]}\n\ndata: [DONE]\n\n'), errors.ServerError, "[DONE]"),
    "page": (Raw(page("Sign in"), content_type="text/html"), errors.ServerError, 'a page with the title "Sign in"'),
    "page of a gateway": (
        Raw(page("502 Bad Gateway"), status=502, content_type="text/html"), errors.ServerError, '"502 Bad Gateway"'),
    "page without a title": (
        Raw("<html>" + "x" * 5000, status=401), errors.AuthenticationError, "401: a page without a title."),
    "early": (
        Wire("HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close", b""),
        errors.ContextLengthError, "413"),
    "text as error": (Raw('{"error": "on fire"}', status=500), errors.ServerError, "status 500: on fire."),
    "detail as error": (Raw('{"detail": "Not Found"}', status=404), errors.BadRequestError, "404: Not Found."),
    "details as error": (
        Raw('{"detail": [{"msg": "field required"}]}', status=422), errors.BadRequestError, "422: field required."),
    "errors in a list": (Raw('[{"error": {"message": "in a list"}}]', status=400), errors.BadRequestError, "in a list"),
    "no words": (Raw(b"\xff\x00\x07", status=500), errors.ServerError, "status 500"),
    "the key": (Failure(401, f"Wrong key {KEY}"), errors.AuthenticationError, "Wrong key ***"),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_what_is_no_answer(provider, how, name):
    action, kind, words = KINDS[name]
    error = outcome(provider, how, action)
    assert type(error) is kind
    assert words in error.problem
    assert len(str(error)) < 700
    assert str(error).isprintable()
    assert error.mend[0].isupper()
    assert error.mend.endswith(".")
    for said in (str(error), repr(error), error.raw or ""):
        assert KEY not in said


@pytest.mark.parametrize("key", [f"{KEY}\n2", f"{KEY}\x00", f"{KEY}ü"])
def test_a_key_that_cannot_be_sent_is_not_shown(provider, key):
    with pytest.raises(errors.AuthenticationError, match="cannot be sent") as info:
        LLM(f"{provider}:m", base_url="http://localhost:1", api_key=key)
    assert KEY not in str(info.value)


def test_the_end_of_a_line_is_no_part_of_a_key(provider):
    with LLMServer(["hello"]) as server:
        url = server.openai_url if provider == "openai" else server.anthropic_url
        with LLM(f"{provider}:m", base_url=url, api_key=f"{KEY}\r\n") as llm:
            assert llm("hi").text == "hello"
    assert KEY in server.requests[0].headers.values() or f"Bearer {KEY}" in server.requests[0].headers.values()


def test_a_header_that_cannot_be_sent_is_not_shown(provider, how):
    async def both(ask):
        with pytest.raises(errors.BadRequestError, match="header value") as info:
            await ask("hi", extra_headers={"x-token": f"{KEY}\n2"})
        assert KEY not in str(info.value)
        return await ask("hi")

    with LLMServer(["hello"]) as server:
        url = server.openai_url if provider == "openai" else server.anthropic_url
        with LLM(f"{provider}:m", base_url=url, api_key=KEY) as llm:

            async def call(*args, **settings):
                return llm(*args, **settings)

            assert asyncio.run(both(call if how == "call" else llm.acall)).text == "hello"


@dataclass(frozen=True)
class Elsewhere(Action):
    status: int
    place: str

    async def play(self, exchange):
        await exchange.send(self.status, {}, {"location": self.place})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_keys_and_prompts_are_not_taken_elsewhere(provider, how, status):
    with LLMServer(["stolen"]) as other:
        path = "/v1/chat/completions" if provider == "openai" else "/v1/messages"
        error = outcome(provider, how, Elsewhere(status, f"{other.anthropic_url}{path}?token=abc"))
        assert type(error) is errors.BadRequestError
        assert error.status == status
        assert f"points to {other.anthropic_url}." in error.problem
        assert "base_url" in error.mend
    assert other.requests == []


def test_a_server_may_send_on_to_itself(provider, how):
    path = "/v1/chat/completions" if provider == "openai" else "/v1/messages"
    with LLMServer([Elsewhere(307, path), "hello"]) as server:
        url = server.openai_url if provider == "openai" else server.anthropic_url
        with LLM(f"{provider}:m", base_url=url, api_key=KEY) as llm:
            reply = llm("hi") if how == "call" else asyncio.run(llm.acall("hi"))
    assert reply.text == "hello"
    assert server.requests[1].messages == [{"role": "user", "content": "hi"}]


def test_what_a_model_says_is_not_mistaken_for_a_page(provider):
    assert outcome(provider, "call", json.dumps(page("mine"))).text == json.dumps(page("mine"))


def outcome(provider, how, line):
    """Return the reply, or the error."""
    with LLMServer([line]) as server:
        url = server.openai_url if provider == "openai" else server.anthropic_url
        with LLM(f"{provider}:m", base_url=url, api_key=KEY, retries=0, deadline=60) as llm:
            try:
                return llm("hi") if how == "call" else asyncio.run(llm.acall("hi"))
            except errors.LLMError as error:
                return error
