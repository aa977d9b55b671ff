"""Who calls: the owner, or the service account or person to whom the emulator gave a token."""

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from provision.emulator import errors
from provision.emulator.clock import parse, stamp

if TYPE_CHECKING:
    from provision.emulator.world import World

PREFIX = "ya29.emulator-"
_GOOGLES = ("ya29.", "eyJ", "1//")  # access tokens, JWTs, refresh tokens


CLOUD, ADDRESS = "https://www.googleapis.com/auth/cloud-platform", "https://www.googleapis.com/auth/userinfo.email"
"""Scopes: of everything in Google Cloud, and of whose the token is."""


def issue(world: "World", member: str, seconds: int = 3600, scope: str = "") -> str:
    """A fresh access token for an IAM member, good for so many seconds.

    Args:
        world: Where.
        member: Whose it is.
        seconds: How long it is good.
        scope: What it was asked for, with a blank between two; when empty, what gcloud asks a person for, or else
            what Google's libraries ask for.
    """
    token = PREFIX + secrets.token_urlsafe(32)
    ends = world.clock.now() + timedelta(seconds=seconds)
    scope = scope or (f"{CLOUD} {ADDRESS}" if member.startswith("user:") else CLOUD)
    world.table("tokens")[token] = {"member": member, "expires": stamp(ends), "scope": scope}
    return token


def member_of(world: "World", authorization: str | None) -> str:
    """The IAM member that an Authorization header names; raises 401 for a token never given here, or expired.

    No header, the token of the data folder, or a word that has not the form of Google's tokens is the owner: whoever
    reaches this loopback port may do everything anyway. A token in Google's form that is unknown is refused.
    """
    scheme, _, token = (authorization or "").partition(" ")
    if not authorization or (scheme.lower() == "bearer" and token == world.token):
        return world.owner
    row = world.table("tokens").get(token) if scheme.lower() == "bearer" else None
    if row is None:
        if token.startswith(_GOOGLES):
            raise errors.unauthenticated(details=[_reason("ACCESS_TOKEN_TYPE_UNSUPPORTED")])
        return world.owner
    member = str(row["member"])
    kind, _, address = member.partition(":")
    gone = False
    if kind == "serviceAccount":
        account = world.table("iam.accounts").get(address, {})
        gone = bool(account.get("deleted") or account.get("disabled"))
    if gone or parse(row["expires"]) <= world.clock.now():
        raise errors.unauthenticated(details=[_reason("ACCESS_TOKEN_EXPIRED")])
    return member


def owners_file(token: str, url: str) -> dict[str, Any]:
    """Application Default Credentials of a data folder's owner, as a file of them holds them.

    Of all kinds it is the one whose address for renewing a token may be any:
    https://cloud.google.com/java/docs/reference/google-auth-library/1.30.1/com.google.auth.oauth2.ExternalAccountAuthorizedUserCredentials.
    It names no workforce pool (`audience`): google-auth would ask the real Google where that one may be used.

    Args:
        token: The token of the data folder, which never changes.
        url: Where the emulator listens.
    """
    return {
        "type": "external_account_authorized_user",
        "client_id": "emulator",
        "client_secret": "emulator",
        "refresh_token": token,
        "token_url": f"{url}/sts.googleapis.com/v1/oauthtoken",
    }


def _reason(name: str) -> dict[str, str]:
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": name, "domain": "googleapis.com"}
