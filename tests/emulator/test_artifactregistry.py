"""Artifact Registry through the discovery client: repositories, and the images that are pushed to them."""

from collections.abc import Iterator
from typing import Any

import httplib2
import pytest
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

from provision.emulator.apis import artifactregistry_images as images
from tests.conftest import NUMBER, PROJECT, Emulator

PARENT = f"projects/{PROJECT}/locations/europe-west1"
NAME = f"{PARENT}/repositories/mlflow"
PACKAGE = f"{NAME}/packages/server"
DIGEST, OTHER = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
TYPE = "type.googleapis.com/google.devtools.artifactregistry.v1."


@pytest.fixture
def api(emulator: Emulator) -> Iterator[Any]:
    http = httplib2.Http()
    endpoint = {"api_endpoint": f"{emulator.url}/artifactregistry.googleapis.com/"}
    yield build("artifactregistry", "v1", client_options=endpoint, http=http, static_discovery=True)
    http.close()


@pytest.fixture
def repositories(api: Any) -> Any:
    repositories = api.projects().locations().repositories()
    body = {"format": "DOCKER", "description": "managed-by=provision", "labels": {"deployment": "x"}}
    repositories.create(parent=PARENT, repositoryId="mlflow", body=body).execute()
    repositories.get(name=NAME).execute()
    return repositories


@pytest.fixture
def pushed(emulator: Emulator, repositories: Any) -> Any:
    """The packages of a repository with two versions of one image, of which the first is tagged."""
    with emulator.world.lock, emulator.world.transaction():
        for reference, digest in (("server:v1", DIGEST), ("server:v2", OTHER)):
            found = images.address(f"europe-west1-docker.pkg.dev/{PROJECT}/mlflow/{reference}")
            assert found is not None
            images.push(emulator.world, found, digest, 1000)
        del emulator.world.table("artifactregistry.tags")[f"{PACKAGE}/tags/v2"]
    return repositories.packages()


def _refused(request: Any) -> Any:
    with pytest.raises(HttpError) as refused:
        request.execute()
    return refused.value


def test_a_repository_is_made_by_an_operation(api: Any) -> None:
    """The operation's metadata is empty, its response the repository without times and address."""
    operation = (
        api.projects()
        .locations()
        .repositories()
        .create(parent=PARENT, repositoryId="mlflow", body={"format": "DOCKER", "mode": "MODE_UNSPECIFIED"})
        .execute()
    )
    done = api.projects().locations().operations().get(name=operation["name"]).execute()

    assert set(operation) == {"name", "metadata"}
    assert operation["metadata"] == {"@type": f"{TYPE}OperationMetadata"}
    assert done["done"] is True
    assert done["response"].pop("vulnerabilityScanningConfig")["enablementState"] == "SCANNING_DISABLED"
    assert done["response"] == {
        "@type": f"{TYPE}Repository",
        "name": NAME,
        "format": "DOCKER",
        "mode": "STANDARD_REPOSITORY",
        "satisfiesPzi": True,
    }


def test_only_a_read_tells_where_to_push(repositories: Any) -> None:
    """registryUri is in the answer to get, and in none to list or patch."""
    read = repositories.get(name=f"projects/{NUMBER}/locations/europe-west1/repositories/mlflow").execute()
    listed = repositories.list(parent=PARENT).execute()["repositories"]
    patched = repositories.patch(name=NAME, updateMask="description", body={"description": "new"}).execute()

    assert read["registryUri"] == f"europe-west1-docker.pkg.dev/{PROJECT}/mlflow"
    assert [("registryUri" in r, r["name"]) for r in listed] == [(False, NAME)]
    assert "registryUri" not in patched
    assert (patched["description"], patched["labels"]) == ("new", {"deployment": "x"})


def test_a_patch_of_cleanup_policies_keeps_the_rest(repositories: Any) -> None:
    """The mask names what is replaced."""
    policy = {"id": "old", "action": "DELETE", "condition": {"olderThan": "2592000s", "tagState": "UNTAGGED"}}
    patched = repositories.patch(
        name=NAME, updateMask="cleanupPolicies", body={"cleanupPolicies": {"old": policy}}
    ).execute()

    assert patched["cleanupPolicies"] == {"old": policy}
    assert patched["description"] == "managed-by=provision"


@pytest.mark.source("https://cloud.google.com/apis/design/errors")
def test_a_second_repository_of_that_name_conflicts(repositories: Any) -> None:
    """409 ALREADY_EXISTS."""
    refused = _refused(repositories.create(parent=PARENT, repositoryId="mlflow", body={"format": "DOCKER"}))

    assert refused.status_code == 409
    assert "already exists" in str(refused)


def test_what_is_missing_has_one_text(repositories: Any) -> None:
    """404 Requested entity was not found., whatever it is."""
    requests = [
        repositories.get(name=f"{PARENT}/repositories/other"),
        repositories.delete(name=f"{PARENT}/repositories/other"),
        repositories.packages().get(name=PACKAGE),
        repositories.packages().tags().get(name=f"{PACKAGE}/tags/v1"),
        repositories.dockerImages().get(name=f"{NAME}/dockerImages/server@{DIGEST}"),
    ]

    refusals = [_refused(request) for request in requests]

    assert {(r.status_code, r.reason) for r in refusals} == {(404, "Requested entity was not found.")}


def test_an_image_is_seen_as_package_version_tag_and_docker_image(repositories: Any, pushed: Any) -> None:
    """Four views of one push."""
    versions = pushed.versions().list(parent=PACKAGE, view="FULL").execute()["versions"]
    image = repositories.dockerImages().get(name=f"{NAME}/dockerImages/server@{DIGEST}").execute()

    assert [p["name"] for p in pushed.list(parent=NAME).execute()["packages"]] == [PACKAGE]
    assert [v["name"] for v in versions] == [f"{PACKAGE}/versions/{DIGEST}", f"{PACKAGE}/versions/{OTHER}"]
    assert versions[0]["relatedTags"] == pushed.tags().list(parent=PACKAGE).execute()["tags"]
    assert image["uri"] == f"europe-west1-docker.pkg.dev/{PROJECT}/mlflow/server@{DIGEST}"
    assert (image["tags"], image["imageSizeBytes"]) == (["v1"], "1000")
    assert repositories.get(name=NAME).execute()["sizeBytes"] == "2000"


def test_a_tagged_version_goes_by_force_only(pushed: Any) -> None:
    """400 without force; with it the tag goes along. An untagged one needs none."""
    name = f"{PACKAGE}/versions/{DIGEST}"
    refused = _refused(pushed.versions().delete(name=name))
    pushed.versions().delete(name=name, force=True).execute()
    pushed.versions().delete(name=f"{PACKAGE}/versions/{OTHER}").execute()

    assert refused.status_code == 400
    assert pushed.versions().list(parent=PACKAGE).execute() == {}
    assert pushed.tags().list(parent=PACKAGE).execute() == {}


def test_several_versions_go_at_once(pushed: Any) -> None:
    """batchDelete takes their tags along."""
    names = [f"{PACKAGE}/versions/{DIGEST}", f"{PACKAGE}/versions/{OTHER}"]
    pushed.versions().batchDelete(parent=PACKAGE, body={"names": names}).execute()

    assert pushed.versions().list(parent=PACKAGE).execute() == {}
    assert pushed.tags().list(parent=PACKAGE).execute() == {}


def test_a_package_goes_with_all_that_is_in_it(repositories: Any, pushed: Any) -> None:
    """Versions and tags too; the repository stays."""
    pushed.delete(name=PACKAGE).execute()

    assert pushed.list(parent=NAME).execute() == {}
    assert repositories.dockerImages().list(parent=NAME).execute() == {}


def test_a_tag_can_be_put_on_another_version(pushed: Any) -> None:
    """It is one name for one version at a time."""
    body = {"version": f"{PACKAGE}/versions/{OTHER}"}
    pushed.tags().patch(name=f"{PACKAGE}/tags/v1", updateMask="version", body=body).execute()

    assert pushed.tags().get(name=f"{PACKAGE}/tags/v1").execute()["version"] == body["version"]


def test_a_deleted_repository_leaves_nothing(repositories: Any, pushed: Any) -> None:
    """One made anew is empty and has a fresh policy."""
    policy = {"bindings": [{"role": "roles/artifactregistry.reader", "members": ["user:a@example.com"]}]}
    repositories.setIamPolicy(resource=NAME, body={"policy": policy}).execute()
    repositories.delete(name=NAME).execute()
    repositories.create(parent=PARENT, repositoryId="mlflow", body={"format": "DOCKER"}).execute()

    assert pushed.list(parent=NAME).execute() == {}
    assert repositories.getIamPolicy(resource=NAME).execute() == {"etag": "ACAB"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("europe-west1-docker.pkg.dev/p/r/i:v", ("r", "i", "v", None), id="by tag"),
        pytest.param(
            f"us-docker.pkg.dev/p/r/a/b@{DIGEST}", ("r", "a%2Fb", None, DIGEST), id="by digest, with a folder"
        ),
        pytest.param("gcr.io/cloud-builders/docker", None, id="not of Artifact Registry"),
    ],
)
def test_addresses_are_taken_apart(text: str, found: tuple[str, ...] | None) -> None:
    """LOCATION-docker.pkg.dev/PROJECT/REPOSITORY/IMAGE, a tag or a digest."""
    address = images.address(text)

    assert found == (
        address
        and (address.repository.rpartition("/")[2], address.package.rpartition("/")[2], address.tag, address.digest)
    )
