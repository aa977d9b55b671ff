"""A cloud of a few lines and steps for it, so that the engine can be watched alone.

Not a mock: steps and cloud behave, and the engine does not know the difference. A `Death` ends a run as kill -9 would.
"""

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace

from provision import step
from provision.engine import Engine
from provision.gcp import Gcp
from provision.plan import Plan
from state.journal import Journal, Pace
from state.ledger import Ledger
from state.store import Blob

DEPLOYMENT = "0a1b2c3d"


class Death(BaseException):
    """The process is gone at this very point."""


class HandMovedClock:
    """Time that passes only when somebody sleeps."""

    def __init__(self):
        self.seconds = 0.0

    def now(self):
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self):
        return self.seconds

    def sleep(self, seconds):
        self.seconds += seconds


@dataclass
class ToyCloud:
    """Resources by ref, and a death or a lost answer at a chosen change."""

    resources: dict = field(default_factory=dict)
    changes: list = field(default_factory=list)
    die_before: int | None = None
    die_after: int | None = None
    lose_answer: int | None = None

    def change(self, what, ref, effect):
        number = len(self.changes)
        self.changes.append((what, ref))
        if number == self.die_before:
            raise Death
        effect()
        if number == self.die_after:
            raise Death
        if number == self.lose_answer:
            raise ConnectionResetError("the answer was lost")


class MemoryStore:
    """A store in memory that can die at a chosen save, before or after its effect."""

    def __init__(self):
        self.blobs = {}
        self.generations = itertools.count(1)
        self.saves = 0
        self.die_at = None
        self.die_after_effect = False

    def get(self, name):
        found = self.blobs.get(name)
        now = datetime(2026, 1, 1, tzinfo=UTC)
        return Blob(found[0], found[1], now, now) if found else None

    def put(self, name, data, if_generation):
        self.saves += 1
        if self.saves == self.die_at and not self.die_after_effect:
            raise Death
        generation = next(self.generations)
        self.blobs[name] = (data, generation)
        if self.saves == self.die_at:
            raise Death
        return generation

    def delete(self, name, if_generation):
        self.blobs.pop(name, None)

    def list(self, prefix=""):
        return [name for name in self.blobs if name.startswith(prefix)]


def toy_step(cloud, name, bodies, **overrides):
    """A step whose refs are the keys of bodies; pass `needs_facts=module` to make declare wait for another's facts."""

    def read(gcp, ref):
        body = cloud.resources.get(ref)
        return None if body is None else dict(body)

    def create(gcp, ref, body):
        cloud.change("create", ref, lambda: cloud.resources.setdefault(ref, {**body, "mark": DEPLOYMENT}))

    def update(gcp, ref, body, changes):
        def effect():
            for change in changes:
                cloud.resources[ref][change.path[0]] = change.goal

        cloud.change("update", ref, effect)

    def delete(gcp, ref, live, applied):
        cloud.change("delete", ref, lambda: cloud.resources.pop(ref, None))

    def owner(live, deployment_id):
        return step.Owner.OURS if live.get("mark") == deployment_id else step.Owner.FOREIGN

    members = {
        "__name__": f"steps.{name}",
        "__doc__": f"The toy {name}.",
        "LEAVES": None,
        "declare": lambda deployment, facts: bodies,
        "read": read,
        "create": create,
        "update": update,
        "delete": delete,
        "facts": step.no_facts,
        "owner": owner,
        "contents": step.no_contents,
    }
    return SimpleNamespace(**{**members, **overrides})


def first_ledger():
    """The ledger of a deployment that does not exist yet."""
    return Ledger(
        deployment=DEPLOYMENT, salt="x1y2", env="default", project="p", project_number="1", region="europe-west1"
    )


_RUNS = itertools.count(1)


def engine(rows, store):
    """An engine over toy rows, with a run id of its own; opening it saves the ledger once."""
    clock, run = HandMovedClock(), f"run-{next(_RUNS)}"
    journal = Journal(store, pace=Pace(burst=10**6), sleep=clock.sleep)
    journal.open(run, first_ledger)
    return Engine(Plan(tuple(rows)), Gcp("p"), journal, run, clock, workers=1)
