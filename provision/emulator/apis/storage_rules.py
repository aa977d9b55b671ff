"""Rules that several methods of Cloud Storage share: names, preconditions, holds, and who may touch a bucket.

https://cloud.google.com/storage/docs/request-preconditions, https://cloud.google.com/storage/docs/buckets#naming.
"""

import base64
import functools
import re
from collections.abc import Callable
from datetime import datetime, timedelta

from provision.emulator import errors
from provision.emulator.api import Call, Function, Json, Reply, method
from provision.emulator.clock import parse, stamp
from provision.emulator.world import World

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")


class NotModified(Exception):
    """A *NotMatch* condition met its match: the answer is 304 without a body, whatever the method."""


def storage(method_id: str, permission: str) -> Callable[[Function], Function]:
    """Register a method about one bucket (or what is in it), which answers 304 where a condition says so.

    `permission` is checked on the bucket; callers other than the owner may hold it there or on the project.
    """

    def register(function: Function) -> Function:
        @functools.wraps(function)
        def answered(call: Call) -> Json | Reply | None:
            try:
                return function(call)
            except NotModified:
                return Reply(status=304)

        return method(method_id, permission=permission, resource=policy_holder)(answered)

    return register


def policy_holder(call: Call) -> str:
    """Full name of the bucket that a call is about, which is where its permissions are looked up."""
    keys = ("bucket", "sourceBucket", "destinationBucket")
    return bucket_path(next(str(call.params[key]) for key in keys if key in call.params))


def bucket_path(bucket: str) -> str:
    """Full name of a bucket, as IAM knows it: buckets belong to no project's name space."""
    return f"projects/_/buckets/{bucket}"


def etag(*numbers: int) -> str:
    """An etag of Cloud Storage: the numbers (generation, metageneration) as protobuf varints, in base64."""
    raw = bytearray()
    for field, number in enumerate(numbers, 1):
        raw.append(field << 3)
        rest = number
        while rest > 127:
            raw.append(rest & 127 | 128)
            rest >>= 7
        raw.append(rest)
    return base64.b64encode(bytes(raw)).decode()


def bucket_etag(bucket: Json) -> str:
    """The etag of a bucket and of its IAM policy, which move together: CAE= at metageneration 1."""
    return etag(int(bucket["metageneration"]))


def object_etag(row: Json) -> str:
    """The etag of an object."""
    return etag(int(row["generation"]), int(row["metageneration"]))


def check_bucket_name(name: str) -> None:
    """Raise 400 for a name that no bucket may have."""
    parts = name.split(".")
    good = _NAME.fullmatch(name) and not _ADDRESS.fullmatch(name) and all(0 < len(p) <= 63 for p in parts)
    if not good or name.startswith("goog") or "google" in name:
        raise errors.invalid(f"Invalid bucket name: '{name}'")


def check_object_name(name: str) -> None:
    """Raise 400 for a name that no object may have: https://cloud.google.com/storage/docs/objects#naming."""
    if not name:
        raise errors.GoogleError(400, "Required", reason="required")
    if len(name.encode()) > 1024:
        length = len(name.encode())
        raise errors.invalid(f"The maximum object length is 1024 characters, but got a name with {length} characters.")
    if "\n" in name or "\r" in name or name in (".", "..") or name.startswith(".well-known/acme-challenge/"):
        raise errors.invalid(f"Disallowed unicode characters present in object name '{name}'")


def bucket_of(call: Call, key: str = "bucket") -> Json:
    """The bucket that parameter `key` names; raises 404 when there is none and 403 when it is a stranger's."""
    name = str(call.params[key])
    bucket = call.world.table("storage.buckets").get(name)
    if bucket is None:
        raise errors.not_found("The specified bucket does not exist.")
    if bucket["projectNumber"] not in {p["projectNumber"] for p in call.world.projects.values()}:
        raise denied(call.caller, "storage.buckets.get", "bucket")
    return bucket


def denied(caller: str, permission: str, kind: str) -> errors.GoogleError:
    """403 in Cloud Storage's words; `kind` is "bucket" or "object"."""
    who = caller.partition(":")[2] or caller
    return errors.permission_denied(
        f"{who} does not have {permission} access to the Google Cloud Storage {kind}. "
        f"Permission '{permission}' denied on resource (or it may not exist)."
    )


def xml_error(status: int, code: str, message: str) -> errors.GoogleError:
    """An error of the XML API: https://cloud.google.com/storage/docs/xml-api/reference-status."""
    return errors.GoogleError(status, message, reason=code, family="xml")


def may(call: Call, permission: str, bucket: Json) -> bool:
    """Whether the caller holds a permission on a bucket."""
    return call.caller == call.world.owner or call.world.allowed(call.caller, permission, bucket_path(bucket["name"]))


def require(call: Call, permission: str, bucket: Json) -> None:
    """Raise 403 unless the caller holds one more permission than the method's own."""
    if not may(call, permission, bucket):
        raise denied(call.caller, permission, "object")


def no_such_object(call: Call, bucket: Json, name: str) -> errors.GoogleError:
    """404 for those who may list the bucket, 403 for the others, who are not told what is not there."""
    if not may(call, "storage.objects.list", bucket):
        return denied(call.caller, "storage.objects.list", "bucket")
    return errors.not_found(f"No such object: {bucket['name']}/{name}")


def check_conditions(params: Json, row: Json | None, prefix: str = "if") -> None:
    """Hold a live object, or its absence, against a request's four conditions.

    Raises 412 where a *Match* fails and NotModified where a *NotMatch* does. Generation 0 means: no live object.
    """
    generation = int(row["generation"]) if row else 0
    metageneration = int(row["metageneration"]) if row else None

    def wanted(key: str) -> int | None:
        value = params.get(prefix + key)
        return None if value is None else int(value)

    for key, have in (("GenerationMatch", generation), ("MetagenerationMatch", metageneration)):
        if wanted(key) not in (None, have):
            raise errors.precondition_failed()
    if wanted("MetagenerationNotMatch") is not None and metageneration is None:
        raise errors.precondition_failed()
    if wanted("GenerationNotMatch") is not None and (generation == 0 or wanted("GenerationNotMatch") == generation):
        raise NotModified
    if wanted("MetagenerationNotMatch") is not None and wanted("MetagenerationNotMatch") == metageneration:
        raise NotModified


def check_etags(call: Call, current: str) -> None:
    """The same for the headers If-Match and If-None-Match, which reads honour."""
    match, none_match = call.headers.get("if-match"), call.headers.get("if-none-match")
    if match and current not in _etags(match):
        raise errors.precondition_failed()
    if none_match and current in _etags(none_match):
        raise NotModified


def _etags(header: str) -> list[str]:
    return [e.strip().strip('"') for e in header.split(",")]


def check_held(row: Json) -> None:
    """Raise 403 for an object that a hold keeps from being deleted, overwritten or made noncurrent."""
    for field, word in (("temporaryHold", "Temporary"), ("eventBasedHold", "Event-Based")):
        if row.get(field):
            label = f"Object '{row['bucket']}/{row['name']}' is under active {word} hold"
            raise errors.permission_denied(
                f"{label} and cannot be deleted, overwritten or archived until hold is removed."
            )


def check_retained(world: World, bucket: Json, row: Json) -> None:
    """Raise 403 for a version that the bucket's retention policy keeps from being deleted for good."""
    until = retained_until(bucket, row)
    if until and parse(until) > world.clock.now():
        raise errors.permission_denied(
            f"Object '{row['bucket']}/{row['name']}' is subject to bucket's retention policy or object retention and "
            f"cannot be deleted or overwritten until {until}",
            reason="retentionPolicyNotMet",
        )


def retained_until(bucket: Json, row: Json) -> str | None:
    """When the bucket's retention policy lets an object go, or None without such a policy."""
    period = int(bucket.get("retentionPolicy", {}).get("retentionPeriod", 0))
    if not period or row.get("eventBasedHold"):
        return None
    return stamp(after(parse(row["timeCreated"]), period))


def after(when: datetime, seconds: float) -> datetime:
    """The moment `seconds` after `when`, or the last one that a timestamp can say."""
    try:
        return when + timedelta(seconds=seconds)
    except OverflowError:
        return datetime.max.replace(tzinfo=when.tzinfo)


def merge(old: Json, patch: Json) -> Json:
    """`old` with a JSON merge patch applied: null removes, objects merge, the rest replaces. Returns a new object."""
    new = dict(old)
    for key, value in patch.items():
        if value is None:
            new.pop(key, None)
        elif isinstance(value, dict) and isinstance(new.get(key), dict) and value:
            new[key] = merge(new[key], value)
        elif isinstance(value, dict):
            new[key] = {k: v for k, v in value.items() if v is not None}
        else:
            new[key] = value
    return new
