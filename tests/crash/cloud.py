"""The cloud of these proofs: time stands still in it unless somebody waits, and it can be brought back to a beginning."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from provision import __version__
from provision.emulator.clock import Clock
from provision.emulator.control import Control
from provision.emulator.server import create_app
from provision.emulator.world import World
from tests.serving import answering

BEGINNING = datetime(2026, 9, 1, 8, 0, tzinfo=UTC)


class StillClock(Clock):
    """Goes on only when it is moved, so that a slow machine meets the same points as a fast one."""

    def now(self) -> datetime:
        return BEGINNING + timedelta(seconds=self.ahead)


@dataclass
class WaitingMoves:
    """The clock of a process: whoever waits moves the time of the cloud, and waits no moment of ours."""

    cloud: Clock

    def now(self) -> datetime:
        return self.cloud.now()

    def monotonic(self) -> float:
        return self.cloud.ahead

    def sleep(self, seconds: float) -> None:
        self.cloud.advance(seconds)


@dataclass
class Cloud:
    """A running emulator without machines. Every operation is seen under way once."""

    url: str
    world: World
    control: Control
    clock: WaitingMoves


@contextlib.contextmanager
def cloud(of_the_world: Clock | None = None) -> Iterator[Cloud]:
    """Serve one until the block ends; its time stands still unless it is given another clock."""
    with contextlib.closing(World.memory(profile="brief")) as world:
        world.clock = of_the_world or StillClock()
        control, clock = Control(world, __version__), WaitingMoves(world.clock)
        with answering(create_app(world, control)) as url, _no_real_sleep(clock):
            yield Cloud(url, world, control, clock)


@contextlib.contextmanager
def _no_real_sleep(clock: WaitingMoves) -> Iterator[None]:
    """Let Google's own libraries, which sleep between two tries of a read, wait by this clock too."""
    sleep, time.sleep = time.sleep, clock.sleep
    try:
        yield
    finally:
        time.sleep = sleep
