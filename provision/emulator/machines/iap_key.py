"""The key by which Identity-Aware Proxy signs what it tells an application, and its public side.

https://cloud.google.com/iap/docs/signed-headers-howto#verifying_the_jwt_header
"""

import base64
import hashlib
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from provision.emulator.machines.door_tokens import AssertionSigner
from provision.emulator.world import World

TABLE = "iap.signing"


def signer(world: World) -> AssertionSigner:
    """What signs assertions in this world; its key is made on first use. To be called in a transaction."""
    return AssertionSigner(*_private(world))


def as_pem(world: World) -> dict[str, Any]:
    """{key ID: public key as PEM}."""
    private, key_id = _private(world)
    form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return {key_id: _loaded(private).public_key().public_bytes(*form).decode()}


def as_jwks(world: World) -> dict[str, Any]:
    """A JSON Web Key Set."""
    private, key_id = _private(world)
    point = _loaded(private).public_key().public_numbers()
    x, y = (base64.urlsafe_b64encode(n.to_bytes(32, "big")).rstrip(b"=").decode() for n in (point.x, point.y))
    return {"keys": [{"alg": "ES256", "crv": "P-256", "kid": key_id, "kty": "EC", "use": "sig", "x": x, "y": y}]}


def _private(world: World) -> tuple[str, str]:
    row = world.table(TABLE).get("key")
    if row is None:
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(*form).decode()
        row = {"key": pem, "id": hashlib.sha256(pem.encode()).hexdigest()[:6]}
        world.table(TABLE)["key"] = row
    return str(row["key"]), str(row["id"])


def _loaded(pem: str) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key
