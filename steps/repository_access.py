"""The right to push images, for the builder, and to pull them, for the server's account and App Engine's own.

App Engine flexible pulls with either account (https://docs.cloud.google.com/artifact-registry/docs/integrate-app-engine).
"""

from provision.deployment import Deployment
from provision.gcp import Gcp
from provision.step import Body, FactBook, Ref, by_parent, no_contents, no_facts
from steps import _policy, repository

LEAVES: str | None = None
RIGHTS: tuple[str, ...] = ("artifactregistry.repositories.getIamPolicy", "artifactregistry.repositories.setIamPolicy")


def declare(deployment: Deployment, facts: FactBook) -> dict[Ref, Body]:
    """One writer, two readers; App Engine's account exists once the application does."""
    own = f"{deployment.project}@appspot.gserviceaccount.com"
    granted = {
        "roles/artifactregistry.reader": [_policy.account(deployment.account("server")), _policy.account(own)],
        "roles/artifactregistry.writer": [_policy.account(deployment.account("builder"))],
    }
    return {repository.ref(deployment) + _policy.SUFFIX: _policy.bindings(granted)}


def _fetch(gcp: Gcp, resource: str) -> _policy.Policy:
    calls = gcp.artifactregistry.projects().locations().repositories()
    return dict(calls.getIamPolicy(resource=resource, options_requestedPolicyVersion=3).execute())


def _store(gcp: Gcp, resource: str, policy: _policy.Policy) -> None:
    calls = gcp.artifactregistry.projects().locations().repositories()
    calls.setIamPolicy(resource=resource, body={"policy": policy}).execute()


_policies = _policy.Policies(_fetch, _store)
read = _policies.read
create = _policies.create
update = _policies.update
delete = _policies.delete
facts = no_facts
owner = by_parent
contents = no_contents
