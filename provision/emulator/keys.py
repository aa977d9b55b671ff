"""Private keys of the emulated Google: its service accounts' and its identity provider's.

They are made when they are first needed and live in the world, so a token signed before a restart is good after it.
"""

import base64
import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from provision.emulator.clock import stamp
from provision.emulator.world import World

Json = dict[str, Any]

FOREVER = "9999-12-31T23:59:59Z"


class BadToken(Exception):
    """A JWT that is malformed, signed by somebody else, or too old; the text says which."""


# -- keys at rest
def _fresh(world: World, subject: str) -> Json:
    private = rsa.generate_private_key(65537, 2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject[:64])])
    start = world.clock.now() - timedelta(minutes=5)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
        .sign(private, hashes.SHA256())
    )
    cert = certificate.public_bytes(serialization.Encoding.PEM).decode()
    row = {"kid": world.hex(40), "pem": pem, "cert": cert, "validAfterTime": stamp(world.clock.now(), 0)}
    return row | {"public": public_pem(row)}


def new_account_key(world: World, email: str, *, user_managed: bool) -> Json:
    """Make a key of a service account and keep it: kid, pem, cert, public (PEM), keyType, validAfterTime."""
    row = _fresh(world, email)
    row["keyType"] = "USER_MANAGED" if user_managed else "SYSTEM_MANAGED"
    world.table("iam.keys")[f"{email}/{row['kid']}"] = row
    return row


def account_keys(world: World, email: str) -> list[Json]:
    """All keys of a service account, oldest first."""
    rows = [row for _, row in world.table("iam.keys").under(f"{email}/")]
    return sorted(rows, key=lambda row: (row["validAfterTime"], row["kid"]))


def account_key(world: World, email: str) -> Json:
    """The key that Google holds for a service account, with which signJwt signs."""
    system = [row for row in account_keys(world, email) if row["keyType"] == "SYSTEM_MANAGED"]
    return system[-1] if system else new_account_key(world, email, user_managed=False)


def google_key(world: World) -> Json:
    """The RSA key of https://accounts.google.com, which signs ID tokens."""
    if "google.key" not in world.settings:
        world.settings["google.key"] = _fresh(world, "accounts.google.com")
    return world.settings["google.key"]


# -- tokens
def sign_bytes(key: Json, message: bytes) -> bytes:
    """A signature by PKCS #1 v1.5 with SHA-256."""
    private = serialization.load_pem_private_key(key["pem"].encode(), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    return private.sign(message, padding.PKCS1v15(), hashes.SHA256())


def signed(key: Json, message: bytes, signature: bytes) -> bool:
    """Whether a signature, as `sign_bytes` makes it, is this key's under the message."""
    try:
        _public(key).verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def sign(key: Json, claims: Json | str) -> str:
    """A JWT (RS256) of the claims, or of a payload that is JSON text already."""
    header = {"alg": "RS256", "kid": key["kid"], "typ": "JWT"}
    text = claims if isinstance(claims, str) else json.dumps(claims)
    head = f"{_encode(json.dumps(header).encode())}.{_encode(text.encode())}"
    return f"{head}.{_encode(sign_bytes(key, head.encode()))}"


def unverified(token: str) -> tuple[Json, Json]:
    """Header and claims of a JWT, unchecked; raises BadToken when it is none."""
    try:
        head, body, _ = token.split(".")
        header, claims = json.loads(_decode(head)), json.loads(_decode(body))
    except (ValueError, RecursionError) as problem:
        raise BadToken(f"not a JWT: {problem}") from problem
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise BadToken("not a JWT: header and claims are JSON objects")
    return header, claims


def seconds(value: object) -> float | None:
    """A time as a JWT tells it, https://www.rfc-editor.org/rfc/rfc7519#section-2; None for all but finite numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def verify(token: str, candidates: list[Json], now: datetime, skew: int = 30) -> Json:
    """The claims of a JWT signed with one of the keys and in its time; raises BadToken.

    Args:
        token: the compact JWT.
        candidates: rows of keys; the header's `kid`, when there is one, must be among them.
        now: the time to hold `iat` and `exp` against.
        skew: by how many seconds clocks may differ.
    """
    header, claims = unverified(token)
    if header.get("kid"):
        candidates = [key for key in candidates if key["kid"] == header["kid"]]
    message, _, signature = token.rpartition(".")
    if not any(_genuine(key, header, message.encode(), signature) for key in candidates):
        raise BadToken("Invalid JWT Signature.")
    at = now.timestamp()
    begins, ends = seconds(claims.get("iat", at)), seconds(claims.get("exp"))
    if begins is None or ends is None:
        raise BadToken("Invalid JWT: iat is not a number, or exp is missing or not a number.")
    if begins > at + skew or ends < at - skew:
        raise BadToken("Invalid JWT: Token must be a short-lived token and in a reasonable timeframe.")
    return claims


def _genuine(key: Json, header: Json, message: bytes, signature: str) -> bool:
    try:
        return header.get("alg") == "RS256" and signed(key, message, _decode(signature))
    except ValueError:
        return False


# -- keys for the public
def jwk(key: Json) -> Json:
    """The public half as a JSON Web Key."""
    numbers = _public(key).public_numbers()
    n, e = (_encode(value.to_bytes((value.bit_length() + 7) // 8)) for value in (numbers.n, numbers.e))
    return {"kid": key["kid"], "use": "sig", "alg": "RS256", "kty": "RSA", "n": n, "e": e}


def public_pem(key: Json) -> str:
    """The public half as PEM."""
    return (
        _public(key).public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    )


def _public(key: Json) -> rsa.RSAPublicKey:
    public = x509.load_pem_x509_certificate(key["cert"].encode()).public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    return public


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
