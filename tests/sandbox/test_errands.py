"""Errands are done elsewhere, for whoever waits here."""

import threading

import pytest

from opto.sandbox.errands import Errand


def test_an_errand_is_done_in_a_thread_and_asks_where_it_is_waited_for():
    errand = Errand(lambda: None)

    def work():
        return threading.get_ident(), errand.ask(threading.get_ident)

    there, here = errand.run(work)
    assert there != here == threading.get_ident()


def test_exceptions_come_out_on_both_sides():
    errand = Errand(lambda: None)

    def work():
        with pytest.raises(KeyError):
            errand.ask(lambda: {}["a"])
        raise ValueError("no digits")

    with pytest.raises(ValueError, match="no digits"):
        errand.run(work)
    assert not errand.is_given_up


def test_whoever_is_interrupted_gives_the_errand_up():
    ended = threading.Event()
    errand = Errand(ended.set)
    done = threading.Event()

    def interrupted():
        raise KeyboardInterrupt

    def work():
        try:
            errand.ask(interrupted)
        finally:
            ended.wait(30)
            done.set()

    with pytest.raises(KeyboardInterrupt):
        errand.run(work)
    assert errand.is_given_up
    assert done.wait(30)


def test_other_threads_hear_no_signals_and_do_their_errands_themselves():
    found = []
    thread = threading.Thread(target=lambda: found.append(Errand(lambda: None).run(threading.get_ident)))
    thread.start()
    thread.join()
    assert found == [thread.ident]
