"""`drift`, `status` and `token`: what can be asked of a deployment without changing anything."""

from typing import TYPE_CHECKING

import click

from provision.commands import running
from provision.errors import NothingDeployed
from provision.options import Options, common

if TYPE_CHECKING:
    from provision.gcp import Gcp
    from state.ledger import Ledger


@click.command()
@common
def drift(options: Options) -> None:
    """Tell what was changed behind our back.

    Compares the cloud with what was applied last. Ends with exit code 2 when something differs.
    """
    from provision import clock, session
    from provision.inspect import Inspector
    from steps import PLAN

    gcp, store = options.open(options.whose())
    with session.reading(gcp, store) as ledger:
        findings = Inspector(PLAN, gcp, ledger, clock.SystemClock()).drift()
    running.report_findings(options, findings, "No drift: everything is as it was applied.", "Put it back")


@click.command()
@common
def status(options: Options) -> None:
    """Tell what is deployed, where, and who is at work on it."""
    from provision import session

    gcp, store = options.open(options.whose())
    with session.reading(gcp, store) as ledger:
        held_by = session.holder_of(store)
        keys = _keys(gcp, ledger)
    rows: dict[str, int] = {}
    for record in ledger.records.values():
        rows[record.step] = rows.get(record.step, 0) + 1
    facts = {
        "url": ledger.facts.get("server", {}).get("origin"),
        "project": ledger.project,
        "env": ledger.env,
        "region": ledger.region,
        "deployment": ledger.deployment,
        "ledger": str(store),
        "last_run": ledger.run,
        "unfinished": sum(record.pending is not None for record in ledger.records.values()),
        "rollback": _rollback(ledger),
        "waits": "; ".join(
            f"{ref} since {record.waits.since}" for ref, record in ledger.records.items() if record.waits
        ),
        "held_by": held_by,
        "keys": keys,
    }
    options.report.status(facts, rows)


@click.command()
@common
def token(options: Options) -> None:
    """Print a token for MLFLOW_TRACKING_TOKEN, good for an hour."""
    from provision import identity, session

    gcp, store = options.open(options.whose())
    with session.reading(gcp, store) as ledger:
        url = session.origin_of(ledger)
        signed = identity.door_token(gcp, session.log_pusher_of(ledger), url)
    options.report.object(token=signed, url=url)
    if not options.as_json:
        click.echo(signed)


def _keys(gcp: "Gcp", ledger: "Ledger") -> str | None:
    """The log pusher's keys, which only Google knows; a look at them that fails keeps nothing else from being told."""
    from provision import clock, keys, retry, session
    from provision.doctor import telling
    from provision.refusals import refusal_of

    try:
        found = keys.listed(gcp, session.log_pusher_ref(ledger))
    except NothingDeployed:
        return None
    except Exception as error:
        if refusal_of(error) is None:
            raise
        return None if retry.absent(error) else f"cannot be listed: {telling.in_words(error)}"
    now = clock.SystemClock().now()
    return "; ".join(key.told(now) for key in found) or None


def _rollback(ledger: "Ledger") -> str | None:
    if ledger.rollback is None:
        return None
    return f"to before run {ledger.rollback.to}{'' if ledger.rollback.by else ', interrupted'}"
