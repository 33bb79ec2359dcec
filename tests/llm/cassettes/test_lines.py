"""The file: readable, checked, and forgiving to a killed process only."""

import json
import logging

import pytest

from opto.errors import AuthenticationError, BadRequestError, CassetteError, ContextLengthError, RateLimitError
from opto.llm import Cassette, Reply, Usage
from tests.llm.cassettes.made import asking, said


def test_a_reply_comes_back_as_it_was(recorded):
    reply = Reply(
        'a "b"\n\ud800 é 🎈',
        model="m-2026",
        usage=Usage(3, 2, 1, 1),
        finish_reason="length",
        request_id="req_1",
        arguments='{"a": 1}',
        left_out=("temperature",),
        retries=2,
        raw=object(),
    )

    replayed = recorded((asking(), reply)).find(asking())

    assert (replayed.retries, replayed.raw) == (0, None), "nothing was tried"
    assert all(
        getattr(replayed, name) == getattr(reply, name)
        for name in ("text", "model", "usage", "finish_reason", "request_id", "arguments", "left_out")
    )


def test_replies_are_never_shortened(recorded):
    reply = said("iVBORw0KGgo" * 200)

    assert recorded((asking(), reply)).find(asking()) == reply


def test_a_line_can_be_read_by_people(path):
    Cassette(path).keep(asking("Grüße Ada.", temperature=0.5), said("Hallo.", usage=Usage(2, 1)))

    (line,) = path.read_text().splitlines()
    content = json.loads(line)
    assert list(content) == ["key", "request", "reply", "when", "format", "crc"]
    assert '"messages": [{"role": "user", "content": "Grüße Ada."}]' in line
    assert content["request"] == {
        "model": "openai:m",
        "messages": [{"role": "user", "content": "Grüße Ada."}],
        "settings": {"temperature": 0.5},
        "rollout": 0,
    }
    assert content["reply"]["text"] == "Hallo."


def test_refusals_of_the_request_come_back_and_failures_of_the_moment_do_not(path):
    writer = Cassette(path)
    writer.keep(asking("a"), ContextLengthError("Too long.", mend="Cut it.", status=400, request_id="r"))
    for moment in (RateLimitError("Busy.", mend="Wait."), AuthenticationError("No key.", mend="Set it.")):
        writer.keep(asking("b"), moment)

    replay = Cassette(path, mode="replay")
    with pytest.raises(ContextLengthError, match=r"Too long\. Cut it\.") as raised:
        replay.find(asking("a"))
    assert (raised.value.status, raised.value.request_id) == (400, "r")
    assert len(replay) == 1


def test_what_was_refused_is_asked_again_where_there_is_somebody_to_ask(path):
    Cassette(path).keep(asking(), BadRequestError("No such model.", mend="Take another."))

    again = Cassette(path)
    assert again.find(asking()) is None
    again.keep(asking(), said("yes"))
    assert Cassette(path, mode="replay").find(asking()).text == "yes"


@pytest.mark.parametrize("cut", [1, 9, 40, 200, -1, -30])
def test_a_torn_line_is_left_out_said_and_ended_by_the_next_writer(path, cut, caplog):
    writer = Cassette(path)
    for text in ("one", "two"):
        writer.keep(asking(text), said(text))
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second.rstrip()[:cut])

    with caplog.at_level(logging.WARNING):
        later = Cassette(path)
        assert later.find(asking("one")).text == "one"
        assert later.find(asking("two")) is None
    assert "Line 2 of" in caplog.text
    later.keep(asking("three"), said("three"))

    replay = Cassette(path, mode="replay")
    assert [replay.find(asking(text)).text for text in ("one", "three")] == ["one", "three"]


def test_a_line_behind_a_torn_one_is_found_even_without_a_newline(path):
    writer = Cassette(path)
    for text in ("one", "two"):
        writer.keep(asking(text), said(text))
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first[:100] + second)

    assert [request.messages[0]["content"] for request in Cassette(path).requests] == ["two"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda line: line.replace(b"one", b"ONE"), "Line 2 of .* was changed after it was recorded"),
        (lambda line: b"<<<<<<< HEAD", "Line 2 of .* was not written by a cassette: it begins with '<<<<<<< HEAD'"),
        (lambda line: b'{"hello": 1}', "Line 2 of .* was not written by a cassette"),
        (lambda line: line.replace(b'"format": 1', b'"format": 9'), "has the format 9, and .* reads format 1"),
        (lambda line: line[:-1] + b', "note": "mine"}', "Line 2 of .* was changed after it was recorded"),
        (lambda line: json.dumps(json.loads(line), separators=(",", ":")).encode(), "was not written by a cassette"),
    ],
)
def test_a_whole_line_that_is_not_ours_is_an_error(path, change, message):
    Cassette(path).keep(asking("first"), said("first"))
    first = path.read_bytes()
    Cassette(path).keep(asking("one"), said("one"))
    path.write_bytes(first + change(path.read_bytes()[len(first) : -1]) + b"\n")

    with pytest.raises(CassetteError, match=message):
        Cassette(path).find(asking())


def test_line_ends_of_other_systems_and_empty_lines_do_no_harm(path, recorded):
    recorded((asking(), said("hi")))
    path.write_bytes(b"\r\n" + path.read_bytes().replace(b"\n", b"\r\n") + b"\n\n")

    assert Cassette(path, mode="replay").find(asking()).text == "hi"
