"""The Artifact Registry repository that keeps the server's container images.

https://docs.cloud.google.com/artifact-registry/docs/reference/rest/v1/projects.locations.repositories
"""

from collections.abc import Sequence

from provision import operations
from provision.deployment import Deployment
from provision.gcp import Gcp
from provision.step import Body, Change, FactBook, Operation, Ref, by_labels, immutable, no_contents, no_facts
from steps import _names

LEAVES: str | None = None
RIGHTS: tuple[str, ...] = (
    "artifactregistry.repositories.create", "artifactregistry.repositories.get",
    "artifactregistry.repositories.update", "artifactregistry.repositories.delete",
)  # fmt: skip


def ref(deployment: Deployment) -> Ref:
    """The repository."""
    return f"projects/{deployment.project}/locations/{deployment.region}/repositories/{deployment.name}"


def uri(ref: Ref) -> str:
    """What image names in it start with, from its ref or that of anything in it."""
    names = _names.parts(ref)
    return f"{names['locations']}-docker.pkg.dev/{names['projects']}/{names['repositories']}"


def declare(deployment: Deployment, facts: FactBook) -> dict[Ref, Body]:
    """A repository that drops layers without a tag after a day."""
    condition = {"tagState": "UNTAGGED", "olderThan": "86400s"}
    body = {
        "cleanupPolicies": {"untagged": {"id": "untagged", "action": "DELETE", "condition": condition}},
        "format": "DOCKER",
        "labels": deployment.labels,
    }
    return {ref(deployment): body}


def read(gcp: Gcp, ref: Ref) -> Body | None:
    """The repository's settings."""
    answer = gcp.artifactregistry.projects().locations().repositories().get(name=ref).execute()
    return _names.chosen(answer, "cleanupPolicies", "format", "labels")


def create(gcp: Gcp, ref: Ref, body: Body) -> Operation | None:
    """Make the repository."""
    calls = gcp.artifactregistry.projects().locations().repositories()
    name = _names.parts(ref)["repositories"]
    asked = calls.create(parent=_names.parent(ref), repositoryId=name, body=body)
    return operations.started("artifactregistry", asked.execute())


def update(gcp: Gcp, ref: Ref, body: Body, changes: Sequence[Change]) -> None:
    """Put labels and clean-up back, each as a whole."""
    fields = _names.mask(changes)
    if "format" in fields.split(","):
        immutable(gcp, ref, body, changes)
    calls = gcp.artifactregistry.projects().locations().repositories()
    calls.patch(name=ref, updateMask=fields, body=_names.chosen(body, *fields.split(","))).execute()


def delete(gcp: Gcp, ref: Ref, live: Body, applied: Body) -> Operation | None:
    """Delete it with all images."""
    answer = gcp.artifactregistry.projects().locations().repositories().delete(name=ref).execute()
    return operations.started("artifactregistry", answer)


def kept(deployment: Deployment) -> str | None:
    """Why `down` keeps it: the default service can never be deleted, and its last version needs its image."""
    if deployment.service == "default":
        return "The repository and its images stay: App Engine's default service keeps its last version, stopped."
    return None


facts = no_facts
owner = by_labels
contents = no_contents
