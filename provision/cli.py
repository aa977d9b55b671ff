"""The commands, and the one place that catches errors; the only module that knows the steps."""

import contextlib
import os
import platform
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from provision import __version__
from provision.errors import BadUsage, Defect, FileTrouble, Interrupted, NothingDeployed, NotSignedIn, ProvisionError
from provision.options import CONFIG_FILE, Options, common

if TYPE_CHECKING:
    from provision.config import Config
    from provision.engine import Engine
    from provision.gcp import Gcp
    from provision.inspect import Finding
    from state.ledger import Ledger
    from state.store import Store

CRASH_LOG = Path("provision-crash.log")
CHANGES_PENDING = 2


class _InReadingOrder(click.Group):
    """Lists the commands in the order in which they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_InReadingOrder, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mlflow-on-gcp")
@click.option("--local", is_flag=True, help="The same as --local behind the command.")
@click.pass_context
def cli(context: click.Context, local: bool) -> None:
    """A production MLflow on Google Cloud, in one command."""
    context.obj = {"local": local}


_lock_timeout = click.option(
    "--lock-timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="How long to wait for another run."
)


@cli.command()
@common
@_lock_timeout
def up(options: Options, lock_timeout: float | None) -> None:
    """Deploy MLflow, or mend it, or go on after an interruption.

    Brings everything to what provision.toml says. Without that file it asks the questions that have no default.
    """
    from provision import clock, identity, progress, session, verify

    settings = options.settings() or _first_settings(options, ask=True)
    begun = time.monotonic()
    gcp, store = options.open(settings, make=True)
    known = session.ledger_at(store)
    if known is not None:
        session.must_fit(known, settings)
    with _changing(options, gcp, store, settings, lock_timeout, identity.runner(gcp)) as engine:
        if engine.journal.ledger.region != settings.region:  # nothing lies there any more
            engine.journal.note(lambda ledger: setattr(ledger, "region", settings.region))
        engine.up(settings)
        url, deployment = _url(engine.journal.ledger), engine.deployment(settings)
    with progress.watching("Waiting until MLflow answers") if _is_watched(options) else contextlib.nullcontext():
        verify.server_answers(gcp, clock.SystemClock(), deployment.account("log-pusher"), url)
    commands = {name: options.command(name) for name in ("drift", "down")} | {"export": _export(options, gcp, url)}
    seconds = time.monotonic() - begun
    options.report.deployed(commands, url, deployment.members, engine.done, seconds, settings.support_email)


@cli.command()
@common
def plan(options: Options) -> None:
    """Tell what up would do, and change nothing.

    Ends with exit code 2 when there is something to do.
    """
    from provision import bootstrap, clock, session
    from provision.engine import deployment_of
    from provision.inspect import Inspector
    from steps import PLAN

    settings = options.settings() or _first_settings(options, ask=False)
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
    _report_findings(options, findings, "Nothing to do: everything is as the settings say.", "Make it so")


@cli.command()
@common
def drift(options: Options) -> None:
    """Tell what was changed behind our back.

    Compares the cloud with what was applied last. Ends with exit code 2 when something differs.
    """
    from provision import clock, session
    from provision.inspect import Inspector
    from steps import PLAN

    gcp, store = options.open(options.settings())
    with session.reading(gcp, store) as ledger:
        findings = Inspector(PLAN, gcp, ledger, clock.SystemClock()).drift()
    _report_findings(options, findings, "No drift: everything is as it was applied.", "Put it back")


@cli.command()
@common
def status(options: Options) -> None:
    """Tell what is deployed, where, and who is at work on it."""
    from provision import session

    gcp, store = options.open(options.settings())
    with session.reading(gcp, store) as ledger:
        held_by = session.holder_of(store)
    rows: dict[str, int] = {}
    for record in ledger.records.values():
        rows[record.step] = rows.get(record.step, 0) + 1
    facts = {
        "url": _origin(ledger),
        "project": ledger.project,
        "env": ledger.env,
        "region": ledger.region,
        "deployment": ledger.deployment,
        "ledger": str(store),
        "last_run": ledger.run,
        "unfinished": sum(record.pending is not None for record in ledger.records.values()),
        "held_by": held_by,
    }
    options.report.status(facts, rows)


@cli.command()
@common
def token(options: Options) -> None:
    """Print a token for MLFLOW_TRACKING_TOKEN, good for an hour."""
    from provision import identity, session

    gcp, store = options.open(options.settings())
    with session.reading(gcp, store) as ledger:
        url = _url(ledger)
        account = next((ref for ref in ledger.records if "-log-pusher@" in ref and "/iamPolicy" not in ref), None)
        if account is None:
            raise NothingDeployed("The log pusher is not there yet.", hint=f"Run {options.command('up')} first.")
        signed = identity.door_token(gcp, account.rpartition("/")[2], url)
    options.report.object(token=signed, url=url)
    if not options.as_json:
        click.echo(signed)


@cli.command()
@common
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--delete-data", is_flag=True, help="Delete the artifacts too, not only what serves them.")
@_lock_timeout
def down(options: Options, yes: bool, delete_data: bool, lock_timeout: float | None) -> None:
    """Take the deployment away, and tell what stays and why."""
    from provision import identity, session
    from provision.teardown import Left, Teardown, data_at_risk, held
    from steps import PLAN

    settings = options.settings()
    begun = time.monotonic()
    gcp, store = options.open(settings, resume=True)
    with session.reading(gcp, store) as ledger:
        gcp.project = ledger.project
        if not yes:
            _confirm(
                f"This takes down MLflow in project {ledger.project}. Type the project's id to go on", ledger.project
            )
        if delete_data and not yes:
            for ref, contents in data_at_risk(PLAN, gcp, ledger).items():
                _confirm(f"{ref} holds {held(contents)}. Type delete to lose them", "delete")
    with _changing(options, gcp, store, None, lock_timeout, identity.runner(gcp)) as engine:
        stays = Teardown(engine, session.new_salt(), delete_data=delete_data).run()
    stays.append(Left(str(store), "The ledger: it tells a later up what was here."))
    options.report.taken_down(stays, engine.done, time.monotonic() - begun)
    if options.local:
        options.report.say(f"\nThe emulator goes on running; to end it: [cyan]{options.command('stop')}[/]")


@cli.command()
@common
def stop(options: Options) -> None:
    """Stop the emulator of this folder; all data stays.

    The machines behind it, MLflow and the database, stop with it. `up --local` goes on from there.
    """
    from provision import local

    stopped = local.stop()
    options.report.object(stopped=stopped)
    options.report.say(
        "Stopped; python -m provision up --local goes on from here." if stopped else "Nothing was running."
    )


def main(prog_name: str | None = None) -> None:
    """Run the command line, and turn every error into its exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what ends a pipeline's job is a Ctrl-C too
    try:
        cli.main(prog_name=prog_name, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
    except (click.Abort, KeyboardInterrupt):
        _end(Interrupted("Interrupted; what Google is working on goes on there."))
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the boundary
        told = _for_the_user(error)
        if told is not None:
            _end(told)
        _end_by_a_defect(error)


def _end(error: ProvisionError) -> NoReturn:
    from provision.report import Report

    Report(as_json="--json" in sys.argv).error(error)
    sys.exit(error.exit_code)


def _end_by_a_defect(error: Exception) -> NoReturn:
    """The user gets what mends it: a file to report, since the lines of a program say nothing to anybody else."""
    versions = f"mlflow-on-gcp {__version__}, Python {platform.python_version()}, {platform.platform()}\n\n"
    text = versions + "".join(traceback.format_exception(error))
    hint = f"Please report it with {CRASH_LOG.resolve()}; then run the same command again, nothing is lost."
    try:
        CRASH_LOG.touch(mode=0o600)
        CRASH_LOG.write_text(text, encoding="utf-8")
    except OSError:
        click.echo(text, err=True)
        hint = "Please report it with the lines above; then run the same command again, nothing is lost."
    _end(Defect(f"This is a defect of the program: {type(error).__name__}: {error}", hint=hint))


def _for_the_user(error: Exception) -> ProvisionError | None:
    """The error in words that the user can act on; None for what nobody foresaw."""
    if isinstance(error, ProvisionError):
        return error
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "python -m provision"
        return BadUsage(error.format_message(), hint=f"See {path} --help.")
    if isinstance(error, OSError) and error.filename is not None:
        return FileTrouble(f"{error.filename}: {error.strerror}")
    if not any(name.startswith("google.") for name in sys.modules):
        return None
    import google.auth.exceptions

    from provision import retry

    if isinstance(error, google.auth.exceptions.GoogleAuthError) and retry.refusal_of(error) is None:
        return NotSignedIn(f"Google does not know who you are: {error}")
    explained = retry.explained(error, "asking Google")
    return explained if isinstance(explained, ProvisionError) else None


def _is_watched(options: Options) -> bool:
    """Whether a person looks on, so that what is under way may be shown as it goes."""
    from provision import progress

    return not options.as_json and progress.on_a_terminal()


def _first_settings(options: Options, *, ask: bool) -> "Config":
    """Settings where there is no file: the local default, the answers of the person at the terminal, or an error."""
    if options.local:
        from provision import local

        return local.default_config(options.project, options.env)
    if options.project is not None:
        from provision import config

        return config.check({"project": options.project, "env": options.env or "default"}, "the command line")
    if not (ask and sys.stdin.isatty()) or options.as_json:
        raise BadUsage(
            f"There is no {CONFIG_FILE}, which must say at least: project.",
            hint=f'Write {CONFIG_FILE} with project = "YOUR-PROJECT-ID", or run up on a terminal to be asked;'
            " up --local needs no settings.",
        )
    from provision import wizard

    return wizard.ask(CONFIG_FILE, options.env)


def _report_findings(options: Options, findings: "list[Finding]", nothing: str, mend: str) -> None:
    from steps import PLAN

    titles = {row.name: row.title for row in PLAN}
    options.report.findings(findings, titles, nothing, f"{mend}: {options.command('up')}")
    if findings:
        raise SystemExit(CHANGES_PENDING)


@contextlib.contextmanager
def _changing(
    options: Options, gcp: "Gcp", store: "Store", settings: "Config | None", lock_timeout: float | None, runner: str
) -> "Iterator[Engine]":
    from provision import bootstrap, clock, progress, session
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
            runner=runner,
            # Only Cloud Storage itself limits how often one object may be written.
            pace=Pace(burst=1_000_000) if options.local else None,
            lock_timeout=lock_timeout,
        ) as engine,
        _stopped_by_signals(engine.stop),
        progress.shown(engine, live=_is_watched(options)),
    ):
        yield engine


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


def _confirm(question: str, answer: str) -> None:
    if not sys.stdin.isatty():
        raise BadUsage("down asks before it deletes, and nobody is there to answer.", hint="Add --yes.")
    if click.prompt(question, default="", show_default=False) != answer:
        raise BadUsage(
            "Not confirmed; nothing was touched.", hint="Run the command again and type exactly what it asks for."
        )


def _origin(ledger: "Ledger") -> str | None:
    """Where the server is reached, as soon as it is known."""
    return (ledger.facts.get("server") or {}).get("origin")


def _export(options: Options, gcp: "Gcp", url: str) -> str:
    """What to type before MLflow's client runs in a shell; locally its files go to the emulated Cloud Storage."""
    variables = f'MLFLOW_TRACKING_URI={url} MLFLOW_TRACKING_TOKEN="$({options.command("token")})"'
    storage = f" STORAGE_EMULATOR_HOST={gcp.emulator}/storage.googleapis.com" if gcp.emulator else ""
    return f"export {variables}{storage}"


def _url(ledger: "Ledger") -> str:
    url = _origin(ledger)
    if url is None:
        raise NothingDeployed("There is no server yet.", hint="Run python -m provision up to its end.")
    return url
