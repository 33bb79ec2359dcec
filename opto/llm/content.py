"""Messages that hold more than text: images, as every provider is shown them."""

import os
from collections.abc import Mapping
from typing import Any

from opto.errors import BadRequestError

__all__ = ["as_parts", "image", "image_url"]

#: How files of these types begin.
_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_URLS = ("https://", "http://", "data:")


def image(source: str | os.PathLike[str] | bytes | bytearray | memoryview) -> dict[str, Any]:
    """Make the part of a message that shows an image.

    Where a message has a content, it may have a list of parts: ``["What is this?", image("picture.png")]``.

    Args:
        source: The path of a file, or what is in it: PNG, JPEG, GIF or WebP, told by its first bytes. Or an address
            that the provider loads itself (``https://…``), or a data URL.

    Raises:
        BadRequestError: The file cannot be read, or is no such image.

    Example:
        >>> image(b"GIF89a")
        {'type': 'image_url', 'image_url': {'url': 'data:image/gif;base64,R0lGODlh'}}
    """
    if isinstance(source, str) and source.lower().startswith(_URLS):
        return {"type": "image_url", "image_url": {"url": source}}
    if isinstance(source, bytes | bytearray | memoryview):
        data, name = bytes(source), "The data"
    else:
        data, name = _contents(source), f"The file {os.fspath(source)!r}"
    # Importing opto must not load it.
    from base64 import b64encode  # noqa: PLC0415 - only where there is an image

    return {"type": "image_url", "image_url": {"url": f"data:{_type(data, name)};base64,{b64encode(data).decode()}"}}


def _contents(path: str | os.PathLike[str]) -> bytes:
    if not isinstance(path, str | os.PathLike):
        raise BadRequestError(f"A {type(path).__name__} is no image.", mend="Pass the path of a file, or its bytes.")
    try:
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:
        shown = f"{path!r:.80}"
        raise BadRequestError(
            f"The image {shown} cannot be read: {error}.",
            mend="Pass the path of a file, its bytes, or an address that begins with https://.",
        ) from error


def _type(data: bytes, name: str) -> str:
    for beginning, media_type in _BEGINNINGS:
        if data.startswith(beginning):
            return media_type
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    raise BadRequestError(
        f"{name} is no image that models take: it begins with {data[:8]!r}.",
        mend="Convert it to PNG, JPEG, GIF or WebP.",
    )


def as_parts(content: Any) -> Any:
    """Return the content of a message with strings in a list as parts of text; other contents as they are.

    Example:
        >>> as_parts(["Look:", {"type": "image_url", "image_url": {"url": "https://opto.example/a.png"}}])[0]
        {'type': 'text', 'text': 'Look:'}
    """
    if not isinstance(content, list | tuple):
        return content
    return [{"type": "text", "text": part} if isinstance(part, str) else part for part in content]


def image_url(part: Any) -> tuple[str, Mapping[str, Any]] | None:
    """Return the address in a part that shows an image, and what else is said of it; None if it is another part."""
    if not isinstance(part, Mapping) or part.get("type") != "image_url":
        return None
    described = part.get("image_url")
    if isinstance(described, str):
        return described, {}
    if not isinstance(described, Mapping) or not isinstance(described.get("url"), str):
        return None
    return described["url"], {name: value for name, value in described.items() if name != "url"}
