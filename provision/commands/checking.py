"""`doctor`, and the same checks before `up` changes anything."""

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from provision.errors import BadUsage, NothingDeployed
from provision.options import Options, common

if TYPE_CHECKING:
    from collections.abc import Callable

    from provision.bootstrap import Project
    from provision.config import Config
    from provision.doctor.telling import Finding
    from provision.gcp import Gcp
    from provision.step import Ref
    from state.ledger import Ledger

BLOCKED = 5


@click.command()
@common
def doctor(options: Options) -> None:
    """Look for what would stop up, and change nothing.

    Tells everything at once, with what to do about it. Ends with exit code 5 when something would.
    """
    settings = options.settings() or options.first_settings(ask=False)
    findings = examined(options, settings, options.clients(settings, resume=True), lambda ref: False)
    options.report.examined(findings)
    if any(found.error for found in findings):
        raise SystemExit(BLOCKED)


def must_be_well(
    options: Options, settings: "Config", gcp: "Gcp", adopts: "Callable[[Ref], bool]", despite: Sequence[str]
) -> None:
    """Go on only if nothing is found that would stop `up`, or the user knows better.

    Args:
        options: What was typed.
        settings: The settings.
        gcp: The clients.
        adopts: The refs that may be taken over.
        despite: The checks whose word does not count.

    Raises:
        ProvisionError: What stands in the way; SeveralFailed for more than one thing.
    """
    import structlog

    from provision import doctor as checks
    from provision.doctor.telling import Status

    findings = checks.overruled(examined(options, settings, gcp, adopts), despite)
    if error := checks.error_of(findings):
        raise error
    log = structlog.get_logger()
    for found in findings:
        if found.status is Status.WARNING:
            log.warning("doctor.warning", what=found.check, why=f"{found.why} {found.todo}".strip())
    if open_questions := sorted({found.check for found in findings if found.status is Status.UNCHECKED}):
        log.info("doctor.unchecked", what=", ".join(open_questions))


def examined(options: Options, settings: "Config", gcp: "Gcp", adopts: "Callable[[Ref], bool]") -> "list[Finding]":
    """Ask all that is in the table, and change nothing."""
    from provision import clock, doctor, session
    from provision.doctor.facts import Facts
    from provision.doctor.table import CHECKS
    from steps import PLAN

    def look_up(project: "Callable[[], Project]") -> "Ledger | None":
        with contextlib.suppress(NothingDeployed):
            return session.ledger_at(options.open(settings, gcp=gcp, find=project)[1])
        return None

    with session.read_only(gcp):
        return doctor.run(CHECKS, Facts(gcp, settings, PLAN, clock.SystemClock(), look_up, options.state, adopts))


def must_be_checks(names: Sequence[str]) -> None:
    """Make sure that the table of checks has these, and that it makes sense to overrule them."""
    from provision.doctor.table import CHECKS

    known = [check.name for check in CHECKS if check.overrulable]
    if unknown := [name for name in names if name not in known]:
        raise BadUsage(f"--despite {unknown[0]!r} is no check that can be overruled.", hint=f"{', '.join(known)} can.")
