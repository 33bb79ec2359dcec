import pytest

from opto.llm import Cassette


@pytest.fixture
def path(tmp_path):
    return tmp_path / "replies.jsonl"


@pytest.fixture
def recorded(path):
    """Records pairs of a request and a reply, and returns the cassette that replays them."""

    def record(*pairs):
        writer = Cassette(path)
        for request, reply in pairs:
            writer.keep(request, reply)
        return Cassette(path, mode="replay")

    return record
