"""New ids for what cannot be made, or made again, under its old one; the ledger counts them."""

from provision.plan import Plan, Row
from provision.step import Ref
from state.ledger import Ledger


class Gone(Exception):
    """Nothing is there under a name that was used once, and Google does not let it be used again."""

    def __init__(self, ref: Ref) -> None:
        super().__init__(ref)
        self.ref = ref


class Stillborn(Gone):
    """What is there never came to be and holds nothing: another one takes its place, and it is taken away."""


def count(ledger: Ledger, plan: Plan, row: Row, gone: Ref | None = None) -> None:
    """Let a row have the next id; what dies with the old one begins with its first again.

    Args:
        ledger: Is changed.
        plan: The table.
        row: The row that needs another id.
        gone: What is there no more: its record goes, and those of what died with it. They are not deleted, for if
            Google has told us wrong, then what was said to be gone still holds somebody's data.
    """
    ledger.counters[row.name] = ledger.counters.get(row.name, 0) + 1
    for child in plan:
        if child.dies_with == row.name:
            ledger.counters.pop(child.name, None)
    if gone is not None:
        ledger.records.pop(gone, None)
        children = {child.name for child in plan if child.dies_with == row.name}
        for ref in [ref for ref, record in ledger.records.items() if record.step in children]:
            del ledger.records[ref]
