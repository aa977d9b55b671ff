"""What the rehearsals share: a deployment in a cloud whose time only passes when the tool waits."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from provision import log
from provision.emulator import scenarios
from provision.emulator.faults import Calls
from tests.crash.cloud import Cloud, cloud
from tests.journey.deploy import Deployment
from tests.journey.recovery import EMPTY_PROJECT


@dataclass
class Rehearsal:
    """One scenario after the other, in one project.

    Args:
        place: The cloud.
    """

    place: Cloud
    deployment: Deployment = field(init=False)

    def __post_init__(self) -> None:
        self.place.world.reset(EMPTY_PROJECT)
        self.place.control.calls.clear()
        self.deployment = Deployment(self.place, clock=self.place.clock, workers=1)

    @property
    def calls(self) -> Calls:
        return self.place.control.calls

    def plays(self, name: str, **options: Any) -> None:
        """Switch a scenario on."""
        with self.place.world.transaction():
            scenarios.switch_on(self.place.world, name, options)

    def over(self) -> None:
        """Switch all of them off."""
        with self.place.world.transaction():
            scenarios.switch_off(self.place.world)

    def up(self) -> float:
        """`up`; the seconds that it waited."""
        since = self.place.clock.monotonic()
        self.deployment.up()
        return self.place.clock.monotonic() - since

    def called(self, method: str) -> list[int]:
        """The statuses with which a method answered, in order."""
        return [call["status"] for call in self.calls.all() if call["id"] == method]

    def bare_retries(self) -> list[tuple[str, str]]:
        """Changing calls that were made twice in a row of one thing, without a look at anything between."""
        told, last = [], None
        for call in self.calls.all():
            now = (call["id"], call["path"])
            if call["write"] and now == last and "batchEnable" not in call["id"]:
                told.append(now)
            last = now if call["write"] else None
        return told


@pytest.fixture(scope="session")
def place() -> Iterator[Cloud]:
    log.set_up(log.SILENT + 1, as_json=True)
    with cloud() as made:
        yield made


@pytest.fixture
def rehearsal(place: Cloud) -> Iterator[Rehearsal]:
    made = Rehearsal(place)
    yield made
    made.deployment.gcp.close()


@pytest.fixture(scope="session")
def calm(place: Cloud) -> float:
    """Seconds that an `up` waits when nothing is the matter."""
    return Rehearsal(place).up()
