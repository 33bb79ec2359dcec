"""The talk with a child keeps to its time, whatever the child says."""

import json
import os
import socket
import struct

import pytest

from opto.sandbox import Limits, talk


class Nobody:
    """In place of what makes children."""

    def __init__(self, said):
        self._said = said

    def start(self, order, handed):
        self.end_of_child = socket.socket(fileno=os.dup(handed[0]))
        self.end_of_child.sendall(self._said)
        return 1, "/nonexistent", None

    def end(self, number, *, may_wait=True):
        self.end_of_child.close()


def framed(message):
    data = json.dumps(message).encode()
    return struct.pack(">Q", len(data)) + data


def test_a_child_that_always_has_another_question_is_late_all_the_same(monkeypatch):
    asked = []

    def serve(message):
        asked.append(message)
        yield from ()
        return {}

    monkeypatch.setattr(talk.os, "urandom", lambda count: bytes(count))
    child = talk.Child(Nobody(framed({"n": 0, "host": "ask"}) * 50), Limits(), {})
    try:
        with pytest.raises(talk.Late):
            talk.run(child.exchange({"do": "call"}, 0.0, serve))
        assert asked == []
    finally:
        child.end()
