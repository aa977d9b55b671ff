"""The tokens that Identity-Aware Proxy takes, and the one that it hands to the application.

https://cloud.google.com/iap/docs/authentication-howto (who may send what) and
https://cloud.google.com/iap/docs/signed-headers-howto (what the application gets).
"""

import base64
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from google.auth import crypt, jwt
from google.auth.crypt.es256 import ES256Signer

from provision.emulator.keys import seconds

SKEW = 30
LONGEST_LIFE = 3600
ASSERTION_LIFE = 600
GOOGLE = ("https://accounts.google.com", "accounts.google.com")

Keys = Mapping[str, str]
"""Public keys or certificates (PEM) by key ID."""


class Refused(Exception):
    """The credentials do not let anybody in; the text is IAP's own where it is known."""


@dataclass(frozen=True)
class Identity:
    """Who somebody is shown to be."""

    email: str
    groups: tuple[str, ...] = ()  # of which the sign-in page made them a member

    @property
    def member(self) -> str:
        """As IAM policies write it."""
        kind = "serviceAccount" if self.email.endswith(".gserviceaccount.com") else "user"
        return f"{kind}:{self.email}"


@dataclass(frozen=True)
class Trust:
    """What a door accepts: keys of a service account (None: there is no such), Google's keys, and OAuth clients."""

    account_keys: Callable[[str], Keys | None]
    google_keys: Callable[[], Keys]
    clients: Collection[str]


def identify(token: str, url: str, trust: Trust, now: float | None = None) -> Identity:
    """Whom a bearer token shows, for a request to `url` (without its query); raises Refused.

    It is a JWT that a service account signed, with `url` or a prefix of it ending in `/*` as audience and a life of at
    most an hour; or an ID token that Google signed for an accepted OAuth client. Clocks may differ by 30 s.
    """
    now = time.time() if now is None else now
    try:
        header = jwt.decode_header(token)  # type: ignore[no-untyped-call]
        claims = jwt.decode(token, verify=False)  # type: ignore[no-untyped-call]
    except (ValueError, TypeError, RecursionError) as error:
        raise Refused("Invalid IAP credentials: Unable to parse JWT") from error
    issuer = claims.get("iss")
    by_google = issuer in GOOGLE
    keys = trust.google_keys() if by_google else trust.account_keys(str(issuer))
    if header.get("alg") != "RS256" or not keys or not _signed(token, header.get("kid"), keys):
        raise Refused("Invalid IAP credentials: JWT signature is invalid")
    _check_times(claims, now, longest=None if by_google else LONGEST_LIFE)
    audience = claims.get("aud")
    if by_google:
        if not isinstance(audience, str) or audience not in trust.clients:
            raise Refused("Invalid IAP credentials: Invalid bearer token. Invalid JWT audience.")
        if not isinstance(claims.get("email"), str):
            raise Refused("Invalid IAP credentials: JWT 'email' claim isn't a string")
        return Identity(claims["email"])
    if not isinstance(audience, str) or not covers(audience, url):
        raise Refused("Invalid IAP credentials: Invalid bearer token. Invalid JWT audience.")
    if claims.get("sub") != issuer:
        raise Refused("Invalid IAP credentials: JWT 'sub' claim is not its issuer")
    return Identity(str(issuer))


def covers(audience: str, url: str) -> bool:
    """Whether a service account's audience means `url`: the very URL, or a prefix that ends in `/*`.

    The prefix holds the whole origin: without it `http://*` would open every door there is.
    """
    if audience.endswith("/*"):
        scheme, _, host = url.split("/")[:3]
        return audience.startswith(f"{scheme}//{host}/") and url.startswith(audience[:-1])
    return url in {audience, audience + "/" if audience.count("/") == 2 else audience}


def _signed(token: str, kid: object, keys: Keys) -> bool:
    message, _, signature = token.rpartition(".")
    candidates = [keys[kid]] if isinstance(kid, str) and kid in keys else [] if kid else list(keys.values())
    raw = _decoded(signature)
    verifiers = [crypt.RSAVerifier.from_string(key) for key in candidates]  # type: ignore[no-untyped-call]
    return any(verifier.verify(message.encode(), raw) for verifier in verifiers)


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _check_times(claims: Mapping[str, Any], now: float, longest: int | None) -> None:
    issued, expires = seconds(claims.get("iat")), seconds(claims.get("exp"))
    if issued is None or expires is None:
        raise Refused("Invalid IAP credentials: JWT lacks 'iat' or 'exp'")
    if issued > now + SKEW:
        raise Refused("Invalid IAP credentials: JWT was issued in the future")
    if expires < now - SKEW:
        raise Refused("OpenID Connect token expired: JWT has expired")
    if longest is not None and expires - issued > longest:
        raise Refused("Invalid IAP credentials: JWT lives longer than one hour")


class AssertionSigner:
    """Signs `X-Goog-IAP-JWT-Assertion`, by which the application knows that a request came through the door."""

    def __init__(self, private_key: str, key_id: str) -> None:
        self._signer = ES256Signer.from_string(private_key, key_id)

    def sign(self, audience: str, identity: Identity, subject: str) -> str:
        """An assertion about `identity`, good for ten minutes; `audience` is `/projects/NUMBER/apps/ID`."""
        now = int(time.time())
        claims = {
            "iss": "https://cloud.google.com/iap",
            "aud": audience,
            "email": identity.email,
            "sub": subject,
            "iat": now,
            "exp": now + ASSERTION_LIFE,
        }
        return str(jwt.encode(self._signer, claims).decode())  # type: ignore[no-untyped-call]
