"""`up` and `plan`: what brings a deployment into being, and what tells beforehand what that would do."""

import contextlib
import time
from typing import TYPE_CHECKING

import click

from provision.commands import running
from provision.errors import NothingDeployed
from provision.options import Options, common, takes_turns

if TYPE_CHECKING:
    from provision.gcp import Gcp


@click.command()
@common
@takes_turns
def up(options: Options, lock_timeout: float | None) -> None:
    """Deploy MLflow, or mend it, or go on after an interruption.

    Brings everything to what provision.toml says. Without that file it asks the questions that have no default.
    """
    from provision import clock, identity, progress, session, verify

    settings = options.settings() or options.first_settings(ask=True)
    begun = time.monotonic()
    gcp, store = options.open(settings, make=True)
    known = session.ledger_at(store)
    if known is not None:
        session.must_fit(known, settings)
    with running.changing(options, gcp, store, settings, lock_timeout, identity.runner(gcp)) as engine:
        if engine.journal.ledger.region != settings.region:  # nothing lies there any more
            engine.journal.note(lambda ledger: setattr(ledger, "region", settings.region))
        engine.up(settings)
        url, deployment = session.origin_of(engine.journal.ledger), engine.deployment(settings)
    with progress.watching("Waiting until MLflow answers") if running.is_watched(options) else contextlib.nullcontext():
        verify.server_answers(gcp, clock.SystemClock(), deployment.account("log-pusher"), url)
    commands = {name: options.command(name) for name in ("drift", "down")} | {"export": _export(options, gcp, url)}
    seconds = time.monotonic() - begun
    options.report.deployed(commands, url, deployment.members, engine.done, seconds, settings.support_email)


@click.command()
@common
def plan(options: Options) -> None:
    """Tell what up would do, and change nothing.

    Ends with exit code 2 when there is something to do.
    """
    from provision import bootstrap, clock, session
    from provision.engine import deployment_of
    from provision.inspect import Inspector
    from steps import PLAN

    settings = options.settings() or options.first_settings(ask=False)
    now = clock.SystemClock()
    gcp, ledger = options.clients(settings), None
    with contextlib.suppress(NothingDeployed):
        gcp, store = options.open(settings)
        ledger = session.ledger_at(store)
    with session.read_only(gcp):
        if ledger is None:
            ledger = session.first_ledger(bootstrap.find_project(gcp, now, may_change=False), settings)
        session.must_fit(ledger, settings)
        findings = Inspector(PLAN, gcp, ledger, now).pending(deployment_of(settings, ledger))
    running.report_findings(options, findings, "Nothing to do: everything is as the settings say.", "Make it so")


def _export(options: Options, gcp: "Gcp", url: str) -> str:
    """What to type before MLflow's client runs in a shell; locally its files go to the emulated Cloud Storage."""
    variables = f'MLFLOW_TRACKING_URI={url} MLFLOW_TRACKING_TOKEN="$({options.command("token")})"'
    storage = f" STORAGE_EMULATOR_HOST={gcp.emulator}/storage.googleapis.com" if gcp.emulator else ""
    return f"export {variables}{storage}"
