"""The secret that holds the database password.

https://docs.cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets
"""

from collections.abc import Sequence
from typing import Any

from provision.deployment import Deployment
from provision.gcp import Gcp
from provision.step import Body, Change, FactBook, Ref, by_labels, no_contents, no_facts
from steps import _names

LEAVES: str | None = None
RIGHTS: tuple[str, ...] = (
    "secretmanager.secrets.create", "secretmanager.secrets.get", "secretmanager.secrets.update",
    "secretmanager.secrets.delete",
)  # fmt: skip


def ref(deployment: Deployment) -> Ref:
    """The secret; Secret Manager answers with the project's number, so it is named by it.

    One that was deleted is not made again under its old name: the numbers of its versions would begin anew, and who
    knows a password by the number of its version would not see that it is another.
    """
    name = deployment.numbered(f"{deployment.name}-database-password", "secret")
    return f"projects/{deployment.project_number}/secrets/{name}"


def declare(deployment: Deployment, facts: FactBook) -> dict[Ref, Body]:
    """One secret, kept in our region like all else: an organization may forbid to keep anything elsewhere."""
    kept = {"userManaged": {"replicas": [{"location": deployment.region}]}}
    return {ref(deployment): {"labels": deployment.labels, "replication": kept}}


def read(gcp: Gcp, ref: Ref) -> Body | None:
    """The secret's labels, never what it holds; where it is kept can be told once, when it is made."""
    return {"labels": dict(gcp.secrets.get_secret(name=ref, retry=None).labels)}


def create(gcp: Gcp, ref: Ref, body: Body) -> None:
    """Make the secret, still empty."""
    secret = {"labels": body["labels"], "replication": {"user_managed": body["replication"]["userManaged"]}}
    asked: Any = {"parent": _names.parent(ref), "secret_id": _names.parts(ref)["secrets"], "secret": secret}
    gcp.secrets.create_secret(request=asked, retry=None)


def update(gcp: Gcp, ref: Ref, body: Body, changes: Sequence[Change]) -> None:
    """Put the labels back; one that was there before us is good wherever it is kept."""
    if all(change.path[0] != "labels" for change in changes):
        return
    asked: Any = {"secret": {"name": ref, "labels": body["labels"]}, "update_mask": "labels"}
    gcp.secrets.update_secret(request=asked, retry=None)


def delete(gcp: Gcp, ref: Ref, live: Body, applied: Body) -> None:
    """Delete it with all versions."""
    gcp.secrets.delete_secret(name=ref, retry=None)


facts = no_facts
owner = by_labels
contents = no_contents
