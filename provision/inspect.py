"""Looks without touching: what changed behind our back, and what `up` would do."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from enum import Enum

from provision import compare, retry, together
from provision.clock import Clock
from provision.deployment import Deployment
from provision.errors import BeyondRepair
from provision.gcp import Gcp
from provision.patience import Patience
from provision.plan import Plan, Row
from provision.step import Body, Change, FactBook, FactsUnknown, Ref, keep, unmarked
from state.ledger import Ledger, Record

MARK_IS_GONE = "does not carry our mark any more, so up would refuse to touch it"

READERS = 8
"""Resources that are read side by side."""


class Kind(Enum):
    """What is to be said of a resource."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    LATER = "later"
    FOREIGN = "foreign"
    UNMARKED = "unmarked"
    MISSING = "missing"
    CHANGED = "changed"
    UNFINISHED = "unfinished"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """One difference.

    Args:
        kind: What it is; the first five are said by a plan, the last four by drift, and the one between by both.
        step: The row's name.
        ref: The resource; the row's name again where the ref is not known yet.
        changes: The fields that differ.
        note: What else there is to say.
    """

    kind: Kind
    step: str
    ref: Ref
    changes: tuple[Change, ...] = ()
    note: str = ""


@dataclass
class Inspector:
    """Reads the cloud and compares; writes nothing, neither there nor in the ledger."""

    plan: Plan
    gcp: Gcp
    ledger: Ledger
    clock: Clock

    def drift(self) -> list[Finding]:
        """List what differs from what we applied last, in the order of the table."""
        records = [record for row in self.plan for record in self.ledger.records.values() if record.step == row.name]
        return _told(together.ask(self._drift_of, records, at_once=READERS)) + [
            Finding(Kind.UNKNOWN, record.step, record.ref, note="this version of the program does not have its step")
            for record in self.plan.unknown(self.ledger)
        ]

    def pending(self, deployment: Deployment) -> list[Finding]:
        """List what `up` would do, in the order of the table."""
        facts = self.known_facts()
        declared: dict[Ref, tuple[Row, Body]] = {}
        jobs: list[Callable[[], Finding | None]] = []
        for row in self.plan:
            try:
                bodies = row.step.declare(deployment, facts)
            except FactsUnknown as error:
                note = str(error).removeprefix("steps.")
                jobs.append(lambda row=row, note=note: Finding(Kind.LATER, row.name, row.name, note=note))  # type: ignore[misc]  # a lambda's defaults bind the loop's values
                continue
            declared |= {ref: (row, body) for ref, body in bodies.items()}
            for ref, body in bodies.items():
                jobs.append(lambda row=row, ref=ref, body=body: self._pending_of(row, ref, body))  # type: ignore[misc]  # the same
        findings = _told(together.ask(lambda job: job(), jobs, at_once=READERS))
        later = {finding.step for finding in findings if finding.kind is Kind.LATER}
        return findings + [
            Finding(Kind.DELETE, row.name, record.ref, note="no longer declared")
            for row in self.plan
            if row.name not in later and row.step.delete is not keep
            for record in row.obsolete(self.ledger, declared)
        ]

    def known_facts(self) -> FactBook:
        """The facts that earlier runs have written down."""
        known = FactBook()
        for row in self.plan:
            kind = getattr(row.step, "Facts", None)
            body = self.ledger.facts.get(row.name)
            if kind is not None and body is not None:
                known.add(kind.model_validate(body))
        return known

    def read(self, row: Row, ref: Ref) -> Body | None:
        """Read one resource, with patience for what heals by itself; None when it is absent, or its API is off."""

        def once() -> Body | None:
            try:
                return row.step.read(self.gcp, ref)
            except Exception as error:
                if retry.absent(error) or retry.is_off_here(error, self.ledger.project_number):
                    return None
                raise

        return Patience(self.gcp, self.clock).with_(f"reading {ref}", once)

    def _drift_of(self, record: Record) -> Finding | None:
        row = self.plan[record.step]
        live = self.read(row, record.ref)
        if record.pending is not None:
            return Finding(
                Kind.UNFINISHED, row.name, record.ref, note=f"{record.pending.verb} by run {record.pending.run}"
            )
        if live is None:
            return Finding(Kind.MISSING, row.name, record.ref)
        changes = self._differences(row, record.body, live, record.body)
        if row.is_strangers(live, record, self.ledger.deployment):
            return Finding(Kind.UNMARKED, row.name, record.ref, tuple(changes), MARK_IS_GONE)
        if not changes:
            return None
        return Finding(Kind.CHANGED, row.name, record.ref, tuple(changes), self._refused(row, record, live))

    def _pending_of(self, row: Row, ref: Ref, body: Body) -> Finding | None:
        live = self.read(row, ref)
        if live is None:
            return Finding(Kind.CREATE, row.name, ref)
        record = self.ledger.records.get(ref)
        if record is not None and record.adopted:
            body = unmarked(body, self.ledger.deployment)
        changes = self._differences(row, body, live, record.body if record else {})
        if row.is_strangers(live, record, self.ledger.deployment):
            if record is None or record.done is None:
                return Finding(Kind.FOREIGN, row.name, ref, note="exists already and does not carry our mark")
            return Finding(Kind.UNMARKED, row.name, ref, tuple(changes), MARK_IS_GONE)
        if not changes:
            return None
        return Finding(Kind.UPDATE, row.name, ref, tuple(changes), self._refused(row, record, live))

    def _refused(self, row: Row, record: Record | None, live: Body) -> str:
        """Why `up` would not update it, and what to type instead; empty when it would."""
        trouble = row.trouble
        if trouble is None or record is None:
            return ""
        try:
            Patience(self.gcp, self.clock).with_(
                f"looking at {record.ref}", lambda: trouble(self.gcp, record.ref, live)
            )
        except BeyondRepair as error:
            return "" if row.is_stillborn(error, record) else f"up does not mend it. {error.hint}"
        return ""

    @staticmethod
    def _differences(row: Row, body: Body, live: Body, applied: Body) -> list[Change]:
        return compare.differences(body, live, applied, at_least=row.at_least, write_only=row.write_only)


def _told(asked: Sequence[Future[Finding | None]]) -> list[Finding]:
    """What there is to tell, once all have answered; an error ends it, and Ctrl-C does without waiting for answers."""
    try:
        return [finding for answer in asked if (finding := answer.result()) is not None]
    except Exception:
        for answer in asked:
            answer.cancel()
        wait(asked)
        raise
