"""The server's container image, built by Cloud Build from `server/`; not built again while its files are the same.

The tag is a hash of the files, and the image is used by its digest. How an image was built can be told once, when it is
made (https://docs.cloud.google.com/build/docs/api/reference/rest/v1/projects.builds); one that is there is good however
it was built.
"""

import base64
from collections.abc import Sequence
from typing import ClassVar

from provision import operations, step
from provision.deployment import Deployment
from provision.errors import BadUsage
from provision.gcp import Gcp
from provision.step import Body, Change, FactBook, Operation, Ref, by_parent, no_contents
from steps import _archive, _bucket, _logs, _names, build_bucket, repository, service_accounts

PACKAGE = "server"
BUILDER = "gcr.io/cloud-builders/docker"

UNRESTRICTED = ("us-central1", "us-west2", "europe-west1", "asia-east1", "australia-southeast1", "southamerica-east1")
"""Where every project may build; some may nowhere else
(https://cloud.google.com/build/docs/locations#restricted_regions_for_some_projects)."""

LEAVES: str | None = None
RIGHTS: tuple[str, ...] = (
    "storage.objects.get", "storage.objects.list", "storage.objects.create",
    "cloudbuild.builds.create", "cloudbuild.builds.get", "cloudbuild.builds.list", "cloudbuild.operations.get",
    "iam.serviceAccounts.actAs", "artifactregistry.tags.get", "artifactregistry.versions.delete",
    "artifactregistry.repositories.get",
)  # fmt: skip


class Facts(step.Facts):
    """What the server is deployed from."""

    step: ClassVar[str] = "image"
    uri: str


def declare(deployment: Deployment, facts: FactBook) -> dict[Ref, Body]:
    """The image of the files as they are now."""
    digest = _archive.digest(_archive.packed())
    ref = f"{repository.ref(deployment)}/packages/{PACKAGE}/tags/{digest}"
    tagged = f"{repository.uri(ref)}/{PACKAGE}:{digest}"
    bucket = _bucket.name(build_bucket.ref(deployment))
    build = {
        "source": {"storageSource": {"bucket": bucket, "object": f"source/{digest}.tar.gz"}},
        "steps": [{"name": BUILDER, "args": ["build", "--tag", tagged, "."]}],
        "images": [tagged],
        "serviceAccount": service_accounts.ref(deployment, "builder"),
        "options": {"logging": "CLOUD_LOGGING_ONLY"},  # one of our own accounts must say where its log goes
        "tags": [digest],
        "timeout": "1800s",
    }
    return {ref: {"name": ref, "build": build}}


def read(gcp: Gcp, ref: Ref) -> Body | None:
    """What the tag stands for."""
    tags = gcp.artifactregistry.projects().locations().repositories().packages().tags()
    return _names.chosen(tags.get(name=ref).execute(), "name", "version")


def create(gcp: Gcp, ref: Ref, body: Body) -> Operation | None:
    """Upload the source; when it is there, build and push, unless a build of the same source is under way."""
    return _create_in(gcp, ref, body, _names.parts(ref)["locations"])


def create_elsewhere(gcp: Gcp, ref: Ref, body: Body) -> Operation | None:
    """The same where the project may build, as near as can be; the image goes into the same repository."""
    region = _names.parts(ref)["locations"]
    near = [other for other in UNRESTRICTED if other.partition("-")[0] == region.partition("-")[0]]
    return _create_in(gcp, ref, body, next(other for other in [*near, *UNRESTRICTED] if other != region))


def _create_in(gcp: Gcp, ref: Ref, body: Body, region: str) -> Operation | None:
    source = body["build"]["source"]["storageSource"]
    bucket = gcp.storage.bucket(source["bucket"])
    blob = bucket.get_blob(source["object"], retry=None)
    if blob is None:
        archive = _archive.packed()
        if _archive.digest(archive) != _names.parts(ref)["tags"]:
            raise BadUsage("server/ was changed while it was being deployed", hint="Run the same command again.")
        content = _archive.compressed(archive)
        new = bucket.blob(source["object"])
        new.upload_from_string(content, content_type="application/gzip", if_generation_match=0, retry=None)
        return None
    parent = f"{_names.parent(ref, levels=4)}/locations/{region}"
    if running := _running_build(gcp, parent, _names.parts(ref)["tags"]):
        return running
    pinned = {"storageSource": {**source, "generation": str(blob.generation)}}
    calls = gcp.cloudbuild.projects().locations().builds()
    asked = calls.create(parent=parent, body={**body["build"], "source": pinned})
    return operations.started("cloudbuild", asked.execute())


def _running_build(gcp: Gcp, parent: str, tag: str) -> Operation | None:
    """The operation of a build whose start was not answered: it is named by the build's id in base64."""
    calls = gcp.cloudbuild.projects().locations().builds()
    found = calls.list(parent=parent, filter=f'tags="{tag}"').execute().get("builds", [])
    for build in found:
        if build["status"] in {"PENDING", "QUEUED", "WORKING"}:
            name = base64.b64encode(build["id"].encode()).decode()
            return f"//cloudbuild.googleapis.com/{parent}/operations/{name}"
    return None


def told(gcp: Gcp, ref: Ref, operation: Operation) -> str:
    """The end of the log of a build that failed: of the step that did, or of all when it was none of them."""
    parent, _, name = operation.removeprefix("//cloudbuild.googleapis.com/").partition("/operations/")
    build = base64.b64decode(name).decode()
    found = gcp.cloudbuild.projects().locations().builds().get(name=f"{parent}/builds/{build}").execute()
    failed = [number for number, one in enumerate(found.get("steps", [])) if one.get("status") == "FAILURE"]
    step = f' labels.build_step:"Step #{failed[0]}"' if failed else ""
    return _logs.tail(gcp, f'resource.type="build" resource.labels.build_id="{build}"{step}')


def update(gcp: Gcp, ref: Ref, body: Body, changes: Sequence[Change]) -> None:
    """Nothing to do: only how it would be built has changed."""


def delete(gcp: Gcp, ref: Ref, live: Body, applied: Body) -> Operation | None:
    """Delete the image with its tag."""
    versions = gcp.artifactregistry.projects().locations().repositories().packages().versions()
    return operations.started("artifactregistry", versions.delete(name=live["version"], force=True).execute())


def facts(live: Body) -> Facts:
    """The image by its digest."""
    digest = live["version"].rpartition("/")[2]
    return Facts(uri=f"{repository.uri(live['version'])}/{PACKAGE}@{digest}")


owner = by_parent
contents = no_contents
