"""Cloud Build through the discovery client: from a source archive in a bucket to an image in Artifact Registry."""

import io
import tarfile
from collections.abc import Callable, Iterator
from typing import Any

import httplib2
import httpx
import pytest
from google.cloud import storage
from google.oauth2.credentials import Credentials
from google_auth_httplib2 import AuthorizedHttp
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

from provision.emulator import iam, tokens
from tests.conftest import NUMBER, PROJECT, Emulator

PARENT = f"projects/{PROJECT}/locations/europe-west1"
REPOSITORY = f"{PARENT}/repositories/mlflow"
IMAGE = f"europe-west1-docker.pkg.dev/{PROJECT}/mlflow/server:v1"
BUILDER = f"builder@{PROJECT}.iam.gserviceaccount.com"
FILES = {"Dockerfile": "FROM scratch\n", "entrypoint.py": "print('hello')\n"}
ROLES = {
    f"projects/{PROJECT}": "roles/logging.logWriter",
    REPOSITORY: "roles/artifactregistry.writer",
    "projects/_/buckets/source": "roles/storage.objectViewer",
}


Api = Callable[..., Any]


@pytest.fixture
def api(emulator: Emulator) -> Iterator[Api]:
    """Makes discovery clients of any service, and closes their connections."""
    opened: list[AuthorizedHttp] = []

    def make(name: str, version: str = "v1", token: str = "owner") -> Any:
        opened.append(AuthorizedHttp(Credentials(token), http=httplib2.Http()))
        endpoint = {"api_endpoint": f"{emulator.url}/{name}.googleapis.com/"}
        return build(name, version, client_options=endpoint, http=opened[-1], static_discovery=True)

    yield make
    for http in opened:
        http.close()


def _archive(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def _upload(emulator: Emulator, files: dict[str, str], name: str = "s.tar.gz") -> None:
    client = storage.Client(
        project=PROJECT,
        credentials=Credentials("owner"),
        client_options={"api_endpoint": f"{emulator.url}/storage.googleapis.com"},
    )
    client.bucket("source").blob(name).upload_from_string(_archive(files))


@pytest.fixture
def builds(emulator: Emulator, api: Api) -> Any:
    """Everything that a build needs is there: source, repository, an account with the three roles."""
    address = f"{emulator.url}/storage.googleapis.com/storage/v1/b?project={PROJECT}"
    httpx.post(address, json={"name": "source", "location": "europe-west1"}).raise_for_status()
    _upload(emulator, FILES)
    registry = api("artifactregistry").projects().locations().repositories()
    registry.create(parent=PARENT, repositoryId="mlflow", body={"format": "DOCKER"}).execute()
    world = emulator.world
    with world.lock, world.transaction():
        world.table("iam.accounts")[BUILDER] = {"email": BUILDER, "projectId": PROJECT, "uniqueId": "1" * 21}
        for resource, role in ROLES.items():
            iam.put_policy(world, resource, {"bindings": [{"role": role, "members": [f"serviceAccount:{BUILDER}"]}]})
    return api("cloudbuild").projects().locations().builds()


def _body(**more: Any) -> dict[str, Any]:
    return {
        "source": {"storageSource": {"bucket": "source", "object": "s.tar.gz"}},
        "steps": [{"name": "gcr.io/cloud-builders/docker", "args": ["build", "-t", IMAGE, "."]}],
        "images": [IMAGE],
        "serviceAccount": f"projects/{PROJECT}/serviceAccounts/{BUILDER}",
        "options": {"logging": "CLOUD_LOGGING_ONLY"},
    } | more


def _run(builds: Any, **more: Any) -> dict[str, Any]:
    begun = builds.create(parent=PARENT, body=_body(**more)).execute()["metadata"]["build"]
    build: dict[str, Any] = builds.get(name=f"{PARENT}/builds/{begun['id']}").execute()
    return build


@pytest.mark.source("https://cloud.google.com/build/docs/api/reference/rest/v1/projects.builds")
def test_a_build_begins_queued(builds: Any) -> None:
    """The operation carries the whole build, with the defaults of the service."""
    operation = builds.create(parent=PARENT, body=_body()).execute()
    build = operation["metadata"]["build"]

    assert set(operation) == {"name", "metadata"}
    assert operation["name"].startswith(f"{PARENT}/operations/")
    assert operation["metadata"]["@type"].endswith("cloudbuild.v1.BuildOperationMetadata")
    assert build["name"] == f"projects/{NUMBER}/locations/europe-west1/builds/{build['id']}"
    assert (build["status"], build["projectId"], build["timeout"], build["queueTtl"]) == (
        "QUEUED",
        PROJECT,
        "600s",
        "3600s",
    )
    assert build["logUrl"].endswith(f"builds;region=europe-west1/{build['id']}?project={NUMBER}")
    assert "generation" in build["sourceProvenance"]["resolvedStorageSource"]


@pytest.mark.source("https://cloud.google.com/build/docs/api/reference/rest/v1/projects.builds")
def test_a_build_ends_with_its_image_in_the_registry(emulator: Emulator, builds: Any, api: Api) -> None:
    """results.images tells the digest; tag, version and files are there under it."""
    build = _run(builds)
    [image] = build["results"]["images"]
    digest = image["digest"]
    registry = api("artifactregistry").projects().locations().repositories()
    tag = registry.packages().tags().get(name=f"{REPOSITORY}/packages/server/tags/v1").execute()
    folder = emulator.world.data / "images" / digest.removeprefix("sha256:")

    assert (build["status"], image["name"]) == ("SUCCESS", IMAGE)
    assert tag["version"] == f"{REPOSITORY}/packages/server/versions/{digest}"
    assert {path.name: path.read_text() for path in folder.iterdir()} == FILES
    assert build["steps"][0]["status"] == "SUCCESS"
    assert set(build["timing"]) == {"FETCHSOURCE", "BUILD", "PUSH"}


@pytest.mark.source("https://cloud.google.com/build/docs/api/reference/rest/v1/projects.builds")
def test_the_operation_of_a_build_answers_it(emulator: Emulator, builds: Any, api: Api) -> None:
    """Response and metadata are the same build."""
    operation = builds.create(parent=PARENT, body=_body()).execute()
    operations = api("cloudbuild").projects().locations().operations()

    done = operations.get(name=operation["name"]).execute()

    assert done["done"] is True
    assert done["response"].pop("@type") == "type.googleapis.com/google.devtools.cloudbuild.v1.Build"
    assert done["response"] == done["metadata"]["build"]


@pytest.mark.source("https://github.com/opencontainers/image-spec/blob/main/descriptor.md")
def test_the_same_files_are_the_same_image(emulator: Emulator, builds: Any) -> None:
    """The digest is a hash of what is in it: another byte, another digest."""
    first, again = _run(builds), _run(builds)
    _upload(emulator, FILES | {"entrypoint.py": "print('bye')\n"})
    other = _run(builds)

    digests = [build["results"]["images"][0]["digest"] for build in (first, again, other)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.source("https://cloud.google.com/build/docs/locations")
def test_a_build_without_a_region_is_global(emulator: Emulator, builds: Any, api: Api) -> None:
    """Its operation has another name, and regional lists do not show it."""
    calls = api("cloudbuild")
    operation = calls.projects().builds().create(projectId=PROJECT, body=_body()).execute()
    build = operation["metadata"]["build"]

    done = calls.operations().get(name=operation["name"]).execute()
    read = calls.projects().builds().get(projectId=PROJECT, id=build["id"]).execute()

    assert operation["name"].startswith(f"operations/build/{PROJECT}/")
    assert (done["done"], read["status"]) == (True, "SUCCESS")
    assert builds.list(parent=PARENT).execute() == {}
    assert len(calls.projects().builds().list(projectId=PROJECT, filter='status="SUCCESS"').execute()["builds"]) == 1


@pytest.mark.source("https://github.com/in28minutes/course-material/pull/11")
def test_an_account_of_its_own_needs_a_choice_of_log(builds: Any) -> None:
    """400 that names the three ways out."""
    with pytest.raises(HttpError) as refused:
        builds.create(parent=PARENT, body=_body(options={})).execute()

    assert refused.value.status_code == 400
    assert "if 'build.service_account' is specified, the build must either (a)" in str(refused.value)


@pytest.mark.source("https://cloud.google.com/build/docs/api/reference/rest/v1/projects.builds")
def test_a_source_that_is_not_there_is_refused_at_once(builds: Any) -> None:
    """400 could not resolve source."""
    missing = {"storageSource": {"bucket": "source", "object": "missing.tar.gz"}}
    with pytest.raises(HttpError, match="could not resolve source") as refused:
        builds.create(parent=PARENT, body=_body(source=missing)).execute()

    assert refused.value.status_code == 400


FAILURES = [
    pytest.param(
        {"without": "projects/_/buckets/source"},
        "FETCH_SOURCE_FAILED",
        "does not have storage.objects.get access",
        id="the account may not read the source",
    ),
    pytest.param(
        {"without": REPOSITORY},
        "PUSH_NOT_AUTHORIZED",
        'Permission "artifactregistry.repositories.uploadArtifacts" denied on resource',
        id="the account may not push",
    ),
    pytest.param({"files": {"main.py": ""}}, "USER_BUILD_STEP", "Dockerfile", id="no Dockerfile"),
    pytest.param(
        {"images": [IMAGE + "x"]},
        "PUSH_IMAGE_NOT_FOUND",
        "failed to find one or more images after execution of build steps",
        id="an image that no step built",
    ),
    pytest.param(
        {
            "images": [f"europe-west1-docker.pkg.dev/{PROJECT}/none/i"],
            "steps": [
                {
                    "name": "gcr.io/cloud-builders/docker",
                    "args": ["build", "--tag=europe-west1-docker.pkg.dev/$PROJECT_ID/none/i", "."],
                }
            ],
            "everywhere": True,
        },
        "PUSH_FAILED",
        'Repository "none" not found',
        id="no such repository",
    ),
]


@pytest.mark.source("https://cloud.google.com/build/docs/api/reference/rest/v1/projects.builds")
@pytest.mark.parametrize(("change", "kind", "detail"), FAILURES)
def test_a_build_that_fails_says_why(
    emulator: Emulator, builds: Any, api: Api, change: dict[str, Any], kind: str, detail: str
) -> None:
    """Status FAILURE with failureInfo and statusDetail, an operation with an error, and a log that ends with it."""
    world = emulator.world
    if "without" in change:
        iam.put_policy(world, change.pop("without"), {"bindings": []})
    if "files" in change:
        _upload(emulator, change.pop("files"))
    if change.pop("everywhere", False):
        roles = ["roles/artifactregistry.writer", "roles/logging.logWriter"]
        bindings = [{"role": role, "members": [f"serviceAccount:{BUILDER}"]} for role in roles]
        iam.put_policy(world, f"projects/{PROJECT}", {"bindings": bindings})

    operation = builds.create(parent=PARENT, body=_body(**change)).execute()
    done = api("cloudbuild").projects().locations().operations().get(name=operation["name"]).execute()
    build = done["metadata"]["build"]

    assert (build["status"], build["failureInfo"]["type"]) == ("FAILURE", kind)
    assert detail in build["statusDetail"]
    assert detail in done["error"]["message"]
    assert "images" not in build["results"]
    assert detail in _log(emulator, build["id"])[-1]


def _log(emulator: Emulator, build_id: str) -> list[str]:
    body = {
        "resourceNames": [f"projects/{PROJECT}"],
        "filter": f'resource.type="build" AND resource.labels.build_id="{build_id}"',
    }
    answer = httpx.post(f"{emulator.url}/logging.googleapis.com/v2/entries:list", json=body).json()
    return [entry["textPayload"] for entry in answer.get("entries", [])]


@pytest.mark.source("https://cloud.google.com/build/docs/view-build-results")
def test_a_build_logs_what_it_does(emulator: Emulator, builds: Any) -> None:
    """From `starting build` to DONE, in Cloud Logging."""
    build = _run(builds)

    lines = _log(emulator, build["id"])

    assert lines[0] == f'starting build "{build["id"]}"'
    assert lines[-1] == "DONE"
    assert any(IMAGE in line for line in lines)


@pytest.mark.source("https://cloud.google.com/build/docs/securing-builds/configure-user-specified-service-accounts")
def test_an_account_that_may_not_log_builds_in_silence(emulator: Emulator, builds: Any) -> None:
    """The build says so in a warning."""
    iam.put_policy(emulator.world, f"projects/{PROJECT}", {"bindings": []})

    build = _run(builds)

    assert build["status"] == "SUCCESS"
    assert "roles/logging.logWriter" in build["warnings"][0]["text"]
    assert _log(emulator, build["id"]) == []


@pytest.mark.source("https://cloud.google.com/build/docs/configuring-builds/substitute-variable-values")
def test_substitutions_are_filled_in(builds: Any) -> None:
    """Own ones and the service's, in steps and images."""
    name = "europe-west1-docker.pkg.dev/$PROJECT_ID/mlflow/${_NAME}:$BUILD_ID"
    steps = [{"name": "docker", "args": ["build", "-t", name, "-f", "Dockerfile", "."]}]

    build = _run(builds, steps=steps, images=[name], substitutions={"_NAME": "other"})

    expected = f"europe-west1-docker.pkg.dev/{PROJECT}/mlflow/other:{build['id']}"
    assert [image["name"] for image in build["results"]["images"]] == [expected]


@pytest.mark.source("https://docs.cloud.google.com/artifact-registry/docs/integrate-app-engine")
def test_a_step_may_push_by_itself(builds: Any) -> None:
    """docker tag and docker push do what `images` would."""
    docker, second = "gcr.io/cloud-builders/docker", IMAGE.replace("v1", "v2")
    args = (["build", "-t", IMAGE, "."], ["tag", IMAGE, second], ["push", second])

    build = _run(builds, steps=[{"name": docker, "args": words} for words in args], images=[])

    assert [image["name"] for image in build["results"]["images"]] == [second]


@pytest.mark.source("https://cloud.google.com/build/docs/api/reference/rest/v1/projects.builds")
def test_a_build_can_be_cancelled_while_it_is_under_way(
    emulator: Emulator, builds: Any, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status CANCELLED, and its operation ends with code 1; one that is over cannot be."""
    monkeypatch.setattr(emulator.world, "profile", "google")
    operation = builds.create(parent=PARENT, body=_body()).execute()
    name = f"{PARENT}/builds/{operation['metadata']['build']['id']}"
    working = builds.get(name=name).execute()

    cancelled = builds.cancel(name=name, body={}).execute()
    done = api("cloudbuild").projects().locations().operations().get(name=operation["name"]).execute()

    assert (working["status"], cancelled["status"]) == ("WORKING", "CANCELLED")
    assert (done["error"]["code"], builds.get(name=name).execute()["status"]) == (1, "CANCELLED")
    with pytest.raises(HttpError):
        builds.cancel(name=name, body={}).execute()


@pytest.mark.source("https://cloud.google.com/build/docs/api/reference/rest/v1/projects.builds")
def test_a_build_takes_its_time(emulator: Emulator, builds: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the durations of the real service it is WORKING until its time is over."""
    monkeypatch.setattr(emulator.world, "profile", "google")
    operation = builds.create(parent=PARENT, body=_body()).execute()
    name = f"{PARENT}/builds/{operation['metadata']['build']['id']}"
    before = builds.get(name=name).execute()["status"]

    httpx.post(f"{emulator.url}/emulator/clock", json={"advance": 600}).raise_for_status()

    assert (before, builds.get(name=name).execute()["status"]) == ("WORKING", "SUCCESS")


@pytest.mark.source("https://cloud.google.com/build/docs/securing-builds/configure-user-specified-service-accounts")
def test_a_caller_must_be_allowed_to_act_as_the_account(emulator: Emulator, builds: Any, api: Api) -> None:
    """403 for one who may build but not as this account."""
    world, caller = emulator.world, f"serviceAccount:ci@{PROJECT}.iam.gserviceaccount.com"
    world.table("iam.accounts")[caller.partition(":")[2]] = {"email": "ci", "projectId": PROJECT, "uniqueId": "2" * 21}
    iam.put_policy(
        world, f"projects/{PROJECT}", {"bindings": [{"role": "roles/cloudbuild.builds.editor", "members": [caller]}]}
    )
    mine = api("cloudbuild", token=tokens.issue(world, caller)).projects().locations().builds()

    with pytest.raises(HttpError, match="does not have permission to act as service account") as refused:
        mine.create(parent=PARENT, body=_body()).execute()

    assert refused.value.status_code == 403


@pytest.mark.source("https://docs.cloud.google.com/build/docs/cloud-build-service-account.md.txt")
def test_builds_without_an_account_run_as_that_of_compute_engine(emulator: Emulator, builds: Any, api: Api) -> None:
    """getDefaultServiceAccount names it."""
    locations = api("cloudbuild").projects().locations()

    answer = locations.getDefaultServiceAccount(name=f"{PARENT}/defaultServiceAccount").execute()

    assert answer["serviceAccountEmail"].endswith(f"/{NUMBER}-compute@developer.gserviceaccount.com")


@pytest.mark.source("https://docs.python.org/3/library/tarfile.html#extraction-filters")
def test_a_hostile_archive_writes_nothing_outside(emulator: Emulator, builds: Any) -> None:
    """A name that climbs out of the source folder ends the build."""
    _upload(emulator, FILES | {"../../escaped": "x"})

    build = _run(builds)

    assert build["failureInfo"]["type"] == "FETCH_SOURCE_FAILED"
    assert not (emulator.world.data / "escaped").exists()
