"""Takes a deployment away in reverse order, from the ledger alone, and tells what stays and why."""

from dataclasses import dataclass

from provision import step
from provision.engine import Engine
from provision.gcp import Gcp
from provision.plan import Plan, Row
from provision.step import Contents, Ref, Stays
from provision.walk import walk
from state.ledger import Ledger, Record


@dataclass(frozen=True)
class Left:
    """Something that `down` leaves behind."""

    ref: Ref
    why: str


def data_at_risk(plan: Plan, gcp: Gcp, ledger: Ledger) -> dict[Ref, Contents]:
    """What data of the users the deployment holds, by the resource that holds it."""
    found: dict[Ref, Contents] = {}
    for record in ledger.records.values():
        row = plan[record.step]
        contents = row.step.contents(gcp, record.ref) if row.data and not record.adopted else None
        if contents is not None and contents.objects:
            found[record.ref] = contents
    return found


def held(contents: Contents) -> str:
    """What lies in a resource, in words: ``3 objects, 52.4 MB``."""
    value, units = float(contents.bytes), iter(("kB", "MB", "GB", "TB", "PB", "EB"))
    unit = "bytes"
    while value >= 1000:
        value, unit = value / 1000, next(units)
    amount = f"{value:.1f}" if contents.bytes >= 1000 else str(contents.bytes)
    return f"{contents.objects} object{'' if contents.objects == 1 else 's'}, {amount} {unit}"


class Teardown:
    """One `down`.

    Args:
        engine: The engine of this run.
        new_salt: A fresh suffix for the next deployment's names: deleted ones stay reserved at Google for a while.
        delete_data: Whether data of the users goes too.
    """

    def __init__(self, engine: Engine, new_salt: str, *, delete_data: bool) -> None:
        self._engine = engine
        self._new_salt = new_salt
        self._spared = {} if delete_data else data_at_risk(engine.plan, engine.gcp, engine.journal.ledger)
        self.left: list[Left] = []

    def run(self) -> list[Left]:
        """Take everything away that is ours; what cannot or must not go is released from the ledger and returned.

        Raises:
            ProvisionError: What could not be removed; what does not stand in its way was removed all the same.
        """
        plan = self._engine.plan
        rows = {row.name for row in plan if self._records(row)}
        after: dict[str, list[str]] = {name: [] for name in rows}
        for row in plan:
            for other in {*row.needs, *([row.dies_with] if row.dies_with else [])}:
                if row.name in rows and other in rows:
                    after[other].append(row.name)
        outcome = walk(after, self._visit, workers=self._engine.workers, stop=self._engine.stop)
        self._engine.raise_for(outcome)
        self._engine.journal.commit(self._start_afresh)
        return sorted(self.left, key=lambda item: item.ref)

    def _visit(self, name: str) -> None:
        row = self._engine.plan[name]
        if row.dies_with and self._all_go(self._engine.plan[row.dies_with]):
            return  # goes with what it lies in, and its record with that one's
        goes = self._all_go(row)
        for record in self._records(row):
            why = self._reason_to_keep(row, record)
            if why is None:
                why = self._remove(row, record)
            elif not record.keep:  # what the config keeps stays ours: the next `up` goes on with it
                self._release(record.ref)
            if why:
                self.left.append(Left(record.ref, why))
        for child in self._engine.plan:
            if goes and child.dies_with == name:
                for record in self._records(child):
                    self._release(record.ref)

    def _remove(self, row: Row, record: Record) -> str | None:
        """Remove a resource; returns what it leaves, or why it must stay after all."""
        try:
            self._engine.remove(row, record)
        except Stays as reason:
            self._release(record.ref)
            return str(reason)
        return row.step.LEAVES

    def _release(self, ref: Ref) -> None:
        """Take a resource out of the ledger without touching it."""
        self._engine.journal.note(lambda ledger: ledger.records.__delitem__(ref))

    def _reason_to_keep(self, row: Row, record: Record) -> str | None:
        if record.ref in self._spared:
            contents = self._spared[record.ref]
            return f"It holds {held(contents)}; down --delete-data would have removed them too."
        if record.keep:
            return record.keep
        if record.protected:
            return "is protected by the config that was applied last"
        if row.step.delete is step.keep:
            return row.step.LEAVES or "is never deleted"
        if record.adopted:
            return "was there before us"
        return None

    def _all_go(self, row: Row) -> bool:
        records = self._records(row)
        return bool(records) and all(self._reason_to_keep(row, record) is None for record in records)

    def _records(self, row: Row) -> list[Record]:
        return [record for record in self._engine.journal.ledger.records.values() if record.step == row.name]

    def _start_afresh(self, ledger: Ledger) -> None:
        ledger.facts.clear()
        ledger.counters.clear()
        ledger.salt = self._new_salt
