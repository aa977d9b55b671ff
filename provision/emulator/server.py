"""The emulator as a web application: Google's `https://HOST/PATH` at `http://127.0.0.1:PORT/HOST/PATH`."""

import asyncio
import contextlib
import importlib
import json
import os
import pkgutil
import re
import sys
import traceback
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from provision import __version__
from provision.emulator import (
    apis,
    catalogue,
    control,
    discovery,
    errors,
    operations,
    scenarios,
    schema,
    tokens,
    uploads,
)
from provision.emulator.api import ENDPOINTS, NO_PERMISSION, Call, Method, Reply, behaviour
from provision.emulator.browsers import NoForeignPages
from provision.emulator.errors import GoogleError
from provision.emulator.faults import Fault
from provision.emulator.world import World

_CHUNK = 1024 * 1024
# what Google's front end adds, https://cloud.google.com/apis/docs/http
_HEADERS = {
    "cache-control": "private",
    "server": "ESF",
    "vary": "Origin, X-Origin, Referer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "x-xss-protection": "0",
}
# asked of a project that has switched nothing on: how else could anything be switched on
_ALWAYS_ON = ("serviceusage.googleapis.com", "sts.googleapis.com")


@dataclass
class _Target:
    """The method that a request reached."""

    id: str
    host: str
    path: str
    params: dict[str, str]
    version: str = ""
    route: discovery.Route | None = None


def create_app(world: World, control_state: "control.Control | None" = None) -> Starlette:
    """The application over a world; whoever makes the world closes it."""
    for package in (apis, scenarios):
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")
    state = control_state or control.Control(world, __version__)
    front = Front(world, state)
    routes = [Route(path, function, methods=methods) for path, function, methods in state.routes()]
    return Starlette(routes=[*routes, Mount("/", app=front)], middleware=[Middleware(NoForeignPages)])


class Front:
    """Everything but `/emulator`: finds the method, reads the request, asks the behaviour, writes the answer."""

    def __init__(self, world: World, state: "control.Control") -> None:
        self.world = world
        self.state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        raw = scope.get("raw_path") or scope["path"].encode()
        host, _, path = raw.decode("latin-1").partition("?")[0].lstrip("/").partition("/")
        host, path = discovery.address(host, path)
        http = request.headers.get("x-http-method-override", scope["method"])
        try:
            target = await run_in_threadpool(self._find, http, host, path)
            sent = await self._read(request, target)
        except GoogleError as problem:
            refused = _refused(problem, host)
            await _write(replace(refused, headers=refused.headers | self._date()), send, None)
            return
        except ClientDisconnect:
            return
        try:
            reply, stream, fault = await run_in_threadpool(self._answer, request, http, target, sent)
        finally:
            if sent.media is not None:
                sent.media.unlink(missing_ok=True)
        try:
            if fault is not None and fault.delay:
                await asyncio.sleep(fault.delay)
            whole = fault is None or not (fault.drop or fault.tear)
            if fault is None or not fault.drop:
                await _write(replace(reply, headers=reply.headers | self._date()), send, stream, torn=not whole)
            if not whole:
                await _drop(receive)
        finally:
            if stream is not None:
                stream.close()

    def _date(self) -> dict[str, str]:
        """The server's clock, by which a client judges how old a thing is; tests move it."""
        return {"date": format_datetime(self.world.clock.now().replace(microsecond=0), usegmt=True)}

    def _find(self, http: str, host: str, path: str) -> _Target:
        api = discovery.api(host)
        if api and (found := api.find(http, path)):
            route, params = found
            return _Target(route.id, host, path, params, route.version, route)
        for pattern, method_id in ENDPOINTS.get((http, host), ()):
            if fits := pattern.fullmatch(path):
                params = {key: unquote(value) for key, value in fits.groupdict().items()}
                return _Target(method_id, host, path, params)
        known = f"The requested URL /{path} was not found on this server."
        raise errors.not_found(known if api else f"This emulator does not serve {host}")

    async def _read(self, request: Request, target: _Target) -> uploads.Sent:
        async def chunks() -> AsyncIterator[bytes]:
            async for chunk in request.stream():
                if chunk:
                    yield chunk

        kind = request.query_params.get("uploadType", "") if request.method == "POST" else ""
        method = behaviour(target.id, target.version)
        raw = method is not None and method.raw
        upload = raw or (target.route is not None and target.route.upload)
        content_type = "" if raw else request.headers.get("content-type", "")
        return await uploads.receive(chunks(), content_type, self.world.spool, upload=upload, kind=kind)

    def _answer(
        self, request: Request, http: str, target: _Target, sent: uploads.Sent
    ) -> "tuple[Reply, Any, Fault | None]":
        world, stream, caller = self.world, None, ""
        with world.lock:
            fault = self.state.faults.take(target.id)
            try:
                with world.transaction():
                    operations.settle(world)
                if fault is not None and fault.when == "before" and not fault.tear:
                    reply = Reply(fault.answer(target.host), fault.status)
                else:
                    reply, caller = self._behave(request, http, target, sent)
                    if reply.file is not None:
                        stream = reply.file.open("rb")
                    if fault is not None and not fault.tear:
                        reply = Reply(fault.answer(target.host), fault.status)
            except GoogleError as problem:
                reply = _refused(problem, target.host)
            except Exception:  # noqa: BLE001  # a bug in a behaviour is Google's 500, and must be seen
                traceback.print_exc(file=sys.stderr)
                internal = GoogleError(500, f"Internal error encountered: {traceback.format_exc(limit=-1)}")
                reply = Reply(internal.body(target.host), 500)
            status = 0 if fault is not None and fault.drop else reply.status
            self.state.calls.note(target.id, http, request.url.path, caller or world.owner, status)
        return reply, stream, fault

    def _behave(self, request: Request, http: str, target: _Target, sent: uploads.Sent) -> tuple[Reply, str]:
        method = behaviour(target.id, target.version)
        if method is None:
            raise errors.unimplemented(target.id)
        world = self.world
        with world.transaction():
            caller = "" if method.anonymous else tokens.member_of(world, request.headers.get("authorization"))
            query = parse_qsl(request.url.query, keep_blank_values=True)
            content_type = request.headers.get("content-type", "")
            call = Call(
                id=target.id,
                http=http,
                host=target.host,
                path=target.path,
                params=dict(target.params),
                query=query,
                body={},
                headers=request.headers,
                caller=caller,
                world=world,
                now=world.clock.now(),
                base=str(request.base_url).rstrip("/"),
                version=target.version,
                media=sent.media,
                media_type=sent.media_type,
            )
            if target.route is not None and target.route.upload:
                call.upload = request.query_params.get("uploadType") or "media"
            if target.route is not None:
                call.params |= schema.query_params(target.route, query)
                self._enabled(call, target.route)
                call.body = schema.body(target.route, _parsed(sent.text, content_type))
                self._permit(call, method)
            else:
                call.params |= dict(query)
                value = _parsed(sent.text, content_type)
                call.body = value if isinstance(value, dict) else {}
            answer = scenarios.through(call, method.function)
            reply = answer if isinstance(answer, Reply) else Reply(answer if answer is not None else {})
        fields = call.params.get("fields") or call.params.get("$fields")
        if fields and reply.body is not None and reply.status < 300:  # success
            reply.body = schema.masked(reply.body, fields)
        return reply, caller

    def _enabled(self, call: Call, route: discovery.Route) -> None:
        world, host = self.world, route.host
        if host in _ALWAYS_ON:
            return
        if call.names_project() and world.find_project(call._project_text()) is not None:  # noqa: SLF001  # the same module family
            project = call.project
        elif len(world.projects) == 1:
            project = next(iter(world.projects.values()))
        else:
            return
        if not world.enabled(project["projectId"], host):
            raise errors.service_disabled(host, route.title, project["projectNumber"])
        if not project["billing"] and host not in catalogue.FREE:
            raise errors.billing_disabled(host, project["projectNumber"])

    def _permit(self, call: Call, method: Method) -> None:
        if call.caller == self.world.owner or self._is_no_bucket(call):
            return
        if call.params.get("bucket") and not call.names_project():
            return  # a bucket that is nobody's is not found, whoever asks
        resource = method.resource(call) if method.resource else _resource(call)
        if method.permission == NO_PERMISSION:
            return
        if method.permission and self.world.allowed(call.caller, method.permission, resource):
            return
        raise _denied(call, method.permission or call.id, resource)

    def _is_no_bucket(self, call: Call) -> bool:
        """Whether it is about a bucket that is not there: that lies in no project, so there is no right to be asked."""
        bucket = call.params.get("bucket")
        return bool(bucket) and bucket not in self.world.table("storage.buckets")


def _refused(problem: GoogleError, host: str) -> Reply:
    """An error as the API at `host` writes it."""
    if problem.family == "xml":
        return Reply(
            None, problem.code, problem.headers, text=problem.xml(), media_type="application/xml; charset=UTF-8"
        )
    return Reply(problem.body(host), problem.code, problem.headers)


def _resource(call: Call) -> str:
    if call.params.get("bucket"):
        return f"projects/_/buckets/{call.params['bucket']}"
    name = call.resource or call.parent
    if "/" not in name:  # a user of a database goes by a name of that parameter
        name = ""
    if name.startswith("projects/-/") and call.names_project():
        name = f"projects/{call.project_id}/" + name.removeprefix("projects/-/")
    return name or (f"projects/{call.project_id}" if call.names_project() else "")


def _denied(call: Call, permission: str, resource: str) -> GoogleError:
    if call.host == "sqladmin.googleapis.com":
        return errors.permission_denied("The client is not authorized to make this request.", reason="notAuthorized")
    if call.host == "storage.googleapis.com":
        kind = "object" if ".objects." in permission else "bucket"
        who = call.caller.partition(":")[2]
        return errors.permission_denied(
            f"{who} does not have {permission} access to the Google Cloud Storage {kind}. "
            f"Permission '{permission}' denied on resource (or it may not exist)."
        )
    if call.host == "compute.googleapis.com":
        return errors.permission_denied(f"Required '{permission}' permission for '{resource}'")
    service = call.host
    info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "IAM_PERMISSION_DENIED",
        "domain": service,
        "metadata": {"permission": permission, "resource": resource},
    }
    message = f"Permission '{permission}' denied on resource '//{service}/{resource}' (or it may not exist)."
    return errors.permission_denied(message, details=[info])


def _json(text: bytes) -> Any:  # any JSON
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as problem:
        message = f"Invalid JSON payload received. {problem}"
        raise errors.invalid(message, reason="parseError", status="INVALID_ARGUMENT") from problem


def _parsed(text: bytes, content_type: str) -> Any:
    """A body as JSON, or as the form that OAuth's clients send."""
    if content_type.startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(text.decode()))
    return _json(text)


async def _write(reply: Reply, send: Send, stream: Any, *, torn: bool = False) -> None:  # a binary file
    if stream is not None:
        size = os.fstat(stream.fileno()).st_size if reply.end is None else reply.end
        length = max(0, size - reply.start)
        content = b""
    else:
        content = reply.text.encode() if isinstance(reply.text, str) else reply.text or b""
        if reply.body is not None:
            content = json.dumps(reply.body, indent=2, ensure_ascii=False).encode() + b"\n"
        length = len(content)
    headers = _HEADERS | {"content-type": reply.media_type} | {k.lower(): v for k, v in reply.headers.items()}
    if reply.status in (204, 304):  # these have no body
        headers.pop("content-type")
        content = b""
    else:
        headers.setdefault("content-length", str(length))
    raw = [(k.encode("latin-1"), re.sub(r"[\r\n]", " ", v).encode("latin-1", "replace")) for k, v in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": raw})
    if stream is None:
        await send(
            {"type": "http.response.body", "body": content[: length // 2] if torn else content, "more_body": torn}
        )
    else:
        await _stream(stream, reply.start, length // 2 if torn else length, send)
    if stream is not None and not torn:
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _stream(stream: Any, start: int, length: int, send: Send) -> None:  # a binary file
    stream.seek(start)
    while length > 0:
        chunk = await run_in_threadpool(stream.read, min(_CHUNK, length))
        if not chunk:
            break
        length -= len(chunk)
        await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _drop(receive: Receive) -> None:
    """Close the connection as a broken network would, and wait until the server knows."""
    cycle = getattr(receive, "__self__", None)
    transport = getattr(cycle, "transport", None)
    if transport is None:
        message = "connections can be dropped under uvicorn only"
        raise RuntimeError(message)
    transport.abort()
    with contextlib.suppress(ClientDisconnect):
        while (await receive())["type"] != "http.disconnect":
            pass
