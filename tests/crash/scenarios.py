"""The table of scenarios: from which beginning, which command."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from provision.emulator import snapshots
from provision.emulator.snapshots import Snapshot
from tests.crash.console import Console
from tests.journey.deploy import PROJECT
from tests.journey.neighbours import Neighbour, Things, things
from tests.journey.recovery import EMPTY_PROJECT

OTHER_SETTINGS: dict[str, Any] = {
    "access": {"users": ["ada@example.com", "bob@example.com"], "groups": ["ml@example.com"]},
    "server": {"instances": 2, "memory_gb": 4.0},
    "database": {"tier": "db-g1-small", "disk_gb": 20},
    "artifacts": {"noncurrent_days": 5},
}
APIS_OF_OTHERS = (
    "appengine",
    "appengineflex",
    "bigquery",
    "cloudresourcemanager",
    "compute",
    "iam",
    "pubsub",
    "servicenetworking",
    "storage",
)


@dataclass(frozen=True)
class Beginning:
    """A state of the project from which runs begin.

    Args:
        after: The name of the beginning that comes before it; an empty project when None.
        comes: What makes this one of that.
    """

    after: str | None
    comes: Callable[[Console], object]


@dataclass(frozen=True)
class Scenario:
    """One command at one beginning.

    Args:
        says: What it is, for the page.
        begins: Name of the beginning.
        types: The command.
        converges: Whether the deployment stands afterwards, rather than being gone.
    """

    says: str
    begins: str
    types: Callable[[Console], object]
    converges: bool = True


def _others_come(console: Console) -> None:
    """Somebody's network, account, grants, bucket, firewall and APIs, and a service of theirs that has traffic."""
    services = [f"{name}.googleapis.com" for name in APIS_OF_OTHERS]
    console.cloud.world.reset([{**EMPTY_PROJECT[0], "services": services}])
    neighbour = Neighbour(console.gcp, console.cloud.clock)
    neighbour.has_network("theirs")
    neighbour.has_application()
    neighbour.serves("default")
    neighbour.serves("shop")
    neighbour.has_things()


def _breaks(console: Console) -> None:
    """Behind our back: a bucket is gone, the password is disabled, a grant is taken back and a tier was changed."""
    ledger = console.ledger()
    assert ledger is not None
    refs = {record.step: ref for ref, record in ledger.records.items()}
    gcp, wait = console.gcp, Neighbour(console.gcp, console.cloud.clock).wait
    gcp.storage.bucket(refs["artifact_bucket"].rpartition("/")[2]).delete(force=True)
    gcp.secrets.disable_secret_version(name=refs["secret_version"])
    instance = refs["sql_instance"].rpartition("/")[2]
    body = {"settings": {"tier": "db-g1-small"}}
    wait("sqladmin", gcp.sql.instances().patch(project=PROJECT, instance=instance, body=body))
    resource = f"projects/{PROJECT}/locations/europe-west1/repositories/mlflow"
    policies = gcp.artifactregistry.projects().locations().repositories()
    policies.setIamPolicy(resource=resource, body={"policy": {"bindings": []}}).execute()


def _changes(console: Console) -> None:
    console.up(**OTHER_SETTINGS)


def _has_changed(console: Console) -> None:
    _changes(console)
    ledger = console.ledger()
    assert ledger is not None
    console.changed_by = ledger.run


def _goes_back(console: Console) -> None:
    """To before the run that made the change, by its name: without one, a second time would go forth again."""
    console.rollback(to=console.changed_by)


def _looks_and_mends(console: Console) -> None:
    console.drift()
    console.up()


BEGINNINGS = {
    "an empty project": Beginning(None, lambda console: console.cloud.world.reset(EMPTY_PROJECT)),
    "a project of others": Beginning(None, _others_come),
    "deployed": Beginning("an empty project", Console.up),
    "deployed among others": Beginning("a project of others", Console.up),
    "changed": Beginning("deployed among others", _has_changed),
    "damaged": Beginning("deployed among others", _breaks),
}

SCENARIOS = {
    "up": Scenario("`up` in an empty project", "an empty project", Console.up),
    "up-among-others": Scenario("`up` where others are at work", "a project of others", Console.up),
    "change": Scenario("`up` with other settings", "deployed among others", _changes),
    "repair": Scenario("`drift`, then `up`, after damage", "damaged", _looks_and_mends),
    "rollback": Scenario("`rollback` of a change", "changed", _goes_back),
    "down": Scenario("`down`", "deployed", Console.down, converges=False),
    "down-among-others": Scenario(
        "`down` where others are at work", "deployed among others", Console.down, converges=False
    ),
}


class Stage:
    """Brings a console's cloud to a beginning; each is made once."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._known: dict[str, Snapshot] = {}
        self._things: dict[str, Things] = {}

    def set(self, name: str) -> None:
        """Make the cloud as it is at that beginning."""
        if name not in self._known:
            beginning = BEGINNINGS[name]
            if beginning.after is not None:
                self.set(beginning.after)
            beginning.comes(self._console)
            self._known[name] = snapshots.take(self._console.cloud.world)
            self._things[name] = things(self._console.cloud)
        snapshots.restore(self._console.cloud.world, self._known[name])

    def at_first(self, name: str) -> Things:
        """What was in the project before us."""
        while (after := BEGINNINGS[name].after) is not None:
            name = after
        return self._things[name]
