"""Where commands are typed: each is one process, made of the parts that the command line itself puts together."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from google.oauth2.credentials import Credentials

from provision import bootstrap, identity, inspect, session
from provision import rollback as way
from provision.config import check
from provision.engine import Engine
from provision.gcp import Gcp
from provision.inspect import Finding, Inspector
from provision.teardown import Left, Teardown
from state import history
from state.events import EventLog
from state.journal import Journal, Pace
from state.ledger import Ledger
from state.lock import Lease
from steps import PLAN
from tests.crash.cloud import Cloud
from tests.journey.deploy import BASE, PROJECT


@dataclass
class Console:
    """Types commands at a deployment in the tests' project.

    Args:
        cloud: Where it is deployed.
        ids: Id and salt that a first ledger gets, so that equal runs give equal names.
        changed_by: The run that made the change from which there is a way back.
        left: What `down` or `rollback` has left.
        found: What `drift` has found.
    """

    cloud: Cloud
    ids: tuple[str, str] = ("0d0d0d0d", "s4lt")
    changed_by: str = ""
    left: list[Left] = field(default_factory=list)
    found: list[Finding] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gcp = Gcp(PROJECT, Credentials("owner"), self.cloud.url)
        self._runs = itertools.count()
        sleep = self.cloud.clock.sleep
        # One row at a time, and no thread of the log's own, so that the points of one run are the points of the next.
        self._parts = session.Parts(
            lease=partial(Lease, sleep=sleep),
            journal=partial(Journal, sleep=sleep),
            events=partial(EventLog, background=False),
            engine=partial(Engine, workers=1),
            name=lambda clock: f"{clock.now():%Y%m%dT%H%M%SZ}-{next(self._runs):05}",
        )

    def up(self, **settings: Any) -> None:
        config = check({**BASE, **settings}, "provision.toml")
        store = self._store(make_in=config.region)
        known = session.ledger_at(store)
        if known is not None:
            session.must_fit(known, config)

        def initial() -> Ledger:
            project = bootstrap.find_project(self.gcp, self.cloud.clock, may_change=True)
            deployment, salt = self.ids
            return session.first_ledger(project, config).model_copy(update={"deployment": deployment, "salt": salt})

        with self._changing(store, initial) as engine:
            engine.up(config)

    def fresh(self) -> None:
        """What a new process has: no connection, and nothing that hangs on one; the clients are as good as new."""
        self.gcp.close()
        self.left, self.found = [], []

    def drift(self) -> None:
        with session.reading(self.gcp, self._store()) as ledger:
            inspect.READERS = 1  # for the same reason
            self.found = Inspector(PLAN, self.gcp, ledger, self.cloud.clock).drift()

    def down(self) -> None:
        store = self._store()
        with session.reading(self.gcp, store) as ledger:
            self.gcp.project = ledger.project

        with self._changing(store, _there_must_be_one) as engine:
            self.left = Teardown(engine, "n3xt", delete_data=True).run()

    def rollback(self, to: str | None = None) -> None:
        store = self._store()
        with session.reading(self.gcp, store) as ledger:
            self.gcp.project = ledger.project
            goes_on = ledger.rollback is not None and to in {None, ledger.rollback.to}
            if not goes_on:
                to = way.way_back(PLAN, [*history.states(store), ledger], to).goal.to
        with self._changing(store, _there_must_be_one) as engine:
            if not goes_on:
                way.begin(engine, way.way_back(PLAN, [*history.states(store), engine.ledger], to).goal)
            self.left = way.go_back(engine)

    def ledger(self) -> Ledger | None:
        return session.ledger_at(self._store())

    def is_locked(self) -> bool:
        return session.holder_of(self._store()) is not None

    def _store(self, make_in: str | None = None) -> Any:
        project = bootstrap.find_project(self.gcp, self.cloud.clock, may_change=make_in is not None)
        return bootstrap.own_store(self.gcp, self.cloud.clock, project, env="default", make_in=make_in)

    def _changing(self, store: Any, initial: Callable[[], Ledger]) -> Any:
        return session.changing(
            PLAN,
            self.gcp,
            store,
            self.cloud.clock,
            initial=initial,
            runner=identity.runner(self.gcp, self.cloud.clock),
            pace=Pace(burst=1_000_000),
            parts=self._parts,
        )


def _there_must_be_one() -> Ledger:
    raise AssertionError("there is a ledger")
