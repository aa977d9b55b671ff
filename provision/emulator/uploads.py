"""Request bodies: JSON in memory, media on disk, however large.

The ways of uploading are those of https://cloud.google.com/storage/docs/uploads-downloads: media, multipart, resumable.
"""

import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from pathlib import Path

from provision.emulator import errors

_HEAD = 8 * 1024 * 1024  # the JSON part of a multipart upload is far smaller


@dataclass
class Sent:
    """A body as it came: its JSON text, and where its media lies."""

    text: bytes = b""
    media: Path | None = None
    media_type: str | None = None


async def receive(chunks: AsyncIterator[bytes], content_type: str, spool: Path, *, upload: bool, kind: str) -> Sent:
    """Read a whole body; that of an upload goes to a file in `spool`, but for the JSON that begins it."""
    if not upload or (kind == "resumable" and "json" in content_type):
        return Sent(text=b"".join([chunk async for chunk in chunks]))
    path = spool / secrets.token_hex(12)
    if content_type.startswith("multipart/"):
        return await _multipart(chunks, content_type, path)
    with path.open("wb") as file:  # short writes to a local disk
        async for chunk in chunks:
            file.write(chunk)
    return Sent(media=path, media_type=content_type or None)


async def _multipart(chunks: AsyncIterator[bytes], content_type: str, path: Path) -> Sent:
    """multipart/related of two parts: JSON, then the media. https://www.rfc-editor.org/rfc/rfc2387."""
    found = re.search(r'boundary=(?:"([^"]+)"|\'([^\']+)\'|([^;]+))', content_type)
    if found is None:
        raise errors.invalid("Missing boundary in multipart body.", reason="badContent")
    mark = b"--" + next(group for group in found.groups() if group).strip().encode()
    head, sent = b"", None
    with path.open("wb") as file:  # short writes to a local disk
        async for chunk in chunks:
            if sent is not None:
                file.write(chunk)
                continue
            head += chunk
            sent, rest = _head(head, mark)
            file.write(rest)
            if sent is None and len(head) > _HEAD:
                break
    if sent is None:
        path.unlink()  # noqa: ASYNC240  # one unlink
        raise errors.invalid("Malformed multipart body.", reason="badContent")
    _cut(path, b"\r\n" + mark + b"--", b"\n" + mark + b"--")
    sent.media = path
    return sent


def _head(head: bytes, mark: bytes) -> tuple[Sent | None, bytes]:
    """The JSON part and the second part's headers out of the beginning of a body, and what follows them."""
    first = head.find(mark)
    second = head.find(mark, first + len(mark)) if first >= 0 else -1
    blank = re.compile(rb"\r?\n\r?\n")
    start = blank.search(head, first) if second > 0 else None
    end = blank.search(head, second) if second > 0 else None
    if start is None or end is None:
        return None, b""
    headers = BytesHeaderParser().parsebytes(head[second + len(mark) : end.start()].lstrip())
    return Sent(text=head[start.end() : second].strip(), media_type=headers.get("content-type")), head[end.end() :]


def _cut(path: Path, *closings: bytes) -> None:
    """Take the closing boundary off the end of the media."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(max(0, size - 300))
        tail = file.read()
        for closing in closings:
            at = tail.rfind(closing)
            if at >= 0:
                file.truncate(size - len(tail) + at)
                return
    path.unlink()
    raise errors.invalid("Malformed multipart body.", reason="badContent")
