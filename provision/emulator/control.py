"""`/emulator/...`: reset it, move its clock, order failures, read what was called, find the doors."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from provision.emulator import operations, scenarios
from provision.emulator.faults import Calls, Faults
from provision.emulator.world import World

Json = dict[str, Any]
Endpoint = Callable[[Request], Awaitable[Response]]


class Control:
    """The side that belongs to tests and to `up --local`, not to Google."""

    def __init__(self, world: World, version: str) -> None:
        self.world = world
        self.version = version
        self.faults = Faults()
        self.calls = Calls()

    def routes(self) -> list[tuple[str, Endpoint, list[str]]]:
        """Paths with what answers them."""
        return [
            ("/emulator/version", self._answered(self._version), ["GET"]),
            ("/emulator/reset", self._answered(self._reset), ["POST"]),
            ("/emulator/projects", self._answered(self._projects), ["POST"]),
            ("/emulator/clock", self._answered(self._clock), ["GET", "POST"]),
            ("/emulator/faults", self._answered(self._faults), ["POST", "DELETE"]),
            ("/emulator/scenario", self._answered(self._scenario), ["GET", "POST", "DELETE"]),
            ("/emulator/calls", self._answered(self._calls), ["GET", "DELETE"]),
            ("/emulator/doors", self._answered(self._doors), ["GET"]),
        ]

    def _answered(self, answer: Callable[[str, Json, Request], Json]) -> Endpoint:
        """Answers in JSON, errors too."""

        async def answered(request: Request) -> Response:
            try:
                body = await request.json() if await request.body() else {}
                return JSONResponse(await run_in_threadpool(self._locked, answer, request, body))
            except PermissionError as problem:
                return JSONResponse({"error": str(problem)}, 403)
            except scenarios.Unknown as problem:
                return JSONResponse({"error": str(problem)}, 400)
            except (ValueError, TypeError, KeyError) as problem:
                return JSONResponse({"error": f"{type(problem).__name__}: {problem}"}, 400)

        return answered

    def _locked(self, answer: Callable[[str, Any, Request], Json], request: Request, body: Any) -> Json:  # any JSON
        with self.world.lock, self.world.transaction():
            return answer(request.method, body, request)

    def _version(self, method: str, body: Json, request: Request) -> Json:
        del method, body, request
        return {"version": self.version, "profile": self.world.profile, "pid": os.getpid()}

    def _projects(self, method: str, body: Json, request: Request) -> Json:
        """Seed one more project, in the form of reset; one that is there stays as it is."""
        del method
        if self.world.kept and request.headers.get("x-emulator-token") != self.world.token:
            raise PermissionError("send the token of the data folder's emulator.json as X-Emulator-Token")
        if body["projectId"] not in self.world.projects:
            self.world.add_project(body)
        return {}

    def _reset(self, method: str, body: Json, request: Request) -> Json:
        del method
        if self.world.kept and request.headers.get("x-emulator-token") != self.world.token:
            message = "this emulator keeps data: send the token of its data folder's emulator.json as X-Emulator-Token"
            raise PermissionError(message)
        self.world.reset(body.get("projects", []))
        self.faults.clear()
        self.calls.clear()
        return {}

    def _clock(self, method: str, body: Json, request: Request) -> Json:
        del request
        if method == "POST":
            self.world.clock.advance(float(body["advance"]))
            self.world.settings["clock"] = {"ahead": self.world.clock.ahead}
            operations.settle(self.world)
        return {"now": self.world.timestamp(6)}

    def _faults(self, method: str, body: Any, request: Request) -> Json:  # a list, or one object
        del request
        if method == "DELETE":
            self.faults.clear()
        else:
            self.faults.order(body if isinstance(body, list) else [body])
        return {}

    def _scenario(self, method: str, body: Json, request: Request) -> Json:
        """Switch one on ({name, options?}), all of a list or none, or off (?name=, all without); or list them all."""
        if method != "GET" and self.world.kept and request.headers.get("x-emulator-token") != self.world.token:
            raise PermissionError("send the token of the data folder's emulator.json as X-Emulator-Token")
        if method == "POST":
            for one in body if isinstance(body, list) else [body]:
                scenarios.switch_on(self.world, one["name"], one.get("options", {}))
        elif method == "DELETE":
            scenarios.switch_off(self.world, request.query_params.get("name", ""))
        return {"scenarios": scenarios.listed(self.world)}

    def _calls(self, method: str, body: Json, request: Request) -> Json:
        del body, request
        calls = self.calls.all()
        if method == "DELETE":
            self.calls.clear()
        return {"calls": calls}

    def _doors(self, method: str, body: Json, request: Request) -> Json:
        del method, body
        return self.world.machines.door(request.query_params["app"], request.query_params.get("service", "default"))
