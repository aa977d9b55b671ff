"""The health checks of App Engine flexible: who is asked, how often, and how many answers count.

https://cloud.google.com/appengine/docs/flexible/reference/app-yaml#updated_health_checks
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

EAGER_SECONDS = 0.25  # between readiness checks while a version starts: somebody waits for it in front of a terminal


@dataclass(frozen=True)
class Check:
    """One kind of check; times in seconds. Without a path the workload is not asked, and is well while it runs."""

    path: str | None
    host: str
    interval: float
    timeout: float
    failures: int
    successes: int

    @classmethod
    def of(cls, said: Mapping[str, Any], *, interval: float, failures: int) -> "Check":
        """A version's `livenessCheck` or `readinessCheck`, with App Engine's defaults for what is left out."""
        return cls(
            path=said.get("path") or None,
            host=str(said.get("host") or ""),
            interval=seconds(said.get("checkInterval"), interval),
            timeout=seconds(said.get("timeout"), 4),
            failures=int(said.get("failureThreshold") or failures),
            successes=int(said.get("successThreshold") or 2),
        )


@dataclass(frozen=True)
class Checks:
    """Both checks of a version, and the two times that are asked of its start."""

    liveness: Check
    readiness: Check
    initial_delay: float
    start_timeout: float

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> "Checks":
        """Read from a Version resource."""
        liveness, readiness = spec.get("livenessCheck") or {}, spec.get("readinessCheck") or {}
        return cls(
            liveness=Check.of(liveness, interval=30, failures=4),
            readiness=Check.of(readiness, interval=5, failures=2),
            initial_delay=seconds(liveness.get("initialDelay"), 300),
            start_timeout=seconds(readiness.get("appStartTimeout"), 300),
        )


class Count:
    """Turns single answers into a verdict: so many failures in a row make it ill, so many successes make it well."""

    def __init__(self, check: Check, *, well: bool) -> None:
        self._check = check
        self._row = 0
        self.well = well

    def add(self, good: bool) -> bool:
        """One more answer; the verdict now."""
        if good == self.well:
            self._row = 0
        else:
            self._row += 1
            if self._row >= (self._check.successes if good else self._check.failures):
                self.well, self._row = good, 0
        return self.well


async def answers(client: httpx.AsyncClient, check: Check, port: int) -> bool:
    """Whether the workload on `port` answers with exactly 200 in time."""
    if check.path is None:
        return True
    headers = {"User-Agent": "GoogleHC/1.0", "Host": check.host or f"127.0.0.1:{port}"}
    try:
        async with asyncio.timeout(check.timeout):
            answer = await client.get(f"http://127.0.0.1:{port}{check.path}", headers=headers)
    except (httpx.HTTPError, TimeoutError):
        return False
    return answer.status_code == httpx.codes.OK


def seconds(text: Any, default: float) -> float:
    """A Duration of Google's JSON ("30s", "1.5s") in seconds."""
    return float(str(text).rstrip("s")) if text not in (None, "") else default
