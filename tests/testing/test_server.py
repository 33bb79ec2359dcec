import asyncio
import contextlib
import gc
import http.client
import json
import socket
import threading

import anthropic
import openai
import pytest

from opto.errors import OptoError
from opto.llm import Reply, Usage
from opto.testing import Action, Altered, Cut, Failure, LLMServer, Raw, Slow

QUESTION = {"model": "m", "messages": [{"role": "user", "content": "one two three"}]}


def address(server):
    host, port = server.anthropic_url.removeprefix("http://").split(":")
    return host, int(port)


def connect(server):
    return contextlib.closing(http.client.HTTPConnection(*address(server), timeout=30))


def exchange(connection, path, body, headers=None):
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json", **(headers or {})})
    response = connection.getresponse()
    return response, response.read()


def post(server, path, body, headers=None):
    with connect(server) as connection:
        return exchange(connection, path, body, headers)


def test_the_real_sdks_understand_it():
    reply = Reply("four five", "m", Usage(10, 2, cached_tokens=3, reasoning_tokens=1), "length")
    with LLMServer([reply] * 2) as server:
        with openai.OpenAI(api_key="k", base_url=server.openai_url) as client:
            said = client.chat.completions.create(**QUESTION)
            assert said.choices[0].message.content == "four five"
            assert said.choices[0].finish_reason == "length"
            assert (said.usage.prompt_tokens, said.usage.completion_tokens, said.usage.total_tokens) == (10, 2, 12)
            assert said.usage.prompt_tokens_details.cached_tokens == 3
            assert [model.id for model in client.models.list()] == ["test-model"]
        with anthropic.Anthropic(api_key="k", base_url=server.anthropic_url) as client:
            said = client.messages.create(**QUESTION, max_tokens=5)
            assert said.content[0].text == "four five"
            assert said.stop_reason == "max_tokens"
            assert (said.usage.input_tokens, said.usage.cache_read_input_tokens) == (7, 3)


def test_usage_counts_words_unless_it_is_given():
    with LLMServer(["four five"]) as server:
        _, body = post(server, "/v1/chat/completions", QUESTION)
    assert json.loads(body)["usage"]["prompt_tokens"] == 3
    assert json.loads(body)["usage"]["completion_tokens"] == 2


def test_a_connection_serves_many_requests():
    with LLMServer(lambda messages: "ok") as server:
        with connect(server) as connection:
            sockets = set()
            for _ in range(5):
                response, _ = exchange(connection, "/v1/chat/completions", QUESTION)
                assert response.status == 200
                sockets.add(connection.sock)
        assert len(sockets) == 1


def test_a_client_may_ask_for_the_end_of_the_connection():
    with LLMServer(["ok"]) as server, socket.create_connection(address(server), timeout=30) as raw:
        body = json.dumps(QUESTION).encode()
        head = f"POST /v1/messages HTTP/1.1\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        # In small pieces, as a network may deliver them.
        for byte in head.encode() + body:
            raw.sendall(bytes([byte]))
        received = b"".join(iter(lambda: raw.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert b"ok" in received


def test_requests_are_logged_and_keys_are_not_shown():
    with LLMServer(["ok", "ok"]) as server:
        post(server, "/v1/messages", {**QUESTION, "system": "Be kind."}, {"X-Api-Key": "sk-secret"})
        request = server.requests[0]
    assert (request.method, request.path) == ("POST", "/v1/messages")
    assert request.headers["x-api-key"] == "sk-secret"
    assert "sk-secret" not in repr(request)
    assert request.messages == [{"role": "system", "content": "Be kind."}, *QUESTION["messages"]]


def test_a_function_sees_the_messages():
    with LLMServer(lambda messages: messages[-1]["content"].upper()) as server:
        _, body = post(server, "/v1/chat/completions", QUESTION)
    assert json.loads(body)["choices"][0]["message"]["content"] == "ONE TWO THREE"


def test_what_a_function_raises_comes_out_at_the_end():
    def script(messages):
        raise ZeroDivisionError("in the script")

    def ask():
        with LLMServer(script) as server, pytest.raises(http.client.RemoteDisconnected):
            post(server, "/v1/messages", QUESTION)

    with pytest.raises(ZeroDivisionError, match="in the script"):
        ask()


def test_failures_speak_the_protocol():
    failure = Failure(429, "Too much.", code="rate_limit_error", headers={"retry-after": "3"})
    with LLMServer([failure] * 2) as server:
        response, body = post(server, "/v1/chat/completions", QUESTION)
        assert (response.status, response.reason, response.headers["retry-after"]) == (429, "Too Many Requests", "3")
        assert json.loads(body)["error"]["message"] == "Too much."
        assert json.loads(body)["error"]["code"] == "rate_limit_error"
        _, body = post(server, "/v1/messages", QUESTION)
        assert json.loads(body)["error"] == {"type": "rate_limit_error", "message": "Too much."}


def test_a_script_that_is_over_says_so_and_is_not_asked_again():
    with LLMServer() as server:
        response, body = post(server, "/v1/messages", QUESTION)
    assert response.status == 400
    assert response.headers["x-should-retry"] == "false"
    assert b"over" in body


def test_raw_bodies():
    with LLMServer([Raw("<html>", content_type="text/html")]) as server:
        response, body = post(server, "/v1/messages", QUESTION)
    assert (response.status, response.headers["content-type"], body) == (200, "text/html", b"<html>")


def test_cut_connections():
    with LLMServer([Cut(), Cut("hello world"), "hello"]) as server:
        with pytest.raises(http.client.RemoteDisconnected):
            post(server, "/v1/messages", QUESTION)
        with pytest.raises(http.client.IncompleteRead):
            post(server, "/v1/messages", QUESTION)
        assert post(server, "/v1/messages", QUESTION)[0].status == 200


def test_the_end_of_a_server_waits_for_nobody():
    """This test would take an hour, and the suite with it, if the server waited for its slow answer."""
    with contextlib.ExitStack() as stack:
        with LLMServer([Slow(3600)]) as server:
            connection = stack.enter_context(connect(server))
            connection.request("POST", "/v1/messages", json.dumps(QUESTION))
            while not server.requests:
                pass
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            connection.getresponse()
    assert not [thread for thread in threading.enumerate() if thread.name == "LLMServer"]


def test_an_answer_that_nobody_takes_is_dropped_at_the_end():
    with socket.socket() as raw, LLMServer([Raw("x" * 20_000_000)]) as server:
        raw.connect(address(server))
        raw.sendall(b"POST /v1/messages HTTP/1.1\r\n\r\n")
        while not server.requests:
            pass
        assert raw.recv(1) == b"H"
    gc.collect()


def test_faults_of_ones_own():
    class Drip(Action):
        async def play(self, exchange):
            for byte in exchange.answer("hello"):
                await exchange.write(bytes([byte]))

    with LLMServer([Drip()]) as server:
        _, body = post(server, "/v1/messages", QUESTION)
    assert json.loads(body)["content"][0]["text"] == "hello"


def test_paths_that_are_not_there():
    with LLMServer(["ok"]) as server:
        response, body = post(server, "/v1/embeddings", {})
        assert response.status == 404
        assert b"/v1/embeddings" in body
        assert post(server, "/v1/messages", QUESTION)[0].status == 200


def test_a_script_cannot_be_a_string():
    with pytest.raises(OptoError, match=r"\['hello'\]"):
        LLMServer("hello")


def test_servers_live_side_by_side():
    with LLMServer(["one"]) as first, LLMServer(["two"]) as second:
        assert first.openai_url != second.openai_url
        assert b"two" in post(second, "/v1/messages", QUESTION)[1]
        assert b"one" in post(first, "/v1/messages", QUESTION)[1]


# What the log tells.


def test_the_log_tells_what_was_made_of_each_request():
    usage = Usage(10, 2)
    script = [
        Reply("four five", "m", usage),
        Failure(503),
        Cut("long " * 50),
        Cut(),
        Altered(lambda body: b"{}", "a b"),
    ]
    with LLMServer(script) as server:
        for _ in script:
            with contextlib.suppress(http.client.HTTPException):
                post(server, "/v1/messages", QUESTION)
        post(server, "/v1/embeddings", {})
    assert [(done.number, done.fault, done.status, done.usage, done.whole, done.left) for done in server.log] == [
        (1, None, 200, usage, True, False),
        (2, "Failure", 503, None, True, False),
        (3, "Cut", 200, None, False, False),
        (4, "Cut", None, None, False, False),
        (5, "Altered", 200, None, True, False),
    ]
    assert all(done.seconds is not None for done in server.log)
    assert server.log[0].request is server.requests[0]


def test_the_part_of_an_answer_that_says_its_cost_is_what_counts():
    class Without(Action):
        async def play(self, exchange):
            answer = exchange.answer("hello")
            await exchange.write(answer[: answer.index(b'"usage"')])
            exchange.hang_up()

    with LLMServer([Without(), Altered(lambda body: {"usage": body["usage"]})]) as server:
        for _ in range(2):
            with contextlib.suppress(http.client.HTTPException):
                post(server, "/v1/messages", QUESTION)
    assert [done.usage for done in server.log] == [None, Usage(3, 1)]


def test_a_client_that_goes_is_noticed_and_its_answer_is_given_up():
    ended = threading.Event()

    class Watched(Slow):
        async def play(self, exchange):
            try:
                await super().play(exchange)
            finally:
                ended.set()

    with LLMServer([Watched(3600)]) as server:
        with connect(server) as connection:
            connection.request("POST", "/v1/messages", json.dumps(QUESTION))
            while not server.log:
                pass
        assert ended.wait(30)
        while server.connections:
            pass
    assert [(done.left, done.status) for done in server.log] == [(True, None)]


def test_latency_comes_before_each_answer():
    with LLMServer(lambda messages: "ok", latency=lambda request: len(request.messages) / 100) as server:
        for count in (1, 2):
            post(server, "/v1/messages", {**QUESTION, "messages": QUESTION["messages"] * count})
    assert [done.delay for done in server.log] == [0.01, 0.02]
    assert all(done.seconds >= done.delay for done in server.log)


# What clients may send, and do.


def test_bodies_in_chunks():
    body = json.dumps(QUESTION).encode()
    with LLMServer(["ok"]) as server, connect(server) as connection:
        connection.request(
            "POST",
            "/v1/messages",
            iter([body[:10], body[10:]]),
            encode_chunked=True,
            headers={"transfer-encoding": "chunked"},
        )
        assert connection.getresponse().status == 200
    assert server.requests[0].body == QUESTION


def test_large_bodies():
    with LLMServer(["ok"]) as server:
        question = {**QUESTION, "messages": [{"role": "user", "content": "x" * 20_000_000}]}
        assert post(server, "/v1/messages", question)[0].status == 200
    assert len(server.requests[0].messages[0]["content"]) == 20_000_000


def test_a_question_for_the_head_only():
    with LLMServer() as server, connect(server) as connection:
        connection.request("HEAD", "/v1/messages")
        response = connection.getresponse()
        assert (response.status, response.read()) == (404, b"")


@pytest.mark.parametrize("sent", [b"hello\r\n\r\n", b"POST / HTTP/1.1\r\ncontent-length: many\r\n\r\n"])
def test_what_is_no_request_is_refused(sent):
    with LLMServer() as server:
        with socket.create_connection(address(server), timeout=30) as connection:
            connection.sendall(sent)
            assert connection.recv(65536).startswith(b"HTTP/1.1 400 Bad Request")
        assert post(server, "/v1/embeddings", {})[0].status == 404


def test_a_body_that_is_no_json_is_refused():
    with LLMServer(["ok"]) as server, connect(server) as connection:
        connection.request("POST", "/v1/messages", b"{oops")
        assert connection.getresponse().status == 400


def test_a_connection_may_be_reset():
    with LLMServer([Cut(reset=True)]) as server, pytest.raises(ConnectionResetError):
        post(server, "/v1/messages", QUESTION)


def test_many_connections_at_once():
    with LLMServer(lambda messages: "ok", latency=0.01) as server, contextlib.ExitStack() as stack:
        connections = [stack.enter_context(connect(server)) for _ in range(200)]
        for _ in range(2):
            for connection in connections:
                connection.request("POST", "/v1/messages", json.dumps(QUESTION))
            for connection in connections:
                response = connection.getresponse()
                assert (response.status, bool(response.read())) == (200, True)
        assert server.connections == 200
    assert len(server.log) == 400


def test_it_may_be_used_in_an_event_loop():
    async def main():
        async with LLMServer(["ok"]) as server:
            response, _ = await asyncio.to_thread(post, server, "/v1/messages", QUESTION)
        return response.status

    assert asyncio.run(main()) == 200
    assert not [thread for thread in threading.enumerate() if thread.name == "LLMServer"]
