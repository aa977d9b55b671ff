"""The verification after `up`: one link of the proof after the other, with patience for what heals by itself."""

import contextlib

import structlog
import tenacity

from provision import proof
from provision.errors import NotReachable
from provision.patience import Patience
from provision.proof import LINKS, Broken, Link, Proof
from state.ledger import Ledger

SPREADS = 600.0
"""Seconds until a new grant works everywhere, at the door too, at the most
(https://cloud.google.com/iap/docs/faq, https://cloud.google.com/iam/docs/access-change-propagation)."""


def prove(patience: Patience, account: str, origin: str, *, whole: bool) -> list[str]:
    """Prove that a deployment works; what the proof has logged is gone at its end, also when it fails.

    Args:
        patience: Whose clients are used, and who waits; the caller must be allowed to sign for the account.
        account: E-mail of the log pusher.
        origin: Where the server is reached.
        whole: Whether something may be logged; else only what can be read is asked for.

    Returns:
        What was proved, link by link.

    Raises:
        NotReachable: A link does not hold; says which.
        NeedsCustomClient: Google's own OAuth client does not serve the project.
        Interrupted: The run was stopped.
    """
    asked = Proof(patience.gcp, account, origin)
    links = [link for link in LINKS if whole or not link.changes]
    try:
        for link in links:
            _patiently(patience, link, asked)
            structlog.get_logger().debug("proof.holds", link=link.asked)
    except BaseException:
        if asked.run:
            with contextlib.suppress(Exception):  # the broken link is what the user must see
                proof.forget(asked)
        raise
    finally:
        asked.close()
    return [link.asked for link in links]


def newest(ledger: Ledger) -> int:
    """The serial of the last change of what stands: what a proof is about."""
    return max((record.done.serial for record in ledger.records.values() if record.done), default=0)


def _patiently(patience: Patience, link: Link, asked: Proof) -> None:
    """Ask for a link as long as what is in the way may go away by itself."""
    clock, since = patience.clock, patience.clock.monotonic()

    def worth_repeating(error: BaseException) -> bool:
        if not isinstance(error, Broken):
            return False
        spreading = error.spreads and any(map(patience.circumstances.changed, link.after))
        return clock.monotonic() - since < max(error.seconds, SPREADS if spreading else 0.0)

    def tell(state: tenacity.RetryCallState) -> None:
        why = str(state.outcome.exception() if state.outcome else "")
        structlog.get_logger().info("waiting", what=f"until {link.asked}", why=why)

    policy = tenacity.Retrying(
        retry=tenacity.retry_if_exception(worth_repeating),
        wait=tenacity.wait_exponential(multiplier=0.25, max=15),
        sleep=patience.pause,
        before_sleep=tell,
        reraise=True,
    )
    try:
        policy(lambda: proof.hold(link, asked))
    except Broken as error:
        raise NotReachable(f"{link.means}: {error}") from error
