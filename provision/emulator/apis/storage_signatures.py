"""Who signed the address of an object: V4 signatures in the query, by the key of a service account.

https://cloud.google.com/storage/docs/authentication/canonical-requests and
https://cloud.google.com/storage/docs/authentication/signatures.
"""

import hashlib
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote

from provision.emulator import keys
from provision.emulator.api import Call
from provision.emulator.apis.storage_rules import xml_error

_ALGORITHM = "GOOG4-RSA-SHA256"
_LONGEST = 7 * 24 * 3600
_SKEW = timedelta(minutes=15)


def is_signed(call: Call) -> bool:
    """Whether the address carries a signature, good or not."""
    return "x-goog-signature" in _signing(call)


def signer(call: Call) -> str:
    """The IAM member that signed the address of a request.

    Raises 403 for a signature that is not that account's, or not under this, and 400 for one whose time is over.
    """
    said = _signing(call)
    account, _, scope = said.get("x-goog-credential", "").partition("/")
    began, seconds = _time(said.get("x-goog-date", "")), _seconds(said.get("x-goog-expires", ""))
    day, _, kind = scope.partition("/")
    if said.get("x-goog-algorithm") != _ALGORITHM or not kind.endswith("/storage/goog4_request"):
        raise _malformed("X-Goog-Algorithm" if kind else "X-Goog-Credential")
    if day != said["x-goog-date"][:8]:
        raise _malformed("X-Goog-Date")
    if began - _SKEW > call.now:
        raise xml_error(
            403, "RequestTimeTooSkewed", "The difference between the request time and the server's is too large."
        )
    if began + timedelta(seconds=seconds) < call.now:
        raise xml_error(400, "ExpiredToken", "The provided token has expired.")
    names = said.get("x-goog-signedheaders", "").split(";")
    _check_headers(call, names)
    methods = [call.http, "GET"] if call.http == "HEAD" else [call.http]  # who may read may ask how much there is
    messages = ["\n".join((_ALGORITHM, said["x-goog-date"], scope, _digest(call, http, names))) for http in methods]
    if not _genuine(call, account, messages, said["x-goog-signature"]):
        raise xml_error(403, "SignatureDoesNotMatch", "Access denied.")
    return f"serviceAccount:{account}"


def _signing(call: Call) -> dict[str, str]:
    """The parameters of the query that tell of the signature, in lower case."""
    return {key.lower(): value for key, value in call.query if key.lower().startswith("x-goog-")}


def _genuine(call: Call, account: str, messages: list[str], signature: str) -> bool:
    row = call.world.table("iam.accounts").get(account, {"deleted": True})
    try:
        given = bytes.fromhex(signature)
    except ValueError:
        return False
    known = [] if row.get("deleted") or row.get("disabled") else keys.account_keys(call.world, account)
    return any(keys.signed(key, message.encode(), given) for key in known for message in messages)


def _digest(call: Call, http: str, names: list[str]) -> str:
    """The hash of the canonical request; the body is never part of it."""
    query = sorted((_quoted(k), _quoted(v)) for k, v in call.query if k.lower() != "x-goog-signature")
    headers = [f"{name}:{' '.join(call.headers[name].split())}\n" for name in names]
    lines = (
        http,
        "/" + quote(unquote(call.path), safe="/~"),
        "&".join(f"{key}={value}" for key, value in query),
        "".join(headers),
        ";".join(names),
        call.headers.get("x-goog-content-sha256", "UNSIGNED-PAYLOAD"),
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _check_headers(call: Call, names: list[str]) -> None:
    """Raise 400 unless the host, and every header of Google's that was sent, is among those that were signed."""
    sent = {name.lower() for name in call.headers}
    own = {name for name in sent if name.startswith("x-goog-")}
    if not {"host"} | own <= set(names) <= sent:
        raise _malformed("X-Goog-SignedHeaders")


def _time(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError as problem:
        raise _malformed("X-Goog-Date") from problem


def _seconds(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _LONGEST:
        raise _malformed("X-Goog-Expires")
    return int(text)


def _malformed(parameter: str) -> Exception:
    return xml_error(400, "MalformedSecurityHeader", f"Your request has a malformed header: {parameter}.")


def _quoted(text: str) -> str:
    return quote(text, safe="~")
