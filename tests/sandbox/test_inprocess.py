"""At the level ``none``, a candidate is a function like any other, and looks like those in sandboxes."""

import asyncio

import pytest

from opto.sandbox import Sandbox

FACTOR = 2


def original(x):
    return x


@pytest.fixture(scope="module")
def sandbox():
    return Sandbox("none")


def test_default_values_are_those_of_the_text(sandbox):
    with sandbox.load("def f(a, /, b=[1], *, c=(2,)):\n    return [a, b, c]\n") as candidate:
        assert candidate.function.__defaults__ == ([1],)
        assert candidate.function.__kwdefaults__ == {"c": (2,)}
        assert candidate.function(0) == [0, [1], (2,)]
        assert candidate.function(0, c=3) == [0, [1], 3]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("async def original(x):\n    return x * FACTOR\n", 6),
        ("def original(x):\n    return x * FACTOR\n", 6),
        ("async def original(x):\n    yield x\n    yield FACTOR\n", [3, 2]),
        ("def original(x):\n    yield x\n", [3]),
    ],
)
def test_whatever_can_be_awaited_is(sandbox, body, expected):
    with sandbox.load(body, like=original) as candidate:
        assert asyncio.run(candidate.acall(3)) == expected


def test_names_of_the_program_are_not_changed(sandbox):
    with sandbox.load(
        "def original(x):\n    global FACTOR\n    FACTOR = x\n    return FACTOR\n", like=original
    ) as candidate:
        assert candidate(5) == 5
    assert FACTOR == 2
