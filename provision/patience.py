"""Waits for long-running operations and for what heals by itself, until the run is stopped."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import structlog

from provision import operations, retry
from provision.circumstances import Circumstances
from provision.clock import Clock
from provision.errors import Interrupted, NotWaitedFor, OperationFailed
from provision.gcp import Gcp
from provision.refusals import refusal_of
from provision.step import Operation, Ref

T = TypeVar("T")

FIRST_POLL, SLOWEST_POLL = 0.25, 10.0
"""Seconds between two looks at an operation: short at first, then longer and longer."""

NAP = 0.5
"""Seconds after which a pause looks whether the run was stopped."""


@dataclass
class Patience:
    """How a run waits.

    Args:
        gcp: The clients.
        clock: Whose time passes.
        circumstances: What the run has done that makes waiting sensible.
        stop: Once set, every wait ends.
    """

    gcp: Gcp
    clock: Clock
    circumstances: Circumstances = field(default_factory=Circumstances)
    stop: threading.Event = field(default_factory=threading.Event)

    def with_(self, what: str, act: Callable[[], T], about: Ref = "") -> T:
        """Do something, again and again as long as the answers are of the kind that goes away by itself.

        Args:
            what: What it is, for the log and the error.
            act: Reads, compares and acts; it is repeated as a whole.
            about: The ref that is worked on, if it is one.

        Raises:
            ProvisionError: What Google's last answer means to the user.
        """

        def told(why: str, seconds: float) -> None:
            structlog.get_logger().info("waiting", what=what, why=why, seconds=round(seconds, 1))

        def heard() -> T:
            try:
                return act()
            except Exception as error:
                if refusal := refusal_of(error):
                    structlog.get_logger().debug("refused", what=what, answer=str(refusal))
                raise

        try:
            return retry.patiently(self.clock.monotonic, self.pause, self.circumstances, told, about)(heard)
        except Exception as error:
            explained = retry.explained(error, what, self.circumstances, about)
            if explained is error:
                raise
            raise explained from error

    def until_over(self, operation: Operation, in_vain: Callable[[], str] = lambda: "") -> None:
        """Wait for an operation, whichever process has begun it.

        Args:
            operation: Its name.
            in_vain: Tells why waiting has become pointless; empty as long as it has not.

        Raises:
            OperationFailed: It is over and failed.
            NotWaitedFor: Waiting has become pointless; the operation goes on.
            Interrupted: The run was stopped; the operation goes on.
        """
        pause = FIRST_POLL
        while not (end := self.with_(f"waiting for {operation}", lambda: self._over(operation))):
            if why := in_vain():
                raise NotWaitedFor(why)
            self.pause(pause)
            pause = min(pause * 1.5, SLOWEST_POLL)
        if isinstance(end, OperationFailed):
            end.operation = operation
            raise end

    def pause(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            Interrupted: The run was stopped.
        """
        end = self.clock.monotonic() + seconds
        self.go_on()
        while (left := end - self.clock.monotonic()) > 0:
            self.clock.sleep(min(left, NAP))
            self.go_on()

    def go_on(self) -> None:
        """Make sure that the run was not stopped.

        Raises:
            Interrupted: It was.
        """
        if self.stop.is_set():
            raise Interrupted("The run was stopped; what Google is working on goes on there.")

    def _over(self, operation: Operation) -> bool | OperationFailed:
        """Whether it is over; a failure is no answer to be asked for again, so it is returned."""
        try:
            return operations.poll(self.gcp, operation)
        except OperationFailed as failure:
            return failure
        except Exception as error:
            if retry.absent(error):
                return True  # its name was purged: it ended long ago, and the resource tells how
            raise
