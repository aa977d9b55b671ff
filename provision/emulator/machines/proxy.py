"""Passes an HTTP request on to a process and its answer back, byte for byte and without keeping either in memory."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable

import httpx
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive

LARGEST_BODY = 32 * 1024 * 1024  # https://cloud.google.com/appengine/docs/flexible/how-requests-are-handled
LONGEST_ANSWER = 3600.0
DRAIN_SECONDS = 10.0
# What belongs to one connection and not to the message: RFC 9110, section 7.6.1.
HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
     "transfer-encoding", "upgrade")
)  # fmt: skip

Headers = list[tuple[str, str]]


class TooLarge(Exception):
    """The body is larger than App Engine takes."""


def new_client() -> httpx.AsyncClient:
    """A client for `pass_on`, without limits of its own: those of the platform count."""
    # Shorter than the five seconds for which uvicorn keeps a silent connection, so that none is used as it is closed.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=3.0)
    timeout = httpx.Timeout(LONGEST_ANSWER, connect=10.0)
    return httpx.AsyncClient(trust_env=False, limits=limits, timeout=timeout, follow_redirects=False)


async def pass_on(client: httpx.AsyncClient, request: Request, port: int, headers: Headers) -> Response:
    """The answer of the process on `port` to `request` with `headers` in place of its own.

    Raises TooLarge for a body over 32 MB, and httpx.HTTPError when the process does not answer.
    """
    if int(request.headers.get("content-length") or 0) > LARGEST_BODY:
        raise TooLarge
    path = path_of(request).encode("latin-1")
    query = b"?" + request.scope["query_string"] if request.scope["query_string"] else b""
    has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
    sent = client.build_request(
        request.method,
        httpx.URL(scheme="http", host="127.0.0.1", port=port, raw_path=path + query),
        headers=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        content=_limited(request) if has_body else None,
    )
    answer = await client.send(sent, stream=True)
    response = StreamingResponse(_body(answer), answer.status_code)
    response.raw_headers = [
        (name.lower(), value) for name, value in answer.headers.raw if name.lower().decode("latin-1") not in HOP_BY_HOP
    ]
    return response


def path_of(request: Request) -> str:
    """The path as it was sent: what is decided by it here is decided by what the process behind is going to read."""
    raw = bytes(request.scope.get("raw_path") or request.scope["path"].encode())
    return raw.partition(b"?")[0].decode("latin-1")


def malformed(request: Request) -> str | None:
    """Why a request is none that a server passes on; None when it is one."""
    if request.method == "CONNECT" or not path_of(request).startswith("/"):
        return "this is a server and no proxy"  # https://www.rfc-editor.org/rfc/rfc9112#section-3.2
    if "content-length" in request.headers and "transfer-encoding" in request.headers:
        return "a body has one length"  # https://www.rfc-editor.org/rfc/rfc9112#section-6.1
    return None


def end_to_end(headers: Iterable[tuple[str, str]]) -> Headers:
    """The headers that are meant for the process, and not for this connection only."""
    kept = [(name.lower(), value) for name, value in headers]
    named = {word.strip().lower() for name, value in kept if name == "connection" for word in value.split(",")}
    return [(name, value) for name, value in kept if name not in HOP_BY_HOP and name not in named]


class Incoming:
    """ASGI's `receive` of one request, which remembers whether the whole body has come."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._ended = False

    async def __call__(self) -> Message:
        """The next message."""
        message = await self._receive()
        self._ended = message["type"] == "http.disconnect" or not message.get("more_body", False)
        return message

    async def drain(self) -> None:
        """Read the rest of a body that nobody wants, for a while.

        A connection that is closed on somebody who is still sending is reset, and they never see the answer.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while not self._ended:
                    await self()


async def _limited(request: Request) -> AsyncIterator[bytes]:
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total > LARGEST_BODY:
            raise TooLarge
        if chunk:
            yield chunk


async def _body(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    finally:
        await answer.aclose()
