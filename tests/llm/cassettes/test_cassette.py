"""What a cassette answers, in each of its modes."""

import asyncio
import contextvars
import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from opto.errors import BadRequestError, CassetteError, LLMError
from opto.llm import LLM, Cassette, Tool, cassette_in_force
from opto.llm.cassettes import Request
from tests.llm.cassettes.made import asking, said


def texts(path):
    return [Cassette(path).find(request).text for request in Cassette(path).requests]


def test_replay_answers_and_never_asks(recorded):
    replay = recorded((asking("a"), said("A")), (asking("b"), said("B")))

    assert not replay.asks
    assert [replay.find(asking(text)).text for text in ("b", "a")] == ["B", "A"]
    replay.keep(asking("c"), said("C"))
    assert len(replay) == 2


def test_a_cassette_that_is_not_there_is_an_error_when_it_is_asked(path):
    with Cassette(path, mode="replay", recorded_by="Run `make tapes`.") as cassette:
        pass
    with pytest.raises(CassetteError, match=r"There is no cassette .*replies\.jsonl'\. Run `make tapes`\."):
        cassette.find(asking())
    assert not issubclass(CassetteError, LLMError)


def test_an_empty_one_says_so(path):
    path.touch()

    with pytest.raises(CassetteError, match=r"is empty\. Record it"):
        Cassette(path, mode="replay").find(asking())


def test_auto_adds_what_is_missing_and_answers_the_rest(path):
    first = Cassette(path)
    assert first.find(asking("a")) is None
    first.keep(asking("a"), said("A"))
    before = path.read_bytes()

    second = Cassette(path)
    assert second.find(asking("a")).text == "A"
    assert second.find(asking("b")) is None
    second.keep(asking("b"), said("B"))

    assert path.read_bytes().startswith(before)
    assert texts(path) == ["A", "B"]


def test_auto_adds_more_replies_to_the_same_request(path):
    for session in range(1, 4):
        cassette = Cassette(path)
        found = [cassette.find(asking()) for _ in range(session)]
        assert [reply and reply.text for reply in found] == [*map(str, range(1, session)), None]
        cassette.keep(asking(), said(f"{session}"))

    replay = Cassette(path, mode="replay")
    assert [replay.find(asking()).text for _ in range(3)] == ["1", "2", "3"]


def test_a_program_that_goes_elsewhere_has_the_same_file(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    cassette = Cassette(path.name)
    (path.parent / "elsewhere").mkdir()
    monkeypatch.chdir(path.parent / "elsewhere")
    cassette.keep(asking(), said("hi"))

    assert texts(path) == ["hi"]
    assert repr(cassette) == "Cassette('replies.jsonl', mode='auto')"


def test_record_asks_always_and_replaces_the_file_with_its_first_reply(path, recorded):
    recorded((asking("old"), said("old")), (asking("a"), said("old")))
    again = Cassette(path, mode="record")

    assert again.find(asking("a")) is None
    assert texts(path) == ["old", "old"], "a call that fails destroys nothing"
    again.keep(asking("a"), said("new"))
    again.keep(asking("b"), said("too"))

    assert texts(path) == ["new", "too"]


def test_keep_asks_always_and_only_adds(path):
    for text in ("first run", "second run"):
        cassette = Cassette(path, mode="keep")
        assert cassette.find(asking()) is None
        cassette.keep(asking(), said(text))

    assert path.read_bytes().count(b"\n") == 2
    assert Cassette(path).find(asking()).text == "second run", "the newest wins"


def test_keep_keeps_what_nobody_could_find_again(path):
    request = asking(tracer=object())
    Cassette(path, mode="keep").keep(request, said("paid"))

    assert '"$object": "builtins.object"' in path.read_text()
    for mode in ("auto", "record"):
        with pytest.raises(CassetteError, match="has no form in JSON"):
            Cassette(path, mode=mode).find(request)


def test_there_are_no_other_modes(path):
    with pytest.raises(CassetteError, match="There is no mode 'once'.* Choose one of auto, replay, record, keep"):
        Cassette(path, mode="once")


def test_the_same_request_gets_its_replies_in_order(recorded):
    replay = recorded(*[(asking(), said(text)) for text in ("one", "two")])

    assert [replay.find(asking()).text for _ in range(2)] == ["one", "two"]
    with pytest.raises(CassetteError, match="holds 2 replies to openai:m: 'hello', and rollout 2 is asked for"):
        replay.find(asking())


def test_a_call_that_fails_leaves_no_gap(path):
    cassette = Cassette(path)
    assert cassette.find(asking()) is None  # and the call fails
    assert cassette.find(asking()) is None
    cassette.keep(asking(), said("one"))

    assert Cassette(path, mode="replay").find(asking()).text == "one"


def test_rollouts_say_which_reply_is_meant_whoever_comes_first(path):
    cassette = Cassette(path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: cassette.keep(asking(rollout=n), said(f"{n}")), reversed(range(8))))

    replay = Cassette(path, mode="replay")
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda n: replay.find(asking(rollout=n)).text, [3, 1, 4, 1, 5, 2, 6, 5])
    assert list(found) == ["3", "1", "4", "1", "5", "2", "6", "5"]


def test_uses_are_counted_across_threads(recorded):
    replay = recorded(*[(asking(), said(f"{number}")) for number in range(200)])
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: replay.find(asking()).text, range(200)))

    assert sorted(found, key=int) == [f"{number}" for number in range(200)]


def test_the_nearest_request_is_shown_with_the_first_difference(recorded):
    long = "Once upon a time there was a prompt that was rather long. " * 5
    replay = recorded(
        (asking("something else", model="anthropic:c"), said("no")),
        (asking(f"{long}Greet Ada politely.{long}", temperature=0), said("hello")),
    )

    with pytest.raises(CassetteError) as raised:
        replay.find(asking(f"{long}Greet Bob politely.{long}", temperature=1))

    at = len(f"{long}Greet ")
    assert str(raised.value) == (
        f"The cassette {str(replay.path)!r} holds no reply to this request. The nearest one, in line 2, differs first"
        f" in messages[0].content, at character {at}\n"
        '  recorded: "…as a prompt that was rather long. Greet Ada politely.Once upon a time there was …"\n'
        '  asked:    "…as a prompt that was rather long. Greet Bob politely.Once upon a time there was …"\n'
        '  Record it with mode="auto", or the whole file anew with mode="record".'
    )


@pytest.mark.parametrize(
    ("recorded_one", "asked", "place"),
    [
        (asking(temperature=0), asking(temperature=1), "settings.temperature\n  recorded: 0\n  asked:    1\n"),
        (asking(), asking(seed=1), "settings.seed\n  recorded: (nothing)\n  asked:    1\n"),
        (asking(seed=1), asking(), "settings.seed\n  recorded: 1\n  asked:    (nothing)\n"),
        (asking(flag=True), asking(flag=1), "settings.flag\n  recorded: true\n  asked:    1\n"),
        (asking(stop=["a"]), asking(stop=["a", "b"]), 'settings.stop[1]\n  recorded: (nothing)\n  asked:    "b"\n'),
        (asking(model="openai:a"), asking(model="openai:b"), "model, at character 7\n"),
        (
            asking(x={"properties": {"a": 1, "b": 1}}),
            asking(x={"properties": {"b": 1, "a": 1}}),
            'settings.x.properties, by order\n  recorded: ["a", "b"]\n  asked:    ["b", "a"]\n',
        ),
        (asking(rollout=2), asking(), "rollout\n  recorded: 2\n  asked:    0\n"),
        (
            asking("hi"),
            Request("openai:m", [{"role": "user", "content": "hi"}, {"role": "user", "content": "ho"}]),
            'messages[1]\n  recorded: (nothing)\n  asked:    {"role": "user", "content": "ho"}\n',
        ),
    ],
)
def test_every_difference_is_found(recorded, recorded_one, asked, place):
    replay = recorded((recorded_one, said("x")))

    with pytest.raises(CassetteError) as raised:
        replay.find(asked)
    assert f"differs first in {place}" in str(raised.value)


def test_what_was_not_asked_for_can_be_listed(recorded):
    replay = recorded((asking("a"), said("A")), (asking("b", seed=1), said("B")))
    replay.find(asking("a"))

    (left,) = replay.unused
    assert (left.messages[0]["content"], left.settings, left.rollout) == ("b", {"seed": 1}, 0)
    assert left.key == asking("b", seed=1).key
    assert Cassette(replay.path).unused[1].key == left.key
    replay.find(asking("b", seed=1))
    assert replay.unused == []


def test_the_only_model_is_known(path, recorded):
    assert recorded((asking("a"), said("A")), (asking("b"), said("B"))).only_model == "openai:m"
    assert recorded((asking("c", model="openai:n"), said("C"))).only_model is None
    path.unlink()
    assert Cassette(path).only_model is None


def test_what_a_model_was_offered_is_known_when_nobody_can_be_asked(path, recorded):
    assert not recorded((asking("a", x={"tool": 1}), said("A"))).has_tools
    with Cassette(path, mode="replay") as replay:
        assert not LLM("openai:m").takes_tools, "as it was with the server that was asked"
    assert recorded((asking("b", tool=Tool("t", "d", {})), said("B"))).has_tools
    assert LLM("anthropic:m", cassette=Cassette(replay.path, mode="replay")).takes_tools


def test_the_innermost_block_is_in_force(path):
    outer, inner = Cassette(path), Cassette(path)

    assert cassette_in_force() is None
    with outer:
        with inner:
            assert cassette_in_force() is inner
            with outer:
                assert cassette_in_force() is outer
            assert cassette_in_force() is inner
        assert cassette_in_force() is outer
    assert cassette_in_force() is None


def test_tasks_have_their_own_and_threads_none(path):
    one, other = Cassette(path), Cassette(path)

    async def within(cassette, entered, go):
        with cassette:
            entered.set()
            await go.wait()
            return cassette_in_force()

    async def both():
        events = [asyncio.Event() for _ in range(3)]
        tasks = [
            asyncio.create_task(within(one, events[0], events[2])),
            asyncio.create_task(within(other, events[1], events[2])),
        ]
        await events[0].wait()
        await events[1].wait()
        assert cassette_in_force() is None
        events[2].set()
        return await asyncio.gather(*tasks)

    assert asyncio.run(both()) == [one, other]

    seen, one.warns_threads = [], False
    with one:
        thread = threading.Thread(target=lambda: seen.append(cassette_in_force()))
        thread.start()
        thread.join()
        copied = contextvars.copy_context()
    thread = threading.Thread(target=lambda: seen.append(copied.run(cassette_in_force)))
    thread.start()
    thread.join()
    assert seen == [None, one]


def test_leaving_in_another_task_takes_nothing_from_it(path):
    one, other = Cassette(path), Cassette(path)
    one.__enter__()
    with other:
        contextvars.Context().run(one.__exit__, None, None, None)
        one.__exit__(None, None, None)
        assert cassette_in_force() is other
    assert cassette_in_force() is None


def test_one_that_keeps_stands_in_nobodys_way(path, tmp_path, recorded):
    replay = recorded((asking("a"), said("A")))
    journal, own = Cassette(tmp_path / "journal.jsonl", mode="keep"), Cassette(tmp_path / "own.jsonl")

    with replay, journal:
        assert not cassette_in_force().asks
        assert cassette_in_force().recorded_as(None) == "openai:m"
        assert cassette_in_force().find(asking("a")).text == "A"
        with pytest.raises(CassetteError, match="holds no reply"):
            cassette_in_force().find(asking("b"))
        assert cassette_in_force(own).find(asking("b")) is None
        cassette_in_force(own).keep(asking("b"), said("B"))
    with journal:
        assert cassette_in_force() is journal
        assert cassette_in_force(journal) is journal

    assert texts(journal.path) == ["A", "B"]
    assert texts(own.path) == ["B"]
    assert cassette_in_force(own) is own


def test_a_file_that_answers_gets_no_copies_of_itself(path):
    with Cassette(path), Cassette(path.parent / "." / path.name, mode="keep"):
        for _ in range(2):
            if cassette_in_force().find(asking(rollout=0)) is None:
                cassette_in_force().keep(asking(rollout=0), said("one"))

    assert path.read_bytes().count(b"\n") == 1


def test_copies_of_a_program_share_it(path):
    cassette = Cassette(path, mode="record")

    assert copy.deepcopy({"cassette": cassette})["cassette"] is cassette
    sent = pickle.loads(pickle.dumps(cassette))
    assert (sent.path, sent.mode) == (path, "record")


def test_a_refusal_replaces_no_file(path, recorded):
    recorded((asking("a"), said("old")))
    again = Cassette(path, mode="record")
    again.keep(asking("a"), BadRequestError("No such model.", mend="Take another."))
    assert texts(path) == ["old"]
    again.keep(asking("b"), said("new"))

    replay = Cassette(path, mode="replay")
    assert len(replay) == 2
    with pytest.raises(BadRequestError):
        replay.find(asking("a"))


def test_what_was_refused_under_its_own_number_is_asked_anew(path):
    cassette = Cassette(path)
    cassette.keep(asking("a", rollout=2), BadRequestError("No such model.", mend="Take another."))
    assert cassette.find(asking("a", rollout=2)) is None
    cassette.keep(asking("a", rollout=2), said("one"))
    assert cassette.find(asking("a", rollout=2)).text == "one"


def test_what_has_no_end_costs_no_reply_where_nobody_asked_for_a_copy(path, caplog):
    endless = []
    endless.append(endless)
    cassette = Cassette(path, "keep")
    cassette.keep(Request("openai:m", [{"role": "user", "content": "a"}], {"thing": endless}), said("one"))
    assert "not kept" in caplog.text
    cassette.keep(asking("a"), said("two"))
    assert len(Cassette(path)) == 1
