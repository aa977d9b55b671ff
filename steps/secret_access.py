"""The right to read the database password, for the server only.

https://cloud.google.com/secret-manager/docs/access-control
"""

from provision.deployment import Deployment
from provision.step import Body, FactBook, Ref, by_parent, no_contents, no_facts
from steps import _policy, secret

LEAVES: str | None = None
RIGHTS: tuple[str, ...] = ("secretmanager.secrets.getIamPolicy", "secretmanager.secrets.setIamPolicy")


def declare(deployment: Deployment, facts: FactBook) -> dict[Ref, Body]:
    """The server, on this one secret."""
    granted = {"roles/secretmanager.secretAccessor": [_policy.account(deployment.account("server"))]}
    return {secret.ref(deployment) + _policy.SUFFIX: _policy.bindings(granted)}


_policies = _policy.of_messages(lambda gcp: gcp.secrets)
read = _policies.read
create = _policies.create
update = _policies.update
delete = _policies.delete
facts = no_facts
owner = by_parent
contents = no_contents
