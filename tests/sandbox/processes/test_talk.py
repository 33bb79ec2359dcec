"""The talk with a child keeps to its time, whatever the child says."""

import gc
import json
import os
import select
import signal
import socket
import struct
import threading
import warnings

import pytest

from opto.sandbox import Limits, Sandbox
from opto.sandbox.processes import talk


class Nobody:
    """In place of what makes children."""

    def __init__(self, said):
        self._said, self.is_told = said, threading.Event()

    def start(self, order, handed):
        self.end_of_child = socket.socket(fileno=os.dup(handed[0]))
        self.end_of_child.sendall(self._said)
        return 1, "/nonexistent", None

    def end(self, number):
        self.end_of_child.close()
        self.is_told.set()


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


def test_only_what_is_called_for_a_child_does_not_count_as_its_time(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(talk.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(talk.os, "urandom", lambda count: bytes(count))
    monkeypatch.setattr(talk, "is_over", lambda *_: False)

    def pass_time(seconds):
        clock[0] += seconds
        return "called"

    def serve(message):
        pass_time(message["read"])
        assert (yield talk.HostCall(lambda: pass_time(message["call"]))) == ("called", False)
        return {}

    def came_to(*asked):
        said = b"".join(framed({"n": 0, "host": "ask", "read": read, "call": call}) for read, call in asked)
        child = talk.Child(Nobody(said + framed({"n": 0, "ok": 1})), Limits(), {})
        try:
            return talk.run(child.exchange({"do": "call"}, 10.0, serve))["ok"]
        finally:
            child.end()

    assert came_to((1, 100), (1, 100)) == 1
    with pytest.raises(talk.Late):
        came_to((6, 0), (6, 0))


def test_a_process_in_a_circle_is_ended_without_a_word():
    """Whoever waited for it was cancelled as it came."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        maker = Nobody(b"")
        child = talk.Child(maker, Limits(), {})
        first = child._socket
        child.circle = child
        holder = [child]
        del child
        gc.collect()  # from then on, what is held from outside comes first
        del first, holder
        gc.collect()
        assert maker.is_told.wait(10)
    assert not [item for item in caught if item.category is ResourceWarning]


def test_whose_maker_is_gone_is_known_before_the_system_says_so(monkeypatch):
    sandbox = Sandbox("child")
    with sandbox.load("def f(x):\n    return x\n") as candidate:
        candidate(1)
        zygote = candidate._engine.newest._zygote
        monkeypatch.setattr(zygote._process, "poll", lambda: None)
        os.kill(zygote.process_id, signal.SIGKILL)
        select.select([candidate._engine.newest._pool._idle[0]._socket], [], [])
        assert candidate(2) == 2
