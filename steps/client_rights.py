"""The right to act as the client's account without any key, for the configured people and who has run this.

The client's token is signed by Google (https://cloud.google.com/iam/docs/create-short-lived-credentials-direct).
"""

from provision.deployment import Deployment
from provision.step import Body, FactBook, Ref, by_parent, no_contents, no_facts
from steps import _policy, service_accounts

LEAVES: str | None = None
RIGHTS: tuple[str, ...] = service_accounts.POLICY_RIGHTS


def declare(deployment: Deployment, facts: FactBook) -> dict[Ref, Body]:
    """They and nobody else, on the log pusher."""
    members = [*deployment.members, *deployment.runners]
    granted = _policy.bindings({"roles/iam.serviceAccountTokenCreator": members})
    return {service_accounts.ref(deployment, "log-pusher") + _policy.SUFFIX: granted}


read = service_accounts.policies.read
create = service_accounts.policies.create
update = service_accounts.policies.update
delete = service_accounts.policies.delete
facts = no_facts
owner = by_parent
contents = no_contents
