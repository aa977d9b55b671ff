"""Takes a deployment away in reverse order, from the ledger alone, and tells what stays and why."""

from collections.abc import Collection
from dataclasses import dataclass

from provision import step
from provision.engine import Engine
from provision.errors import StillInUse
from provision.gcp import Gcp
from provision.plan import Plan, Row
from provision.step import Contents, HoldsData, Ref, Stays
from state.ledger import Ledger, Record, Waits

WOULD_GO = "down --delete-data would have removed them too."

BETWEEN_TRIES = 60.0
"""Seconds between two attempts to remove what Google does not let go of."""


@dataclass(frozen=True)
class Left:
    """Something that `down` leaves behind."""

    ref: Ref
    why: str


def data_at_risk(plan: Plan, gcp: Gcp, ledger: Ledger) -> dict[Ref, Contents]:
    """What data of the users the deployment holds, by the resource that holds it."""
    found: dict[Ref, Contents] = {}
    for record in ledger.records.values():
        row = plan.rows.get(record.step)
        if row and (contents := row.data_in(gcp, record)):
            found[record.ref] = contents
    return found


class Teardown:
    """One `down`.

    Args:
        engine: The engine of this run.
        new_salt: A fresh suffix for the next deployment's names: deleted ones stay reserved at Google for a while.
        delete_data: Whether data of the users goes too.
        only: Names of rows to take away, with all that depends on them; everything when empty.
    """

    def __init__(self, engine: Engine, new_salt: str, *, delete_data: bool, only: Collection[str] = ()) -> None:
        self._engine, self._plan = engine, engine.plan
        self._new_salt, self._delete_data = new_salt, delete_data
        self._spared = {} if delete_data else data_at_risk(engine.plan, engine.gcp, engine.ledger)
        self._rows = self._plan.with_dependants(only) if only else set(self._plan.rows)
        protected = {record.step for record in self._records() if record.protected}
        self._needed = self._plan.with_needs(protected & self._plan.rows.keys())
        self.left: list[Left] = []

    def run(self, wait: float = 0) -> list[Left]:
        """Take everything away that is ours; what cannot or must not go is released from the ledger and returned.

        What Google does not let go of yet stays in the ledger with the reason; see waiting.

        Args:
            wait: Seconds to go on trying for it.

        Raises:
            ProvisionError: What could not be removed; what does not stand in its way was removed all the same.
        """
        until = self._engine.clock.monotonic() + wait
        while True:
            self.left = [
                Left(record.ref, self._plan.why_unknown(record)) for record in self._plan.unknown(self._engine.ledger)
            ]
            self._pass()
            left = until - self._engine.clock.monotonic()
            if not self.waiting or left <= 0:
                break
            self._engine.deeds.patience.pause(min(left, BETWEEN_TRIES))
        self._engine.journal.commit(self._close)
        return sorted(self.left, key=lambda item: item.ref)

    @property
    def waiting(self) -> dict[Ref, Waits]:
        """What Google does not let go of yet, of what is to go."""
        return {record.ref: record.waits for record in self._records() if record.waits and record.step in self._rows}

    def _pass(self) -> None:
        rows = {record.step for record in self._records()} & self._rows
        after = {name: dependants for name, dependants in self._plan.dependants().items() if name in rows}
        outcome = self._engine.visit_all(after, self._visit)
        outcome.failed = {name: error for name, error in outcome.failed.items() if not isinstance(error, StillInUse)}
        self._engine.raise_for(outcome)

    def _visit(self, name: str) -> None:
        row = self._plan[name]
        if row.dies_with and self._all_go(self._plan[row.dies_with]):
            return  # goes with what it lies in, and its record with that one's
        goes = self._all_go(row)
        for record in self._records(name):
            why = self._reason_to_keep(row, record)
            if why is None:
                why = self._remove(row, record)
            elif not self._stays_ours(record):
                self._engine.deeds.forget(record.ref)
            if why:
                self.left.append(Left(record.ref, why))
        for child in self._plan:
            if goes and child.dies_with == name:
                for record in self._records(child.name):
                    self._engine.deeds.forget(record.ref)

    def _remove(self, row: Row, record: Record) -> str | None:
        """Remove a resource; returns what it leaves, or why it must stay after all."""
        try:
            self._engine.remove(row, record, with_data=self._delete_data)
        except HoldsData as reason:
            self._engine.deeds.forget(record.ref)
            return f"It holds {reason.contents}; {WOULD_GO}"
        except Stays as reason:
            self._engine.deeds.forget(record.ref)
            return str(reason)
        except StillInUse as error:
            since = record.waits.since if record.waits else self._engine.clock.now().isoformat(timespec="seconds")
            waits = Waits(why=str(error), since=since)
            self._engine.journal.note(self._engine.deeds.written(row, record.ref, waits=waits, pending=None))
            raise
        return row.step.LEAVES

    def _reason_to_keep(self, row: Row, record: Record) -> str | None:
        if record.ref in self._spared:
            return f"It holds {self._spared[record.ref]}; {WOULD_GO}"
        if record.keep:
            return record.keep
        if record.protected:
            return "The settings protect it."
        if record.step in self._needed and row.step.delete is not step.keep:
            return "Something that the settings protect needs it."
        if row.step.delete is step.keep:
            return row.step.LEAVES or "is never deleted"
        if record.adopted:
            return "was there before us"
        return None

    def _stays_ours(self, record: Record) -> bool:
        """Whether the next `up` goes on with something that is kept; all else is released from the ledger."""
        return bool(record.keep) or record.protected or record.step in self._needed

    def _all_go(self, row: Row) -> bool:
        records = self._records(row.name) if row.name in self._rows else []
        return bool(records) and all(self._reason_to_keep(row, record) is None for record in records)

    def _records(self, name: str = "") -> list[Record]:
        return [record for record in self._engine.ledger.records.values() if name in {"", record.step}]

    def _close(self, ledger: Ledger) -> None:
        """Forget what is known of rows that are gone; once all are, the next deployment gets names of its own."""
        steps = {record.step for record in ledger.records.values()}
        for name in ledger.facts.keys() - steps:
            del ledger.facts[name]
        if all(record.keep and not record.waits for record in ledger.records.values()):
            ledger.facts.clear()
            ledger.counters.clear()
            ledger.replacing.clear()
            ledger.salt = self._new_salt
