"""Makes things anew on request: `up --replace`.

The request is in the ledger before anything is touched, and stays there until the command has come to its end: so it
is gone on with after any crash or failure, and the same command again asks for nothing twice.
"""

from collections.abc import Collection, Iterable

from provision import renewal
from provision.engine import Engine
from provision.errors import BadUsage, NotOurs, StillInUse, WouldLoseData
from provision.plan import Row
from provision.step import Contents, HoldsData, Ref, Stays, keep
from state.ledger import Ledger, Record


def ask(engine: Engine, refs: Iterable[Ref], rows: Collection[str]) -> None:
    """Write down which resources shall be made anew; what was asked for before is not asked for twice.

    Args:
        engine: The engine of this run.
        refs: What shall be made anew.
        rows: Names of the rows that this run works on.

    Raises:
        BadUsage, Protected, WouldLoseData: One of them cannot be replaced; nothing was touched.
    """
    fresh = [ref for ref in dict.fromkeys(refs) if ref not in engine.ledger.replacing]
    records = [_replaceable(engine, ref, rows) for ref in fresh]

    def write(ledger: Ledger) -> None:
        ledger.replacing += fresh
        for record in records:
            ledger.records[record.ref] = record.model_copy(update={"replaced": True})
        for row in {record.step: engine.plan[record.step] for record in records}.values():
            if row.has_ids:
                renewal.count(ledger, engine.plan, row)

    if fresh:
        engine.journal.commit(write)


def clear_the_way(engine: Engine, rows: Collection[str]) -> None:
    """Remove what a new one of the same name is to follow; what has ids goes once its new one is there.

    Raises:
        WouldLoseData, NotOurs, StillInUse: Something must not go, or cannot; it is as it was, and asked for no more.
    """
    for row in reversed(list(engine.plan)):
        for record in [record for record in engine.ledger.records.values() if record.step == row.name]:
            if record.replaced and row.name in rows and not row.has_ids:
                _clear(engine, row, record)


def settle(engine: Engine) -> None:
    """Let the next request be a new one: the command that asked has come to its end."""
    if engine.ledger.replacing:
        engine.journal.note(lambda ledger: ledger.replacing.clear())


def _clear(engine: Engine, row: Row, record: Record) -> None:
    try:
        engine.remove(row, record)
    except (Stays, NotOurs, StillInUse) as error:
        engine.journal.note(engine.deeds.written(row, record.ref, replaced=False))
        engine.journal.note(lambda ledger: ledger.replacing.remove(record.ref))
        if isinstance(error, HoldsData):
            raise _would_lose(row, record, error.contents) from error
        if isinstance(error, Stays):
            raise StillInUse(f"{record.ref} cannot be replaced: {error}") from error
        raise


def _replaceable(engine: Engine, ref: Ref, rows: Collection[str]) -> Record:
    record = engine.ledger.records.get(ref)
    if record is None:
        raise BadUsage(f"{ref} is not in the ledger.", hint="python -m provision state list shows what is.")
    row = engine.plan.rows.get(record.step)
    if row is None:
        raise BadUsage(f"{ref}: this version of the program has no step {record.step} that could make it anew.")
    if row.name not in rows:
        raise BadUsage(f"{ref} is of the row {row.name}, which --only leaves out.")
    if record.adopted or row.step.delete is keep:
        raise BadUsage(f"{ref} is not ours to delete, so it cannot be replaced.")
    if row.final and not row.has_ids:
        raise BadUsage(f"{ref} cannot be replaced alone: {row.final}.")
    engine.refuse_if_protected(row)
    if contents := row.data_in(engine.gcp, record):
        raise _would_lose(row, record, contents)
    return record


def _would_lose(row: Row, record: Record, contents: Contents) -> WouldLoseData:
    return WouldLoseData(
        f"{record.ref} holds {contents}, which would be lost.",
        hint=f"If they may go: python -m provision down --only {row.name} --delete-data, then up.",
    )
