"""The command line, and the one place that catches errors."""

import contextlib
import os
import platform
import signal
import sys
import traceback
from pathlib import Path
from typing import NoReturn

import click

from provision import __version__, interrupts, log
from provision.commands import checking, inviting, looking, making, proving, rehearsing, removing, state, undoing
from provision.errors import BadUsage, Defect, Interrupted, NotSignedIn, ProvisionError
from provision.options import InReadingOrder

CRASH_LOG = Path("provision-crash.log")


@click.group(cls=InReadingOrder, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mlflow-on-gcp")
@click.option("--local", is_flag=True, help="The same as --local behind the command.")
@click.pass_context
def cli(context: click.Context, local: bool) -> None:
    """A production MLflow on Google Cloud, in one command."""
    context.obj = {"local": local}


for command in (
    checking.doctor,
    making.up,
    making.plan,
    looking.drift,
    proving.verify,
    looking.status,
    looking.token,
    inviting.client,
    undoing.rollback,
    undoing.release,
    removing.down,
    removing.stop,
    rehearsing.rehearse,
    state.state,
):
    cli.add_command(command)


def main(prog_name: str | None = None) -> None:
    """Run the command line, and turn every error into its exit code."""
    interrupts.listen(interrupts.once)
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
    interrupts.listen(signal.SIG_IGN)  # it is over, and what is told is told whole
    from provision.report import Report

    Report(as_json="--json" in sys.argv).error(error)
    if isinstance(error, Interrupted):  # threads that still wait for an answer hold nobody up
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(error.exit_code)
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
        click.echo(log.printable(text, lines=True), err=True)
        hint = "Please report it with the lines above; then run the same command again, nothing is lost."
    _end(Defect(f"This is a defect of the program: {type(error).__name__}: {error}", hint=hint))


def _for_the_user(error: Exception) -> ProvisionError | None:
    """The error in words that the user can act on; None for what nobody foresaw."""
    if isinstance(error, ProvisionError):
        return error
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "python -m provision"
        return BadUsage(error.format_message(), hint=f"See {path} --help.")
    from provision import refusals, retry

    if isinstance(error, OSError) and refusals.is_of_this_machine(error):
        return refusals.file_trouble(error)
    if not any(name.startswith("google.") for name in sys.modules):
        return None
    import google.auth.exceptions

    if isinstance(error, google.auth.exceptions.GoogleAuthError) and refusals.refusal_of(error) is None:
        return NotSignedIn(f"Google does not know who you are: {error}")
    explained = retry.explained(error, "asking Google")
    return explained if isinstance(explained, ProvisionError) else None
