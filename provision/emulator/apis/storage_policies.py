"""Who may do what with a bucket: its IAM policy, whose etag is the bucket's own.

https://cloud.google.com/storage/docs/json_api/v1/buckets/setIamPolicy
"""

from provision.emulator import errors, iam
from provision.emulator.api import Call, Json
from provision.emulator.apis.storage_buckets import touch
from provision.emulator.apis.storage_rules import bucket_etag, bucket_of, bucket_path, storage

_PUBLIC = {"allUsers", "allAuthenticatedUsers"}
_BASIC = ("roles/owner", "roles/editor", "roles/viewer")


@storage("storage.buckets.getIamPolicy", "storage.buckets.getIamPolicy")
def get_policy(call: Call) -> Json:
    """The bucket's policy, with conditions for those who ask for version 3."""
    bucket = bucket_of(call)
    # the other APIs have a point in this name
    call.params["options.requestedPolicyVersion"] = call.params.get("optionsRequestedPolicyVersion")
    return _shown(bucket, iam.get_policy(call, bucket_path(bucket["name"])))


@storage("storage.buckets.setIamPolicy", "storage.buckets.setIamPolicy")
def set_policy(call: Call) -> Json:
    """Replace the bucket's policy; raises 412 for a stale etag, and for what the bucket's own settings forbid."""
    bucket, sent = bucket_of(call), call.body
    if sent.get("etag") and sent["etag"] != bucket_etag(bucket):
        raise errors.precondition_failed()
    access = bucket["iamConfiguration"]
    bindings = sent.get("bindings") or []
    for role in (b.get("role", "") for b in bindings):
        if role in _BASIC or not role.startswith(("roles/", "projects/", "organizations/")):
            raise errors.invalid(f"Role {role} is not supported for this resource.")
    if access["publicAccessPrevention"] == "enforced" and any(_PUBLIC & set(b.get("members") or []) for b in bindings):
        raise errors.GoogleError(
            412,
            "The member bindings allUsers and allAuthenticatedUsers are not allowed since public access prevention is "
            "enforced.",
        )
    if any("condition" in b for b in bindings) and not access["uniformBucketLevelAccess"]["enabled"]:
        raise errors.GoogleError(412, "Conditional IAM policies require uniform bucket-level access to be enabled.")
    call.body = {"policy": {k: v for k, v in sent.items() if k != "etag"}}
    policy = iam.set_policy(call, bucket_path(bucket["name"]))
    return _shown(touch(call.world, bucket), policy)


@storage("storage.buckets.testIamPermissions", "storage.buckets.get")
def test_permissions(call: Call) -> Json:
    """The subset of the permissions that the caller has."""
    bucket = bucket_of(call)
    return {"kind": "storage#testIamPermissionsResponse"} | iam.test_permissions(call, bucket_path(bucket["name"]))


def _shown(bucket: Json, policy: Json) -> Json:
    answer = {
        "kind": "storage#policy",
        "resourceId": bucket_path(bucket["name"]),
        "version": policy.get("version", 1),
        "etag": bucket_etag(bucket),
    }
    return answer | ({"bindings": policy["bindings"]} if policy.get("bindings") else {})
