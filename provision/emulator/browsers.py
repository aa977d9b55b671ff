"""Keeps web pages out: whoever reaches the emulator's port may do everything, and a page in a browser reaches it too.

A browser names the page that sends a changing request in `Origin`, and the name that it looked up in `Host`. So a page
of the internet is told apart from a client library, also when its own name leads to this machine (DNS rebinding).
"""

from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_PAGES = "/accounts.google.com/"
"""The sign-in pages: the only ones that the emulator itself shows; they look at Origin themselves."""


class NoForeignPages:
    """ASGI middleware that answers 403 to what a web page of others sends.

    Args:
        app: The emulator.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            if "origin" in headers and not scope["path"].startswith(_PAGES):
                await _refused("Requests of web pages are refused here.")(scope, receive, send)
                return
            if not _is_this_machine(headers.get("host", "")):
                await _refused("This emulator answers under 127.0.0.1 and localhost only.")(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _refused(message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": 403, "message": message, "status": "PERMISSION_DENIED"}}, 403)


def _is_this_machine(host: str) -> bool:
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    try:
        return ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return name == "localhost"
