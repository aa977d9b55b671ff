"""The engine: brings what is declared into being, and takes it away again, by one path.

A first run, a re-run, a resume after a crash, adoption and the repair of drift are all `_settle`: read, compare, act,
until nothing differs. The intent of each change is durable before its call, the name of its operation right after.
"""

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from provision import compare, renewal, retry
from provision.clock import Clock
from provision.config import Config
from provision.deployment import Deployment
from provision.errors import (
    CannotChangeInPlace,
    DidNotSettle,
    NameReserved,
    NotOurs,
    OperationFailed,
    ProvisionError,
    SeveralFailed,
)
from provision.gcp import Gcp
from provision.patience import Patience
from provision.plan import Plan, Row
from provision.step import Body, Change, Delete, FactBook, Operation, Owner, Ref, Stays, keep
from provision.walk import Outcome, walk
from state.journal import Journal
from state.ledger import Deed, Ledger, Record

ACTS = 5
"""Calls towards one goal before it counts as not reachable; each has an intent of its own."""

RENEWABLE_CODES = (4, 13)
"""Failures of a deployment that Google's own tools answer with a new version id."""


@dataclass(frozen=True)
class Done:
    """One change that a run has made, for the report."""

    verb: str
    step: str
    ref: Ref
    seconds: float


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
    done: list[Done] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.log = structlog.get_logger().bind(run=self.run)
        self.facts = FactBook()
        known = retry.Circumstances(self.journal.ledger.project_number)
        self.patience = Patience(self.gcp, self.clock, known, self.stop)
        self._known: dict[str, int] | None = None
        self._declared: dict[str, set[Ref]] = {}

    # up

    def up(self, config: Config) -> None:
        """Bring everything that the table declares into being, then take away what it no longer declares.

        Raises:
            ProvisionError: What a row could not do; rows that do not need it were done all the same.
        """
        while self._known != self.journal.ledger.counters:  # there are new ids, of which not every row was told
            self._known = dict(self.journal.ledger.counters)
            self._walk(config)
        self._prune()

    def _walk(self, config: Config) -> None:
        outcome = walk(self.plan.needs(), lambda name: self._visit(config, name), workers=self.workers, stop=self.stop)
        if outcome.failed and all(self._renewable(name, error) for name, error in outcome.failed.items()):
            # Everything else stands by now, the database too, for which a deployment may have waited in vain.
            for name in outcome.failed:
                self._renew(self.plan[name])
            left = {*outcome.failed, *outcome.skipped}
            needs = {name: above for name, above in self.plan.needs().items() if name in left}
            outcome = walk(needs, lambda name: self._visit(config, name), workers=self.workers, stop=self.stop)
        self.raise_for(outcome)

    def _visit(self, config: Config, name: str) -> None:
        row = self.plan[name]
        self.doing(row.title)
        for _ in range(ACTS):
            try:
                bodies = row.step.declare(self._as_seen_by(row, config), self.facts)
                for ref, body in bodies.items():
                    self._learn(row, self._converge(row, ref, body))
                    self._note_kept(row, ref, config)
                self._declared[name] = set(bodies)
                return
            except CannotChangeInPlace:
                if not row.renews:
                    raise
                self._renew(row)
            except renewal.Gone as error:
                self._renew(row, error.ref)
        raise DidNotSettle(f"{row.title}: still cannot be made after {ACTS} new ids")

    def deployment(self, config: Config) -> Deployment:
        """What the steps declare from, as the ledger knows it now."""
        return deployment_of(config, self.journal.ledger)

    def _as_seen_by(self, row: Row, config: Config) -> Deployment:
        """With the ids as they were when the walk began, so that rows agree; newer ones only of rows it waited for."""
        now, above = self.journal.ledger.counters, {row.name, *self.plan.above(row.name)}
        counters = (self._known or {}) | {name: now.get(name, 0) for name in above}
        return deployment_of(config, self.journal.ledger, counters)

    def _renewable(self, name: str, error: Exception) -> bool:
        return self.plan[name].renews and isinstance(error, OperationFailed) and error.code in RENEWABLE_CODES

    def _renew(self, row: Row, gone: Ref | None = None) -> None:
        self.log.info("row.renewed", step=row.name)
        self.journal.commit(lambda ledger: renewal.count(ledger, self.plan, row, gone))

    def _learn(self, row: Row, live: Body) -> None:
        facts = row.step.facts(live)
        if facts is None:
            return
        self.facts.add(facts)
        body = facts.model_dump(mode="json")
        if self.journal.ledger.facts.get(row.name) != body:
            self.journal.note(lambda ledger: ledger.facts.update({row.name: body}))

    def _note_kept(self, row: Row, ref: Ref, config: Config) -> None:
        """Write down why `down`, which does not know the config, must keep a resource."""
        why = row.kept(self.deployment(config)) if row.kept else None
        if self.journal.ledger.records[ref].keep != why:
            self.journal.note(self._written(row, ref, keep=why))

    # the one path

    def _converge(self, row: Row, ref: Ref, body: Body) -> Body:
        """Make one ref what its body says; returns it as it is then."""
        self._resume(ref)
        try:
            return self.patience.with_(f"{row.title} ({ref})", lambda: self._settle(row, ref, body))
        except NameReserved as error:
            if not row.once:
                raise
            raise renewal.Gone(ref) from error

    def _settle(self, row: Row, ref: Ref, body: Body) -> Body:
        record = self.journal.ledger.records.get(ref)
        applied = record.body if record else {}
        deed: Deed | None = None
        acted: list[Change] | None = None
        since = self.clock.monotonic()
        for acts in range(ACTS + 1):
            while True:
                live = self._read(row, ref)
                if live is not None and deed is None:
                    self._claim(row, ref, body, live)
                if live is None and deed is None and row.once and record is not None and record.done is not None:
                    raise renewal.Gone(ref)
                changes = None if live is None else self._differences(row, body, live, applied)
                if live is not None and not changes:
                    self._conclude(row, ref, body, deed)
                    return live
                # What Google has accepted may show only later: read again for the documented time, do not act again.
                if deed is None or changes != acted or self.clock.monotonic() - since >= row.settles:
                    break
                self.patience.pause(min(2.0, row.settles / 10))
            if acts == ACTS:
                break
            outcome: dict[str, object] = {"done": deed, "body": applied} if deed else {}
            deed = self._act(row, ref, body, live, changes or [], outcome)
            applied, acted, since = compare.merged(applied, body), changes, self.clock.monotonic()
        raise DidNotSettle(f"{ref} still differs: {'; '.join(map(str, changes or [])) or 'it is not there'}")

    def _differences(self, row: Row, body: Body, live: Body, applied: Body) -> list[Change]:
        return compare.differences(body, live, applied, at_least=row.at_least, write_only=row.write_only)

    def _claim(self, row: Row, ref: Ref, body: Body, live: Body) -> None:
        """Make sure that a thing that is there is ours, or may be adopted, before it is touched."""
        record = self.journal.ledger.records.get(ref)
        if record is not None and record.done is not None:
            return
        match row.step.owner(live, self.journal.ledger.deployment):
            case Owner.FOREIGN:
                if record is not None:  # we were about to make one, and somebody else was faster
                    self.journal.note(lambda ledger: ledger.records.__delitem__(ref))
                raise NotOurs(f"{ref} exists already and does not carry our mark ({row.title})")
            case Owner.SHARED if record is None:
                self.journal.note(self._written(row, ref, adopted=True))
                self.log.info("resource.adopted", step=row.name, ref=ref)
            case _ if record is None and row.at_least:
                self.journal.note(self._written(row, ref, found=compare.shared(body, live)))
            case _:
                pass

    def _act(
        self, row: Row, ref: Ref, body: Body, live: Body | None, changes: list[Change], outcome: dict[str, object]
    ) -> Deed:
        """Make one call; the outcome of the call before it, if there was one, is written down with its intent."""
        self.patience.go_on()
        begun = self.clock.monotonic()
        verb = "create" if live is None else "update"
        before = None if live is None else compare.managed(live, body)
        deed = self._deed(verb, before=before, after=body)
        known = self.journal.ledger.records.get(ref)
        unfinished = known.pending if known and not outcome else None
        self.journal.commit(self._written(row, ref, pending=deed, **outcome))
        self.log.debug(
            "resource.change", step=row.name, ref=ref, verb=verb, changes=[str(change) for change in changes]
        )
        if live is None:
            operation = row.step.create(self.gcp, ref, body)
        else:
            try:
                operation = row.step.update(self.gcp, ref, body, changes)
            except CannotChangeInPlace as error:
                self.journal.note(self._written(row, ref, pending=unfinished))  # no call was made
                if not outcome:
                    raise
                # What was made a moment ago: a new one under another id would come out the same.
                raise DidNotSettle(f"{ref} did not come out as declared: {'; '.join(map(str, changes))}") from error
        self._follow(ref, operation)
        self.patience.circumstances.granted |= ref.endswith("/iamPolicy")
        self.patience.circumstances.enabled |= ref.endswith("/services")
        self._report(verb, row, ref, begun)
        return deed

    def _conclude(self, row: Row, ref: Ref, body: Body, deed: Deed | None) -> None:
        record = self.journal.ledger.records.get(ref)
        body = compare.without(body, record.found) if record else body
        if deed is None and record is not None and record.pending is None and record.done and record.body == body:
            return
        # What we found made already, by a run that died before it could say so, was made by its intent.
        deed = deed or (record.pending or record.done if record else None) or self._deed("create", None, body)
        # Not waited for: the intent of a dependant is durable before its call, and that save carries this outcome.
        self.journal.note(self._written(row, ref, pending=None, done=deed, body=body))

    # down

    def remove(self, row: Row, record: Record) -> None:
        """Take one recorded resource away, when it is ours; its record goes with it.

        Raises:
            NotOurs: The thing under this name does not carry our mark any more.
        """
        self.doing(f"removing {record.ref}")
        self._resume(record.ref)
        # An unfinished change may have had its effect, so what it was about to apply is ours too.
        after = (record.pending and record.pending.after) or {}
        ours = [compare.without(body, record.found) for body in (record.body, after)]
        self.patience.with_(f"removing {record.ref}", lambda: self._dismantle(row, record.ref, ours))

        def forget(ledger: Ledger) -> None:
            del ledger.records[record.ref]
            if row.once:
                renewal.count(ledger, self.plan, row)

        self.journal.note(forget)

    def _dismantle(self, row: Row, ref: Ref, ours: list[Body]) -> None:
        delete: Delete = row.step.delete
        applied = compare.united(*ours)
        for _ in range(ACTS):
            live = self._read(row, ref)
            if live is None or not any(compare.remains(body, live) for body in ours):
                return
            if row.step.owner(live, self.journal.ledger.deployment) is Owner.FOREIGN:
                raise NotOurs(
                    f"{ref} does not carry our mark any more, so it is left alone",
                    hint="Remove it yourself if nobody needs it, then run the same command again.",
                )
            self.patience.go_on()
            begun = self.clock.monotonic()
            deed = self._deed("delete", before=compare.managed(live, applied), after=None)
            self.journal.commit(self._written(row, ref, pending=deed, body=applied))
            try:
                self._follow(ref, delete(self.gcp, ref, live, applied))
            except OperationFailed as error:
                if row.refused is None or delete is row.refused:
                    raise
                self.log.info("resource.refused", step=row.name, ref=ref, why=str(error))
                delete = row.refused
            except Stays:
                self.journal.note(self._written(row, ref, pending=None))
                raise
            else:
                self._report("delete", row, ref, begun)
        raise DidNotSettle(f"{ref} is still there after {ACTS} attempts to delete it")

    def _prune(self) -> None:
        """Take away what no row declares any more, dependants first; the newest of a row may be kept for a rollback."""
        for row in reversed(list(self.plan)):
            for record in row.obsolete(self.journal.ledger, self._declared[row.name]):
                if row.step.delete is keep:
                    self.journal.note(lambda ledger, ref=record.ref: ledger.records.__delitem__(ref))  # type: ignore[misc]  # a default binds the loop's value
                else:
                    with contextlib.suppress(Stays):  # looked at again by every run, and listed by `down`
                        self.remove(row, record)

    # what all of them do

    def _read(self, row: Row, ref: Ref) -> Body | None:
        try:
            return row.step.read(self.gcp, ref)
        except Exception as error:
            if retry.absent(error):
                return None
            raise

    def _resume(self, ref: Ref) -> None:
        """Wait for what an earlier run had under way; how it ended is read from the resource."""
        record = self.journal.ledger.records.get(ref)
        if record and record.pending and record.pending.operation:
            self.log.info("operation.resumed", ref=ref, operation=record.pending.operation)
            try:
                self.patience.until_over(record.pending.operation)
            except OperationFailed as error:
                self.log.warning("operation.failed", ref=ref, why=str(error))

    def _follow(self, ref: Ref, operation: Operation | None) -> None:
        if operation is None:
            return

        def name(ledger: Ledger) -> None:
            pending = ledger.records[ref].pending
            if pending is not None:
                pending.operation = operation

        self.journal.commit(name)
        self.patience.until_over(operation)

    def _deed(self, verb: str, before: Body | None, after: Body | None) -> Deed:
        serial, at = self.journal.ledger.serial + 1, self.clock.now().isoformat(timespec="seconds")
        return Deed.model_validate(
            {"verb": verb, "run": self.run, "serial": serial, "at": at, "before": before, "after": after}
        )

    @staticmethod
    def _written(row: Row, ref: Ref, **changed: object) -> Callable[[Ledger], None]:
        """A change of the ledger that sets fields of a record, making the record when it is new."""

        def change(ledger: Ledger) -> None:
            record = ledger.records.get(ref) or Record(ref=ref, step=row.name, needs=list(row.needs))
            ledger.records[ref] = record.model_copy(update=changed)

        return change

    def _report(self, verb: str, row: Row, ref: Ref, begun: float) -> None:
        seconds = self.clock.monotonic() - begun
        self.done.append(Done(verb, row.name, ref, seconds))
        past = {"create": "created", "update": "updated", "delete": "deleted"}[verb]
        self.log.info(f"resource.{past}", step=row.name, ref=ref, seconds=round(seconds, 1))

    def raise_for(self, outcome: Outcome) -> None:
        """Raise what a walk met, if anything."""
        self.patience.go_on()
        problems = [error for error in outcome.failed.values() if isinstance(error, ProvisionError)]
        for error in outcome.failed.values():
            if not isinstance(error, ProvisionError):
                raise error
        if len(problems) == 1:
            raise problems[0]
        if problems:
            raise SeveralFailed(problems)
