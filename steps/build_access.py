"""The right to read the server's source, for the builder only."""

from provision.deployment import Deployment
from provision.step import Body, FactBook, Ref, by_parent, no_contents, no_facts
from steps import _bucket, _policy, build_bucket

LEAVES: str | None = None
RIGHTS: tuple[str, ...] = _bucket.POLICY_RIGHTS


def declare(deployment: Deployment, facts: FactBook) -> dict[Ref, Body]:
    """The builder."""
    granted = _policy.bindings({"roles/storage.objectViewer": [_policy.account(deployment.account("builder"))]})
    return {build_bucket.ref(deployment) + _policy.SUFFIX: granted}


read = _bucket.policies.read
create = _bucket.policies.create
update = _bucket.policies.update
delete = _bucket.policies.delete
facts = no_facts
owner = by_parent
contents = no_contents
