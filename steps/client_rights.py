"""The right to act as the client's account without any key, for the configured people and who has run this.

The client's token is signed by Google (https://cloud.google.com/iam/docs/create-short-lived-credentials-direct).
"""

from provision.deployment import Deployment
from provision.gcp import Gcp
from provision.step import Body, FactBook, Ref, by_parent, no_contents, no_facts
from steps import _policy, service_accounts

LEAVES: str | None = None
RIGHTS: tuple[str, ...] = ("iam.serviceAccounts.getIamPolicy", "iam.serviceAccounts.setIamPolicy")


def declare(deployment: Deployment, facts: FactBook) -> dict[Ref, Body]:
    """They and nobody else, on the log pusher."""
    members = [*deployment.members, *deployment.runners]
    granted = _policy.bindings({"roles/iam.serviceAccountTokenCreator": members})
    return {service_accounts.ref(deployment, "log-pusher") + _policy.SUFFIX: granted}


def _fetch(gcp: Gcp, resource: str) -> _policy.Policy:
    accounts = gcp.iam.projects().serviceAccounts()
    return dict(accounts.getIamPolicy(resource=resource, options_requestedPolicyVersion=3).execute())


def _store(gcp: Gcp, resource: str, policy: _policy.Policy) -> None:
    gcp.iam.projects().serviceAccounts().setIamPolicy(resource=resource, body={"policy": policy}).execute()


_policies = _policy.Policies(_fetch, _store)
read = _policies.read
create = _policies.create
update = _policies.update
delete = _policies.delete
facts = no_facts
owner = by_parent
contents = no_contents
