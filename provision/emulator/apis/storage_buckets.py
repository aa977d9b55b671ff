"""Buckets of Cloud Storage: made, read, changed, deleted.

https://cloud.google.com/storage/docs/json_api/v1/buckets
"""

import re
from collections.abc import Mapping
from datetime import datetime

from provision.emulator import errors, iam
from provision.emulator.api import Call, Json, Reply, method
from provision.emulator.apis import storage_shelf as shelf
from provision.emulator.apis.storage_lifecycle import look_again, sweep
from provision.emulator.apis.storage_rules import (
    after,
    bucket_etag,
    bucket_of,
    bucket_path,
    check_bucket_name,
    check_conditions,
    check_etags,
    merge,
    storage,
)
from provision.emulator.clock import stamp
from provision.emulator.world import World

_WEEK = 604_800
_UNIFORM_LOCK = 90 * 86_400  # uniform access can be switched off again for so long
_MULTI = {"US", "EU", "ASIA"}
_DUAL = {"ASIA1", "EUR4", "EUR5", "EUR7", "EUR8", "NAM4"}
_CLASSES = {"STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE", "MULTI_REGIONAL", "REGIONAL", "DURABLE_REDUCED_AVAILABILITY"}
# What the server alone says of a bucket, whatever a client sends back to it.
_OUTPUT = frozenset(
    {
        *("acl", "defaultObjectAcl", "etag", "generation", "id", "kind", "location", "locationType", "metageneration"),
        *(
            "name",
            "owner",
            "projectNumber",
            "satisfiesPZI",
            "satisfiesPZS",
            "selfLink",
            "timeCreated",
            "updated",
        ),
        *("hierarchicalNamespace", "objectRetention", "customPlacementConfig"),  # said at creation, then fixed
    }
)
_ROLES = (
    ("roles/storage.legacyBucketOwner", ("projectEditor", "projectOwner")),
    ("roles/storage.legacyBucketReader", ("projectViewer",)),
    ("roles/storage.legacyObjectOwner", ("projectEditor", "projectOwner")),
    ("roles/storage.legacyObjectReader", ("projectViewer",)),
)


def _project(call: Call) -> str:
    return f"projects/{call.project_id}"


@method("storage.buckets.insert", permission="storage.buckets.create", resource=_project)
def insert(call: Call) -> Json:
    """Make a bucket in the project that `project` names."""
    world, project, name = call.world, _known_project(call), str(call.body.get("name", ""))
    if not name:
        raise errors.GoogleError(400, "Required", reason="required")
    if not project["billing"]:  # https://github.com/forseti-security/forseti-security/issues/1465
        message = "The project to be billed has not configured billing."
        raise errors.GoogleError(
            403, message, reason="accountDisabled", location_type="header", location="Authorization"
        )
    check_bucket_name(name)
    taken = world.table("storage.buckets").get(name)
    if taken and taken["projectNumber"] == project["projectNumber"]:
        raise errors.conflict("Your previous request to create the named bucket succeeded and you already own it.")
    if taken:
        raise errors.conflict(
            "The requested bucket name is not available. The bucket namespace is shared by all users of the system. "
            "Please select a different name and try again."
        )
    retains = bool(call.params.get("enableObjectRetention"))
    bucket = _new(world, project["projectNumber"], name, call.body, retains=retains)
    world.table("storage.buckets")[name] = bucket
    members = {role: [f"{kind}:{project['projectId']}" for kind in kinds] for role, kinds in _ROLES}
    kept = _ROLES if _uniform(bucket) else _ROLES[:2]
    bindings = [{"role": role, "members": members[role]} for role, _ in kept]
    iam.put_policy(world, bucket_path(name), {"bindings": bindings})
    return shown(bucket, full=call.params.get("projection") == "full")


@storage("storage.buckets.get", "storage.buckets.get")
def get(call: Call) -> Json:
    """One bucket."""
    bucket = bucket_of(call)
    check_conditions(call.params, bucket)
    check_etags(call, bucket_etag(bucket))
    return shown(bucket, full=call.params.get("projection") == "full")


@method("storage.buckets.list", permission="storage.buckets.list", resource=_project)
def list_(call: Call) -> Json:
    """The buckets of a project by name."""
    project = _known_project(call)
    rows = [b for _, b in call.world.table("storage.buckets").under(str(call.params.get("prefix") or ""))]
    full = call.params.get("projection") == "full"
    own = [shown(b, full=full) for b in rows if b["projectNumber"] == project["projectNumber"]]
    return {"kind": "storage#buckets"} | call.page([] if call.params.get("softDeleted") else own, default=1000)


@storage("storage.buckets.patch", "storage.buckets.update")
def patch(call: Call) -> Json:
    """Change what the body names: null takes a setting away, labels are merged one by one."""
    return _change(call, merge_into=True)


@storage("storage.buckets.update", "storage.buckets.update")
def update(call: Call) -> Json:
    """Replace every setting by the body's."""
    return _change(call, merge_into=False)


@storage("storage.buckets.delete", "storage.buckets.delete")
def delete(call: Call) -> Reply:
    """Delete a bucket, which must be empty, noncurrent versions included."""
    bucket = bucket_of(call)
    check_conditions(call.params, bucket)
    sweep(call.world, bucket)
    if not shelf.is_empty(call.world, bucket["name"]):
        raise errors.conflict("The bucket you tried to delete is not empty.")
    del call.world.table("storage.buckets")[bucket["name"]]
    look_again(call.world, bucket["name"])
    iam.drop_policies(call.world, bucket_path(bucket["name"]))
    return Reply(status=204)


@method("storage.projects.serviceAccount.get", permission="resourcemanager.projects.get", resource=_project)
def service_account(call: Call) -> Json:
    """The account that Cloud Storage acts as in a project."""
    email = f"service-{call.number}@gs-project-accounts.iam.gserviceaccount.com"
    return {"kind": "storage#serviceAccount", "email_address": email}


def shown(bucket: Json, *, full: bool = False) -> Json:
    """A bucket as the API answers it; `full` adds the access control lists, which uniform access does away with."""
    answer = bucket | {
        "kind": "storage#bucket",
        "id": bucket["name"],
        "selfLink": f"https://www.googleapis.com/storage/v1/b/{bucket['name']}",
        "etag": bucket_etag(bucket),
    }
    if full and not _uniform(bucket):
        number, name = bucket["projectNumber"], bucket["name"]
        answer["owner"] = {"entity": f"project-owners-{number}"}
        answer["acl"] = [
            {
                "kind": "storage#bucketAccessControl",
                "id": f"{name}/{entry['entity']}",
                "selfLink": f"https://www.googleapis.com/storage/v1/b/{name}/acl/{entry['entity']}",
                "bucket": name,
                "etag": answer["etag"],
            }
            | entry
            for entry in project_acl(number)
        ]
        answer["defaultObjectAcl"] = [
            entry | {"kind": "storage#objectAccessControl", "etag": answer["etag"]} for entry in project_acl(number)
        ]
    return answer


def project_acl(number: str) -> list[Json]:
    """The entries for a project's owners, editors and viewers that every list begins with."""
    teams = (("owners", "OWNER"), ("editors", "OWNER"), ("viewers", "READER"))
    return [
        {"entity": f"project-{team}-{number}", "role": role, "projectTeam": {"projectNumber": number, "team": team}}
        for team, role in teams
    ]


def touch(world: World, bucket: Json) -> Json:
    """Write a changed bucket: metageneration and `updated` go up."""
    bucket["metageneration"] = str(int(bucket["metageneration"]) + 1)
    bucket["updated"] = world.timestamp()
    world.table("storage.buckets")[bucket["name"]] = bucket
    return bucket


def _known_project(call: Call) -> Json:
    project = call.world.find_project(str(call.params["project"]))
    if project is None:
        raise errors.invalid(f"Unknown project id: {call.params['project']}")
    return project


def _uniform(bucket: Json) -> bool:
    return bool(bucket["iamConfiguration"]["uniformBucketLevelAccess"]["enabled"])


def _change(call: Call, *, merge_into: bool) -> Json:
    world, old = call.world, bucket_of(call)
    check_conditions(call.params, old)
    sent = {k: v for k, v in call.body.items() if k not in _OUTPUT}
    kept = {k: v for k, v in old.items() if merge_into or k in _OUTPUT}
    bucket = _settled(world, world.clock.now(), merge(kept, sent), old, sent)
    if bucket.get("lifecycle") != old.get("lifecycle"):
        look_again(world, bucket["name"])
    touch(world, bucket)
    return shown(bucket, full=call.params.get("projection", "full") == "full")


def _new(world: World, number: str, name: str, body: Json, *, retains: bool) -> Json:
    location = str(body.get("location") or "US").upper()
    now = world.clock.now()
    regional = location not in _MULTI | _DUAL and "customPlacementConfig" not in body
    if regional and not re.fullmatch(r"[A-Z]+-[A-Z]+\d+", location):
        raise errors.invalid("The specified location constraint is not valid.")
    dual = location in _DUAL or "customPlacementConfig" in body
    sent = {k: v for k, v in body.items() if k not in _OUTPUT}
    bucket: Json = {
        "name": name,
        "projectNumber": number,
        "generation": f"{int(now.timestamp() * 1_000_000)}{world.number(3)}",
        "metageneration": "1",
        "location": location,
        "locationType": "region" if regional else "dual-region" if dual else "multi-region",
        "timeCreated": stamp(now),
        "updated": stamp(now),
    }
    bucket |= {"satisfiesPZI": True} if regional else {}
    bucket |= {"objectRetention": {"mode": "Enabled"}} if retains else {}
    bucket |= {k: body[k] for k in ("hierarchicalNamespace", "customPlacementConfig") if body.get(k)}
    return _settled(world, now, merge(bucket, sent), {}, sent)


def _settled(world: World, moment: datetime, bucket: Json, old: Json, sent: Mapping[str, object]) -> Json:
    """A bucket with the defaults of what was left out and the times of what changed; raises 400 for bad values."""
    now = stamp(moment)
    bucket["storageClass"] = bucket.get("storageClass") or "STANDARD"
    if bucket["storageClass"] not in _CLASSES:
        raise errors.invalid("The specified storage class is not valid.")
    bucket["iamConfiguration"] = _access(world, bucket.get("iamConfiguration") or {}, old.get("iamConfiguration") or {})
    bucket["softDeletePolicy"] = _soft_delete(now, bucket.get("softDeletePolicy"), old.get("softDeletePolicy"))
    if "autoclass" in bucket:
        bucket["autoclass"] = _autoclass(now, bucket["autoclass"], old.get("autoclass") or {})
        if bucket["autoclass"]["enabled"]:
            bucket["storageClass"] = "STANDARD"
    if "retentionPolicy" in bucket and "retentionPolicy" in sent:
        bucket["retentionPolicy"] = {"effectiveTime": now, **bucket["retentionPolicy"]}
    if bucket["locationType"] != "region":
        bucket.setdefault("rpo", "DEFAULT")
    if bucket.get("rpo", "DEFAULT") != "DEFAULT" and bucket["locationType"] != "dual-region":
        raise errors.invalid("The RPO value is not valid for the bucket's location.")
    if (bucket.get("logging") or {}).get("logBucket"):
        bucket["logging"] = {"logObjectPrefix": bucket["name"]} | bucket["logging"]
    for empty in ("lifecycle", "labels", "cors"):
        value = bucket.get(empty)
        if empty in sent and (not sent[empty] or not value or value == {"rule": []}):
            bucket.pop(empty, None)
    for rule in bucket.get("lifecycle", {}).get("rule", []):
        if not rule.get("action", {}).get("type") or not rule.get("condition"):
            raise errors.invalid("A lifecycle rule must have an action and at least one condition.")
    return bucket


def _access(world: World, sent: Json, old: Json) -> Json:
    uniform = dict(sent.get("uniformBucketLevelAccess") or sent.get("bucketPolicyOnly") or {})
    before = old.get("uniformBucketLevelAccess", {})
    entry: Json = {"enabled": bool(uniform.get("enabled"))}
    if entry["enabled"]:
        locked = before.get("lockedTime") if before.get("enabled") else None
        entry["lockedTime"] = locked or stamp(after(world.clock.now(), _UNIFORM_LOCK))
    elif before.get("enabled") and before["lockedTime"] < world.timestamp():
        raise errors.invalid("Cannot disable uniform bucket-level access after its lock time has passed.")
    prevention = sent.get("publicAccessPrevention") or "inherited"
    return {
        "bucketPolicyOnly": entry,
        "uniformBucketLevelAccess": dict(entry),
        "publicAccessPrevention": "inherited" if prevention == "unspecified" else prevention,
    }


def _soft_delete(now: str, sent: Json | None, old: Json | None) -> Json:
    seconds = int((sent or {}).get("retentionDurationSeconds", _WEEK))
    if seconds and not _WEEK <= seconds <= 90 * 86_400:
        raise errors.invalid("Soft delete retention duration must be 0 or between 7 and 90 days.")
    policy: Json = {"retentionDurationSeconds": str(seconds)}
    if seconds:
        same = old and old["retentionDurationSeconds"] == str(seconds)
        policy["effectiveTime"] = old["effectiveTime"] if old and same else now
    return policy


def _autoclass(now: str, sent: Json, old: Json) -> Json:
    answer: Json = {"enabled": bool(sent.get("enabled"))}
    answer["toggleTime"] = old["toggleTime"] if old.get("enabled") == answer["enabled"] else now
    if answer["enabled"]:
        answer["terminalStorageClass"] = sent.get("terminalStorageClass") or "NEARLINE"
        same = old.get("terminalStorageClass") == answer["terminalStorageClass"]
        answer["terminalStorageClassUpdateTime"] = old["terminalStorageClassUpdateTime"] if same else now
    return answer
