"""Makes changes one call at a time, each so that a later process can tell what became of it.

The intent of a change is durable before its call, the name of its operation right after, and its outcome with or
before the next intent that builds upon it.
"""

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from provision import retry
from provision.circumstances import Circumstances
from provision.clock import Clock
from provision.errors import CannotChangeInPlace, OperationFailed
from provision.gcp import Gcp
from provision.patience import Patience
from provision.plan import Row
from provision.step import Body, Operation, Ref, Stays
from state.journal import Journal
from state.ledger import Deed, Ledger, Record, Verb

_PAST = {"create": "created", "update": "updated", "delete": "deleted"}


@dataclass(frozen=True)
class Done:
    """One change that a run has made, for the report."""

    verb: str
    step: str
    ref: Ref
    seconds: float


@dataclass
class Deeds:
    """The changes of one run.

    Args:
        gcp: The clients.
        journal: The open ledger.
        run: This run's id.
        clock: Whose time passes.
        stop: Once set, nothing new is started and waiting ends.
    """

    gcp: Gcp
    journal: Journal
    run: str
    clock: Clock
    stop: threading.Event
    done: list[Done] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.log = structlog.get_logger().bind(run=self.run)
        circumstances = Circumstances(self.journal.ledger.project_number, self.clock.now)
        self.patience = Patience(self.gcp, self.clock, circumstances, self.stop)
        for record in self.journal.ledger.records.values():
            for deed in filter(None, (record.done, record.pending)):
                self._note(record.ref, deed)  # what a run that died has done a moment ago explains answers just as well
        self.failed: set[str] = set()
        """Names of the rows that have failed in this run."""
        self._answered: set[str] = set()
        """The requests of this run that Google has taken."""

    def known(self, ref: Ref) -> Record | None:
        """What the ledger says of a resource now."""
        return self.journal.ledger.records.get(ref)

    def read(self, row: Row, ref: Ref) -> Body | None:
        """Read a resource; None when it is absent."""
        try:
            return row.step.read(self.gcp, ref)
        except Exception as error:
            if retry.absent(error):
                return None
            raise

    def resume(self, row: Row, ref: Ref) -> None:
        """Wait for what an earlier run had under way; how it ended is read from the resource."""
        record = self.known(ref)
        if record and record.pending and record.pending.operation:
            self.log.info("operation.resumed", ref=ref, operation=record.pending.operation)
            try:
                self._wait(row, record.pending.operation)
            except OperationFailed as error:
                self.log.warning("operation.failed", ref=ref, why=str(error))

    def make(
        self, deed: Deed, row: Row, ref: Ref, call: Callable[[], Operation | None], outcome: dict[str, object]
    ) -> Deed:
        """Make one call towards a goal and wait until what it began is over.

        Args:
            deed: What is intended.
            row: The row.
            ref: The resource.
            call: The call; when it raises CannotChangeInPlace or Stays, it has not been made.
            outcome: What else becomes of the record: the outcome of the call before it, if there was one.

        Returns:
            The deed, as it was written down.
        """
        self.patience.go_on()
        begun = self.clock.monotonic()
        record = self.known(ref)
        unfinished = record.pending if record and not outcome else None
        deed.request = self._request(ref, deed, record.pending if record else None)
        self.journal.commit(self.written(row, ref, pending=deed, **outcome))
        try:
            with self.gcp.asking_as(deed.request):
                operation = call()
        except CannotChangeInPlace:
            self.journal.note(self.written(row, ref, pending=unfinished))
            raise
        except Stays:
            self.journal.note(self.written(row, ref, pending=None))
            raise
        self._answered.add(deed.request)
        self._follow(row, ref, operation)
        self._note(ref, deed)
        if deed.verb != "delete":  # a call may only have cleared the way; whether a thing is gone, the next look tells
            self.tell(deed.verb, row, ref, begun)
        return deed

    def tell(self, verb: Verb, row: Row, ref: Ref, begun: float) -> None:
        """Say that something is done, in the log and for the report."""
        seconds = self.clock.monotonic() - begun
        self.done.append(Done(verb, row.name, ref, seconds))
        self.log.info(f"resource.{_PAST[verb]}", step=row.name, ref=ref, seconds=round(seconds, 1))

    def deed(self, verb: Verb, ref: Ref, before: Body | None, after: Body | None) -> Deed:
        """A change that is about to be made, or that was found made.

        Its before image is the one from before the first change of this run: what a rollback of the run goes back to.
        """
        record = self.known(ref)
        for earlier in (record.done, record.pending) if record else ():
            if earlier is not None and earlier.run == self.run:
                before = earlier.before
        serial, at = self.journal.ledger.serial + 1, self.clock.now().isoformat(timespec="seconds")
        return Deed(verb=verb, run=self.run, serial=serial, at=at, before=before, after=after)

    @staticmethod
    def written(row: Row, ref: Ref, **changed: object) -> Callable[[Ledger], None]:
        """A change of the ledger that sets fields of a record, making the record when it is new."""

        def change(ledger: Ledger) -> None:
            record = ledger.records.get(ref) or Record(ref=ref, step=row.name, needs=list(row.needs))
            ledger.records[ref] = record.model_copy(update=changed)

        return change

    def forget(self, ref: Ref) -> None:
        """Take a resource out of the ledger without touching it."""
        self.journal.note(lambda ledger: ledger.records.__delitem__(ref))

    def _request(self, ref: Ref, deed: Deed, before: Deed | None) -> str:
        """What to call a request: as before, where it may have reached Google and nobody has heard of it since."""
        if (
            before
            and (before.verb, before.after, before.operation) == (deed.verb, deed.after, None)
            and before.request not in {"", *self._answered}
        ):
            return before.request
        named = f"{self.journal.ledger.deployment}/{ref}/{deed.run}/{deed.serial}/{deed.verb}"
        return str(uuid.uuid5(uuid.NAMESPACE_URL, named))

    def _note(self, ref: Ref, deed: Deed) -> None:
        at = datetime.fromisoformat(deed.at)
        self.patience.circumstances.note(ref, deed.after or {}, at, created=deed.verb == "create")

    def _follow(self, row: Row, ref: Ref, operation: Operation | None) -> None:
        if operation is None:
            return

        def name(ledger: Ledger) -> None:
            pending = ledger.records[ref].pending
            if pending is not None:
                pending.operation = operation

        self.journal.commit(name)
        self._wait(row, operation)

    def _wait(self, row: Row, operation: Operation) -> None:
        def in_vain() -> str:
            missing = sorted(self.failed.intersection(row.awaits))
            return f"{row.title}: it waits for {', '.join(missing)}, which failed" if missing else ""

        self.patience.until_over(operation, in_vain)
