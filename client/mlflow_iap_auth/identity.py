"""Who you are to Google, and what Google does in your name for the account that logs."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import google.auth
import requests
from google.auth import compute_engine, exceptions, jwt
from google.auth.credentials import with_scopes_if_required
from google.auth.transport.requests import Request

from mlflow_iap_auth.errors import AccessError, BadSettings, NotAllowed, NotSignedIn, Unreachable, WrongQuotaProject
from mlflow_iap_auth.patience import patiently
from mlflow_iap_auth.settings import Settings

IAM = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts"
"""https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts"""

TOKENINFO = "https://oauth2.googleapis.com/tokeninfo"
"""Tells whose an access token is, if that has the scope for it: a person's has, an account's has not
(https://docs.cloud.google.com/nodejs/docs/reference/google-auth-library/latest/google-auth-library/tokeninfo)."""

CLOUD = "https://www.googleapis.com/auth/cloud-platform"
SIGN_IN = "gcloud auth application-default login   # in Colab: from google.colab import auth; auth.authenticate_user()"
TIMEOUT = 30.0
BUSY = (408, 429, 500, 502, 503, 504)

QUOTA = {"SERVICE_DISABLED", "USER_PROJECT_DENIED"}
"""What Google says where a sign-in names no quota project, or one that is none for this
(https://cloud.google.com/docs/authentication/troubleshoot-adc)."""

Json = dict[str, Any]
Authenticate = Callable[[requests.PreparedRequest], requests.PreparedRequest]


def signed_in() -> Any:  # google-auth has no types
    """The user's own Application Default Credentials, fresh.

    Raises:
        NotSignedIn: There are none, or Google does not take them.
        Unreachable: Google gives no answer.
    """
    try:
        with _no_word_of_projects():
            # Scopes come after: with them it would ask for the project of a workload identity pool, each time.
            credentials = with_scopes_if_required(google.auth.default()[0], [CLOUD])
    except exceptions.DefaultCredentialsError as error:
        raise NotSignedIn(f"Nobody is signed in to Google here: {error}", SIGN_IN) from error
    refresh(credentials, NotSignedIn("Google does not take your sign-in any more", SIGN_IN))
    return credentials


@contextmanager
def _no_word_of_projects() -> Iterator[None]:
    """google-auth would warn that it finds no project, every hour; what is asked here needs none."""
    logger = logging.getLogger("google.auth._default")

    def other(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("No project ID")

    logger.addFilter(other)
    try:
        yield
    finally:
        logger.removeFilter(other)


def _applied(credentials: Any) -> Authenticate:
    """What lets `requests` send credentials, with the project that pays for requests if they name one."""

    def authenticate(request: requests.PreparedRequest) -> requests.PreparedRequest:
        credentials.apply(request.headers)
        return request

    return authenticate


def refresh(credentials: Any, refused: AccessError) -> None:
    """Get credentials an access token.

    Args:
        credentials: Credentials of google-auth.
        refused: What it means when Google does not give one; raised with Google's words.

    Raises:
        Unreachable: Google gives no answer.
    """
    answers: list[int] = []
    try:
        with requests.Session() as session:
            session.hooks["response"].append(lambda answer, **_: answers.append(answer.status_code))
            credentials.refresh(Request(session))
    except exceptions.TransportError as error:
        raise Unreachable("Google cannot be reached.", "Look at the network, and at HTTPS_PROXY.") from error
    except exceptions.GoogleAuthError as error:
        if answers and answers[-1] in BUSY:  # google-auth's own `retryable` is not set by all kinds of credentials
            raise Unreachable(f"Google makes no token at the moment: {error.args[0]}", "Try again.") from error
        raise type(refused)(f"{refused.what}: {error.args[0]}", refused.hint) from error


def ask(settings: Settings, verb: str, body: Json) -> Json:
    """Ask the IAM Credentials API for something of the log pusher's, in the user's own name.

    It is sent by `requests` itself: google-auth's session writes answers to the log when asked to, signed tokens too.

    Args:
        settings: Whose log pusher, and where Google is.
        verb: The API's method, such as signJwt.
        body: What it is sent.

    Raises:
        AccessError: Google does not do it.
    """
    if not settings.account:
        raise BadSettings(
            f"Nothing tells which account logs to {settings.origin}.",
            "export MLFLOW_IAP_ACCOUNT=...@....iam.gserviceaccount.com as you were told it",
        )
    you = signed_in()
    url = settings.google(f"{IAM}/{settings.account}:{verb}")

    def once() -> requests.Response:
        answer = _sent("POST", url, auth=_applied(you), json=body)
        if answer.status_code in BUSY:
            raise Unreachable(f"Google answers {answer.status_code}.", "Try again.")
        return answer

    answer = patiently(once)
    if answer.status_code == requests.codes.ok:
        return dict(answer.json())
    raise _meaning(settings, answer, you)


def _meaning(settings: Settings, answer: requests.Response, you: Any) -> AccessError:
    """What the API's refusal is to the user."""
    try:
        error = answer.json()["error"]
        said, reasons = str(error["message"]), {detail.get("reason") for detail in error.get("details", [])}
    except (ValueError, KeyError, TypeError):
        said, reasons = answer.reason, set()
    if reasons & QUOTA:
        return WrongQuotaProject(
            f"Your requests are counted on a project that does not take them: {said}",
            "gcloud auth application-default set-quota-project PROJECT   # one that you work in\n"
            "There you need roles/serviceusage.serviceUsageConsumer, and once somebody types:"
            " gcloud services enable iamcredentials.googleapis.com --project PROJECT",
        )
    if answer.status_code == requests.codes.unauthorized:
        return NotSignedIn(f"Google does not take your sign-in any more: {said}", SIGN_IN)
    if answer.status_code == requests.codes.not_found:
        return BadSettings(
            f"There is no account {settings.account}.", "export MLFLOW_IAP_ACCOUNT=... as you were told it"
        )
    yours = email(settings, you)
    if yours == settings.account:
        return NotAllowed(
            f"You are signed in to Google as {yours} itself, which may sign for nobody: {said}",
            f"Sign in as yourself: {SIGN_IN}\nIf you have a key file of it: export MLFLOW_IAP_KEY_FILE=...",
        )
    return NotAllowed(
        f"{yours or 'Your identity'} may not sign for {settings.account}: {said}",
        f"An owner adds {yours or 'you'} to [access] in provision.toml and types: python -m provision up\n"
        "If you were told another account: export MLFLOW_IAP_ACCOUNT=...",
    )


def email(settings: Settings, credentials: Any) -> str:
    """Whose credentials are; empty when nobody says.

    A service account's say so themselves. Of a person's Google is asked, by a form, which no log of addresses shows.
    """
    told = str(getattr(credentials, "service_account_email", None) or "")
    if "@" in told:
        return told
    try:
        answer = _sent("POST", settings.google(TOKENINFO), data={"access_token": credentials.token})
        return str(answer.json().get("email", "")) if answer.ok else ""
    except (Unreachable, ValueError):
        return ""


def own_id_token(credentials: Any, audience: str) -> str:
    """An ID token that shows the user, and not the log pusher.

    A workload on Google Cloud gets one for any OAuth client. That of a person is for the one by which they signed in:
    https://cloud.google.com/iap/docs/authentication-howto#authenticating_a_user_account

    Args:
        credentials: Their Application Default Credentials, fresh.
        audience: The id of an OAuth client that the door takes.

    Raises:
        NotAllowed: Google gives these credentials none, or not for this OAuth client.
    """
    if isinstance(credentials, compute_engine.Credentials):
        refused = NotAllowed("Google gives this workload no ID token", "unset MLFLOW_IAP_SOURCE")
        with requests.Session() as session:
            request = Request(session)
            own = compute_engine.IDTokenCredentials(request, audience, use_metadata_identity_endpoint=True)
        refresh(own, refused)
        return str(own.token)
    text = getattr(credentials, "id_token", None)
    if not text:
        raise NotAllowed("Your sign-in comes without an ID token of your own.", "unset MLFLOW_IAP_SOURCE")
    by = jwt.decode(text, verify=False)["aud"]
    if by != audience:
        raise NotAllowed(
            f"Your ID token is for the OAuth client by which you signed in, {by}, and not for {audience}.",
            "gcloud auth application-default login --client-id-file=FILE   # of an OAuth client that the door takes",
        )
    return str(text)


def _sent(method: str, url: str, **request: Any) -> requests.Response:
    try:
        return requests.request(method, url, timeout=TIMEOUT, allow_redirects=False, **request)
    except requests.RequestException as error:
        raise Unreachable(f"Google cannot be reached: {type(error).__name__}.", "Look at the network.") from error
