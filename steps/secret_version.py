"""The database password: 32 random characters, made here and kept only in Secret Manager.

Versions are numbered by Google, one after the other, and only a read by number is consistent right after a write
(https://docs.cloud.google.com/secret-manager/docs/reference/consistency), so the number is in the ref. A destroyed
version cannot be brought back; the engine then counts on, and the next number is made.
"""

import secrets
import string
from collections.abc import Sequence
from typing import Any

from provision.deployment import Deployment
from provision.gcp import Gcp
from provision.step import Body, Change, FactBook, Ref, by_parent, immutable, no_contents, no_facts
from steps import _names, secret

LENGTH = 32
ALPHABET = string.ascii_letters + string.digits

LEAVES: str | None = None
RIGHTS: tuple[str, ...] = (
    "secretmanager.versions.add", "secretmanager.versions.get", "secretmanager.versions.enable",
    "secretmanager.versions.destroy",
)  # fmt: skip


def ref(deployment: Deployment) -> Ref:
    """The version in use."""
    return f"{secret.ref(deployment)}/versions/{deployment.counters.get('secret_version', 0) + 1}"


def declare(deployment: Deployment, facts: FactBook) -> dict[Ref, Body]:
    """One version that can be read."""
    return {ref(deployment): {"state": "ENABLED"}}


def read(gcp: Gcp, ref: Ref) -> Body | None:
    """Whether it can be read, never what it says."""
    return {"state": gcp.secrets.get_secret_version(name=ref, retry=None).state.name}


def create(gcp: Gcp, ref: Ref, body: Body) -> None:
    """Make a password and hand it to Secret Manager, with a checksum against damage on the way."""
    import google_crc32c

    password = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH)).encode()
    payload = {"data": password, "data_crc32c": google_crc32c.value(password)}
    asked: Any = {"parent": _names.parent(ref), "payload": payload}
    gcp.secrets.add_secret_version(request=asked, retry=None)


def update(gcp: Gcp, ref: Ref, body: Body, changes: Sequence[Change]) -> None:
    """Enable a version that somebody has disabled."""
    if any(change.live == "DESTROYED" for change in changes):
        immutable(gcp, ref, body, changes)
    gcp.secrets.enable_secret_version(name=ref, retry=None)


def delete(gcp: Gcp, ref: Ref, live: Body, applied: Body) -> None:
    """Destroy what it says, for good; Google keeps the number."""
    gcp.secrets.destroy_secret_version(name=ref, retry=None)


facts = no_facts
owner = by_parent
contents = no_contents
