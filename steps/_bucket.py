"""Buckets of Cloud Storage: what the rows that make one have in common."""

from collections.abc import Sequence
from typing import Any

from provision.deployment import Deployment
from provision.gcp import Gcp
from provision.step import Body, Change, Contents, Ref, immutable
from steps import _names, _policy

LONGEST_NAME = 63
"""Characters of a bucket's name (https://cloud.google.com/storage/docs/buckets#naming)."""

RIGHTS = (
    "storage.buckets.list", "storage.buckets.create", "storage.buckets.get", "storage.buckets.update",
    "storage.buckets.delete", "storage.objects.list", "storage.objects.delete",
)  # fmt: skip
"""What it takes to make, change, empty and remove one."""

POLICY_RIGHTS = ("storage.buckets.getIamPolicy", "storage.buckets.setIamPolicy")
"""What it takes to grant something on one."""

FIELDS = ("location", "storageClass", "iamConfiguration", "versioning", "softDeletePolicy", "lifecycle", "labels")


def ref(deployment: Deployment, purpose: str, step: str) -> Ref:
    """A bucket's ref.

    Its name is shared with all the world: it starts with the project's id, ends in the salt, and is counted on where
    somebody else has it.
    """
    end = deployment.numbered(f"-{purpose}-{deployment.salt}", step)
    stem = f"{deployment.project}-{deployment.name}"[: LONGEST_NAME - len(end)].rstrip("-")
    return f"projects/_/buckets/{stem}{end}"


def name(ref: Ref) -> str:
    """The bucket's name."""
    return _names.parts(ref)["buckets"]


def body(deployment: Deployment, **fields: Any) -> Body:
    """What all buckets of ours are: in our region, without ACLs, never public, labelled."""
    return {
        "location": deployment.region.upper(),
        "storageClass": "STANDARD",
        "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}, "publicAccessPrevention": "enforced"},
        "labels": deployment.labels,
        **fields,
    }


def read(gcp: Gcp, ref: Ref) -> Body | None:
    """The bucket's settings; looked for among the project's own, since one of somebody else may have its name."""
    calls = gcp.buckets.buckets()
    request = calls.list(project=gcp.project, prefix=name(ref))
    while request is not None:
        answer = request.execute()
        for bucket in answer.get("items", []):
            if bucket["name"] == name(ref):
                return _names.chosen(bucket, *FIELDS)
        request = calls.list_next(request, answer)
    return None


def create(gcp: Gcp, ref: Ref, body: Body) -> None:
    """Make the bucket."""
    gcp.buckets.buckets().insert(project=gcp.project, body={"name": name(ref), **body}).execute()


def update(gcp: Gcp, ref: Ref, body: Body, changes: Sequence[Change]) -> None:
    """Patch what differs; where a bucket lies cannot be changed."""
    if any(change.path[0] == "location" for change in changes):
        immutable(gcp, ref, body, changes)
    gcp.buckets.buckets().patch(bucket=name(ref), body=_names.nested(changes)).execute()


def delete(gcp: Gcp, ref: Ref, live: Body, applied: Body) -> None:
    """Empty the bucket, older generations too, some of which may go by themselves; when it is empty, remove it."""
    blobs = list(gcp.storage.list_blobs(name(ref), versions=True, retry=None))
    bucket = gcp.storage.bucket(name(ref))
    bucket.delete_blobs(blobs, on_error=lambda blob: None, preserve_generation=True, retry=None)
    if not blobs:
        gcp.buckets.buckets().delete(bucket=name(ref)).execute()


def contents(gcp: Gcp, ref: Ref) -> Contents:
    """What lies in it, older generations too: they are lost with the bucket as well."""
    sizes = [blob.size or 0 for blob in gcp.storage.list_blobs(name(ref), versions=True)]
    return Contents(objects=len(sizes), bytes=sum(sizes))


def _fetch(gcp: Gcp, resource: str) -> _policy.Policy:
    return dict(gcp.buckets.buckets().getIamPolicy(bucket=name(resource), optionsRequestedPolicyVersion=3).execute())


def _store(gcp: Gcp, resource: str, policy: _policy.Policy) -> None:
    gcp.buckets.buckets().setIamPolicy(bucket=name(resource), body=policy).execute()


policies = _policy.Policies(_fetch, _store)
