"""Every point at which a run can be disturbed, and which of them are one and the same."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.crash.faults import FAULTS, Fault
from tests.crash.wire import Request


@dataclass(frozen=True)
class Point:
    """One fault at one request of a scenario.

    Args:
        scenario: Its name.
        number: Which request of the run, the first being 0.
        fault: The fault's name.
        method: The API's id of the request.
        changes: Whether the request changes something, rather than only ask.
        same_as: The point which this one cannot be told from, as `17 dies-after`; it is counted, and not played.
    """

    scenario: str
    number: int
    fault: str
    method: str
    changes: bool
    same_as: str | None = None

    def __str__(self) -> str:
        return f"--scenario {self.scenario} --point {self.number} --fault {self.fault}"


def of_run(scenario: str, requests: Sequence[Request]) -> Iterator[Point]:
    """All points of an undisturbed run, in its order.

    Merged are: deaths that leave the world the same to the last byte; faults of a reading request that differ in what
    it would have changed; and a request that asks again what it has asked, of a world in which nothing has happened
    since.
    """
    first: dict[tuple[str, ...], str] = {}
    for number, request in enumerate(requests):
        for fault in FAULTS.values():
            name = f"{number} {fault.name}"
            known = first.setdefault(_kind(request, fault, number), name)
            same_as = None if known == name else known
            yield Point(scenario, number, fault.name, request.method, not request.reads, same_as)


def _kind(request: Request, fault: Fault, number: int) -> tuple[str, ...]:
    """What tells a point from others."""
    if fault.deadly:
        return ("death", request.before if fault.name == "dies-before" else request.after)
    if request.reads:
        return ("read", request.text, request.before, fault.like or fault.name)
    return ("change", str(number), fault.name)
