"""The metadata server of one workload: who it is, where it runs, and tokens of its service account.

https://cloud.google.com/compute/docs/metadata/predefined-metadata-keys. Each workload has one on a port of its own, so
that the port tells which account asks.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

HEADERS = {"Metadata-Flavor": "Google", "Server": "Metadata Server for VM", "X-Frame-Options": "SAMEORIGIN"}
ROOT = "/computeMetadata/v1"
ACCOUNT = ("instance", "service-accounts", "default")
SCOPE = "https://www.googleapis.com/auth/cloud-platform"

Tree = dict[str, Any]


@dataclass(frozen=True)
class Machine:
    """What a workload may learn about the machine that it believes to be on."""

    project: str
    number: str
    zone: str
    name: str
    account: str


class Metadata:
    """An ASGI application that answers as `metadata.google.internal` does on that machine.

    `access_token` gives a token of the account and the seconds that it is still good for; `id_token` makes one for an
    audience. Both may wait for the emulator's state, so they are called in a thread.
    """

    def __init__(
        self, machine: Machine, access_token: Callable[[], tuple[str, int]], id_token: Callable[[str], str]
    ) -> None:
        self._machine = machine
        self._access_token = access_token
        self._id_token = id_token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        answer = await self._answer(request)
        answer.headers.update(HEADERS)
        await answer(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path = unquote(request.url.path)
        if path == "/":  # what a library asks to see whether there is a metadata server at all
            return PlainTextResponse("computeMetadata/\n")
        if request.headers.get("metadata-flavor") != "Google" or "x-forwarded-for" in request.headers:
            # A page in a browser, and a request that some proxy passes on, can not have meant it.
            return PlainTextResponse("Missing Metadata-Flavor:Google header.\n", 403)
        if not path.startswith(ROOT):
            return PlainTextResponse("Not found\n", 404)
        parts = tuple(part for part in path.removeprefix(ROOT).split("/") if part)
        if parts[:2] == ACCOUNT[:2] and len(parts) > 2 and parts[2] == self._machine.account:
            parts = (*ACCOUNT, *parts[3:])
        if parts[:3] == ACCOUNT and parts[3:] == ("token",):
            token, left = await asyncio.to_thread(self._access_token)
            return JSONResponse({"access_token": token, "expires_in": left, "token_type": "Bearer"})
        if parts[:3] == ACCOUNT and parts[3:] == ("identity",):
            return await self._identity(request)
        found = _walk(self._tree(), parts)
        if found is None:
            return PlainTextResponse("Not found\n", 404)
        return _shown(found, request)

    async def _identity(self, request: Request) -> Response:
        audience = request.query_params.get("audience", "")
        if not audience:
            return PlainTextResponse("non-empty audience parameter required\n", 400)
        return PlainTextResponse(await asyncio.to_thread(self._id_token, audience))

    def _tree(self) -> Tree:
        machine = self._machine
        account = {"aliases": ["default"], "email": machine.account, "scopes": [SCOPE]}
        place = f"projects/{machine.number}"
        return {
            "instance": {
                "hostname": f"{machine.name}.c.{machine.project}.internal",
                "id": int.from_bytes(machine.name.encode()[-7:], "big"),
                "name": machine.name,
                "region": f"{place}/regions/{machine.zone.rpartition('-')[0]}",
                "service-accounts": {machine.account: account, "default": account},
                "zone": f"{place}/zones/{machine.zone}",
            },
            "project": {"numeric-project-id": int(machine.number), "project-id": machine.project},
            "universe": {"universe-domain": "googleapis.com"},
        }


def _walk(tree: Any, parts: tuple[str, ...]) -> Any:
    for part in parts:
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree


def _shown(found: Any, request: Request) -> Response:
    query = parse_qs(request.url.query)
    whole = query.get("recursive", [""])[0].lower() == "true"
    if isinstance(found, dict) and not whole:
        return PlainTextResponse("".join(f"{key}/\n" if isinstance(found[key], dict) else f"{key}\n" for key in found))
    if isinstance(found, dict) or query.get("alt") == ["json"]:
        return Response(json.dumps(found), media_type="application/json")
    return PlainTextResponse("\n".join(found) + "\n" if isinstance(found, list) else str(found))
