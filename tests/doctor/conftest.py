"""What the tests of the checks share: a project that can be anything, and the checks of it, one by one or all."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from google.oauth2.credentials import Credentials

from provision import doctor, session
from provision.config import Config
from provision.doctor.facts import Facts
from provision.doctor.table import CHECKS
from provision.doctor.telling import Finding
from provision.emulator import tokens
from provision.gcp import Gcp
from state.ledger import Ledger
from steps import PLAN
from tests.journey.deploy import SkippingClock
from tests.provision.conftest import PROJECT, Cloud, cloud, shared_cloud

__all__ = ["cloud", "shared_cloud"]  # fixtures, which pytest finds by their names here

SETTINGS: dict[str, Any] = {"project": PROJECT, "access": {"users": ["ada@example.com"]}}


@dataclass
class Patient:
    """A project with what is wanted of it.

    Args:
        cloud: Where it is.
        settings: What the user wants.
        ledger: What was deployed before.
        clients: Those of whoever asks: what they are built from is large.
        caller: Who asks; its owner when empty.
    """

    cloud: Cloud
    clients: Gcp
    settings: dict[str, Any] = field(default_factory=lambda: dict(SETTINGS))
    ledger: Callable[[Any], Ledger | None] = lambda project: None
    caller: str = ""

    def gcp(self) -> Gcp:
        """The caller's clients."""
        world = self.cloud.world
        with world.transaction():
            self.clients.credentials.token = tokens.issue(world, self.caller) if self.caller else world.token
        return self.clients

    def facts(self, **given: Any) -> Facts:
        """What the checks ask."""
        settings = Config.model_validate(self.settings)
        return Facts(self.gcp(), settings, PLAN, SkippingClock(), self.ledger, **given)

    def examined(self, **given: Any) -> list[Finding]:
        """All findings; nothing is changed meanwhile."""
        facts = self.facts(**given)
        with session.read_only(facts.gcp):
            return doctor.run(CHECKS, facts)

    def told(self, check: str, **given: Any) -> list[tuple[str, str]]:
        """Status and reason of what one check says."""
        facts = self.facts(**given)
        with session.read_only(facts.gcp):
            found = doctor.run([line for line in CHECKS if line.name == check], facts)
        return [(finding.status.value, finding.why) for finding in found]

    def may(self, member: str, *permissions: str) -> None:
        """Give a member a role of exactly these permissions, and ask as it."""
        self.caller = member
        self.cloud.world.table("iam.roles")["projects/p/roles/exact"] = {"includedPermissions": list(permissions)}
        self.holds(member, "projects/p/roles/exact")

    def holds(self, member: str, *roles: str) -> None:
        """Give a member roles on the project, and ask as it."""
        from provision.emulator import iam

        self.caller = member
        bindings = [{"role": role, "members": [member]} for role in roles]
        iam.put_policy(self.cloud.world, f"projects/{PROJECT}", {"version": 1, "bindings": bindings})


@pytest.fixture(scope="session")
def clients(shared_cloud: Cloud) -> Iterator[Gcp]:
    made = Gcp(PROJECT, Credentials("owner"), shared_cloud.url)
    yield made
    made.close()


@pytest.fixture
def patient(cloud: Cloud, clients: Gcp) -> Patient:
    return Patient(cloud, clients)
