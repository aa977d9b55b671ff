"""Service accounts: one runs the server, one builds its image, one is the client's.

https://cloud.google.com/iam/docs/service-accounts-create
"""

from collections.abc import Sequence
from typing import ClassVar

from provision import step
from provision.deployment import Deployment
from provision.gcp import Gcp
from provision.step import Body, Change, FactBook, Ref, by_description, no_contents
from steps import _names, _policy

PURPOSES = {
    "server": "runs the MLflow tracking server",
    "builder": "builds the server's container image",
    "log-pusher": "logs runs and artifacts to MLflow",
}

LEAVES: str | None = None
RIGHTS: tuple[str, ...] = (
    "iam.serviceAccounts.create", "iam.serviceAccounts.get", "iam.serviceAccounts.update",
    "iam.serviceAccounts.enable", "iam.serviceAccounts.delete",
)  # fmt: skip

POLICY_RIGHTS = ("iam.serviceAccounts.getIamPolicy", "iam.serviceAccounts.setIamPolicy")
"""What it takes to grant something on one."""


class Facts(step.Facts):
    """Who the server's account is: one that was deleted and made again is another, though its address is the same.

    What runs as the old one may nothing any more
    (https://cloud.google.com/iam/docs/service-accounts-delete-undelete).
    """

    step: ClassVar[str] = "service_accounts"
    server_id: str


def ref(deployment: Deployment, purpose: str) -> Ref:
    """The account for one of the PURPOSES."""
    return f"projects/{deployment.project}/serviceAccounts/{deployment.account(purpose)}"


def declare(deployment: Deployment, facts: FactBook) -> dict[Ref, Body]:
    """One account for each purpose, able to act."""
    return {
        ref(deployment, purpose): {
            "displayName": f"MLflow {purpose}",
            "description": f"{words}; {deployment.mark}",
            "disabled": False,
        }
        for purpose, words in PURPOSES.items()
    }


def read(gcp: Gcp, ref: Ref) -> Body | None:
    """How it describes itself, whether it may act, and which one it is."""
    account = gcp.iam.projects().serviceAccounts().get(name=ref).execute()
    fields = ("displayName", "description", "disabled", "email", "uniqueId")
    return {"disabled": False, **_names.chosen(account, *fields)}


def create(gcp: Gcp, ref: Ref, body: Body) -> None:
    """Make the account."""
    account = {field: body[field] for field in ("displayName", "description")}
    name = _names.parts(ref)["serviceAccounts"].partition("@")[0]
    asked = {"accountId": name, "serviceAccount": account}
    gcp.iam.projects().serviceAccounts().create(name=_names.parent(ref), body=asked).execute()


def update(gcp: Gcp, ref: Ref, body: Body, changes: Sequence[Change]) -> None:
    """Let it act again, or describe it anew."""
    accounts = gcp.iam.projects().serviceAccounts()
    words = [change for change in changes if change.path != ("disabled",)]
    if len(words) < len(changes):
        accounts.enable(name=ref, body={}).execute()
    else:
        asked = {"serviceAccount": _names.nested(words), "updateMask": _names.mask(words)}
        accounts.patch(name=ref, body=asked).execute()


def delete(gcp: Gcp, ref: Ref, live: Body, applied: Body) -> None:
    """Delete it; Google can bring it back for 30 days."""
    gcp.iam.projects().serviceAccounts().delete(name=ref).execute()


def facts(live: Body) -> Facts | None:
    """The server's account; nothing of the others."""
    return Facts(server_id=live["uniqueId"]) if "-server@" in live["email"] else None


def _fetch(gcp: Gcp, resource: str) -> _policy.Policy:
    accounts = gcp.iam.projects().serviceAccounts()
    return dict(accounts.getIamPolicy(resource=resource, options_requestedPolicyVersion=3).execute())


def _store(gcp: Gcp, resource: str, policy: _policy.Policy) -> None:
    gcp.iam.projects().serviceAccounts().setIamPolicy(resource=resource, body={"policy": policy}).execute()


policies = _policy.Policies(_fetch, _store)
owner = by_description
contents = no_contents
