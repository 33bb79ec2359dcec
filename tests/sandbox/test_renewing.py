"""A candidate meets the program as it is, also where several calls meet a change of it at the same time."""

import os
import random
import signal
import threading

import pytest

from opto.sandbox import Limits, Sandbox
from opto.sandbox.candidate import ChildCandidate
from opto.sandbox.scope.scope import Scope

pytestmark = pytest.mark.filterwarnings("ignore:Code that a model wrote:RuntimeWarning")
KINDS = "\n".join(f"class Kind{i}:\n    def __init__(self, x):\n        self.x = x\n" for i in range(8))


@pytest.fixture
def sandbox():
    return Sandbox(limits=Limits(seconds=5, children=6))


def program(text):
    """Return the names of a program with *text*, whose functions can be looked up by line."""
    import linecache

    file = f"<program {random.SystemRandom().random()}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    namespace = {"__name__": "program"}
    exec(compile(text, file, "exec"), namespace)
    return namespace


def at_once(count, action):
    barrier, found = threading.Barrier(count), []

    def go():
        barrier.wait()
        try:
            found.append(action())
        except Exception as error:
            found.append(error)

    threads = [threading.Thread(target=go) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_calls_at_the_same_time_make_one_candidate(sandbox, monkeypatch):
    names = program("def helper(x):\n    return x + 1\ndef like(x):\n    return helper(x)\n")
    made, make = [], ChildCandidate.__init__

    def slowly(self, *args, **kwargs):
        made.append(self)
        threading.Event().wait(0.05)
        make(self, *args, **kwargs)

    with sandbox.load("def like(x):\n    return helper(x) * 2\n", like=names["like"]) as candidate:
        assert candidate(1) == 4
        names["helper"] = program("def helper(x):\n    return x + 2\n")["helper"]
        monkeypatch.setattr(ChildCandidate, "__init__", slowly)
        assert at_once(5, lambda: candidate(1)) == [6] * 5
        assert len(made) == 1


def test_a_renewed_candidate_does_not_draw_the_same_again(sandbox):
    names = program("import random\ndef helper(x):\n    return x\ndef like(x):\n    return helper(random.random())\n")
    with sandbox.load("def like(x):\n    return helper(random.random())\n", like=names["like"]) as candidate:
        drawn = {candidate(1)}
        for _ in range(3):
            names["helper"] = program("def helper(x):\n    return x\n")["helper"]
            drawn.add(candidate(1))
        assert len(drawn) == 4


def test_calls_at_the_same_time_may_bring_classes_that_nobody_was_told_of(sandbox, monkeypatch):
    names = program(f"{KINDS}\ndef like(x):\n    return x\n")
    look = Scope.encode

    def slowly(self, name, value):
        threading.Event().wait(0.005)
        return look(self, name, value)

    monkeypatch.setattr(Scope, "encode", slowly)
    with sandbox.load("def like(x):\n    return x.x\n", like=names["like"]) as candidate:
        for i in range(8):
            assert at_once(4, lambda kind=names[f"Kind{i}"]: candidate(kind(1))) == [1] * 4


def test_a_process_forked_while_a_candidate_is_told_of_something_does_not_wait_for_that(sandbox, monkeypatch):
    names = program("def helper(x):\n    return x + 1\ndef like(x):\n    return helper(x)\n")
    telling, is_forked, look = threading.Event(), threading.Event(), Scope.encode

    def slowly(self, name, value):
        if threading.current_thread() is not threading.main_thread():
            telling.set()
            is_forked.wait(10)
        return look(self, name, value)

    monkeypatch.setattr(Scope, "encode", slowly)
    with sandbox.load("def like(x):\n    return helper(x)\n", like=names["like"]) as candidate:
        candidate(1)
        thread = threading.Thread(target=candidate, args=(1,))
        thread.start()
        telling.wait(10)
        pid = os.fork()
        if not pid:
            signal.alarm(10)
            os._exit(0 if candidate(2) == 3 else 1)
        is_forked.set()
        thread.join()
        assert os.waitpid(pid, 0)[1] == 0


def test_what_a_process_begins_with_is_read_while_nobody_adds_to_it(sandbox):
    names = program("RATE = 2\ndef like(x):\n    return x * RATE\n")
    with sandbox.load("def like(x):\n    return x * RATE\n", like=names["like"]) as candidate:
        engine, adding = candidate._engine.newest, []

        class Growing(dict):
            def items(self):
                def add():
                    with engine._telling:
                        self["program", f"OTHER_{len(self)}"] = self["program", "RATE"]

                for item in super().items():
                    if not adding:
                        adding.append(threading.Thread(target=add))
                        adding[0].start()
                        adding[0].join(0.3)  # which it cannot do before all were looked at
                    yield item

        engine._scope.watched = Growing(engine._scope.watched)
        assert candidate(2) == 4
        adding[0].join()
