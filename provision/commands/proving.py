"""`verify`, and the end of `up`: the proof that the deployment works, through its front door and as its clients do."""

import time
from typing import TYPE_CHECKING

import click

from provision.commands import running
from provision.options import Options, common, takes_turns

if TYPE_CHECKING:
    from provision.engine import Engine


@click.command()
@common
@takes_turns
def verify(options: Options, lock_timeout: float | None) -> None:
    """Prove that MLflow works the way its clients go.

    Through the front door as the log pusher: one run with a metric and a file is logged into the experiment _provision,
    read back and deleted. A failure says which link of that chain is broken.
    """
    begun = time.monotonic()
    gcp, store = options.open(options.whose())
    with running.changing(options, gcp, store, None, lock_timeout) as engine:
        url, links = proved(engine, whole=True)
    options.report.proved(url, links, time.monotonic() - begun)


def proved(engine: "Engine", *, whole: bool) -> tuple[str, list[str]]:
    """Prove it, and write down which changes that was about.

    Args:
        engine: The engine of this run.
        whole: Whether something may be logged, though nothing was changed since the last proof that held.

    Returns:
        The server's address, and what was proved.
    """
    from provision import session, verify

    url, account = session.origin_of(engine.ledger), session.log_pusher_of(engine.ledger)
    engine.waits_for = "waiting until MLflow answers"
    engine.doing(engine.waits_for)
    newest = verify.newest(engine.ledger)
    whole = whole or newest > engine.ledger.proved
    links = verify.prove(engine.deeds.patience, account, url, whole=whole)
    if whole and newest > engine.ledger.proved:
        engine.journal.note(lambda ledger: setattr(ledger, "proved", newest))
    return url, links
