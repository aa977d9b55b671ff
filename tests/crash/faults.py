"""What may go wrong with one request: the table of faults."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import requests

from tests.crash.wire import Send, Wire

Play = Callable[[Wire, Send], requests.Response]


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    Args:
        name: How it is called on the command line and in the figures.
        says: What happens.
        play: Lets it happen to a request.
        deadly: Whether the process is gone by it.
        like: The fault from which the process cannot tell it where the request only reads; None when it can.
    """

    name: str
    says: str
    play: Play
    deadly: bool = False
    like: str | None = None


def _dies_before(wire: Wire, send: Send) -> NoReturn:
    del send
    wire.die()
    raise AssertionError


def _dies_after(wire: Wire, send: Send) -> NoReturn:
    send()
    wire.die()
    raise AssertionError


def _times_out_before(wire: Wire, send: Send) -> NoReturn:
    del wire, send
    raise requests.exceptions.ReadTimeout("Read timed out. (read timeout=25)")


def _times_out_after(wire: Wire, send: Send) -> NoReturn:
    del wire
    send()
    raise requests.exceptions.ReadTimeout("Read timed out. (read timeout=25)")


def _served(**fault: Any) -> Play:
    """The emulator plays it to whatever comes next, which is this request."""

    def play(wire: Wire, send: Send) -> requests.Response:
        wire.control.faults.order([{"method": "*", **fault}])
        try:
            return send()
        finally:
            wire.control.faults.clear()

    return play


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("dies-before", "the process dies before the request is sent", _dies_before, deadly=True),
        Fault("dies-after", "the process dies after the effect, before the answer", _dies_after, deadly=True),
        Fault("lost", "the answer is lost: the connection breaks after the effect", _served(when="after", drop=True)),
        Fault("503-before", "503 instead of the effect", _served(when="before", status=503)),
        Fault("503-after", "503 after the effect", _served(when="after", status=503), like="503-before"),
        Fault("429", "429: too many requests", _served(when="before", status=429)),
        Fault("timeout-before", "a time-out, without the effect", _times_out_before),
        Fault("timeout-after", "a time-out, after the effect", _times_out_after, like="timeout-before"),
        Fault("torn", "the connection breaks in the middle of the answer", _served(when="after", tear=True)),
    )
}
