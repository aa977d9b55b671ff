"""Secret Manager: secrets, who may read them, and what is set on them.

https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets. Names carry the project's number,
whatever the request called it. What lies in a secret's versions is next door, in `secretmanager_versions`.
"""

import re
from datetime import timedelta

from provision.emulator import errors, iam
from provision.emulator.api import Call, Json, method
from provision.emulator.clock import parse, stamp
from provision.emulator.world import World

_ID = re.compile(r"[a-zA-Z0-9_-]{1,255}")
_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_SETTABLE = {
    *("annotations", "customerManagedEncryption", "expireTime", "labels", "rotation", "topics", "ttl"),
    *("versionAliases", "versionDestroyTtl"),
}
_ANNOTATION_BYTES = 16_384


@method("secretmanager.projects.secrets.create", permission="secretmanager.secrets.create")
def create(call: Call) -> Json:
    """Make a secret without versions."""
    world, secret_id = call.world, str(call.params.get("secretId") or "")
    if not _ID.fullmatch(secret_id):
        raise errors.invalid(
            f"The provided Secret ID [{secret_id}] does not match the expected format [[a-zA-Z_0-9\\-]+]"
        )
    replication = call.body.get("replication") or {}
    if len(replication) != 1:
        raise errors.invalid("Field [secret.replication] must be set to either [automatic] or [userManaged].")
    if replication.get("userManaged") is not None and not replication["userManaged"].get("replicas"):
        raise errors.invalid("Field [secret.replication.user_managed.replicas] must not be empty.")
    name = f"projects/{call.number}/secrets/{secret_id}"
    expire(world)
    if name in world.table("secretmanager.secrets"):
        raise errors.already_exists(f"Secret [{name}] already exists.")
    secret = {
        "name": name,
        "replication": replication,
        "createTime": world.timestamp(6),
        "etag": fresh_etag(world),
    }
    secret |= {k: v for k, v in call.body.items() if k in _SETTABLE and v not in ({}, [])}
    world.table("secretmanager.secrets")[name] = _checked(world, secret)
    return secret


@method("secretmanager.projects.secrets.get", permission="secretmanager.secrets.get")
def get(call: Call) -> Json:
    """One secret, without what lies in it."""
    return secret_of(call, "name")


@method("secretmanager.projects.secrets.list", permission="secretmanager.secrets.list")
def list_(call: Call) -> Json:
    """The secrets of a project, newest first."""
    expire(call.world)
    rows = [s for _, s in call.world.table("secretmanager.secrets").under(f"projects/{call.number}/secrets/")]
    rows = [s for s in rows if matches(s, str(call.params.get("filter") or ""))]
    rows.sort(key=lambda secret: secret["createTime"], reverse=True)
    answer = call.page(rows, "secrets", 25_000)
    return answer | ({"totalSize": len(rows)} if rows else {})


@method("secretmanager.projects.secrets.patch", permission="secretmanager.secrets.update")
def patch(call: Call) -> Json:
    """Set the fields that the mask names; each is replaced whole, and taken away when the body has it not."""
    world, secret = call.world, secret_of(call, "name")
    check_etag(call.body.get("etag"), secret)
    fields = [_camel(f.strip()) for f in str(call.params.get("updateMask") or "").split(",") if f.strip()]
    if not fields:
        raise errors.invalid("Field [update_mask] must be set.")
    for field in fields:
        head, _, inner = field.partition(".")
        if head not in _SETTABLE or (inner and head != "rotation"):
            raise errors.invalid(f"Field [{field}] in the update mask cannot be updated.")
        if head == "ttl":
            secret.pop("expireTime", None)
        if inner:
            value = (call.body.get(head) or {}).get(inner)
            secret[head] = {k: v for k, v in (secret.get(head) or {}).items() if k != inner}
            secret[head] |= {inner: value} if value else {}
        else:
            secret[head] = call.body.get(head)
        if secret[head] in (None, {}, []):
            del secret[head]
    secret["etag"] = fresh_etag(world)
    world.table("secretmanager.secrets")[secret["name"]] = _checked(world, secret)
    return secret


@method("secretmanager.projects.secrets.delete", permission="secretmanager.secrets.delete")
def delete(call: Call) -> Json:
    """Delete a secret with all its versions, for good."""
    secret = secret_of(call, "name")
    check_etag(call.params.get("etag"), secret)
    _remove(call.world, secret["name"])
    return {}


@method("secretmanager.projects.secrets.getIamPolicy", permission="secretmanager.secrets.getIamPolicy")
def get_policy(call: Call) -> Json:
    """Who may do what with a secret and its versions."""
    secret_of(call, "resource")
    return iam.get_policy(call, call.resource)


@method("secretmanager.projects.secrets.setIamPolicy", permission="secretmanager.secrets.setIamPolicy")
def set_policy(call: Call) -> Json:
    """Replace that policy; a stale etag is 409 ABORTED."""
    secret_of(call, "resource")
    return iam.set_policy(call, call.resource)


@method("secretmanager.projects.secrets.testIamPermissions", permission="secretmanager.secrets.get")
def test_permissions(call: Call) -> Json:
    """The subset of the permissions that the caller has; none on a secret that does not exist."""
    if numbered(call, "resource") not in call.world.table("secretmanager.secrets"):
        return {}
    return iam.test_permissions(call, call.resource)


def numbered(call: Call, key: str) -> str:
    """A resource name from the request, with the project's number where its ID stood."""
    parts = str(call.params[key]).split("/")
    return "/".join([parts[0], call.number, *parts[2:]])


def secret_of(call: Call, key: str) -> Json:
    """The secret that parameter `key` names, or whose version it names; raises 404 when there is none."""
    expire(call.world)
    name = "/".join(numbered(call, key).split("/")[:4])
    secret = call.world.table("secretmanager.secrets").get(name)
    if secret is None:
        raise errors.not_found(f"Secret [{name}] not found.")
    return secret


def check_etag(sent: object, row: Json) -> None:
    """Raise 400 FAILED_PRECONDITION for an etag that is not the row's; none, or an empty one, is no condition."""
    if sent and sent != row["etag"]:
        raise errors.failed_precondition(
            f"The etag provided in the request ({sent}) does not match the resource's current etag ({row['etag']})."
        )


def fresh_etag(world: World) -> str:
    """An etag with quotes in it: fourteen hexadecimal digits that count up."""
    return f'"{int(world.clock.now().timestamp() * 1_000_000) * 4 + world.counter("secretmanager.etag"):014x}"'


def matches(row: Json, text: str) -> bool:
    """Whether a row fits a list filter: terms `name:x`, `labels.k=v`, `state=x` joined by AND. Raises 400 for others.

    https://cloud.google.com/secret-manager/docs/filtering
    """
    for term in filter(None, re.split(r"\s+AND\s+|\s+", text.strip())):
        found = re.fullmatch(r'([\w.-]+)(:|=)"?([^"]*)"?', term)
        if found is None:
            raise errors.invalid(f"Invalid filter: [{text}].")
        field, operator, want = found.groups()
        value: object = row
        for part in field.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if operator == "=" and field == "name":
            value = str(value).rpartition("/")[2]
        have = str(value or "")
        if (want != have) if operator == "=" else (want not in have and want != "*") or not have:
            return False
    return True


def expire(world: World) -> None:
    """Delete the secrets whose time has come."""
    now = world.clock.now()
    for name, expiry in world.table("secretmanager.expiries").items():
        if parse(expiry["at"]) <= now:
            _remove(world, name)


def _remove(world: World, name: str) -> None:
    del world.table("secretmanager.secrets")[name]
    world.table("secretmanager.expiries").pop(name, None)
    for kind in ("secretmanager.versions", "secretmanager.payloads"):
        table = world.table(kind)
        for key, _ in table.under(f"{name}/versions/"):
            del table[key]
    iam.drop_policies(world, name)


def _checked(world: World, secret: Json) -> Json:
    """The secret with its time to live made a time; raises 400 for what cannot be set."""
    ttl = secret.pop("ttl", None)
    if ttl:
        secret["expireTime"] = stamp(world.clock.now() + timedelta(seconds=float(str(ttl).removesuffix("s"))), 6)
    labels = secret.get("labels") or {}
    if len(labels) > 64 or not all(_LABEL.fullmatch(key) for key in labels):
        raise errors.invalid(
            "The provided labels are invalid: at most 64, keys of lower-case letters, digits, - and _."
        )
    if sum(len(k.encode()) + len(v.encode()) for k, v in (secret.get("annotations") or {}).items()) > _ANNOTATION_BYTES:
        raise errors.invalid(f"The total size of annotations must not exceed {_ANNOTATION_BYTES} bytes.")
    for alias, number in (secret.get("versionAliases") or {}).items():
        if f"{secret['name']}/versions/{number}" not in world.table("secretmanager.versions"):
            raise errors.invalid(f"Alias [{alias}] names version [{number}], which does not exist.")
    _schedule(world, secret)
    return secret


def _schedule(world: World, secret: Json) -> None:
    """Note when a secret goes. A time that is past when it is set ends nothing.

    Google refuses one less than a minute away; it is taken here, so that what was asked long ago can be asked again.
    https://cloud.google.com/secret-manager/docs/creating-and-managing-expiring-secrets
    """
    expiries = world.table("secretmanager.expiries")
    expiries.pop(secret["name"], None)
    if "expireTime" in secret and parse(secret["expireTime"]) > world.clock.now():
        expiries[secret["name"]] = {"at": secret["expireTime"]}


def _camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda m: m.group(1).upper(), name)
