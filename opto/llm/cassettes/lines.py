"""The lines of a cassette: one request and what came of it, with a check against torn and changed ones."""

import json
import logging
import os
import re
import stat
import zlib
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from datetime import UTC, datetime
from typing import Any

from opto.errors import BadRequestError, CassetteError, ContentRefusedError, ContextLengthError, LLMError
from opto.llm.cassettes.plain import Plain, as_text
from opto.llm.cassettes.request import Request
from opto.llm.messages import Reply, Usage

__all__ = ["Line", "is_lasting", "line_of", "read_lines"]

logger = logging.getLogger(__name__)

_START = b'{"key": "'
_KEY = slice(len(_START), len(_START) + 64)
_END = re.compile(rb', "format": (\d+), "crc": "([0-9a-f]{8})"\}\Z')
_FORMAT = 1

#: Failures that say something of the request, and not of the moment.
_LASTING: dict[str, type[LLMError]] = {
    kind.__name__: kind for kind in (BadRequestError, ContextLengthError, ContentRefusedError)
}
#: What is kept of a reply besides its usage: not the attempts that it took, nor what is no part of what was said.
_KEPT = {item.name: item for item in fields(Reply) if item.compare and item.name not in {"retries", "usage"}}


def is_lasting(error: LLMError) -> bool:
    """Return True if the same request would fail in the same way again."""
    return type(error).__name__ in _LASTING


def line_of(request: Request, rollout: int, outcome: Reply | LLMError) -> tuple[str, bytes]:
    """Return the key of the line and the line, with its newline."""
    key = request.key_of(rollout)
    plain = Plain(request.secrets, lenient=True, shorten=False)
    came = ("reply", _told(outcome)) if isinstance(outcome, Reply) else ("error", _failure(outcome))
    text = (
        f'{{"key": "{key}", "request": {request.text[:-1]}, "rollout": {rollout}}}, '
        f'"{came[0]}": {as_text(plain(came[1], came[0]))}, "when": "{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"'
    )
    # A lone surrogate becomes its escape, which is JSON again.
    body = text.encode("utf-8", "backslashreplace")
    return key, b'%s, "format": %d, "crc": "%08x"}\n' % (body, _FORMAT, zlib.crc32(body))


@dataclass(frozen=True, slots=True)
class Line:
    """A line as it was read: what it holds is found out when somebody asks.

    Args:
        number: Where it stands in its file, from 1.
        data: Its bytes, without the newline.
    """

    number: int
    data: bytes

    @property
    def content(self) -> dict[str, Any]:
        """Everything in it."""
        content: dict[str, Any] = json.loads(self.data)
        return content

    @property
    def is_failure(self) -> bool:
        return b'"error": ' in self.data and "error" in self.content  # to read them all takes its time

    @property
    def request(self) -> Request:
        """The request, with its secrets struck out."""
        return Request(**self.content["request"])

    def outcome(self) -> Reply | LLMError:
        """Return what came of the request."""
        content = self.content
        return _reply(content["reply"]) if "reply" in content else _error(content["error"])


def read_lines(file_name: "str | os.PathLike[str]") -> Iterator[tuple[str, Line]]:
    """Yield key and line of all that a file holds, oldest first. Torn lines are left out, and logged.

    Raises:
        OSError: It cannot be read.
        CassetteError: A line is whole, but was not written here, or was changed since.
    """
    with open(file_name, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return  # a device or a pipe, which holds nothing that was written to it
        content = file.read()
    for number, found in enumerate(content.split(b"\n"), start=1):
        data = _whole(found.rstrip(b"\r"), number, file_name)
        if data:
            yield data[_KEY].decode(), Line(number, data)


def _whole(data: bytes, number: int, file_name: "str | os.PathLike[str]") -> bytes:
    """Return the line in *data*; nothing if it is torn."""
    place = f"Line {number} of {os.fspath(file_name)!r}"
    end = _END.search(data, max(0, len(data) - 60))
    changed = CassetteError(
        f"{place} was changed after it was recorded.",
        mend="Undo the change, or remove the line and record it again.",
    )
    if end is None:
        if not data:
            return b""
        if data.startswith(_START) or _START.startswith(data):
            if _is_json(data):
                raise changed
            logger.warning("%s is torn and left out: a process was killed while it wrote it.", place)
            return b""
        raise CassetteError(
            f"{place} was not written by a cassette: it begins with {data[:40].decode(errors='replace')!r}.",
            mend="Remove what does not belong there, or delete the file and record it again.",
        )
    if end[1] != b"%d" % _FORMAT:
        raise CassetteError(
            f"{place} has the format {int(end[1])}, and this version of opto reads format {_FORMAT}.",
            mend="Delete the file and record it again, or use the version of opto that wrote it.",
        )
    at = 0
    while at >= 0:
        # What was torn may stand in front of a line that another process wrote in the same moment.
        if data.startswith(_START, at) and zlib.crc32(data[at : end.start()]) == int(end[2], 16):
            return data[at:]
        at = data.find(_START, at + 1)
    raise changed


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


def _told(reply: Reply) -> dict[str, Any]:
    """Return what a reply says, without what says nothing."""
    said = {
        name: getattr(reply, name)
        for name, item in _KEPT.items()
        if item.default is MISSING or getattr(reply, name) != item.default
    }
    return said if reply.usage is None else {**said, "usage": reply.usage}


def _reply(said: dict[str, Any]) -> Reply:
    # What a later version may have added is left out.
    given: dict[str, Any] = {
        name: tuple(said[name]) if isinstance(item.default, tuple) else said[name]
        for name, item in _KEPT.items()
        if name in said
    }
    return Reply(**given, usage=_usage(said.get("usage")))


def _usage(said: dict[str, Any] | None) -> Usage | None:
    known = {item.name for item in fields(Usage)}
    return None if said is None else Usage(**{name: number for name, number in said.items() if name in known})


def _failure(error: LLMError) -> dict[str, Any]:
    return {
        "kind": type(error).__name__,
        "problem": error.problem,
        "mend": error.mend,
        "status": error.status,
        "request_id": error.request_id,
    }


def _error(said: dict[str, Any]) -> LLMError:
    kind = _LASTING.get(said["kind"], LLMError)
    return kind(said["problem"], mend=said["mend"], status=said.get("status"), request_id=said.get("request_id"))
