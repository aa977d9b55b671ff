"""What the rehearsals share: a deployment in a cloud whose time only passes when the tool waits."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from google.oauth2.credentials import Credentials

from provision import log, session, verify
from provision.emulator import iam, scenarios, tokens
from provision.emulator.faults import Calls
from provision.gcp import Gcp
from tests.crash.cloud import Cloud, WaitingMoves, cloud
from tests.journey.deploy import PROJECT, Death, Deployment
from tests.journey.recovery import EMPTY_PROJECT

UNASKED = ("batchEnable", "storage.objects.insert")
"""Changes that are no retries, though nothing is looked at in between: of different APIs, and saves of the ledger."""


@dataclass
class Mortal(WaitingMoves):
    """The clock of a process that is killed at some time."""

    dies_at: float

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if self.monotonic() > self.dies_at:
            raise Death


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

    def signed_in(self, member: str, *roles: str) -> None:
        """Let somebody type the commands who has no more than some roles on the project."""
        world = self.place.world
        with world.transaction():
            held = iam.policy_of(world, f"projects/{PROJECT}").get("bindings", [])
            given = [{"role": role, "members": [member]} for role in roles]
            iam.put_policy(world, f"projects/{PROJECT}", {"bindings": iam.merged([*held, *given])})
            token = tokens.issue(world, member, 10**6)
        self.deployment.gcp.close()
        self.deployment.gcp = Gcp(PROJECT, Credentials(token), self.place.url)

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

    def waited(self) -> float:
        """Seconds that were waited since the project was new."""
        return self.place.clock.monotonic()

    def made(self) -> set[str]:
        """The methods that changed something, the ledger aside."""
        done = [call for call in self.calls.all() if call["write"] and call["status"] < 400]
        return {call["id"] for call in done if "-provision-" not in call["path"]}

    def down(self, wait: float = 0.0) -> float:
        """`down`; the seconds that it took."""
        since = self.place.clock.monotonic()
        self.deployment.down(wait=wait)
        return self.place.clock.monotonic() - since

    @property
    def waits(self) -> dict[str, str]:
        """What `down` could not remove yet, and why: it ends with 6."""
        records = self.deployment.ledger().records.values()
        return {record.ref: record.waits.why for record in records if record.waits}

    def killed(self, after: float) -> None:
        """`up` in a process that is killed so many seconds later."""
        clock = self.place.clock
        mortal = Deployment(self.place, Mortal(clock.cloud, clock.monotonic() + after), self.deployment.config, 1)
        with pytest.raises(Death):
            mortal.up()
        mortal.gcp.close()

    def table(self, kind: str) -> dict[str, Any]:
        """What the cloud has of one kind, by its full name."""
        return dict(self.place.world.table(kind))

    def up_and_verify(self) -> float:
        """`up` with the proof at its end; the seconds that the proof waited."""
        engine = self.deployment.up()
        since = self.place.clock.monotonic()
        account, origin = session.log_pusher_of(engine.ledger), session.origin_of(engine.ledger)
        verify.prove(engine.deeds.patience, account, origin, whole=True)
        return self.place.clock.monotonic() - since

    def called(self, method: str) -> list[int]:
        """The statuses with which a method answered, in order."""
        return [call["status"] for call in self.calls.all() if call["id"] == method]

    def bare_retries(self) -> list[tuple[str, str]]:
        """Changing calls that were made twice in a row of one thing, without a look at anything but the ledger between."""
        told, last = [], None
        for call in self.calls.all():
            if call["id"].startswith("storage.objects.") and "-provision-" in call["path"]:
                continue
            now = (call["id"], call["path"])
            if call["write"] and now == last and not call["id"].endswith(UNASKED):
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
