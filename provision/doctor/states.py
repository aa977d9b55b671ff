"""Whether what was made still works: what is suspended, has failed or was stopped is there, and its state tells."""

from collections.abc import Iterator

from provision import together
from provision.doctor.facts import Facts
from provision.doctor.telling import Finding, blocked, ok, unasked, warning
from provision.errors import BeyondRepair
from provision.plan import Row
from provision.step import Trouble
from state.ledger import Record


def sound(facts: Facts) -> Iterator[Finding]:
    """Whether the database that was made still works: it may be suspended, stopped or gone, or have failed."""
    records = facts.planned_in.records
    made = [
        (row, row.trouble, records[ref])
        for row in facts.plan
        if row.trouble is not None
        for ref in facts.declared[row.name]
        if ref in records and ref not in facts.replaces
    ]
    told = [found for answer in together.ask(lambda one: _said(facts, *one), made) if (found := answer.result())]
    yield from told
    if not told:
        yield ok(f"{', '.join(record.ref for _, _, record in made)}: all is well." if made else "None was made yet.")


def _said(facts: Facts, row: Row, trouble: Trouble, record: Record) -> Finding | None:
    ref = record.ref
    try:
        live = facts.present(lambda: row.step.read(facts.gcp, ref) or {})
        if not live:
            return None if record.never_was else warning(f"{ref} is gone, with all that it held; up makes another one.")
        wrong = trouble(facts.gcp, ref, live)
    except BeyondRepair as error:
        if row.is_stillborn(error, record):
            return warning(f"{error} It never came to be, so up makes another one.")
        return blocked(error)
    except Exception as error:  # noqa: BLE001 - what the others say is told
        return unasked(error, about=ref)
    return warning(f"{ref}: {wrong}, and up mends that.") if wrong else None
