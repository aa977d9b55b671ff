"""Where a token's signature comes from: Google in your name without any key, a key file, or Google's identity provider.

All show the log pusher, but for one, which shows yourself and is taken only when it is named.

What Identity-Aware Proxy takes: https://cloud.google.com/iap/docs/authentication-howto
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timezone
from pathlib import Path
from typing import Any, NamedTuple

import requests
from google.auth import crypt, jwt
from google.oauth2 import service_account

from mlflow_iap_auth.errors import AccessError, BadKey, BadSettings, NotAllowed, NotSignedIn, WrongQuotaProject
from mlflow_iap_auth.identity import Authenticate, Json, ask, email, own_id_token, refresh, signed_in
from mlflow_iap_auth.settings import SOURCES, Settings

BUCKETS = "https://www.googleapis.com/auth/devstorage.read_write"

LIFETIME = 3600
"""Seconds a token lives: the door refuses longer ones."""


@dataclass(frozen=True)
class Token:
    """A token, which no `repr` shows.

    Args:
        text: What is sent.
        ends: When it ends, in seconds since 1970.
    """

    text: str = field(repr=False)
    ends: float

    def bearing(self, header: str = "Authorization") -> Authenticate:
        """What lets `requests` send it; a plain header of the call would give way to a password in ~/.netrc.

        Args:
            header: The header in which it goes.
        """

        def authenticate(request: requests.PreparedRequest) -> requests.PreparedRequest:
            request.headers[header] = f"Bearer {self.text}"
            return request

        return authenticate


class Way(NamedTuple):
    """One source: what it can sign, at a time in seconds since 1970."""

    door: Callable[[Settings, float], Token]
    bucket: Callable[[Settings, float], Token]
    needs: str = ""  # the setting without which it is not tried by itself


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
    if settings.key_file and settings.source in ("key", "oidc"):
        return f"whoever holds {settings.key_file}"
    try:
        return email(settings, signed_in()) or "somebody without an address"
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
            except (BadSettings, NotSignedIn, NotAllowed, WrongQuotaProject, BadKey) as error:
                failed.append(error)
    if len(failed) == 1:
        raise failed[0]
    hints = dict.fromkeys(error.hint for error in failed)  # in order, and none twice
    raise type(failed[-1])("\n".join(error.what for error in failed), "\n".join(hints))


def _claims(account: str, settings: Settings, now: float) -> Json:
    moment = int(now)
    return {"iss": account, "sub": account, "aud": f"{settings.origin}/*", "iat": moment, "exp": moment + LIFETIME}


def _signed_jwt(settings: Settings, now: float) -> Token:
    claims = _claims(settings.account, settings, now)
    return Token(ask(settings, "signJwt", {"payload": json.dumps(claims)})["signedJwt"], claims["exp"])


def _access_token(settings: Settings, now: float) -> Token:
    asked = {"scope": [BUCKETS], "lifetime": f"{LIFETIME}s"}
    return Token(ask(settings, "generateAccessToken", asked)["accessToken"], now + LIFETIME)


def _id_token(settings: Settings, now: float) -> Token:
    audience = _audience(settings)
    if settings.key_file:
        key = _key(settings)
        return _kept(service_account.IDTokenCredentials.from_service_account_info(key, target_audience=audience), now)
    asked = {"audience": audience, "includeEmail": True}
    return Token(ask(settings, "generateIdToken", asked)["token"], now + LIFETIME)


def _own_id_token(settings: Settings, now: float) -> Token:
    del now  # Google may give one that it made before
    text = own_id_token(signed_in(), _audience(settings))
    return Token(text, float(jwt.decode(text, verify=False)["exp"]))


def _audience(settings: Settings) -> str:
    if not settings.client_id:
        raise BadSettings("Nothing tells for which OAuth client an ID token is.", "export MLFLOW_IAP_CLIENT_ID=...")
    return settings.client_id


def _self_signed(settings: Settings, now: float) -> Token:
    key = _key(settings)
    claims = _claims(key["client_email"], settings, now)
    return Token(jwt.encode(crypt.RSASigner.from_service_account_info(key), claims).decode(), claims["exp"])


def _key_access_token(settings: Settings, now: float) -> Token:
    return _kept(service_account.Credentials.from_service_account_info(_key(settings), scopes=[BUCKETS]), now)


def _own_access_token(settings: Settings, now: float) -> Token:
    del settings, now
    yours = signed_in()
    ends = yours.expiry.replace(tzinfo=timezone.utc)  # google-auth has it in UTC, and does not say so
    return Token(yours.token, ends.timestamp())


def _id_bucket_token(settings: Settings, now: float) -> Token:
    return (_key_access_token if settings.key_file else _access_token)(settings, now)


_WAYS = {
    "impersonate": Way(_signed_jwt, _access_token),
    "key": Way(_self_signed, _key_access_token, needs="key_file"),
    "oidc": Way(_id_token, _id_bucket_token, needs="client_id"),
    "own": Way(_own_id_token, _own_access_token),
}


def _kept(credentials: Any, now: float) -> Token:
    refresh(credentials, BadKey("Google does not take the key of MLFLOW_IAP_KEY_FILE", "Ask an owner for another."))
    return Token(credentials.token, now + LIFETIME)


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
