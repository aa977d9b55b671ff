"""The proof after: the server answers through the front door, to the account that its clients use."""

import requests
import structlog
import tenacity

from provision import identity
from provision.errors import NotReachable
from provision.gcp import TIMEOUT, Gcp
from provision.patience import Patience
from provision.refusals import refusal_of

PATIENCE = {401: 0.0, 403: 600.0, 404: 300.0, 502: 300.0, 503: 300.0}
"""Seconds that an answer is borne with: IAM spreads for minutes (https://cloud.google.com/iam/docs/access-change-propagation),
and a new version answers 502 or 503 at first (https://docs.cloud.google.com/appengine/docs/flexible/known-issues)."""

GRANT_SPREADS = 420.0
"""Seconds until a new right to sign for the log pusher counts everywhere, at the most."""


def server_answers(patience: Patience, account: str, origin: str) -> None:
    """Ask for the server's health through the door, as long as what is in the way may go away by itself.

    Args:
        patience: Whose clients are used, and who waits; the caller must be allowed to sign for the account.
        account: E-mail of the log pusher.
        origin: Where the server is reached.

    Raises:
        NotReachable: It does not answer; says which link of the chain is broken.
        Interrupted: The run was stopped.
    """
    clock = patience.clock
    begun = clock.monotonic()

    def worth_repeating(error: BaseException) -> bool:
        return isinstance(error, _NotYet) and clock.monotonic() - begun < error.patience

    def tell(state: tenacity.RetryCallState) -> None:
        why = str(state.outcome.exception() if state.outcome else "")
        structlog.get_logger().info("waiting", what="until the server answers", why=why)

    policy = tenacity.Retrying(
        retry=tenacity.retry_if_exception(worth_repeating),
        wait=tenacity.wait_exponential(multiplier=0.25, max=15),
        sleep=patience.pause,
        before_sleep=tell,
        reraise=True,
    )
    try:
        policy(lambda: _ask(patience.gcp, account, origin))
    except _NotYet as error:
        raise NotReachable(str(error)) from error


class _NotYet(Exception):
    """What is in the way, and how many seconds it may be."""

    def __init__(self, why: str, patience: float) -> None:
        super().__init__(why)
        self.patience = patience


def _ask(gcp: Gcp, account: str, origin: str) -> None:
    try:
        token = identity.door_token(gcp, account, origin)
    except Exception as error:
        refusal = refusal_of(error)
        if refusal is None:
            raise
        raise _NotYet(f"You cannot sign for {account} yet: {refusal}", GRANT_SPREADS) from error
    try:
        answer = requests.get(
            f"{origin}/health", headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT, allow_redirects=False
        )
    except requests.RequestException as error:
        raise _NotYet(f"{origin} cannot be reached: {type(error).__name__}", PATIENCE[503]) from error
    if answer.status_code != requests.codes.ok:
        door = "x-goog-iap-generated-response" in answer.headers
        who = "The front door refuses the log pusher" if door else "The server does not answer yet"
        raise _NotYet(
            f"{who}: {answer.status_code} {' '.join(answer.text.split())[:200]}", PATIENCE.get(answer.status_code, 0)
        )
