"""Who may pass the front door: the configured people, and the client's account.

https://cloud.google.com/iap/docs/managing-access
"""

from provision.deployment import Deployment
from provision.gcp import Gcp
from provision.step import Body, FactBook, Ref, by_parent, no_contents, no_facts
from steps import _policy

LEAVES: str | None = None
RIGHTS: tuple[str, ...] = ("iap.webServices.getIamPolicy", "iap.webServices.setIamPolicy")


def declare(deployment: Deployment, facts: FactBook) -> dict[Ref, Body]:
    """They and nobody else, on our service."""
    application = f"projects/{deployment.project_number}/iap_web/appengine-{deployment.project}"
    resource = f"{application}/services/{deployment.service}"
    members = [*deployment.members, _policy.account(deployment.account("log-pusher"))]
    return {resource + _policy.SUFFIX: _policy.bindings({"roles/iap.httpsResourceAccessor": members})}


def _fetch(gcp: Gcp, resource: str) -> _policy.Policy:
    asked = {"options": {"requestedPolicyVersion": 3}}
    return dict(gcp.iap.v1().getIamPolicy(resource=resource, body=asked).execute())


def _store(gcp: Gcp, resource: str, policy: _policy.Policy) -> None:
    gcp.iap.v1().setIamPolicy(resource=resource, body={"policy": policy}).execute()


_policies = _policy.Policies(_fetch, _store)
read = _policies.read
create = _policies.create
update = _policies.update
delete = _policies.delete
facts = no_facts
owner = by_parent
contents = no_contents
