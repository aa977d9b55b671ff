"""IAM Credentials: tokens and signatures of service accounts, without any key. https://cloud.google.com/iam/docs/reference/credentials/rest."""

import base64
import binascii
import json

from provision.emulator import errors, keys, tokens
from provision.emulator.api import NO_PERMISSION, Call, Json, method

_PREFIX = "iamcredentials.projects.serviceAccounts."
_LONGEST_JWT = 12 * 3600
_LONGEST_TOKEN = 3600


def _account(call: Call) -> Json:
    """The account; its project must be written as `-`."""
    parts = call.name.split("/")
    if parts[1] != "-":
        raise errors.invalid("Request contains an invalid argument.")
    table = call.world.table("iam.accounts")
    row = table.get(parts[3]) or next((a for a in table.values() if a["uniqueId"] == parts[3]), None)
    if row is None or row.get("deleted"):
        raise errors.not_found(f"Not found; Gaia id not found for email {parts[3]}")
    if row.get("disabled"):
        raise errors.failed_precondition("Service account is disabled.")
    return row


def _no_number(word: str) -> None:
    """NaN and Infinity are words of Python's, and none of JSON's."""
    raise ValueError(f"{word} is no number")


@method(f"{_PREFIX}signJwt", permission="iam.serviceAccounts.signJwt")
def sign_jwt(call: Call) -> Json:
    """Sign a JSON payload as a JWT (RS256) with the key that Google holds for the account."""
    account, payload = _account(call), str(call.body.get("payload") or "")
    try:
        claims = json.loads(payload, parse_constant=_no_number)
    except (ValueError, RecursionError) as problem:
        raise errors.invalid("Invalid JWT payload: not JSON.") from problem
    if not isinstance(claims, dict):
        raise errors.invalid("Invalid JWT payload: not a JSON object.")
    ends, now = claims.get("exp"), call.now.timestamp()
    if ends is not None and (not isinstance(ends, int) or not now - 30 <= ends <= now + _LONGEST_JWT):
        raise errors.invalid("exp must be an integer timestamp, not in the past and at most 12 hours from now.")
    key = keys.account_key(call.world, account["email"])
    return {"keyId": key["kid"], "signedJwt": keys.sign(key, payload)}


@method(f"{_PREFIX}signBlob", permission="iam.serviceAccounts.signBlob")
def sign_blob(call: Call) -> Json:
    """Sign bytes (base64) with the key that Google holds for the account."""
    account = _account(call)
    try:
        payload = base64.b64decode(str(call.body.get("payload") or ""), validate=True)
    except binascii.Error as problem:
        raise errors.invalid("Invalid value at 'payload' (TYPE_BYTES)") from problem
    key = keys.account_key(call.world, account["email"])
    return {"keyId": key["kid"], "signedBlob": base64.b64encode(keys.sign_bytes(key, payload)).decode()}


@method(f"{_PREFIX}generateAccessToken", permission="iam.serviceAccounts.getAccessToken")
def generate_access_token(call: Call) -> Json:
    """An access token of the account, for an hour at most."""
    account = _account(call)
    if not call.body.get("scope"):
        raise errors.invalid("Scope required.")
    text = str(call.body.get("lifetime") or f"{_LONGEST_TOKEN}s")
    seconds = float(text.removesuffix("s"))
    if not 0 < seconds <= _LONGEST_TOKEN:
        raise errors.invalid("The token lifetime must be between 1 and 3600 seconds.")
    scope = " ".join(call.body["scope"])
    token = tokens.issue(call.world, f"serviceAccount:{account['email']}", int(seconds), scope)
    row = call.world.table("tokens")[token]
    return {"accessToken": token, "expireTime": row["expires"].partition(".")[0] + "Z"}


@method(f"{_PREFIX}generateIdToken", permission="iam.serviceAccounts.getOpenIdToken")
def generate_id_token(call: Call) -> Json:
    """An OpenID Connect token of the account for an audience, with its address only when includeEmail asks for it."""
    account = _account(call)
    audience = str(call.body.get("audience") or "")
    if not audience:
        raise errors.invalid("Audience required.")
    return {"token": id_token(call, account, audience, email=bool(call.body.get("includeEmail")))}


@method(f"{_PREFIX}getAllowedLocations", permission=NO_PERMISSION)
def get_allowed_locations(call: Call) -> Json:
    """Where the account's tokens count, which Google's libraries ask by themselves: everywhere, a mask with no bit."""
    _account(call)
    return {"encodedLocations": "0x0"}


def id_token(call: Call, account: Json, audience: str, *, email: bool) -> str:
    """An ID token signed as https://accounts.google.com."""
    now = int(call.now.timestamp())
    claims: Json = {
        "aud": audience,
        "azp": account["uniqueId"],
        "exp": now + 3600,
        "iat": now,
        "iss": "https://accounts.google.com",
        "sub": account["uniqueId"],
    }
    if email:
        claims |= {"email": account["email"], "email_verified": True}
    return keys.sign(keys.google_key(call.world), claims)
