"""The right of the server's account to sign links to files in its own name, where `artifacts.transfer` is "signed".

It has no key: Google signs (https://cloud.google.com/storage/docs/access-control/signed-urls#signing-gsutil).
"""

from provision.deployment import Deployment
from provision.step import Body, FactBook, Ref, by_parent, no_contents, no_facts
from steps import _policy, service_accounts

LEAVES: str | None = None
RIGHTS: tuple[str, ...] = service_accounts.POLICY_RIGHTS


def declare(deployment: Deployment, facts: FactBook) -> dict[Ref, Body]:
    """The server's account on itself, and on no other; nothing where clients write to the bucket by themselves."""
    if not deployment.signs:
        return {}
    itself = _policy.account(deployment.account("server"))
    granted = _policy.bindings({"roles/iam.serviceAccountTokenCreator": [itself]})
    return {service_accounts.ref(deployment, "server") + _policy.SUFFIX: granted}


read = service_accounts.policies.read
create = service_accounts.policies.create
update = service_accounts.policies.update
delete = service_accounts.policies.delete
facts = no_facts
owner = by_parent
contents = no_contents
