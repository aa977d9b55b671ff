"""The right to read and write artifacts, for the server and for clients, in this bucket only.

https://cloud.google.com/storage/docs/access-control/iam-roles
"""

from provision.deployment import Deployment
from provision.step import Body, FactBook, Ref, by_parent, no_contents, no_facts
from steps import _bucket, _policy, artifact_bucket

LEAVES: str | None = None
RIGHTS: tuple[str, ...] = _bucket.POLICY_RIGHTS


def declare(deployment: Deployment, facts: FactBook) -> dict[Ref, Body]:
    """The server and the log pusher."""
    members = [_policy.account(deployment.account(purpose)) for purpose in ("server", "log-pusher")]
    granted = _policy.bindings({"roles/storage.objectUser": members})
    return {artifact_bucket.ref(deployment) + _policy.SUFFIX: granted}


read = _bucket.policies.read
create = _bucket.policies.create
update = _bucket.policies.update
delete = _bucket.policies.delete
facts = no_facts
owner = by_parent
contents = no_contents
