"""The door: how a request gets through Identity-Aware Proxy, and what it means when it does not.

What it answers to whom: https://cloud.google.com/iap/docs/authentication-howto and https://cloud.google.com/iap/docs/faq
"""

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin

import requests

from mlflow_iap_auth import errors, settings, signatures
from mlflow_iap_auth.errors import AccessError
from mlflow_iap_auth.identity import TIMEOUT
from mlflow_iap_auth.patience import patiently
from mlflow_iap_auth.settings import Settings
from mlflow_iap_auth.signatures import Token
from mlflow_iap_auth.tokens import Tokens

HEALTH = "/health"
DOORS_OWN = "x-goog-iap-generated-response"
DOORS_WORDS = "Invalid IAP credentials"
NO_CLIENT = "Empty Google Account OAuth client"
"""https://cloud.google.com/iap/docs/custom-oauth-configuration"""

SKEW = 30.0
"""Seconds by which the door lets clocks differ."""

STARTING = (502, 503, 504)
ASK = "An owner finds out with: python -m provision doctor"


class SignIn(requests.auth.AuthBase):
    """Sends the token with requests to the tracking server, and with no others.

    Args:
        uri: Tells the tracking URI of the moment.
        tokens: The tokens of this process.
    """

    def __init__(self, uri: Callable[[], str], tokens: Tokens) -> None:
        self._uri = uri
        self._tokens = tokens

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign one request. `requests` asks the hook before it would follow a redirect."""
        uri = self._uri()
        if (other := settings.origin_of(request.url or "")) != settings.origin_of(uri):
            request.register_hook("response", lambda response, **_: _must_be_none_of_ours(response, other))
            return request
        here = settings.of(uri)
        # The door then leaves Authorization to the server behind it.
        header = "Proxy-Authorization" if "Authorization" in request.headers else "Authorization"

        def look(response: requests.Response, **_: Any) -> None:
            if (error := meaning(response, here)) is not None:
                self._tokens.forget(here)
                response.close()
                raise error

        request.register_hook("response", look)
        return self._tokens.current(here).bearing(header)(request)


def enter(here: Settings, now: float) -> Token:
    """Make a token that the door takes.

    Args:
        here: The settings for the server.
        now: The time, in seconds since 1970.

    Raises:
        AccessError: There is none, or the door does not take it.
    """
    token = signatures.door_token(here, now)
    knock(here, token)
    return token


def knock(here: Settings, token: Token, sleep: Callable[[float], None] = time.sleep) -> None:
    """Try a token, before MLflow would try it again and again.

    Args:
        here: The settings for the server.
        token: The token.
        sleep: Lets so many seconds pass, while the server starts.

    Raises:
        AccessError: The door does not take it, or nothing answers.
    """

    def once() -> None:
        answer = asked(here, HEALTH, token)
        if answer.status_code in STARTING:
            raise errors.ServerStarting(
                f"The door lets you in, and the server behind it answers {answer.status_code}.", f"Try again. {ASK}"
            )

    patiently(once, sleep)


def asked(here: Settings, path: str, token: Token) -> requests.Response:
    """What the server behind the door answers to one request.

    Args:
        here: The settings for the server.
        path: What is asked for, by GET.
        token: Shows who asks.

    Raises:
        AccessError: The door does not let it through, or there is no answer.
    """
    try:
        answer = requests.get(
            here.origin + path,
            auth=token.bearing(),
            headers={"Accept": "application/json"},
            timeout=TIMEOUT,
            allow_redirects=False,
        )
    except requests.RequestException as error:
        raise errors.Unreachable(
            f"{here.origin} cannot be reached: {type(error).__name__}.",
            "Look at MLFLOW_TRACKING_URI and at the network.",
        ) from error
    if (refused := meaning(answer, here)) is not None:
        raise refused
    return answer


def meaning(answer: requests.Response, here: Settings, now: Callable[[], float] = time.time) -> AccessError | None:
    """What the door's answer is to the user; None when it is not the door that answers."""
    if answer.is_redirect:
        target = settings.origin_of(urljoin(answer.url, answer.headers["location"]))
        return None if target == here.origin else _sent_away(target)
    if DOORS_OWN not in answer.headers and answer.status_code != requests.codes.unauthorized:
        return None
    said = answer.text.strip().partition("\n")[0]
    if DOORS_OWN not in answer.headers and not said.startswith(DOORS_WORDS):
        return None
    if answer.status_code == requests.codes.bad_gateway and NO_CLIENT in said:
        return errors.DoorNotConfigured(
            f"The front door of {here.origin} lets nobody in: {said}",
            "An owner gives it an OAuth client as docs/how-to/let-outsiders-in.md tells: python -m provision up",
        )
    if answer.status_code == requests.codes.forbidden:
        who = "you" if here.source == settings.OWN else here.account or "the log pusher"
        return errors.NoRole(
            f"The front door does not let {who} in: {said}",
            "An owner mends it with: python -m provision up   # it may take some minutes to spread",
        )
    if answer.status_code == requests.codes.unauthorized:
        return _clock(answer, now()) or _not_taken(here, said)
    return None


def _must_be_none_of_ours(answer: requests.Response, origin: str) -> None:
    """Say why a door was sent no token: MLflow would speak of an empty one, or show a page in HTML."""
    if DOORS_OWN in answer.headers:
        answer.close()
        raise errors.BadSettings(
            f"A token goes to the tracking URI only, and {origin} is another server.",
            f'mlflow.set_tracking_uri("{origin}")   # or export MLFLOW_TRACKING_URI={origin}',
        )


def _sent_away(target: str) -> AccessError:
    return errors.Refused(
        f"The front door asks for a sign-in at {target}, where no token is sent.",
        "Look whether MLFLOW_TRACKING_URI is the address that you were told.",
    )


def _clock(answer: requests.Response, now: float) -> AccessError | None:
    try:
        ahead = now - parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (KeyError, ValueError):
        return None
    if abs(ahead) <= SKEW:
        return None
    how = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the server's"
    return errors.WrongClock(
        f"This machine's clock is {how}, and a token is good for {SKEW:.0f} s of difference.",
        "sudo timedatectl set-ntp true   # or as your system sets its clock by the network",
    )


def _not_taken(here: Settings, said: str) -> AccessError:
    """A 401: its words are all that tells why."""
    if "audience" in said.lower():
        return errors.WrongAudience(
            f"The token is not for this door: {said}",
            f"Look at MLFLOW_TRACKING_URI, which is {here.origin}, and at MLFLOW_IAP_CLIENT_ID, if you set it.",
        )
    if "signature" in said.lower():
        return errors.BadKey(
            f"The door does not know the signature: {said}",
            "The key was revoked: ask an owner for another, or do without.",
        )
    return errors.Refused(f"The front door does not take the token: {said}", ASK)


TOKENS = Tokens(enter)
"""The tokens of this process, for the doors that it goes through."""
