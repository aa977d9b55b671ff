"""`doctor`, and the same checks before `up` changes anything."""

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from provision.errors import BadUsage, NothingDeployed
from provision.options import Options, common

if TYPE_CHECKING:
    from provision.bootstrap import Project
    from provision.config import Config
    from provision.doctor.facts import Facts
    from provision.doctor.telling import Finding
    from provision.gcp import Gcp
    from provision.step import Ref
    from state.ledger import Ledger
    from state.store import Store

BLOCKED = 5


@click.command()
@common
def doctor(options: Options) -> None:
    """Look for what would stop up, and change nothing.

    Tells everything at once, with what to do about it. Ends with exit code 5 when something would.
    """
    settings = options.settings() or options.first_settings(ask=False)
    findings = examined(facts_of(options, settings, options.clients(settings, make=options.local)))
    tell(options, findings)
    if any(found.error for found in findings):
        raise SystemExit(BLOCKED)


def tell(options: Options, findings: "Sequence[Finding]") -> None:
    """Show what was found, its commands with the options that say which deployment is meant."""
    options.report.examined([found.told_as(options.completed(found.todo)) for found in findings])


def facts_of(
    options: Options,
    settings: "Config",
    gcp: "Gcp",
    *,
    adopts: "Callable[[Ref], bool]" = lambda ref: False,
    replaces: "Collection[Ref]" = (),
    only: Collection[str] = (),
    ledger: "Ledger | None" = None,
) -> "Facts":
    """What the checks ask of a deployment.

    Args:
        options: What was typed.
        settings: The settings.
        gcp: The clients.
        adopts: The refs that may be taken over.
        replaces: The refs of which others are to be made.
        only: The rows that are worked on; every row when empty.
        ledger: The ledger, if it is open already.
    """
    from provision import clock, session
    from provision.doctor.facts import Facts
    from provision.plan import Plan
    from steps import PLAN

    def look_up(project: "Callable[[], Project]") -> "Ledger | None":
        if ledger is not None:
            return ledger
        with contextlib.suppress(NothingDeployed):
            return session.ledger_at(options.open(settings, gcp=gcp, find=project)[1])
        return None

    rows = PLAN.with_needs(only) if only else set(PLAN.rows)
    plan = Plan(tuple(row for row in PLAN if row.name in rows))
    return Facts(gcp, settings, plan, clock.SystemClock(), look_up, options.state, adopts, replaces)


def examined(facts: "Facts", *, holding: "Store | None" = None) -> "list[Finding]":
    """Ask all that is in the table, and change nothing; holding is where a lease is kept alive meanwhile."""
    from provision import doctor, session
    from provision.doctor.table import CHECKS

    with session.read_only(facts.gcp, but=holding):
        return doctor.run(CHECKS, facts)


def must_be_well(
    facts: "Facts", despite: Sequence[str], *, before: "Sequence[Finding]" = (), holding: "Store | None" = None
) -> "list[Finding]":
    """Go on only if nothing is found that would stop `up`, or the user knows better.

    Args:
        facts: What is asked.
        despite: The checks whose word does not count.
        before: What was found, and told, before.
        holding: See examined.

    Raises:
        ProvisionError: What stands in the way; SeveralFailed for more than one thing.
    """
    import structlog

    from provision import doctor
    from provision.doctor.telling import Status

    findings = doctor.overruled(examined(facts, holding=holding), despite)
    if error := doctor.error_of(findings):
        raise error
    log = structlog.get_logger()
    for found in findings:
        if found.status is Status.WARNING and found not in before:
            log.warning("doctor.warning", what=found.check, why=found.why)
        elif found.status is Status.UNCHECKED:  # it stops nobody, and most of it is so at every run
            log.debug("doctor.unchecked", what=found.check, why=found.why)
    return findings


@contextlib.contextmanager
def who_could_pay(facts: "Facts") -> Iterator[None]:
    """Say which account could pay for the project where Google refuses something because none does.

    In a new project the check before has nobody to ask: the API that tells is off until `up` switches it on.
    """
    from provision import bootstrap
    from provision.doctor import money
    from provision.errors import NoBilling, ProvisionError

    try:
        yield
    except NoBilling as refused:
        found = list["Finding"]()
        with contextlib.suppress(ProvisionError):  # who may not ask has been told what Google says
            found += bootstrap.with_api(
                facts.gcp, facts.clock, bootstrap.BILLING, lambda: list(money.paid(facts)), may_change=True
            )
        for finding in found:
            if finding.error is not None:
                raise finding.error from refused
        raise


def leaves_questions(facts: "Facts") -> bool:
    """Whether more could be asked with all APIs on."""
    try:
        return any(state != "ENABLED" for state in facts.services.values())
    except Exception:  # noqa: BLE001 - who cannot ask which are on has been told so
        return False


def must_be_checks(names: Sequence[str]) -> None:
    """Make sure that the table of checks has these, and that it makes sense to overrule them."""
    from provision.doctor.table import CHECKS

    known = [check.name for check in CHECKS if check.overrulable]
    if unknown := [name for name in names if name not in known]:
        raise BadUsage(f"--despite {unknown[0]!r} is no check that can be overruled.", hint=f"{', '.join(known)} can.")
