"""The bucket that keeps models and files of runs.

Never public, without object ACLs; what is overwritten or deleted stays for a while
(https://docs.cloud.google.com/storage/docs/soft-delete). Where links are signed, parts that no file was made of go
after a week (https://docs.cloud.google.com/storage/docs/lifecycle#abort-mpu): else they would cost for ever.
"""

from provision.deployment import Deployment
from provision.step import Body, FactBook, Ref, by_labels, no_facts
from steps import _bucket

DAY = 24 * 60 * 60

LEAVES: str | None = None
RIGHTS: tuple[str, ...] = _bucket.RIGHTS


def ref(deployment: Deployment) -> Ref:
    """The bucket."""
    return _bucket.ref(deployment, "artifacts", "artifact_bucket")


def declare(deployment: Deployment, facts: FactBook) -> dict[Ref, Body]:
    """A versioned bucket in our region."""
    settings = deployment.config.artifacts
    fade = {"action": {"type": "Delete"}, "condition": {"daysSinceNoncurrentTime": settings.noncurrent_days}}
    tidy = {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 7}}
    body = _bucket.body(
        deployment,
        versioning={"enabled": True},
        softDeletePolicy={"retentionDurationSeconds": str(settings.soft_delete_days * DAY)},
        lifecycle={"rule": [fade, tidy] if deployment.signs else [fade]},
    )
    return {ref(deployment): body}


read = _bucket.read
create = _bucket.create
update = _bucket.update
delete = _bucket.delete
facts = no_facts
owner = by_labels
contents = _bucket.contents
