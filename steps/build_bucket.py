"""A bucket that hands the server's source to Cloud Build; what lies in it is deleted after a day."""

from provision.deployment import Deployment
from provision.step import Body, FactBook, Ref, by_labels, no_contents, no_facts
from steps import _bucket

LEAVES: str | None = None
RIGHTS: tuple[str, ...] = _bucket.RIGHTS


def ref(deployment: Deployment) -> Ref:
    """The bucket."""
    return _bucket.ref(deployment, "builds", "build_bucket")


def declare(deployment: Deployment, facts: FactBook) -> dict[Ref, Body]:
    """A bucket that keeps nothing."""
    body = _bucket.body(
        deployment,
        softDeletePolicy={"retentionDurationSeconds": "0"},
        lifecycle={"rule": [{"action": {"type": "Delete"}, "condition": {"age": 1}}]},
    )
    return {ref(deployment): body}


read = _bucket.read
create = _bucket.create
update = _bucket.update
delete = _bucket.delete
facts = no_facts
owner = by_labels
contents = no_contents
