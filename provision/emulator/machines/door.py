"""The front door of a service: Identity-Aware Proxy when it is on, and the way in to the version that has the traffic.

What IAP answers to whom: https://cloud.google.com/iap/docs/authentication-howto and https://cloud.google.com/iap/docs/faq.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import httpx
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from provision.emulator.machines import proxy
from provision.emulator.machines.door_tokens import Identity, Refused, Trust, identify
from provision.emulator.machines.registry import ACCESSOR, Registry, Service
from provision.emulator.machines.signin import CALLBACK, Asked, Codes, Cookies

GENERATED = {"X-Goog-IAP-Generated-Response": "true"}
# Both addresses are told: https://cloud.google.com/iap/docs/query-parameters-and-headers-howto has the newer one.
SIGN_OUT_PATH, SIGN_OUT_QUERY = "/_gcp_iap/clear_login_cookie", ("gcp-iap-mode", "CLEAR_LOGIN_COOKIE")
# The visitor's address as the application sees it. Everybody comes from this machine, but an application that trusts
# loopback callers (MLflow's assistant runs commands for them) must not take visitors for such: see RFC 5737.
VISITOR = "203.0.113.1"
NO_TOKEN = "Invalid IAP credentials: empty token"  # noqa: S105 - a sentence
NOT_READY = "Error: Server Error\nThe service you requested is not available yet.\nPlease try again in 30 seconds."
NO_CLIENT = "Empty Google Account OAuth client ID(s)/secret(s)."


@dataclass(frozen=True)
class Upstream:
    """The process of a version; port 0 is the hello page, which needs none."""

    port: int
    ready: bool


@dataclass(frozen=True)
class Surroundings:
    """What a door works with: the world's facts, the versions' processes, codes and cookies of signing in."""

    registry: Registry
    upstream: Callable[[str, str, str], Upstream | None]
    codes: Codes
    cookies: Cookies
    sign_in: str  # the emulator's own address, where the sign-in page is


@dataclass(frozen=True)
class Entry:
    """Who came in, and whether `Authorization` was spent on that."""

    identity: Identity | None
    spent: bool = False


class Door:
    """An ASGI application in front of one App Engine service."""

    def __init__(self, app: str, service: str, around: Surroundings) -> None:
        self.app = app
        self.service = service
        self.origin = ""  # set when it is known which port this is served on
        self._around = around
        self._client: httpx.AsyncClient | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        incoming = proxy.Incoming(receive)
        request = Request(scope, incoming)
        # A visitor who hangs up, or a server that breaks off in the midst of an answer: nobody is left to be told.
        with contextlib.suppress(ClientDisconnect, httpx.HTTPError):
            answer = await self._answer(request)
            if not isinstance(answer, StreamingResponse):  # an answer of the door's own: nobody has read the body
                await incoming.drain()
            await answer(scope, incoming, send)

    async def close(self) -> None:
        """Give back the connections to the processes behind."""
        if self._client is not None:
            await self._client.aclose()

    async def _answer(self, request: Request) -> Response:
        if (problem := proxy.malformed(request)) is not None:
            return _plain(400, f"400 Bad Request: {problem}", {"Connection": "close"})
        service = await asyncio.to_thread(self._around.registry.service, self.app, self.service)
        if not service.iap:
            return await self._pass(request, service, Entry(None))
        path = proxy.path_of(request)
        if path == CALLBACK:
            return self._signed_in(request)
        if path == SIGN_OUT_PATH or SIGN_OUT_QUERY in request.query_params.multi_items():
            answer = Response(status_code=302, headers=GENERATED | {"Location": "/"})
            return _with_cookies(answer, self._around.cookies.cleared())
        try:
            entry = await self._identify(request, service)
        except Refused as refusal:
            return _said(401, str(refusal))
        admitted = await asyncio.to_thread(
            self._around.registry.admits, self.app, self.service, service.version, entry.identity
        )
        if admitted:
            return await self._pass(request, service, entry)
        if entry.identity is not None:
            return _said(403, f"You don't have access: {entry.identity.email} lacks the role {ACCESSOR} here.")
        return _said(502, NO_CLIENT) if service.client is None else self._ask(request, service.client)

    async def _identify(self, request: Request, service: Service) -> Entry:
        """Who sends the request; raises Refused when it tries to show it with a token that is not good.

        Proxy-Authorization counts first, and Authorization then belongs to the application:
        https://cloud.google.com/iap/docs/authentication-howto#authenticating_from_proxy-authorization_header
        """
        registry = self._around.registry
        trust = Trust(registry.account_keys, registry.google_keys, service.clients)
        url = self.origin + proxy.path_of(request)
        if (token := _bearer(request, "proxy-authorization")) is not None:
            try:
                return Entry(await asyncio.to_thread(identify, token, url, trust))
            except Refused:
                if _bearer(request, "authorization") is None:
                    raise
        if (token := _bearer(request, "authorization")) is not None:
            return Entry(await asyncio.to_thread(identify, token, url, trust), spent=True)
        return Entry(self._around.cookies.identity(request.cookies))

    def _ask(self, request: Request, client: str) -> Response:
        """Send a browser to the sign-in page, and tell everybody else that a token is missing."""
        accepts = request.headers.get("accept", "")
        script = request.headers.get("x-requested-with") == "XMLHttpRequest"
        if request.method not in ("GET", "HEAD") or script or not ("text/html" in accepts or "*/*" in accepts):
            return _said(401, NO_TOKEN)
        query = request.scope["query_string"].decode("latin-1")
        url = proxy.path_of(request) + (f"?{query}" if query else "")
        state, cookie = self._around.cookies.begin(url, request.cookies)
        asked = Asked(client, self.origin + CALLBACK, state)
        answer = _said(302, NO_TOKEN)
        answer.headers["Location"] = asked.link(self._around.sign_in)
        return _with_cookies(answer, [cookie])

    def _signed_in(self, request: Request) -> Response:
        """The browser comes back from the sign-in page with a code: exchange it for a session."""
        cookies = self._around.cookies
        began_at = cookies.end(request.query_params.get("state", ""), request.cookies)
        if began_at is None:
            return _said(401, "Invalid IAP credentials: this browser did not begin this sign-in. Open the page again.")
        identity = self._around.codes.take(request.query_params.get("code", ""), self.origin + CALLBACK)
        if identity is None:
            return _said(401, "Invalid IAP credentials: the code was used, or is too old. Open the page again.")
        answer = Response(status_code=302, headers=GENERATED | {"Location": self.origin + began_at})
        return _with_cookies(answer, [cookies.session(identity)])

    async def _pass(self, request: Request, service: Service, entry: Entry) -> Response:
        if service.version is None:
            return _plain(404, "Error: Page not found\nThe requested URL was not found on this server.")
        upstream = self._around.upstream(self.app, self.service, service.version)
        if upstream is None or not upstream.ready:
            return _plain(503, NOT_READY)
        if upstream.port == 0:
            return Response("Hello, world!", media_type="text/plain")
        headers = await asyncio.to_thread(self._headers, request, service, entry)
        if self._client is None:
            self._client = proxy.new_client()
        try:
            return await proxy.pass_on(self._client, request, upstream.port, headers)
        except (httpx.InvalidURL, ValueError):
            return _plain(400, "400 Bad Request: the path cannot be read", {"Connection": "close"})
        except proxy.TooLarge:
            return _plain(413, "413 Request Entity Too Large", {"Connection": "close"})
        except httpx.HTTPError:
            return _plain(502, "502 Bad Gateway")

    def _headers(self, request: Request, service: Service, entry: Entry) -> proxy.Headers:
        """The request's headers, less what only IAP may say, plus what IAP says."""
        headers = [
            (name, value)
            for name, value in proxy.end_to_end(request.headers.items())
            # Where headers become variables (WSGI), X_Goog_A is the same as X-Goog-A.
            if not name.replace("_", "-").startswith(("x-goog-", "x-appengine-", "x-forwarded-"))
            and name != "forwarded"
            and not (name == "authorization" and entry.spent) and name != "cookie"
        ]  # fmt: skip
        if cookie := self._foreign_cookies(request):
            headers.append(("cookie", cookie))
        headers += [("x-forwarded-for", VISITOR), ("x-forwarded-proto", "http"), ("via", "1.1 google")]
        if entry.identity is not None:
            registry = self._around.registry
            who, subject = entry.identity, f"accounts.google.com:{registry.subject(entry.identity.email)}"
            assertion = registry.assertion_signer().sign(f"/projects/{service.number}/apps/{self.app}", who, subject)
            headers += [
                ("x-goog-iap-jwt-assertion", assertion),
                ("x-goog-authenticated-user-email", f"accounts.google.com:{who.email}"),
                ("x-goog-authenticated-user-id", subject),
            ]
        return headers

    def _foreign_cookies(self, request: Request) -> str:
        """The cookies that are the application's own: it has no use for the session of its visitor at the door."""
        ours = (self._around.cookies.session_name, self._around.cookies.nonce_name)
        pairs = [pair.strip() for line in request.headers.getlist("cookie") for pair in line.split(";")]
        return "; ".join(pair for pair in pairs if pair and pair.partition("=")[0] not in ours)


def _bearer(request: Request, header: str) -> str | None:
    scheme, _, token = request.headers.get(header, "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _said(status: int, text: str) -> Response:
    """An answer of IAP's own: a plain sentence that calls itself HTML."""
    return HTMLResponse(text.replace("<", "&lt;"), status, headers=GENERATED)


def _plain(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    return Response(text + "\n", status, headers=headers, media_type="text/plain")


def _with_cookies(answer: Response, cookies: list[str]) -> Response:
    for cookie in cookies:
        answer.headers.append("Set-Cookie", cookie)
    return answer
