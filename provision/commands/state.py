"""`state ...`: what can be done about the ledger itself; what it tells of is not touched by any of it."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from provision.commands import ledgers, running
from provision.errors import BadUsage, LedgerMoved, NothingDeployed
from provision.options import CONFIG_FILE, InReadingOrder, Options, common, takes_turns

if TYPE_CHECKING:
    from provision.gcp import Gcp
    from state.ledger import Ledger
    from state.store import Store

LEDGER = "ledger.json"


@click.group(name="state", cls=InReadingOrder)
def state() -> None:
    """Look into the ledger, and mend, move or remove it."""


yes = click.option("--yes", is_flag=True, help="Do not ask.")


# Looking


@state.command()
@common
@click.argument("ref", required=False)
def show(options: Options, ref: str | None) -> None:
    """Print the ledger, or the one record of REF."""
    ledger = ledgers.read(options)[1]
    content: dict[str, Any] = (
        ledger.model_dump() if ref is None else ledger.records[ledgers.named(ledger, ref)].model_dump()
    )
    click.echo(json.dumps(content, indent=2, sort_keys=True))


@state.command(name="list")
@common
def list_(options: Options) -> None:
    """List every resource with its step and its marks."""
    from provision.log import short

    records = [record for _, record in sorted(ledgers.read(options)[1].records.items())]
    told = [
        {
            "ref": record.ref,
            "step": record.step,
            "adopted": record.adopted,
            "protected": record.protected,
            "pending": record.pending.verb if record.pending else None,
        }
        for record in records
    ]
    options.report.object(records=told)
    for item in told:
        marks = [mark for mark in ("adopted", "protected") if item[mark]]
        marks += [f"{item['pending']} not finished"] if item["pending"] else []
        options.report.line(f"{item['step']:<18} {short(str(item['ref']))}", ", ".join(marks))
    if not told:
        options.report.line("The ledger holds nothing.")


@state.command()
@common
@click.option("-n", "--newest", type=click.IntRange(min=1), default=20, show_default=True, help="How many to list.")
def history(options: Options, newest: int) -> None:
    """List the ledgers that there were, newest last.

    Each is as a run has found it; the last one is the current one.
    """
    from provision import session
    from state import history as past

    gcp, store = options.open(options.whose())
    with session.read_only(gcp), session.in_words_of_ours(store):
        earlier = [past.read(store, serial) for serial in past.serials(store)[-newest - 1 :]]
        found = [(item.serial, item.ledger, item.trouble) for item in earlier if item]
        now = ledgers.now_or_none(store)
        found += [(now.serial, now, "")] if now else []
    told: list[dict[str, Any]] = []
    before: Ledger | None = None
    for serial, ledger, trouble in found:
        told.append(ledgers.summary(serial, ledger, trouble, before))
        before = ledger or before
    told = told[-newest:]
    options.report.object(history=told)
    for row in told:
        if row["trouble"]:
            options.report.line(f"{row['serial']:>8}  cannot be read", row["trouble"])
            continue
        when = f"{row['at'] or '':<16}  {row['run']:<21}"
        options.report.line(f"{row['serial']:>8}  {when}  {row['resources']:>3} resources", ledgers.in_short(row))
    if not told:
        options.report.line("There is no history yet.")


@state.command()
@common
@click.argument("a", metavar="A")
@click.argument("b", metavar="B", default=ledgers.NOW)
def diff(options: Options, a: str, b: str) -> None:
    """Tell what differs between two ledgers.

    A and B are serials; "now" is the current one. With --json, who did what when is told too.
    """
    from provision import session
    from state import difference

    gcp, store = options.open(options.whose())
    with session.read_only(gcp), session.in_words_of_ours(store):
        found = difference.between(ledgers.ledger_of(options, store, a), ledgers.ledger_of(options, store, b))
    options.report.object(**{"from": a, "to": b}, **ledgers.told(found))
    ledgers.show(options, found)
    if not found:
        options.report.line("They do not differ.")


@state.command()
@common
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
def pull(options: Options, file: Path | None) -> None:
    """Write the ledger to FILE or to standard output.

    It is the very bytes, of a damaged ledger too.
    """
    from provision import session

    gcp, store = options.open(options.whose())
    with session.read_only(gcp), session.in_words_of_ours(store):
        blob = store.get(LEDGER)
        if blob is None:
            session.ledger_at(store)  # which tells of one that is lost
            raise NothingDeployed(f"There is no ledger at {store}.")
    if file is None:
        sys.stdout.buffer.write(blob.data)
        sys.stdout.buffer.flush()
        return
    file.write_bytes(blob.data)
    options.report.object(file=str(file), bytes=len(blob.data))
    options.report.line(f"Written to {file}; to put it back: {options.command('state', 'push', str(file))}")


# Replacing


@state.command()
@common
@click.argument("serial", type=click.IntRange(min=1))
@yes
@takes_turns
def restore(options: Options, serial: int, yes: bool, lock_timeout: float | None) -> None:
    """Put an earlier ledger in the place of the current one.

    What is replaced is kept. The cloud is not touched: the next drift, up or down compares with what the ledger then
    says.
    """
    from provision import session

    gcp, store = options.open(options.whose(), resume=True)
    with session.read_only(gcp), session.in_words_of_ours(store):
        earlier = ledgers.ledger_of(options, store, str(serial))
    ledgers.replace(options, gcp, store, f"the ledger with serial {serial}", yes, lock_timeout, lambda found: earlier)


@state.command()
@common
@click.argument("file", type=click.File("rb"))
@click.option("--force", is_flag=True, help="Also one that is older than the current one.")
@yes
@takes_turns
def push(options: Options, file: BinaryIO, force: bool, yes: bool, lock_timeout: float | None) -> None:
    """Put the ledger in FILE in the place of the current one.

    It must be of the same deployment and project; "-" is standard input. What is replaced is kept. The cloud is not
    touched.
    """
    from provision import session
    from state import errors as state_errors
    from state import history as past
    from state.ledger import loads

    try:
        pushed = loads(file.read(), file.name)
    except (state_errors.DamagedLedger, state_errors.NewerSchema, state_errors.Moved) as error:
        raise BadUsage(
            str(error), hint="Nothing was touched. After mending it by hand, take its digest out."
        ) from error
    gcp, store = options.open(options.whose(), resume=True)

    def checked(found: "Ledger | None") -> "Ledger":
        known = found or past.last_good(store)
        for what, there, here in (
            ("project", known.project if known else gcp.project, pushed.project),
            ("deployment", known.deployment if known else pushed.deployment, pushed.deployment),
        ):
            if there != here:
                raise BadUsage(f"{file.name} is the ledger of {what} {here}, and the one at {store} of {there}.")
        if found is not None and pushed.serial < found.serial and not force:
            raise BadUsage(
                f"{file.name} has serial {pushed.serial}, and the ledger at {store} has {found.serial} already.",
                hint="Look with python -m provision state history what was done since; --force puts it there anyway.",
            )
        return pushed

    with session.read_only(gcp), session.in_words_of_ours(store):
        checked(ledgers.now_or_none(store))
    ledgers.replace(options, gcp, store, f"the ledger in {file.name}", yes, lock_timeout, checked)


@state.command()
@common
@click.option("--deployment", metavar="ID", help="Which one, where the project holds traces of several.")
@click.option("--force", is_flag=True, help="Also where there is a good ledger, which is kept in the history.")
@takes_turns
def rebuild(options: Options, deployment: str | None, force: bool, lock_timeout: float | None) -> None:
    """Make a lost ledger anew, from what carries our mark.

    Nothing in the cloud is changed. Use the settings file that was applied last, if there is one.
    """
    from provision import bootstrap, clock, session
    from provision import rebuild as rebuilding
    from steps import PLAN

    now = clock.SystemClock()
    settings = options.settings()
    config = settings or options.first_settings(ask=False)
    running.must_be_rows(config.protect, "protect:")
    gcp = options.clients(config, resume=True)
    with session.read_only(gcp):
        project = bootstrap.find_project(gcp, now, may_change=False)
        found = rebuilding.discover(PLAN, gcp, now, project, config, deployment, region_is_set=settings is not None)
    gcp, store = options.open(found.config, make=True)
    made = rebuilding.Rebuilding(PLAN, gcp, found, now, session.new_run(now))

    def instead(there: "Ledger | None") -> "Ledger":
        if there is not None and not force:
            raise BadUsage(
                f"There is a good ledger at {store}, with serial {there.serial}.",
                hint="It tells more than can be found out; --force makes it anew all the same, and keeps it.",
            )
        with session.read_only(gcp, but=store):
            return made.ledger()

    with session.read_only(gcp):
        ledgers.good_one_only_by_force(store, instead, force=force)
    with ledgers.holding(options, gcp, store, lock_timeout, instead=instead) as held:
        ledger = held.journal.ledger
    told = {"deployment": ledger.deployment, "region": ledger.region, "records": sorted(ledger.records)}
    options.report.object(
        **told, runners=ledger.runners, not_ours=made.not_ours, ledger=str(store), protection_known=settings is not None
    )
    options.report.line(f"Deployment {ledger.deployment}: {len(ledger.records)} resources found; the ledger is {store}")
    for ref in made.not_ours:
        options.report.line(f"  ! {ref}", "has a name that we use, and not our mark: left alone")
    if ledger.runners:
        options.report.line(f"May act as the client, as before: {', '.join(ledger.runners)}")
    if settings is None:
        missing = f"Without {CONFIG_FILE} nobody knows what it protects"
        options.report.line(f"{missing}: down does not until the next up with it.")
    options.report.line(f"To see whether all is as it should be: {options.command('drift')}")


# Moving and removing


@state.command()
@common
@click.option("--to", metavar="PLACE", required=True, help="The new place: gs://BUCKET/PREFIX or ./file.json.")
@takes_turns
def migrate(options: Options, to: str, lock_timeout: float | None) -> None:
    """Move the ledger to another place.

    Its history and the logs of all runs go with it. Every command that looks for it in the old place is told where it
    went.
    """
    from provision import bootstrap, clock, session
    from state import moving

    settings = options.whose()
    gcp = options.clients(settings, resume=True)
    target = bootstrap.named_store(gcp, clock.SystemClock(), to, may_change=True)
    try:
        gcp, store = options.open(settings, resume=True)
        if str(store) == str(target):
            raise BadUsage(f"The ledger is at {store} already.")
        with (
            ledgers.holding(options, gcp, store, lock_timeout) as held,
            session.in_words_of_ours(target),
            session.leased(target, held.run, lock_timeout),
        ):
            moving.move(store, target, held.journal.ledger)
    except moving.Occupied as error:
        raise BadUsage(str(error), hint="Name a place that holds no ledger.") from error
    except LedgerMoved as error:
        if error.to != str(target):
            raise
    with session.read_only(gcp):
        ledger = session.ledger_at(target)
    options.report.object(ledger=str(target), serial=ledger.serial if ledger else None)
    options.report.line(f"The ledger is at {target} now. Give every command --state {target}")


@state.command()
@common
@yes
def unlock(options: Options, yes: bool) -> None:
    """Take the lease away from a run that holds it.

    Hardly ever needed: that of a dead run runs out by itself.
    """
    from provision import session
    from state.lock import look
    from state.lock import unlock as take_away

    _, store = options.open(options.whose(), resume=True)
    with session.in_words_of_ours(store):
        locked = look(store)
        if locked is None:
            raise BadUsage(f"Nobody holds the lease at {store}.", hint="There is nothing to unlock.")
        words = f"{locked} If it is alive after all, it can write nothing down any more once another run has begun."
        ledgers.ask(options, words, "Take its lease away?", yes=yes)
        take_away(store, locked.holder)
    options.report.object(unlocked=locked.holder.run)
    options.report.line(f"Run {locked.holder.run} holds the lease no more.")


@state.command()
@common
@yes
@takes_turns
def destroy(options: Options, yes: bool, lock_timeout: float | None) -> None:
    """Remove an empty ledger with all that lies beside it.

    The bucket that was made for it goes too, if nothing else is in it.
    """
    from provision import bootstrap, clock, session
    from state import moving

    whose, now = options.whose(), clock.SystemClock()
    gcp, store = options.open(whose, resume=True)
    what = _to_be_removed(options, gcp, store)
    ledgers.ask(options, f"This removes {what} at {store}, with the history there.", "Remove it?", yes=yes)
    if what == _THE_LEDGER:
        with ledgers.holding(options, gcp, store, lock_timeout, logged=False) as held:
            ledgers.must_be_empty(options, store, held.journal.ledger)
            moving.clear(store)
    else:
        with session.in_words_of_ours(store), session.leased(store, session.new_run(now), lock_timeout):
            if what != _NOTHING_MORE:  # else what lies there now is of somebody who has begun meanwhile
                moving.clear(store)
    gone = None
    if options.state is None:
        project = bootstrap.find_project(gcp, now, may_change=False)
        gone = bootstrap.remove_own_bucket(gcp, now, project, options.env or (whose.env if whose else "default"))
    if what == _NOTHING_MORE and not gone:
        raise NothingDeployed(f"There is no ledger at {store}; its bucket stays, for something else lies in it.")
    options.report.object(removed=str(store), bucket_removed=gone)
    options.report.line(f"Removed {store}.")
    if gone is False:
        options.report.line("Its bucket stays: something else lies in it.")


_THE_LEDGER, _NOTHING_MORE = "the ledger", "the bucket of the ledger that was"


def _to_be_removed(options: Options, gcp: "Gcp", store: "Store") -> str:
    """What there is to destroy, in words: of a run that died on it, perhaps no more than the bucket.

    Raises:
        StillDeployed: The ledger knows of something.
        NothingDeployed: There is neither a ledger, nor a bucket that was made for one.
    """
    from provision import session

    try:
        with session.reading(gcp, store) as ledger:
            ledgers.must_be_empty(options, store, ledger)
    except LedgerMoved as error:
        return f"the signpost to {error.to}"
    except NothingDeployed:
        if options.state is not None:
            raise
        return _NOTHING_MORE
    return _THE_LEDGER
