"""`up` and `plan`: what brings a deployment into being, and what tells beforehand what that would do."""

import contextlib
import functools
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import click

from provision.commands import checking, proving, running
from provision.errors import NothingDeployed
from provision.options import Options, common, takes_turns

if TYPE_CHECKING:
    from provision.engine import Engine
    from provision.gcp import Gcp
    from state.store import Store

ALL = "*"
ADOPT = "Take over what is there and is not ours: this resource, or whatever stands in the way."


@click.command()
@common
@takes_turns
@click.option("--only", multiple=True, metavar="ROW", help="Work on this row of the table and what it needs.")
@click.option("--replace", multiple=True, metavar="REF", help="Make this resource anew.")
@click.option("--adopt", multiple=True, metavar="[REF]", is_flag=False, flag_value=ALL, help=ADOPT)
@click.option("--despite", multiple=True, metavar="CHECK", help="Go on whatever this check of doctor says.")
@click.option("--rollback-on-failure", is_flag=True, help="If it fails, go back to what was before.")
def up(
    options: Options,
    lock_timeout: float | None,
    only: tuple[str, ...],
    replace: tuple[str, ...],
    adopt: tuple[str, ...],
    despite: tuple[str, ...],
    rollback_on_failure: bool,
) -> None:
    """Deploy MLflow, or mend it, or go on after an interruption.

    Brings everything to what provision.toml says. Without that file it asks the questions that have no default.
    """
    from provision import replacement, rollback, session

    settings = options.settings() or options.first_settings(ask=True)
    running.must_be_rows(only, "--only")
    running.must_be_rows(settings.protect, "protect:")
    checking.must_be_checks(despite)
    begun = time.monotonic()
    gcp = options.clients(settings, make=True)

    def adopts(ref: str) -> bool:
        return ALL in adopt or ref in adopt

    facts_now = functools.partial(checking.facts_of, options, settings, gcp, adopts=adopts, replaces=replace, only=only)
    facts = facts_now()
    findings = checking.must_be_well(facts, despite)
    with checking.who_could_pay(facts):
        gcp, store = options.open(settings, make=True, gcp=gcp)
    known = session.ledger_at(store)
    if known is not None:
        session.must_fit(known, settings)
    with running.changing(options, gcp, store, settings, lock_timeout) as engine:
        session.must_fit(engine.ledger, settings)  # once more: another first run may have made it meanwhile
        if engine.ledger.region != settings.region:  # nothing lies there any more
            engine.journal.note(lambda ledger: setattr(ledger, "region", settings.region))
        rollback.give_up(engine)
        rows = engine.rows(only)
        replacement.ask(engine, replace, rows)
        with _undone(engine, store) if rollback_on_failure else contextlib.nullcontext():
            if checking.leaves_questions(facts):  # of a new project little can be asked before its APIs are on
                with checking.who_could_pay(facts):
                    engine.up(settings, only=("apis",))
                facts = facts_now(ledger=engine.ledger)
                checking.must_be_well(facts, despite, before=findings, holding=store)
            replacement.clear_the_way(engine, rows)
            engine.up(settings, only=only, adopts=adopts)
        deployment = engine.deployment(settings)
        url, links = ("", list[str]()) if only else proving.proved(engine, whole=bool(engine.done))
        more = session.client_environment_of(engine.ledger)
        replacement.settle(engine)
    if only:
        options.report.changed(engine.done, time.monotonic() - begun)
        return
    commands = {name: options.command(name) for name in ("client", "drift", "down")}
    commands["export"] = _export(options, gcp, url, more)
    seconds = time.monotonic() - begun
    options.report.deployed(commands, url, deployment.members, engine.done, links, seconds, settings.support_email)


@contextlib.contextmanager
def _undone(engine: "Engine", store: "Store") -> Iterator[None]:
    """Go back to what was before the run when it fails; not when it was stopped, or has lost its lease."""
    from provision import rollback
    from provision.errors import Interrupted, LostTheLease, ProvisionError
    from state import history
    from steps import PLAN

    try:
        yield
    except (Interrupted, LostTheLease):
        raise
    except ProvisionError as error:
        engine.deeds.log.warning("rollback.begun", why=str(error))
        way = rollback.way_back(PLAN, [*history.states(store), engine.ledger], engine.run)
        rollback.begin(engine, way.goal)
        rollback.go_back(engine)
        error.hint = f"What this run had changed is undone. {error.hint}".strip()
        raise


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
    running.must_have_its_network(options, settings)
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


def _export(options: Options, gcp: "Gcp", url: str, more: Mapping[str, str]) -> str:
    """What to type before MLflow's client runs in a shell; locally its files go to the emulated Cloud Storage."""
    variables = {"MLFLOW_TRACKING_URI": url, "MLFLOW_TRACKING_TOKEN": f'"$({options.command("token")})"', **more}
    if gcp.emulator:
        variables["STORAGE_EMULATOR_HOST"] = f"{gcp.emulator}/storage.googleapis.com"
    return " ".join(["export", *(f"{name}={value}" for name, value in variables.items())])
