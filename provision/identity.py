"""Who runs the command, as an IAM member; and tokens for the front door."""

import json
import time

from provision.clock import Clock
from provision.deployment import member_of
from provision.errors import NeedsAnAccount
from provision.gcp import TIMEOUT, Gcp
from provision.patience import Patience

TOKENINFO = "https://oauth2.googleapis.com/tokeninfo"
"""Tells whose an access token is (https://developers.google.com/identity/protocols/oauth2).

With an address only where the token was asked for with the scope of addresses: a person's is, by gcloud, and an
account's is not (https://github.com/google/adk-python/issues/4721).
"""

_BUSY = frozenset({408, 429, 500, 502, 503, 504})

LIFETIME = 3600
"""Seconds a token for the door lives: IAP refuses longer ones (https://cloud.google.com/iap/docs/authentication-howto)."""


def runner(gcp: Gcp, clock: Clock) -> str:
    """The IAM member whose credentials are in use, such as ``user:ada@example.com``; empty when Google does not say.

    Raises:
        NeedsAnAccount: It is an identity from outside of Google, without an account that it acts as.
        NotSignedIn: The credentials are not accepted, or not any more.
        NoAnswer: Google could not be asked.
    """
    return Patience(gcp, clock).with_("asking who you are", lambda: asked(gcp))


def asked(gcp: Gcp) -> str:
    """The same, asked once."""
    import google.auth.transport.requests
    import requests

    must_have_an_account(gcp)
    url = f"{gcp.emulator}/oauth2.googleapis.com/tokeninfo" if gcp.emulator else TOKENINFO
    credentials = gcp.credentials
    if not credentials.valid:
        credentials.refresh(google.auth.transport.requests.Request())
    if credentials.account:
        return member_of(credentials.account)
    answer = requests.post(url, data={"access_token": credentials.token}, timeout=TIMEOUT)
    if answer.status_code in _BUSY:
        answer.raise_for_status()
    email = str(answer.json().get("email", "")) if answer.ok else ""
    return member_of(email) if email else ""


def must_have_an_account(gcp: Gcp) -> None:
    """Make sure that whoever deploys can also sign for the clients' account; nobody has to be asked for that.

    Raises:
        NeedsAnAccount: It is an identity from outside of Google, without an account that it acts as.
    """
    if gcp.credentials.without_account:
        raise NeedsAnAccount("The credentials are those of a workload identity that acts as itself.")


def door_token(gcp: Gcp, account: str, origin: str) -> str:
    """Sign a token that the front door takes, as a service account and without any key.

    Args:
        gcp: The clients; the caller needs roles/iam.serviceAccountTokenCreator on the account.
        account: E-mail of the account, which needs roles/iap.httpsResourceAccessor.
        origin: Where the server is reached: ``https://mlflow-dot-...``.
    """
    now = int(time.time())
    claims = {"iss": account, "sub": account, "aud": f"{origin}/*", "iat": now, "exp": now + LIFETIME}
    answer = gcp.credentials_api.sign_jwt(name=f"projects/-/serviceAccounts/{account}", payload=json.dumps(claims))
    return str(answer.signed_jwt)
