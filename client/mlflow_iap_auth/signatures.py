"""Where a token's signature comes from: Google in your name without any key, a key file, or Google's identity provider.

What Identity-Aware Proxy takes: https://cloud.google.com/iap/docs/authentication-howto
"""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import google.auth
import requests
from google.auth import crypt, exceptions, jwt
from google.auth.transport.requests import Request
from google.oauth2 import service_account

from mlflow_iap_auth.errors import AccessError, BadKey, BadSettings, NotAllowed, NotSignedIn, Unreachable
from mlflow_iap_auth.patience import patiently
from mlflow_iap_auth.settings import SOURCES, Settings

IAM = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts"
"""https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts"""

TOKENINFO = "https://oauth2.googleapis.com/tokeninfo"
CLOUD = "https://www.googleapis.com/auth/cloud-platform"
BUCKETS = "https://www.googleapis.com/auth/devstorage.read_write"

LIFETIME = 3600
"""Seconds a token lives: the door refuses longer ones."""

TIMEOUT = 30.0
BUSY = (408, 429, 500, 502, 503, 504)
SIGN_IN = "gcloud auth application-default login   # in Colab: from google.colab import auth; auth.authenticate_user()"

Json = dict[str, Any]


@dataclass(frozen=True)
class Token:
    """A token, which no `repr` shows.

    Args:
        text: What is sent.
        ends: When it ends, in seconds since 1970.
    """

    text: str = field(repr=False)
    ends: float


class Way(NamedTuple):
    """One source: what it can sign, at a time in seconds since 1970."""

    door: Callable[[Settings, float], Token]
    bucket: Callable[[Settings, float], Token]
    needs: str = ""  # the setting without which it is not tried by itself


def bearing(text: str, header: str = "Authorization") -> Callable[[requests.PreparedRequest], requests.PreparedRequest]:
    """What lets `requests` send a token; a plain header of the call would give way to a password in ~/.netrc."""

    def authenticate(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers[header] = f"Bearer {text}"
        return request

    return authenticate


def door_token(settings: Settings, now: float) -> Token:
    """Have a token signed for the door.

    Raises:
        AccessError: No source gives one; it says for each that was tried what is missing.
    """
    return _first(settings, lambda way: way.door(settings, now))


def bucket_token(settings: Settings, now: float) -> Token:
    """An access token by which the log pusher reaches buckets. Raises as `door_token` does."""
    return _first(settings, lambda way: way.bucket(settings, now))


def who(settings: Settings) -> str:
    """Who asks for signatures: somebody's e-mail, or what can be said in its place."""
    try:
        return _email(settings, _signed_in()) or "somebody without an address"
    except NotSignedIn:
        return f"whoever holds {settings.key_file}"


def account_of(token: Token) -> str:
    """The e-mail of the account that a token for the door shows."""
    claims = jwt.decode(token.text, verify=False)
    return str(claims.get("email") or claims["iss"])


def _first(settings: Settings, sign: Callable[[Way], Token]) -> Token:
    """What the first source gives that has something to give."""
    named = [settings.source] if settings.source else SOURCES
    failed: list[AccessError] = []
    for way in (_WAYS[name] for name in named):
        if settings.source or not way.needs or getattr(settings, way.needs):
            try:
                return sign(way)
            except (BadSettings, NotSignedIn, NotAllowed, BadKey) as error:
                failed.append(error)
    if len(failed) == 1:
        raise failed[0]
    raise type(failed[-1])("\n".join(error.what for error in failed), "\n".join(error.hint for error in failed))


def _claims(account: str, settings: Settings, now: float) -> Json:
    moment = int(now)
    return {"iss": account, "sub": account, "aud": f"{settings.origin}/*", "iat": moment, "exp": moment + LIFETIME}


def _signed_jwt(settings: Settings, now: float) -> Token:
    claims = _claims(settings.account, settings, now)
    return Token(_ask(settings, "signJwt", {"payload": json.dumps(claims)})["signedJwt"], claims["exp"])


def _access_token(settings: Settings, now: float) -> Token:
    asked = {"scope": [BUCKETS], "lifetime": f"{LIFETIME}s"}
    return Token(_ask(settings, "generateAccessToken", asked)["accessToken"], now + LIFETIME)


def _id_token(settings: Settings, now: float) -> Token:
    if not settings.client_id:
        raise BadSettings("Nothing tells for which OAuth client an ID token is.", "export MLFLOW_IAP_CLIENT_ID=...")
    if settings.key_file:
        key = _key(settings)
        credentials = service_account.IDTokenCredentials.from_service_account_info(
            key, target_audience=settings.client_id
        )
        return _refreshed(credentials, now)
    asked = {"audience": settings.client_id, "includeEmail": True}
    return Token(_ask(settings, "generateIdToken", asked)["token"], now + LIFETIME)


def _self_signed(settings: Settings, now: float) -> Token:
    key = _key(settings)
    claims = _claims(key["client_email"], settings, now)
    return Token(jwt.encode(crypt.RSASigner.from_service_account_info(key), claims).decode(), claims["exp"])


def _key_access_token(settings: Settings, now: float) -> Token:
    return _refreshed(service_account.Credentials.from_service_account_info(_key(settings), scopes=[BUCKETS]), now)


def _id_bucket_token(settings: Settings, now: float) -> Token:
    return (_key_access_token if settings.key_file else _access_token)(settings, now)


_WAYS = {
    "impersonate": Way(_signed_jwt, _access_token),
    "key": Way(_self_signed, _key_access_token, needs="key_file"),
    "oidc": Way(_id_token, _id_bucket_token, needs="client_id"),
}


def _signed_in() -> Any:  # google-auth has no types
    """The user's own Application Default Credentials, fresh."""
    try:
        with _no_word_of_projects():
            credentials, _ = google.auth.default(scopes=[CLOUD])
    except exceptions.DefaultCredentialsError as error:
        raise NotSignedIn(f"Nobody is signed in to Google here: {error}", SIGN_IN) from error
    _refresh(credentials, NotSignedIn("Google does not take your sign-in any more", SIGN_IN))
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


def _applied(credentials: Any) -> Callable[[requests.PreparedRequest], requests.PreparedRequest]:
    """What lets `requests` send credentials, with the project that pays for requests if they name one."""

    def authenticate(request: requests.PreparedRequest) -> requests.PreparedRequest:
        credentials.apply(request.headers)
        return request

    return authenticate


def _refreshed(credentials: Any, now: float) -> Token:
    _refresh(credentials, BadKey("Google does not take the key of MLFLOW_IAP_KEY_FILE", "Ask an owner for another."))
    return Token(credentials.token, now + LIFETIME)


def _refresh(credentials: Any, refused: AccessError) -> None:
    """Get an access token; `refused` is what it means when Google does not give one."""
    try:
        with requests.Session() as session:
            credentials.refresh(Request(session))
    except exceptions.TransportError as error:
        raise Unreachable("Google cannot be reached.", "Look at the network, and at HTTPS_PROXY.") from error
    except exceptions.GoogleAuthError as error:
        raise type(refused)(f"{refused.what}: {error.args[0]}", refused.hint) from error


def _key(settings: Settings) -> Json:
    if not settings.key_file:
        raise BadSettings("Nothing tells where the key is.", "export MLFLOW_IAP_KEY_FILE=...")
    try:
        key = json.loads(Path(settings.key_file).read_text(encoding="utf-8"))
        crypt.RSASigner.from_service_account_info(key)
        return {**key, "client_email": key["client_email"], "token_uri": settings.google(key["token_uri"])}
    except OSError as error:
        raise BadKey(
            f"{settings.key_file} cannot be read: {error.strerror}.", "export MLFLOW_IAP_KEY_FILE=..."
        ) from None
    except (ValueError, TypeError, KeyError):  # their texts may quote the file
        raise BadKey(f"{settings.key_file} is no key of a service account.", "Ask an owner for another.") from None


def _ask(settings: Settings, verb: str, body: Json) -> Json:
    """Ask the IAM Credentials API for something of the log pusher's, in the user's own name.

    It is sent by `requests` itself: google-auth's session writes answers to the log when asked to, signed tokens too.
    """
    if not settings.account:
        raise BadSettings(
            f"Nothing tells which account logs to {settings.origin}.",
            "export MLFLOW_IAP_ACCOUNT=...@....iam.gserviceaccount.com as you were told it",
        )
    you = _signed_in()
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
        said = str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        said = answer.reason
    if answer.status_code == requests.codes.unauthorized:
        return NotSignedIn(f"Google does not take your sign-in any more: {said}", SIGN_IN)
    if answer.status_code == requests.codes.not_found:
        return BadSettings(
            f"There is no account {settings.account}.", "export MLFLOW_IAP_ACCOUNT=... as you were told it"
        )
    email = _email(settings, you)
    return NotAllowed(
        f"{email or 'Your identity'} may not sign for {settings.account}: {said}",
        f"An owner adds {email or 'you'} to [access] in provision.toml and types: python -m provision up\n"
        "If you were told another account: export MLFLOW_IAP_ACCOUNT=...",
    )


def _email(settings: Settings, credentials: Any) -> str:
    """Whose credentials are, asked by a form, which no log of addresses shows; empty when Google does not say."""
    try:
        answer = _sent("POST", settings.google(TOKENINFO), data={"access_token": credentials.token})
        return str(answer.json().get("email", "")) if answer.ok else ""
    except (Unreachable, ValueError):
        return ""


def _sent(method: str, url: str, **request: Any) -> requests.Response:
    try:
        return requests.request(method, url, timeout=TIMEOUT, allow_redirects=False, **request)
    except requests.RequestException as error:
        raise Unreachable(f"Google cannot be reached: {type(error).__name__}.", "Look at the network.") from error
