"""Failures that a test orders by method id, and the journal of what was called."""

from collections import Counter, deque
from dataclasses import dataclass
from typing import Any, Literal

from provision.emulator.errors import GoogleError

Json = dict[str, Any]

# POSTs that change nothing
_READS = (
    "getIamPolicy",
    "testIamPermissions",
    "getAncestry",
    "search",
    "signJwt",
    "signBlob",
    "generateAccessToken",
    "generateIdToken",
    "wait",
    "token",
    "tokeninfo",
)


@dataclass
class Fault:
    """One ordered failure; `times` of them after `skip` calls of the method that go well.

    `when` is before or after the effect. `drop` closes the connection without an answer, `tear` in the middle of the
    true answer; otherwise `status` is answered, with `body` or a body in the API's own form. `delay` holds all this
    back for so many seconds, as a network does when a client times out.
    """

    method: str
    when: Literal["before", "after"] = "before"
    times: int = 1
    skip: int = 0
    status: int = 503
    body: Json | None = None
    drop: bool = False
    tear: bool = False
    delay: float = 0.0

    def answer(self, host: str) -> Json:
        """The body of the failure."""
        if self.body is not None:
            return self.body
        messages = {429: _rate(host), 503: "The service is currently unavailable."}
        return GoogleError(self.status, messages.get(self.status, "Internal error encountered.")).body(host)


class Faults:
    """The failures that are still to come. Not kept over a restart."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def order(self, faults: list[Json]) -> None:
        """Add failures; raises TypeError for a key that `Fault` does not have."""
        self._faults += [Fault(**fault) for fault in faults]

    def clear(self) -> None:
        """Forget all."""
        self._faults.clear()

    def take(self, method: str) -> Fault | None:
        """The failure that this call of `method` shall meet, if any."""
        for fault in self._faults:
            if fault.method not in (method, "*"):
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            fault.times -= 1
            if fault.times <= 0:
                self._faults.remove(fault)
            return fault
        return None


def _rate(host: str) -> str:
    """What a service says to too many requests; Cloud Storage, to too many writes of one object."""
    if host == "storage.googleapis.com":
        why = "exceeded the rate limit for object mutation operations (create, update, and delete)"
        return f"The object {why}. Please reduce your request rate."
    limit = "quota metric 'Requests' and limit 'Requests per minute'"
    return f"Quota exceeded for {limit} of service '{host}' for consumer 'project_number:123456789012'."


ANSWERED: Counter[tuple[str, int]] = Counter()
"""How often each method was answered with each status, by all emulators of this process since it began."""


class Calls:
    """The last calls, oldest first."""

    def __init__(self, most: int = 20_000) -> None:
        self._calls: deque[Json] = deque(maxlen=most)

    def note(self, method: str, http: str, path: str, caller: str, status: int) -> None:
        """Write down one call."""
        write = http != "GET" and not method.endswith(_READS) and method != "logging.entries.list"
        call = {"id": method, "method": http, "path": path, "caller": caller, "status": status, "write": write}
        self._calls.append(call)
        ANSWERED[method, status] += 1

    def clear(self) -> None:
        """Forget all."""
        self._calls.clear()

    def all(self) -> list[Json]:
        """What was called."""
        return list(self._calls)
