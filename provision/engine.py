"""The engine: brings the whole table into being, row by row, and takes away what is declared no more."""

import contextlib
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from provision import renewal
from provision.clock import Clock
from provision.config import Config
from provision.convergence import ACTS, Convergence
from provision.deeds import Deeds, Done
from provision.deployment import Deployment
from provision.errors import (
    CannotChangeInPlace,
    DidNotSettle,
    NotWaitedFor,
    OperationFailed,
    Protected,
    ProvisionError,
    SeveralFailed,
)
from provision.gcp import Gcp
from provision.plan import Plan, Row
from provision.step import Body, FactBook, HoldsData, Ref, Stays, keep
from provision.walk import Outcome, walk
from state.journal import Journal
from state.ledger import Ledger, Record

RENEWABLE_CODES = (4, 13)
"""Failures of a deployment that Google's own tools answer with a new version id."""


def deployment_of(config: Config, ledger: Ledger, counters: dict[str, int] | None = None) -> Deployment:
    """What the steps declare from: the config with what the ledger knows, or with other counters than it has."""
    counters = ledger.counters if counters is None else counters
    runners = tuple(sorted(ledger.runners))
    return Deployment(config, ledger.deployment, ledger.salt, ledger.project_number, counters, runners)


@dataclass
class Engine:
    """What every run has.

    Args:
        plan: The table of steps.
        gcp: The clients.
        journal: The open ledger.
        run: This run's id.
        clock: Whose time passes.
        stop: Once set, nothing new is started and waiting ends.
        doing: Told what is being worked on, for a rival that waits for the lease.
        workers: Rows that may be worked on side by side.
    """

    plan: Plan
    gcp: Gcp
    journal: Journal
    run: str
    clock: Clock
    stop: threading.Event = field(default_factory=threading.Event)
    doing: Callable[[str], None] = lambda what: None
    workers: int = 8

    def __post_init__(self) -> None:
        self.deeds = Deeds(self.gcp, self.journal, self.run, self.clock, self.stop)
        self.path = Convergence(self.plan, self.deeds)
        self.facts = FactBook()
        self.waits_for = ""
        """What is waited for once all is done, for whoever looks on."""
        self._known: dict[str, int] | None = None
        self._declared: dict[str, set[Ref]] = {}

    @property
    def done(self) -> list[Done]:
        """What the run has changed so far."""
        return self.deeds.done

    @property
    def ledger(self) -> Ledger:
        """The ledger as it is now."""
        return self.journal.ledger

    def up(
        self,
        config: Config,
        *,
        only: Collection[str] = (),
        adopts: Callable[[Ref], bool] = lambda ref: False,
    ) -> None:
        """Bring everything that the table declares into being, then take away what it no longer declares.

        Args:
            config: The settings.
            only: Names of rows to be worked on, with all that they need; every row when empty.
            adopts: Whether a thing that does not carry our mark may be taken over.

        Raises:
            ProvisionError: What a row could not do; rows that do not need it were done all the same.
        """
        self.path.adopts, self._known = adopts, None
        rows = self.rows(only)
        while self._known != self.ledger.counters:  # there are new ids, of which not every row was told
            self._known = dict(self.ledger.counters)
            self._walk(config, rows)
        self._prune(rows)

    def rows(self, only: Collection[str]) -> set[str]:
        """Names of the rows that a run works on: some with all that they need; every row when there are none."""
        return self.plan.with_needs(only) if only else set(self.plan.rows)

    def _walk(self, config: Config, rows: Collection[str]) -> None:
        def visit(name: str) -> None:
            try:
                self._visit(config, name)
            except ProvisionError:
                self.deeds.failed.add(name)
                raise

        self.deeds.failed.clear()
        outcome = self.visit_all({name: self.plan[name].needs for name in self.plan.rows if name in rows}, visit)
        if outcome.failed and all(self._renewable(name, error) for name, error in outcome.failed.items()):
            # Everything else stands by now, the database too, for which a deployment may have waited in vain.
            for name in outcome.failed:
                self._renew(self.plan[name])
            self.deeds.failed.clear()
            left = {*outcome.failed, *outcome.skipped}
            outcome = self.visit_all({name: self.plan[name].needs for name in self.plan.rows if name in left}, visit)
        self.raise_for(outcome)

    def _visit(self, config: Config, name: str) -> None:
        row = self.plan[name]
        self.doing(row.title)
        for _ in range(ACTS):
            try:
                bodies = row.step.declare(self._as_seen_by(row, config), self.facts)
                for ref, body in bodies.items():
                    self.bring(row, ref, body)
                    self._note_what_down_keeps(row, ref, config)
                self._declared[name] = set(bodies)
                return
            except CannotChangeInPlace:
                if not row.renews:
                    raise
                self.refuse_if_protected(row)
                self._renew(row)
            except renewal.Stillborn:
                self._renew(row)
            except renewal.Gone as error:
                self._renew(row, error.ref)
        raise DidNotSettle(f"{row.title}: still cannot be made after {ACTS} new ids")

    def deployment(self, config: Config) -> Deployment:
        """What the steps declare from, as the ledger knows it now."""
        return deployment_of(config, self.ledger)

    def _as_seen_by(self, row: Row, config: Config) -> Deployment:
        """With the ids as they were when the walk began, so that rows agree; newer ones only of rows it waited for."""
        now, above = self.ledger.counters, {row.name, *self.plan.above(row.name)}
        counters = (self._known or {}) | {name: now.get(name, 0) for name in above}
        return deployment_of(config, self.ledger, counters)

    def _renewable(self, name: str, error: Exception) -> bool:
        return self.plan[name].renews and isinstance(error, OperationFailed) and error.code in RENEWABLE_CODES

    def _renew(self, row: Row, gone: Ref | None = None) -> None:
        self.deeds.log.info("row.renewed", step=row.name)
        self.journal.commit(lambda ledger: renewal.count(ledger, self.plan, row, gone))

    def refuse_if_protected(self, row: Row) -> None:
        """Make sure that nothing that a row has made is protected.

        Raises:
            Protected: Something is.
        """
        for record in self.ledger.records.values():
            if record.step == row.name and record.protected:
                raise Protected(f"{record.ref} would have to be replaced, and it is protected by the settings.")

    def bring(self, row: Row, ref: Ref, body: Body) -> None:
        """Make one ref what its body says, and keep what only the server can tell of it; see Convergence.bring."""
        facts = row.step.facts(self.path.bring(row, ref, body))
        if facts is None:
            return
        self.facts.add(facts)
        body = facts.model_dump(mode="json")
        if self.ledger.facts.get(row.name) != body:
            self.journal.note(lambda ledger: ledger.facts.update({row.name: body}))

    def _note_what_down_keeps(self, row: Row, ref: Ref, config: Config) -> None:
        """Write down what `down`, which does not know the config, must keep, and why."""
        why = row.kept(self.deployment(config)) if row.kept else None
        protected = self.plan.is_protected(row.name, config.protect)
        record = self.ledger.records[ref]
        if (record.keep, record.protected) != (why, protected):
            self.journal.note(self.deeds.written(row, ref, keep=why, protected=protected))

    def remove(self, row: Row, record: Record, *, older: bool = False, with_data: bool = False) -> None:
        """Take one recorded resource away, when it is ours; its record goes with it, and those of what lay in it.

        Args:
            row: Its row.
            record: What the ledger says of it.
            older: Whether another one, of another id, is declared by now: then no further id is needed.
            with_data: Whether data of the users goes too; much may have come since somebody last looked.

        Raises:
            HoldsData: Data of the users is in it, and it was not touched.
            NotOurs: The thing under this name does not carry our mark any more.
            Stays: It must not go now.
        """
        if not with_data:
            look = f"looking into {record.ref}"
            if contents := self.deeds.patience.with_(look, lambda: row.data_in(self.gcp, record)):
                raise HoldsData(contents)
        self.doing(f"removing {record.ref}")
        self.path.remove(row, record)

        inside = self.plan.inside(row.name)

        def forget(ledger: Ledger) -> None:
            along = [ref for ref, other in ledger.records.items() if other.step in inside and _lies_in(other, record)]
            for ref in (record.ref, *along):
                del ledger.records[ref]
            if row.once and not older:
                renewal.count(ledger, self.plan, row)

        self.journal.note(forget)

    def _prune(self, rows: Collection[str]) -> None:
        """Take away what no row declares any more, dependants first; the newest of a row may be kept for a rollback.

        Not what rows that this run leaves out may still use, and nothing that holds data of the users. What goes with
        another thing is not asked for by itself: of a database that has failed, Google takes no user away.
        """
        going = [
            (row, record)
            for row in reversed(list(self.plan))
            if self.plan.with_dependants([row.name]).issubset(rows)
            for record in row.obsolete(self.ledger, self._declared[row.name])
        ]
        for row, record in going:
            around = self.plan.around(row.name)
            if any(outer.name in around and _lies_in(record, found) for outer, found in going):
                continue
            if row.step.delete is keep:
                self.deeds.forget(record.ref)
            else:
                with contextlib.suppress(Stays):  # looked at again by every run, and listed by `down`
                    self.remove(row, record, older=True)

    def visit_all(self, needs: Mapping[str, Iterable[str]], visit: Callable[[str], None]) -> Outcome:
        """Visit rows side by side, each once those that it needs are done."""

        def told(name: str) -> None:
            try:
                visit(name)
            except ProvisionError as error:
                if not self.stop.is_set():
                    self.deeds.log.warning("row.failed", step=name, error=type(error).__name__, why=str(error))
                raise

        return walk(needs, told, workers=self.workers, stop=self.stop)

    def raise_for(self, outcome: Outcome) -> None:
        """Raise what a walk met, if anything."""
        self.deeds.patience.go_on()
        problems = [error for error in outcome.failed.values() if isinstance(error, ProvisionError)]
        for error in outcome.failed.values():
            if not isinstance(error, ProvisionError):
                raise error
        problems = [error for error in problems if not isinstance(error, NotWaitedFor)] or problems
        if len(problems) == 1:
            raise problems[0]
        if problems:
            raise SeveralFailed(problems)


def _lies_in(record: Record, outer: Record) -> bool:
    return record.ref.startswith(f"{outer.ref}/")
