"""The wire between one process and the world: it counts the requests, and at one of them a fault strikes.

All of Google's Python transports (discovery's, GAPIC's, Cloud Storage's) send through `requests`, which sends through
one method of its adapter: what passes there is every request, whichever library makes it.
"""

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
from requests.adapters import HTTPAdapter

from provision.emulator.control import Control

Send = Callable[[], requests.Response]

# What a read may write: when somebody last looked, and accounts of Google's that come to be by being asked for.
MARGINALIA = ("storage.looks", "service.agents")


class Death(BaseException):
    """The process is gone at this very point: no `except Exception` lives on, and nothing of it reaches the world."""


@dataclass(frozen=True)
class Request:
    """One request of an undisturbed run.

    Args:
        method: The API's id of it, as `sql.instances.insert`.
        text: What was asked: verb, URL and body.
        reads: Whether it only asks.
        before: A digest of all that the world held then.
        after: The same when it had been answered.
    """

    method: str
    text: str
    reads: bool
    before: str
    after: str


@dataclass
class Wire:
    """What every request passes; one process after the other is at its end.

    Args:
        control: The emulator's side for tests.
        record: Whether to write down what passes: it costs a look at the whole world each time.
    """

    control: Control
    record: bool = False
    count: int = 0
    dead: bool = False
    seen: list[Request] = field(default_factory=list)
    _strikes_at: int | None = None
    _fault: Callable[["Wire", Send], requests.Response] | None = None

    def begin(
        self, strikes_at: int | None = None, fault: Callable[["Wire", Send], requests.Response] | None = None
    ) -> None:
        """A new process starts; the fault strikes at the request of that number, the first being 0."""
        self.count, self.dead, self.seen = 0, False, []
        self._strikes_at, self._fault = strikes_at, fault
        self.control.faults.clear()
        self.control.calls.clear()

    @property
    def struck(self) -> bool:
        """Whether the run came as far as its fault."""
        return self._strikes_at is not None and self.count > self._strikes_at

    def die(self) -> None:
        """From now on nothing of this process reaches the world any more."""
        self.dead = True
        raise Death

    @contextlib.contextmanager
    def laid(self) -> Iterator["Wire"]:
        """Put it between all of Google's libraries and the network."""
        original = HTTPAdapter.send

        def send(adapter: HTTPAdapter, request: requests.PreparedRequest, **how: Any) -> requests.Response:
            return self._pass(request, lambda: original(adapter, request, **how))

        HTTPAdapter.send = send  # type: ignore[method-assign]
        try:
            yield self
        finally:
            HTTPAdapter.send = original  # type: ignore[method-assign]

    def _pass(self, request: requests.PreparedRequest, send: Send) -> requests.Response:
        # The lease's signs of life come by the clock on the wall, and Cloud Storage's library asks now and then, in a
        # thread without a name, whether a bucket is there that it wants to name in a trace. Neither comes at a fixed point.
        counted = not threading.current_thread().name.startswith(("lease", "Thread-"))
        if self.dead:
            raise Death if counted else ConnectionError("the process is dead")
        if not counted or "/emulator/" in str(request.url):
            return send()
        number, self.count = self.count, self.count + 1
        if number == self._strikes_at and self._fault is not None:
            return self._fault(self, send)
        return self._recorded(request, send) if self.record else send()

    def _recorded(self, request: requests.PreparedRequest, send: Send) -> requests.Response:
        before = self.digest()
        try:
            return send()
        finally:
            # Not simply the last one: that may be of a thread that is not counted.
            path = unquote(urlsplit(str(request.url)).path)
            call = next(call for call in reversed(self.control.calls.all()) if unquote(call["path"]) == path)
            text = f"{request.method} {request.url} {request.body!r}"
            self.seen.append(Request(call["id"], text, not call["write"], before, self.digest()))

    def digest(self) -> str:
        """Tell in a word all that the world holds."""
        with self.control.world.lock:
            rows = self.control.world._database.execute("SELECT kind, key, value FROM rows ORDER BY kind, key")
            found = hashlib.sha256()
            for row in rows:
                if row[0] not in MARGINALIA:
                    found.update(repr(row).encode())
        return found.hexdigest()
