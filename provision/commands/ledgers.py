"""What the commands about the ledger have in common: the lease without an engine, looking, comparing, asking."""

import contextlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from provision.commands import running
from provision.errors import BadUsage, LedgerDamaged, NothingDeployed, StillDeployed
from provision.options import Options

if TYPE_CHECKING:
    from provision.gcp import Gcp
    from provision.session import Held
    from state.difference import Difference
    from state.journal import Instead
    from state.ledger import Ledger
    from state.store import Store

NOW = "now"
"""What the current ledger is called among the serials."""

_SIGNS = (("+", "added"), ("~", "changed"), ("-", "removed"))
_OF_DEEDS = ("done.at", "done.serial", "done.before", "done.after", "done.operation")
"""What people need not see: the same once more, or when it was."""
_NAMED = 3
"""How many refs of a kind are named in one line."""


@contextlib.contextmanager
def holding(
    options: Options,
    gcp: "Gcp",
    store: "Store",
    lock_timeout: float | None,
    *,
    instead: "Instead | None" = None,
    logged: bool = True,
) -> "Iterator[Held]":
    """Hold lease and ledger, of a ledger that is there; see session.holding."""
    from provision import clock, identity, session
    from state.journal import Pace

    def refuse() -> "Ledger":
        raise NothingDeployed(f"There is no ledger at {store}.")

    with session.holding(
        gcp,
        store,
        clock.SystemClock(),
        initial=refuse,
        instead=instead,
        runner=identity.runner(gcp, clock.SystemClock()),
        lock_timeout=lock_timeout,
        pace=Pace(burst=1_000_000) if options.local else None,
        logged=logged,
    ) as held:
        yield held


def replace(
    options: Options,
    gcp: "Gcp",
    store: "Store",
    what: str,
    yes: bool,
    lock_timeout: float | None,
    instead: "Instead",
) -> None:
    """Show what would differ, ask, and save the other ledger."""
    from provision import rollback, session
    from state import difference

    instead = rollback.of_its_own(instead)
    with session.read_only(gcp), session.in_words_of_ours(store):
        before = now_or_none(store)
        found = difference.between(before, instead(before)) if before else None
    if found is None:
        options.report.line("The current ledger cannot be read, so nobody can tell what differs.")
    else:
        show(options, found)
    words = "The cloud is not touched; the next drift, up or down compares with what the ledger then says."
    ask(options, words, f"Put {what} in the place of the current one?", yes=yes)
    with holding(options, gcp, store, lock_timeout, instead=instead) as held:
        serial = held.journal.ledger.serial
    options.report.object(serial=serial, replaced=before.serial if before else None, **(told(found) if found else {}))
    options.report.line(f"Done: it has serial {serial} now. To see what differs: {options.command('drift')}")


def read(options: Options) -> "tuple[Store, Ledger]":
    """The ledger, and nothing is changed meanwhile."""
    from provision import session

    gcp, store = options.open(options.whose())
    with session.reading(gcp, store) as ledger:
        return store, ledger


def now_or_none(store: "Store") -> "Ledger | None":
    """The current ledger; None where there is none, or a damaged or lost one."""
    from provision import session

    try:
        return session.ledger_at(store)
    except LedgerDamaged:
        return None


def good_one_only_by_force(store: "Store", instead: "Instead", *, force: bool) -> None:
    """Refuse before anything is read from the cloud, and before the lease is taken."""
    there = now_or_none(store)
    if there is not None and not force:
        instead(there)


def ledger_of(options: Options, store: "Store", serial: str) -> "Ledger":
    """An earlier ledger by its serial, or the current one."""
    from provision import session
    from state import history as past

    now = None if serial != NOW else session.ledger_at(store)
    if serial == NOW and now is None:
        raise NothingDeployed(f"There is no ledger at {store}.")
    if now is not None:
        return now
    known = options.command("state", "history")
    if not serial.isdigit():
        raise BadUsage(f"{serial} is neither a serial nor {NOW!r}.", hint=f"{known} lists them.")
    found = past.read(store, int(serial))
    if found is None:
        current = now_or_none(store)
        if current is not None and current.serial == int(serial):
            return current
        raise BadUsage(f"There is no ledger with serial {serial} in the history.", hint=f"{known} lists them.")
    if found.ledger is None:
        raise BadUsage(found.trouble, hint=f"Choose another one; {known} lists them.")
    return found.ledger


def named(ledger: "Ledger", ref: str) -> str:
    """The full name of a record, from that or from an end of it that only one has."""
    from provision.log import short

    if ref in ledger.records:
        return ref
    matching = [known for known in ledger.records if short(known) == ref or known.endswith(f"/{ref}")]
    if len(matching) == 1:
        return matching[0]
    several = f": {', '.join(matching)}" if matching else ""
    raise BadUsage(f"{ref} names {len(matching)} records{several}.", hint="python -m provision state list tells all.")


def summary(serial: int, ledger: "Ledger | None", trouble: str, before: "Ledger | None") -> dict[str, Any]:
    """One line of the history, for machines."""
    from state import difference

    if ledger is None:
        return {"serial": serial, "trouble": trouble}
    found = difference.between(before or ledger.model_copy(update={"records": {}}), ledger)
    at = f"{ledger.run[:4]}-{ledger.run[4:6]}-{ledger.run[6:8]} {ledger.run[9:11]}:{ledger.run[11:13]}"
    return {
        "serial": serial,
        "run": ledger.run,
        "at": at if ledger.run[:8].isdigit() else None,
        "resources": len(ledger.records),
        "added": found.added,
        "changed": sorted(found.changed),
        "removed": found.removed,
        "trouble": "",
    }


def told(found: "Difference") -> dict[str, Any]:
    """A difference, for machines."""
    return {
        "added": found.added,
        "removed": found.removed,
        "changed": {ref: [vars(field) for field in fields] for ref, fields in found.changed.items()},
        "general": [vars(field) for field in found.general],
    }


def show(options: Options, found: "Difference") -> None:
    """A difference, for people."""
    from provision.log import short

    for sign, refs in (("+", found.added), ("-", found.removed)):
        for ref in refs:
            options.report.line(f"  {sign} {short(ref)}")
    for ref, fields in [*found.changed.items(), *([("the ledger itself", found.general)] if found.general else [])]:
        options.report.line(f"  ~ {short(ref)}")
        for field in fields:
            if field.path.startswith(_OF_DEEDS):
                continue
            options.report.line(f"      {field.path}: {json.dumps(field.before)} -> {json.dumps(field.after)}")


def ask(options: Options, words: str, question: str, *, yes: bool) -> None:
    """Go on only if the person at the terminal agrees; raises BadUsage otherwise, or where there is none."""
    if yes:
        return
    running.must_be_answered(options, "changes the ledger")
    options.report.line(words)
    if not click.confirm(question):
        raise BadUsage("Not confirmed; nothing was touched.")


def must_be_empty(options: Options, store: "Store", ledger: "Ledger") -> None:
    """Raise StillDeployed while the ledger knows of anything."""
    if ledger.records:
        raise StillDeployed(
            f"The ledger at {store} knows of {len(ledger.records)} resources.",
            hint=f"Take them away first: {options.command('down')}",
        )


def in_short(row: dict[str, Any]) -> str:
    """What came, changed and went with a run: a few by name, more by number."""
    from provision.log import short

    words = []
    for sign, key in _SIGNS:
        refs = [f"{sign} {short(ref)}" for ref in row[key]]
        words += refs if len(refs) <= _NAMED else [f"{sign} {len(refs)} resources"]
    return ", ".join(words)
