"""What commands that change something have in common: the lease, Ctrl-C, progress, and questions before harm."""

import contextlib
import difflib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from provision.errors import ApiDisabled, BadUsage, Interrupted, NothingDeployed
from provision.options import Options

if TYPE_CHECKING:
    from provision.config import Config
    from provision.engine import Engine
    from provision.gcp import Gcp
    from provision.inspect import Finding
    from state.ledger import Ledger
    from state.store import Store

CHANGES_PENDING = 2


@contextlib.contextmanager
def changing(
    options: Options, gcp: "Gcp", store: "Store", settings: "Config | None", lock_timeout: float | None
) -> "Iterator[Engine]":
    """Hold lease and ledger, obey Ctrl-C and show what is under way while the engine works; see session.changing."""
    from provision import bootstrap, clock, identity, progress, session
    from state.journal import Pace
    from steps import PLAN

    now = clock.SystemClock()

    def initial() -> "Ledger":
        if settings is None:
            raise NothingDeployed(f"There is no ledger at {store}.")
        return session.first_ledger(bootstrap.find_project(gcp, now, may_change=True), settings)

    with (
        session.changing(
            PLAN,
            gcp,
            store,
            now,
            initial=initial,
            runner=identity.runner(gcp, now),
            joins=settings is not None,
            # Only Cloud Storage itself limits how often one object may be written.
            pace=Pace(burst=1_000_000) if options.local else None,
            lock_timeout=lock_timeout,
        ) as engine,
        _stopped_by_signals(engine.stop),
        progress.shown(engine, live=is_watched(options)),
    ):
        yield engine


def must_have_its_network(options: Options, settings: "Config") -> None:
    """Look at the network that the settings name, if they name one, before anything is planned for its sake.

    Raises:
        ProjectNotUsable: See bootstrap.find_project.
        NetworkNotUsable: See steps.subnet.
    """
    from provision import bootstrap, clock
    from provision.patience import Patience
    from steps import subnet

    if settings.network.name is None:
        return
    gcp, now = options.clients(settings), clock.SystemClock()
    bootstrap.find_project(gcp, now, may_change=False)  # of a project that is not there, networks say less
    # Where Compute Engine is off there is no network to be looked at; the one named default comes with it.
    with contextlib.suppress(ApiDisabled):
        Patience(gcp, now).with_("looking at the network", lambda: subnet.must_be_usable(gcp, settings))


@contextlib.contextmanager
def _stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """Ctrl-C or SIGTERM once: nothing new starts, what runs is written down; twice: at once."""
    from provision import progress

    def handle(number: int, frame: object) -> None:
        if stop.is_set():
            progress.show_cursor()
            os._exit(Interrupted.exit_code)  # as good as a kill, after which the same command goes on too
        stop.set()
        click.echo("Stopping; what Google is working on goes on there. Once more to stop at once.", err=True)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def is_watched(options: Options) -> bool:
    """Whether a person looks on, so that what is under way may be shown as it goes."""
    from provision import progress

    return not options.as_json and progress.on_a_terminal()


def report_findings(options: Options, findings: "list[Finding]", nothing: str, mend: str) -> None:
    """Show what differs, and end with exit code 2 if anything does; nothing and mend are what to say then."""
    from provision.inspect import Kind
    from provision.report import escape
    from steps import PLAN

    titles = {row.name: row.title for row in PLAN}
    unmarked = [options.command("release", finding.ref) for finding in findings if finding.kind is Kind.UNMARKED]
    ways = [f"{mend}: {options.command('up')}", *(f"Put the mark back, or let go: {escape(way)}" for way in unmarked)]
    told = [replace(finding, note=options.completed(finding.note)) for finding in findings]
    options.report.findings(told, titles, nothing, "\n".join(ways))
    if findings:
        raise SystemExit(CHANGES_PENDING)


def must_be_rows(names: Sequence[str], said_by: str) -> None:
    """Make sure that the table has rows of these names; said_by is the option or setting that names them."""
    from steps import PLAN

    for name in names:
        if name not in PLAN.rows:
            close = difflib.get_close_matches(name, PLAN.rows, n=1)
            meant = f"; did you mean {close[0]}?" if close else "."
            known = f"The rows are {', '.join(PLAN.rows)}."
            raise BadUsage(f"{said_by} {name!r} is no row of the table{meant}", hint=known)


def must_be_answered(options: Options, what: str, *, hint: str = "Add --yes.") -> None:
    """Make sure that somebody is there to answer: not where a program reads what is printed; raises BadUsage."""
    if options.as_json or not sys.stdin.isatty():
        raise BadUsage(f"This asks before it {what}, and nobody is there to answer.", hint=hint)


def confirm(options: Options, question: str, answer: str) -> None:
    """Go on only if the person at the terminal types the answer; raises BadUsage otherwise, or where there is none."""
    must_be_answered(options, "does harm")
    if click.prompt(question, default="", show_default=False) != answer:
        raise BadUsage(
            "Not confirmed; nothing was touched.", hint="Run the command again and type exactly what it asks for."
        )
