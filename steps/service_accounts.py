"""Service accounts: one runs the server, one builds its image, one is the client's.

https://cloud.google.com/iam/docs/service-accounts-create
"""

from collections.abc import Sequence

from provision.deployment import Deployment
from provision.gcp import Gcp
from provision.step import Body, Change, FactBook, Ref, by_description, no_contents, no_facts
from steps import _names

PURPOSES = {
    "server": "runs the MLflow tracking server",
    "builder": "builds the server's container image",
    "log-pusher": "logs runs and artifacts to MLflow",
}

LEAVES: str | None = None


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
    """How it describes itself, and whether it may act."""
    account = gcp.iam.projects().serviceAccounts().get(name=ref).execute()
    return {"disabled": False, **_names.chosen(account, "displayName", "description", "disabled")}


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


facts = no_facts
owner = by_description
contents = no_contents
