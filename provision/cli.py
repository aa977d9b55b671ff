"""The commands, and the one place that catches errors; the only module that knows the steps."""

import contextlib
import platform
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provision import __version__
from provision.errors import BadUsage, Interrupted, LocalFailed, NothingDeployed, ProvisionError
from provision.options import CONFIG_FILE, Options, common

if TYPE_CHECKING:
    from provision.config import Config
    from provision.engine import Engine
    from provision.gcp import Gcp
    from state.ledger import Ledger
    from state.store import Store

CRASH_LOG = Path("provision-crash.log")
CHANGES_PENDING = 2


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mlflow-on-gcp")
@click.option("--local", is_flag=True, help="The same as --local behind the command.")
@click.pass_context
def cli(context: click.Context, local: bool) -> None:
    """A production MLflow on Google Cloud, in one command."""
    context.obj = {"local": local}


@cli.command()
@common
@click.option("--lock-timeout", type=click.FloatRange(min=0), help="Seconds to wait for another run.")
def up(options: Options, lock_timeout: float | None) -> None:
    """Bring the deployment into being, or to what provision.toml says now."""
    from provision import clock, identity, verify

    settings = options.settings() or _settings_of_a_first_run(options)
    begun = time.monotonic()
    gcp, store, _ = options.open(settings, may_change=True)
    runner = identity.runner(gcp)
    with _changing(options, gcp, store, settings, lock_timeout, runner) as engine:
        engine.up(settings)
        url, deployment = _url(engine.journal.ledger), engine.deployment(settings)
    verify.server_answers(
        gcp,
        clock.SystemClock(),
        deployment.account("log-pusher"),
        url,
        lambda why: options.report.say(f"[dim]{why}[/]"),
    )
    seconds = time.monotonic() - begun
    options.report.deployed(options.command, url, deployment.members, engine.done, seconds, settings.support_email)


@cli.command()
@common
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--delete-data", is_flag=True, help="Delete the artifacts too, not only what serves them.")
@click.option("--lock-timeout", type=click.FloatRange(min=0), help="Seconds to wait for another run.")
def down(options: Options, yes: bool, delete_data: bool, lock_timeout: float | None) -> None:
    """Take the deployment away, in reverse order; says what stays and why."""
    from provision import identity, session
    from provision.teardown import Left, Teardown, data_at_risk

    settings = options.settings()
    begun = time.monotonic()
    gcp, store, _ = options.open(settings, may_change=options.local)
    with session.reading(gcp, store) as ledger:
        project = ledger.project
    if not yes:
        _confirm(f"This takes down MLflow in project {project}. Type the project's id to go on", project)
    with _changing(options, gcp, store, None, lock_timeout, identity.runner(gcp)) as engine:
        if delete_data and not yes:
            for ref, contents in data_at_risk(engine).items():
                _confirm(
                    f"{ref} holds {contents.objects} objects, {contents.bytes} bytes. Type delete to lose them",
                    "delete",
                )
        stays = Teardown(engine, session.new_salt(), delete_data=delete_data).run()
    stays.append(Left(str(store), "the ledger: it tells a later up what was here"))
    options.report.taken_down(stays, engine.done, time.monotonic() - begun)


@cli.command()
@common
def drift(options: Options) -> None:
    """Tell what changed behind our back; exits with 2 when something did."""
    from provision import clock, session
    from provision.inspect import Inspector
    from steps import PLAN

    gcp, store, _ = options.open(options.settings(), may_change=False)
    with session.reading(gcp, store) as ledger:
        findings = Inspector(PLAN, gcp, ledger, clock.SystemClock()).drift()
    options.report.findings(findings, "No drift: everything is as it was applied.")
    if findings:
        raise SystemExit(CHANGES_PENDING)


@cli.command()
@common
def plan(options: Options) -> None:
    """Tell what up would do; changes nothing, and exits with 2 when there is something to do."""
    from provision import bootstrap, clock, session
    from provision.engine import deployment_of
    from provision.inspect import Inspector
    from state.journal import read_ledger
    from steps import PLAN

    settings = options.settings() or _settings_of_a_first_run(options)
    now = clock.SystemClock()
    gcp, store, _ = options.open(settings, may_change=False)
    with session.read_only(gcp):
        ledger = read_ledger(store) or session.first_ledger(
            bootstrap.find_project(gcp, now, may_change=False), settings
        )
        findings = Inspector(PLAN, gcp, ledger, now).pending(deployment_of(settings, ledger))
    options.report.findings(findings, "Nothing to do: everything is as provision.toml says.")
    if findings:
        raise SystemExit(CHANGES_PENDING)


@cli.command()
@common
def status(options: Options) -> None:
    """Tell what is deployed, where it is reached, and who is working on it."""
    from provision import session
    from state.lock import look

    gcp, store, _ = options.open(options.settings(), may_change=False)
    with session.reading(gcp, store) as ledger:
        locked = look(store)
    rows: dict[str, int] = {}
    for record in ledger.records.values():
        rows[record.step] = rows.get(record.step, 0) + 1
    facts = {
        "url": _url(ledger) if ledger.records else None,
        "project": ledger.project,
        "env": ledger.env,
        "region": ledger.region,
        "deployment": ledger.deployment,
        "ledger": str(store),
        "last_run": ledger.run,
        "unfinished": sum(record.pending is not None for record in ledger.records.values()),
        "held_by": f"{locked.holder.who} on {locked.holder.host}: {locked.holder.doing}" if locked else None,
    }
    options.report.status(facts, rows)


@cli.command()
@common
def stop(options: Options) -> None:
    """Stop the emulator of this folder and the machines behind it; all data stays."""
    from provision import local

    stopped = local.stop()
    options.report.object(stopped=stopped)
    options.report.say(
        "Stopped; python -m provision up --local goes on from here." if stopped else "Nothing was running."
    )


@cli.command()
@common
def token(options: Options) -> None:
    """Print a token for the front door, good for an hour: MLFLOW_TRACKING_TOKEN."""
    from provision import identity, session

    gcp, store, _ = options.open(options.settings(), may_change=False)
    with session.reading(gcp, store) as ledger:
        url = _url(ledger)
        account = next((ref for ref in ledger.records if "-log-pusher@" in ref and "/iamPolicy" not in ref), None)
        if account is None:
            raise NothingDeployed("The log pusher is not there yet.", hint="Run python -m provision up first.")
        signed = identity.door_token(gcp, account.rpartition("/")[2], url)
    options.report.object(token=signed, url=url)
    if not options.as_json:
        click.echo(signed)


def main(prog_name: str | None = None) -> None:
    """Run the command line, and turn every error into its exit code."""
    context: dict[str, Any] = {}
    try:
        cli.main(prog_name=prog_name, standalone_mode=False, obj=context)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(0)
    except click.UsageError as error:
        error.show()
        sys.exit(BadUsage.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted; run the same command again to go on.", err=True)
        sys.exit(Interrupted.exit_code)
    except ProvisionError as error:
        _report_error(error)
        sys.exit(error.exit_code)
    except SystemExit:
        raise
    except Exception:  # noqa: BLE001 - the boundary: what comes here is a defect, and the user gets what mends it
        versions = f"mlflow-on-gcp {__version__}, Python {platform.python_version()}, {platform.platform()}\n\n"
        CRASH_LOG.write_text(versions + traceback.format_exc(), encoding="utf-8")
        click.echo(f"This is a defect of the program; please report it with {CRASH_LOG.resolve()}.", err=True)
        click.echo(traceback.format_exc(limit=0).strip(), err=True)
        sys.exit(1)


def _report_error(error: ProvisionError) -> None:
    from provision.report import Report

    Report(as_json="--json" in sys.argv).error(error)


def _settings_of_a_first_run(options: Options) -> "Config":
    """Settings where there is no file: the local default, the answers of the person at the terminal, or an error."""
    if options.local:
        from provision import local

        return local.default_config()
    if options.project is not None:
        from provision import config

        return config.check({"project": options.project, "env": options.env or "default"}, "--project")
    if not sys.stdin.isatty() or options.as_json:
        raise BadUsage(
            f"There is no {CONFIG_FILE} and nobody to ask; it needs at least: project",
            hint=f'Write {CONFIG_FILE} with project = "YOUR-PROJECT-ID", or run up on a terminal to be asked.',
        )
    from provision import wizard

    return wizard.ask(CONFIG_FILE)


@contextlib.contextmanager
def _changing(
    options: Options, gcp: "Gcp", store: "Store", settings: "Config | None", lock_timeout: float | None, runner: str
) -> "Iterator[Engine]":
    from provision import bootstrap, clock, session
    from state.journal import Pace
    from steps import PLAN

    now = clock.SystemClock()

    def initial() -> "Ledger":
        if settings is None:
            raise NothingDeployed(f"There is no ledger at {store}.")
        return session.first_ledger(bootstrap.find_project(gcp, now, may_change=False), settings)

    def told(waiting: ProvisionError) -> None:
        options.report.say(f"[yellow]Waiting:[/] {waiting}")

    with (
        session.changing(
            PLAN,
            gcp,
            store,
            now,
            initial=initial,
            runner=runner,
            # Only Cloud Storage itself limits how often one object may be written.
            pace=Pace(burst=1_000_000) if options.local else None,
            lock_timeout=lock_timeout,
            told=told,
        ) as engine,
        _stopped_by_signals(engine.stop),
    ):
        yield engine


@contextlib.contextmanager
def _stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """Ctrl-C or SIGTERM once: nothing new starts, what runs is written down; twice: at once."""

    def handle(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        click.echo("Stopping; what Google is working on goes on there. Once more to stop at once.", err=True)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _confirm(question: str, answer: str) -> None:
    if not sys.stdin.isatty():
        raise BadUsage("down asks before it deletes, and nobody is there to answer.", hint="Add --yes.")
    if click.prompt(question, default="", show_default=False) != answer:
        raise BadUsage(
            "Not confirmed; nothing was touched.", hint="Run the command again and type exactly what it asks for."
        )


def _url(ledger: "Ledger") -> str:
    facts = ledger.facts.get("server") or {}
    if "origin" not in facts:
        raise LocalFailed("The address of the server is not known yet.", hint="Run python -m provision up to its end.")
    return str(facts["origin"])
