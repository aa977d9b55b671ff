"""Runs the real steps and the real engine, through Google's real libraries, against an emulator without machines."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from google.oauth2.credentials import Credentials

from provision import bootstrap, rollback, session
from provision.config import Config
from provision.gcp import Gcp
from provision.inspect import Finding, Inspector
from provision.teardown import Left, Teardown
from state import history
from state.journal import Journal, Pace
from steps import PLAN

PROJECT, NUMBER = "test-project-1", "123456789012"
BASE: dict[str, Any] = {"project": PROJECT, "access": {"users": ["ada@example.com"]}}
CONFIG = Config.model_validate(BASE)


class Death(BaseException):
    """The process is gone at this very point."""


@dataclass
class DyingStore:
    """A store that dies at a chosen save; from then on nothing of this process reaches the world any more."""

    inner: Any
    die_at: int | None = None
    after_effect: bool = False
    saves: int = 0
    dead: bool = False

    def __str__(self) -> str:
        return str(self.inner)

    def get(self, name):
        self._live()
        return self.inner.get(name)

    def put(self, name, data, if_generation):
        self._live()
        if name != "ledger.json":
            return self.inner.put(name, data, if_generation)
        self.saves += 1
        if self.saves == self.die_at and not self.after_effect:
            self.die()
        generation = self.inner.put(name, data, if_generation)
        if self.saves == self.die_at:
            self.die()
        return generation

    def delete(self, name, if_generation):
        self._live()
        self.inner.delete(name, if_generation)

    def list(self, prefix=""):
        return self.inner.list(prefix)

    def die(self):
        self.dead = True
        raise Death

    def _live(self):
        if self.dead:
            raise Death


@dataclass
class SkippingClock:
    """A clock whose pauses take no time; the emulator's operations are over at the first look."""

    seconds: float = 0.0

    def now(self):
        return datetime.now(UTC)

    def monotonic(self):
        return self.seconds

    def sleep(self, seconds):
        self.seconds += seconds


@dataclass
class Deployment:
    """One deployment of the tests' project, and the commands over it."""

    emulator: Any
    clock: SkippingClock = field(default_factory=SkippingClock)
    config: Config = CONFIG
    workers: int = 4
    gcp: Any = None  # one of its own by default

    def __post_init__(self):
        self.gcp = self.gcp or Gcp(PROJECT, Credentials("owner"), self.emulator.url)

    def store(self):
        """The ledger's own bucket, made when it is not there."""
        project = bootstrap.Project(PROJECT, NUMBER)
        return bootstrap.own_store(self.gcp, self.clock, project, env=self.config.env, make_in=self.config.region)

    def engine(self, store):
        """An engine over the open ledger; without the lease, which a killed test process would leave to run out."""
        ledger = session.first_ledger(bootstrap.Project(PROJECT, NUMBER), self.config)
        from provision.engine import Engine

        journal = Journal(store, pace=Pace(burst=10**6), sleep=self.clock.sleep)
        run = session.new_run(self.clock)
        journal.open(run, lambda: ledger)
        return Engine(PLAN, self.gcp, journal, run, self.clock, workers=self.workers)

    def up(self, store=None):
        """`up`; returns the engine for what it did."""
        store = store or self.store()
        self.gcp.gate = lambda method, url: getattr(store, "_live", lambda: None)()
        try:
            engine = self.engine(store)
            engine.up(self.config)
            engine.journal.flush()
        finally:
            self.gcp.gate = lambda method, url: None
        return engine

    def down(self, store=None, *, delete_data=True, wait=0.0) -> list[Left]:
        """`down`; returns what it says that it left."""
        store = store or self.store()
        self.gcp.gate = lambda method, url: getattr(store, "_live", lambda: None)()
        try:
            engine = self.engine(store)
            stays = Teardown(engine, session.new_salt(), delete_data=delete_data).run(wait)
            engine.journal.flush()
        finally:
            self.gcp.gate = lambda method, url: None
        return stays

    def rollback(self, store=None, to=None) -> tuple[rollback.Way, list[Left]]:
        """`rollback`; returns the way that it went, and what it left."""
        store = store or self.store()
        self.gcp.gate = lambda method, url: getattr(store, "_live", lambda: None)()
        try:
            engine = self.engine(store)
            way = rollback.way_back(PLAN, [*history.states(store), engine.ledger], to)
            if engine.ledger.rollback is None:
                rollback.begin(engine, way.goal)
            left = rollback.go_back(engine)
            engine.journal.flush()
        finally:
            self.gcp.gate = lambda method, url: None
        return way, left

    def drift(self) -> list[Finding]:
        """`drift`."""
        with session.reading(self.gcp, self.store()) as ledger:
            return Inspector(PLAN, self.gcp, ledger, self.clock).drift()

    def ledger(self):
        """The ledger as it is saved."""
        with session.reading(self.gcp, self.store()) as ledger:
            return ledger
