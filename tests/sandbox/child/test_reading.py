"""What the other side says is read as long as that may take, however small it is."""

import pytest

from opto.sandbox.child import reading
from opto.sandbox.child.codec import Decoder, MalformedError
from opto.sandbox.child.graphs import readers
from opto.sandbox.child.reading import limited, look

NONE_LEFT = -1.0


@pytest.mark.parametrize(
    "form",
    [
        {"!set": [*range(1000)]},
        {"!dict": [[number, 0] for number in range(1000)]},
        {"!ordered": [[number, 0] for number in range(1000)]},
        [{"!tuple": [number]} for number in range(1000)],
        {"!graph": [[{"!instance": 0}], [["a", {"x": {"!tuple": []}}]]]},
    ],
    ids=lambda form: str(form)[:12],
)
def test_what_takes_too_long_is_given_up(form):
    known = readers({"a": type("A", (), {})}, lambda *_: None)
    decoder = Decoder(lambda tag, content, value: known[tag](content, value))
    with limited(NONE_LEFT), pytest.raises(MalformedError, match="takes longer than -1 s"):
        decoder.decode(form)
    decoder.decode(form)


def test_keys_are_given_up_while_they_are_put_in(monkeypatch):
    asked = []
    monkeypatch.setattr(reading, "look", lambda: asked.append(0))
    assert len(Decoder().decode({"!set": [*range(1000)]})) == 1000
    assert len(asked) > 2 * 1000 // reading.EVERY  # when they are looked at, and when they are put in


def test_limits_end_with_what_they_are_for():
    with limited(10):
        with pytest.raises(ValueError, match="longer"), limited(NONE_LEFT):
            look()
        look()
    look()
