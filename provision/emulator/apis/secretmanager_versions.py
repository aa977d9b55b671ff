"""Versions of secrets: what lies in them is written once, read, put out of use, and destroyed.

https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions
"""

import base64
import binascii
from datetime import timedelta

import google_crc32c

from provision.emulator import errors
from provision.emulator.api import Call, Json, method
from provision.emulator.apis.secretmanager import check_etag, expire, fresh_etag, matches, numbered, secret_of
from provision.emulator.clock import parse, stamp
from provision.emulator.world import World

_MOST = 65_536


def _secret(call: Call) -> str:
    """Permissions on versions are held on their secret or above it."""
    key = "name" if "name" in call.params else "parent"
    return call.world.by_id("/".join(str(call.params[key]).split("/")[:4]))


@method("secretmanager.projects.secrets.addVersion", permission="secretmanager.versions.add", resource=_secret)
def add(call: Call) -> Json:
    """Write a new version; it gets the next number and is ENABLED."""
    world, secret = call.world, secret_of(call, "parent")
    payload = call.body.get("payload") or {}
    data = _decoded(payload.get("data"))
    if len(data) > _MOST:
        raise errors.invalid(f"The payload is too large: {len(data)} bytes. It may be at most {_MOST} bytes.")
    checksum = google_crc32c.value(data)
    said = payload.get("dataCrc32c")
    if said is not None and int(said) != checksum:
        raise errors.invalid("The checksum of the payload does not match the checksum provided in the request.")
    taken = [int(key.rpartition("/")[2]) for key, _ in world.table("secretmanager.versions").under(_versions(secret))]
    version: Json = {
        "name": f"{_versions(secret)}{max(taken, default=0) + 1}",
        "createTime": world.timestamp(6),
        "state": "ENABLED",
        "replicationStatus": _replicated(secret["replication"]),
        "etag": fresh_etag(world),
    }
    if said is not None:
        version["clientSpecifiedPayloadChecksum"] = True
    world.table("secretmanager.versions")[version["name"]] = version
    world.table("secretmanager.payloads")[version["name"]] = {
        "data": base64.b64encode(data).decode(),
        "dataCrc32c": str(checksum),
    }
    return version


@method("secretmanager.projects.secrets.versions.access", permission="secretmanager.versions.access", resource=_secret)
def access(call: Call) -> Json:
    """What lies in a version, by number, alias or `latest`, with its checksum."""
    version = _version(call)
    if version["state"] != "ENABLED":
        raise errors.failed_precondition(f"Secret Version [{version['name']}] is in {version['state']} state.")
    payload = call.world.table("secretmanager.payloads")[version["name"]]
    return {"name": version["name"], "payload": payload}


@method("secretmanager.projects.secrets.versions.get", permission="secretmanager.versions.get", resource=_secret)
def get(call: Call) -> Json:
    """One version, without what lies in it."""
    return _version(call)


@method("secretmanager.projects.secrets.versions.list", permission="secretmanager.versions.list", resource=_secret)
def list_(call: Call) -> Json:
    """The versions of a secret, newest first."""
    secret = secret_of(call, "parent")
    rows = [_due(call.world, v) for _, v in call.world.table("secretmanager.versions").under(_versions(secret))]
    rows = [v for v in rows if matches(v, str(call.params.get("filter") or ""))]
    rows.sort(key=lambda version: int(version["name"].rpartition("/")[2]), reverse=True)
    answer = call.page(rows, "versions", 25_000)
    return answer | ({"totalSize": len(rows)} if rows else {})


@method("secretmanager.projects.secrets.versions.enable", permission="secretmanager.versions.enable", resource=_secret)
def enable(call: Call) -> Json:
    """Put a version to use again."""
    return _turn(call, "ENABLED")


@method(
    "secretmanager.projects.secrets.versions.disable", permission="secretmanager.versions.disable", resource=_secret
)
def disable(call: Call) -> Json:
    """Put a version out of use; it can come back."""
    return _turn(call, "DISABLED")


@method(
    "secretmanager.projects.secrets.versions.destroy", permission="secretmanager.versions.destroy", resource=_secret
)
def destroy(call: Call) -> Json:
    """Wipe what lies in a version, for good, at once or after the secret's destruction delay."""
    world, secret = call.world, secret_of(call, "name")
    version = _by_number(call)
    if "scheduledDestroyTime" in version:
        raise errors.failed_precondition("SecretVersion is already scheduled for DESTRUCTION.")
    delay = float(str(secret.get("versionDestroyTtl", "0s")).removesuffix("s"))
    version["etag"] = fresh_etag(world)
    if delay:
        ends = world.clock.now() + timedelta(seconds=delay)
        version |= {"state": "DISABLED", "scheduledDestroyTime": stamp(ends, 6)}
    else:
        version = _wiped(world, version)
    world.table("secretmanager.versions")[version["name"]] = version
    return version


def _versions(secret: Json) -> str:
    return f"{secret['name']}/versions/"


def _decoded(text: object) -> bytes:
    try:
        return base64.b64decode(str(text or "").replace("-", "+").replace("_", "/"), validate=True)
    except binascii.Error as problem:
        raise errors.invalid("Invalid value at 'payload.data' (TYPE_BYTES), Base64 decoding failed.") from problem


def _replicated(replication: Json) -> Json:
    if "automatic" in replication:
        return {"automatic": {}}
    return {"userManaged": {"replicas": [{"location": r["location"]} for r in replication["userManaged"]["replicas"]]}}


def _version(call: Call) -> Json:
    """The version that a request names, by number, alias or `latest`; raises 404 when there is none."""
    expire(call.world)
    name = numbered(call, "name")
    secret_name, _, which = name.rpartition("/versions/")
    table = call.world.table("secretmanager.versions")
    if which == "latest":
        numbers = [int(key.rpartition("/")[2]) for key, _ in table.under(f"{secret_name}/versions/")]
        if secret_name not in call.world.table("secretmanager.secrets") or not numbers:
            raise errors.not_found(f"Secret [{secret_name}] not found or has no versions.")
        which = str(max(numbers))
    secret = secret_of(call, "name")
    which = str((secret.get("versionAliases") or {}).get(which, which))
    version = table.get(f"{secret_name}/versions/{which}")
    if version is None:
        raise errors.not_found(f"Secret Version [{name}] not found.")
    return _due(call.world, version)


def _by_number(call: Call) -> Json:
    """The version to change, which must be named by number and not be destroyed, under the request's etag."""
    which = str(call.params["name"]).rpartition("/")[2]
    if not which.isdigit():
        raise errors.invalid(f"The version must be named by its number, not [{which}].")
    version = _version(call)
    check_etag(call.body.get("etag"), version)
    if version["state"] == "DESTROYED":
        raise errors.failed_precondition(f"Secret Version [{version['name']}] is in DESTROYED state.")
    return version


def _turn(call: Call, state: str) -> Json:
    version = _by_number(call)
    version |= {"state": state, "etag": fresh_etag(call.world)}
    version.pop("scheduledDestroyTime", None)
    call.world.table("secretmanager.versions")[version["name"]] = version
    return version


def _due(world: World, version: Json) -> Json:
    """The version, destroyed if its time has come."""
    if "scheduledDestroyTime" in version and parse(version["scheduledDestroyTime"]) <= world.clock.now():
        version = _wiped(world, version)
        world.table("secretmanager.versions")[version["name"]] = version
    return version


def _wiped(world: World, version: Json) -> Json:
    world.table("secretmanager.payloads").pop(version["name"], None)
    version.pop("scheduledDestroyTime", None)
    return version | {"state": "DESTROYED", "destroyTime": world.timestamp(6)}
