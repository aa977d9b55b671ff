"""App Engine: the application, its services and flexible versions, through the discovery client."""

import hashlib
import json
from typing import Any

import pytest
from google.oauth2.credentials import Credentials
from googleapiclient.errors import HttpError

from provision.emulator import iam, tokens
from provision.emulator.apis import artifactregistry_images as images
from provision.emulator.machines.failure import MachineError
from tests.conftest import NUMBER, PROJECT
from tests.emulator.test_compute import make_network, make_subnet

APP = {"appsId": PROJECT}
DEFAULT = {**APP, "servicesId": "default"}
MLFLOW = {**APP, "servicesId": "mlflow"}
HELLO = "us-docker.pkg.dev/cloudrun/container/hello:latest"
REPOSITORY = f"projects/{PROJECT}/locations/europe-west1/repositories/mlflow"
DIGEST = "sha256:" + "ab" * 32
OURS = f"europe-west1-docker.pkg.dev/{PROJECT}/mlflow/server@{DIGEST}"
APPSPOT = f"{PROJECT}@appspot.gserviceaccount.com"
RUNNER = f"mlflow-server@{PROJECT}.iam.gserviceaccount.com"
READER = "roles/artifactregistry.reader"


@pytest.fixture
def gae(google):
    return google.discovery("appengine", "v1")


@pytest.fixture
def network(google):
    """A custom network with one subnet that reaches Google privately."""
    compute = google.discovery("compute", "v1")
    make_network(compute)
    make_subnet(compute, privateIpGoogleAccess=True)
    return compute


@pytest.fixture
def app(gae, network):
    """An application in europe-west."""
    ended(gae, gae.apps().create(body={"id": PROJECT, "locationId": "europe-west"}).execute())
    return gae


@pytest.fixture
def served(app):
    """An application with a default service."""
    deploy(app, DEFAULT, "one")
    return app


@pytest.fixture
def image(emulator, google):
    """An image of our own, in a repository that nobody but its owner may read; and the account that runs it."""
    google.discovery("iam", "v1").projects().serviceAccounts().create(
        name=f"projects/{PROJECT}", body={"accountId": "mlflow-server"}
    ).execute()
    with emulator.world.transaction():
        emulator.world.table("artifactregistry.repositories")[REPOSITORY] = {"name": REPOSITORY, "format": "DOCKER"}
        images.push(emulator.world, images.address(OURS), DIGEST, 1)
    return OURS


def error_of(caught: pytest.ExceptionInfo[HttpError]) -> dict[str, Any]:
    return json.loads(caught.value.content)["error"]


def ended(gae: Any, operation: dict[str, Any]) -> dict[str, Any]:
    number = operation["name"].rpartition("/")[2]
    return gae.apps().operations().get(operationsId=number, **APP).execute()


def version(name: str = "one", **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "env": "flex",
        "runtime": "custom",
        "deployment": {"container": {"image": HELLO}},
        "network": {"name": "vpc", "subnetworkName": "sub"},
        "manualScaling": {"instances": 1},
        **more,
    }


def deploy(gae: Any, service: dict[str, str], name: str, **more: Any) -> dict[str, Any]:
    return ended(gae, gae.apps().services().versions().create(body=version(name, **more), **service).execute())


def split(gae: Any, service: dict[str, str], **shares: float) -> dict[str, Any]:
    body = {"split": {"allocations": shares}}
    return ended(gae, gae.apps().services().patch(body=body, updateMask="split", **service).execute())


def permit(emulator: Any, *accounts: str) -> None:
    """Let accounts pull the image."""
    members = [f"serviceAccount:{account}" for account in accounts]
    with emulator.world.transaction():
        iam.put_policy(emulator.world, REPOSITORY, {"bindings": [{"role": READER, "members": members}]})


# -- the application
@pytest.mark.source("https://cloud.google.com/appengine/docs/admin-api/creating-an-application")
def test_creating_the_application_is_an_operation(gae, google):
    """It tells method, target and user first, the application at last; its host has the region's short id."""
    first = gae.apps().create(body={"id": PROJECT, "locationId": "europe-west"}).execute()

    assert first["metadata"]["method"] == "google.appengine.v1.Applications.CreateApplication"
    assert "done" not in first
    last = ended(gae, first)
    assert last["response"]["@type"] == "type.googleapis.com/google.appengine.v1.Application"
    app = gae.apps().get(**APP).execute()
    assert app["defaultHostname"] == f"{PROJECT}.ew.r.appspot.com"
    assert (app["locationId"], app["gcrDomain"], app["servingStatus"]) == ("europe-west", "eu.gcr.io", "SERVING")
    account = google.discovery("iam", "v1").projects().serviceAccounts()
    assert account.get(name=f"projects/{PROJECT}/serviceAccounts/{APPSPOT}").execute()["email"] == APPSPOT


@pytest.mark.source("https://docs.cloud.google.com/appengine/docs/standard/locations.md.txt")
def test_there_is_one_application_and_it_stays(app):
    """A second create is 409, wherever it would be."""
    with pytest.raises(HttpError, match="This application already exists and cannot be re-created") as caught:
        app.apps().create(body={"id": PROJECT, "locationId": "us-central"}).execute()

    assert (caught.value.status_code, error_of(caught)["status"]) == (409, "ALREADY_EXISTS")


@pytest.mark.source(
    "https://github.com/twistedpair/google-cloud-sdk/tree/master/google-cloud-sdk/lib/googlecloudsdk/api_lib/app"
)
def test_a_project_without_an_application_answers_404(gae):
    """Also for what would be in it."""
    for call in (gae.apps().get(**APP), gae.apps().services().list(**APP)):
        with pytest.raises(HttpError) as caught:
            call.execute()

        assert caught.value.status_code == 404


@pytest.mark.source("https://github.com/pulumi/pulumi-gcp/issues/636")
def test_an_application_is_made_serving(gae):
    """Whether it serves is changed later, and not said when it is made."""
    with pytest.raises(HttpError, match=r"Serving status cannot be updated\.") as caught:
        gae.apps().create(body={"id": PROJECT, "locationId": "europe-west", "servingStatus": "SERVING"}).execute()

    assert json.loads(caught.value.content)["error"]["status"] == "FAILED_PRECONDITION"


@pytest.mark.source("https://docs.cloud.google.com/appengine/docs/standard/locations.md.txt")
def test_locations_are_known_before_the_application_is(gae):
    """They have App Engine's own names, and the region's as a label."""
    locations = {row["locationId"]: row for row in gae.apps().locations().list(**APP).execute()["locations"]}

    assert "europe-west1" not in locations
    assert locations["europe-west"]["labels"] == {"cloud.googleapis.com/region": "europe-west1"}
    assert locations["europe-west"]["metadata"]["flexibleEnvironmentAvailable"] is True
    with pytest.raises(HttpError, match="europe-west1"):
        gae.apps().create(body={"id": PROJECT, "locationId": "europe-west1"}).execute()


@pytest.mark.source("https://cloud.google.com/iap/docs/reference/app-engine-apis")
def test_the_door_is_switched_on_with_or_without_a_client(app):
    """A client's secret is never told, only its hash; switching off keeps the client."""
    patch = app.apps().patch
    ended(app, patch(body={"iap": {"enabled": True}}, updateMask="iap", **APP).execute())
    assert app.apps().get(**APP).execute()["iap"] == {"enabled": True}

    client = {"enabled": True, "oauth2ClientId": "client", "oauth2ClientSecret": "hush"}
    first = patch(body={"iap": client}, updateMask="iap", **APP).execute()
    iap = ended(app, first)["response"]["iap"]
    assert iap["oauth2ClientSecretSha256"] == hashlib.sha256(b"hush").hexdigest()
    assert "hush" not in json.dumps([first, iap])
    ended(app, patch(body={"iap": {"enabled": False}}, updateMask="iap", **APP).execute())
    assert app.apps().get(**APP).execute()["iap"]["oauth2ClientId"] == "client"


# -- deploying
@pytest.mark.source("https://github.com/GoogleCloudPlatform/data-science-on-gcp/issues/68")
def test_the_first_service_must_be_the_default_one(app):
    """Another one is refused until it is there."""
    with pytest.raises(HttpError, match="must be the 'default' service") as caught:
        deploy(app, MLFLOW, "v1")

    assert error_of(caught)["status"] == "INVALID_ARGUMENT"
    deploy(app, DEFAULT, "one")
    assert deploy(app, MLFLOW, "v1")["done"] is True
    services = [service["id"] for service in app.apps().services().list(**APP).execute()["services"]]
    assert services == ["default", "mlflow"]


@pytest.mark.source("https://docs.cloud.google.com/appengine/docs/admin-api/reference/rest/v1/apps.services")
def test_the_first_version_gets_all_traffic_and_the_second_none(served):
    """Until a split says so; the shares must make one, and name versions that are there."""
    deploy(served, DEFAULT, "two")
    service = served.apps().services().get(**DEFAULT).execute()
    assert service["split"] == {"allocations": {"one": 1}}

    split(served, DEFAULT, two=1.0)
    assert served.apps().services().get(**DEFAULT).execute()["split"] == {"allocations": {"two": 1.0}}
    for shares, message in (
        ({"two": 0.5}, "must be 1"),
        ({"three": 1.0}, "three"),
        ({"one": 0.001, "two": 0.999}, "decimals"),
    ):
        with pytest.raises(HttpError, match=message):
            split(served, DEFAULT, **shares)


@pytest.mark.source("https://docs.cloud.google.com/appengine/docs/admin-api/reference/rest/v1/apps.services.versions")
def test_image_and_environment_are_told_in_the_full_view_only(served):
    """The basic view has the rest, with defaults filled in."""
    deploy(served, DEFAULT, "two", envVariables={"A": "B"})
    versions = served.apps().services().versions()
    basic = versions.get(versionsId="two", **DEFAULT).execute()
    full = versions.get(versionsId="two", view="FULL", **DEFAULT).execute()

    assert not {"envVariables", "deployment"} & set(basic)
    assert full["envVariables"] == {"A": "B"}
    assert (basic["env"], basic["serviceAccount"]) == ("flexible", APPSPOT)
    assert basic["versionUrl"] == f"https://two-dot-{PROJECT}.ew.r.appspot.com"
    assert basic["readinessCheck"]["appStartTimeout"] == "300s"
    assert [row["id"] for row in versions.list(**DEFAULT).execute()["versions"]] == ["one", "two"]


@pytest.mark.source("https://github.com/web-platform-tests/wpt.fyi/pull/4939")
def test_a_connector_is_for_the_standard_environment(app):
    """A flexible version is in the network itself."""
    with pytest.raises(HttpError, match=r"cannot be set for an App Engine Flexible Environment. field: version.vpc"):
        deploy(app, DEFAULT, "one", vpcAccessConnector={"name": "projects/p/locations/l/connectors/c"})


@pytest.mark.source("https://docs.cloud.google.com/appengine/docs/flexible/reference/app-yaml")
@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param({"resources": {"cpu": 3}}, "CPU", id="three cores"),
        pytest.param({"resources": {"cpu": 1, "memoryGb": 7}}, "memory", id="more memory than one core may have"),
        pytest.param({"resources": {"diskGb": 5}}, "disk", id="too small a disk"),
        pytest.param({"readinessCheck": {"appStartTimeout": "1801s"}}, "app_start_timeout", id="half an hour and more"),
        pytest.param({"manualScaling": {"instances": 0}}, "at least 1", id="no instance"),
        pytest.param(
            {"deployment": {"container": {"image": "us-docker.pkg.dev/cloudrun/container/hello"}}},
            "tag or a digest",
            id="an image without tag or digest",
        ),
        pytest.param({"id": "Version_1"}, "version id", id="a bad id"),
        pytest.param({"runtime": None}, "runtime", id="no runtime"),
    ],
)
def test_settings_outside_the_limits_are_refused(app, body, message):
    """At once, with 400, and nothing is there afterwards."""
    with pytest.raises(HttpError, match=message) as caught:
        app.apps().services().versions().create(body=version() | body, **DEFAULT).execute()

    assert caught.value.status_code == 400
    assert app.apps().services().list(**APP).execute() == {}


@pytest.mark.source("https://github.com/nytimes/drone-gae/issues/67")
def test_a_deployment_lasts_until_the_version_is_healthy(emulator, app, monkeypatch):
    """It is seen meanwhile, but may not be touched, and the service comes at the end."""
    health = "starting"
    monkeypatch.setattr(emulator.world.machines, "version_health", lambda *_names: health)
    versions = app.apps().services().versions()
    first = versions.create(body=version(), **DEFAULT).execute()

    assert "done" not in ended(app, first)
    assert app.apps().services().list(**APP).execute() == {}
    with pytest.raises(HttpError, match="an operation is already in progress for") as caught:
        versions.create(body=version(), **DEFAULT).execute()
    assert (caught.value.status_code, error_of(caught)["status"]) == (409, "ABORTED")
    health = "healthy"
    last = ended(app, first)
    assert last["response"]["@type"] == "type.googleapis.com/google.appengine.v1.Version"
    assert last["metadata"]["endTime"]
    assert app.apps().services().get(**DEFAULT).execute()["id"] == "default"


@pytest.mark.source("https://github.com/GoogleCloudPlatform/appengine-custom-runtimes-samples/issues/29")
def test_a_version_that_is_late_is_rolled_back(emulator, app, monkeypatch):
    """After appStartTimeout the operation fails with code 4, and the version is not there."""
    monkeypatch.setattr(emulator.world.machines, "version_health", lambda *_names: "starting")
    versions = app.apps().services().versions()
    check = {"readinessCheck": {"appStartTimeout": "1800s"}}
    first = versions.create(body=version(**check), **DEFAULT).execute()
    ended(app, first)
    emulator.world.clock.ahead += 1790
    assert "done" not in ended(app, first)
    emulator.world.clock.ahead += 20

    assert ended(app, first)["error"]["code"] == 4
    with pytest.raises(HttpError) as caught:
        versions.get(versionsId="one", **DEFAULT).execute()
    assert caught.value.status_code == 404


@pytest.mark.source("https://github.com/GoogleCloudPlatform/app-gradle-plugin/issues/175")
def test_a_version_that_crashes_tells_its_last_words(emulator, app, monkeypatch):
    """Code 9, with what it wrote."""
    machines = emulator.world.machines
    monkeypatch.setattr(machines, "version_health", lambda *_names: "failed")
    monkeypatch.setattr(machines, "version_log", lambda *_names: ["ModuleNotFoundError: no module named mlflow"])
    error = deploy(app, DEFAULT, "one")["error"]

    assert error["code"] == 9
    assert "ModuleNotFoundError" in error["message"]
    monkeypatch.undo()
    assert "error" not in deploy(app, DEFAULT, "one")


@pytest.mark.source("https://cloud.google.com/logging/docs/routing/overview#logs-retention")
def test_the_log_of_a_deployment_that_was_rolled_back_is_kept(emulator, app, google, monkeypatch):
    """The version is gone, its log is not."""
    machines = emulator.world.machines
    monkeypatch.setattr(machines, "version_health", lambda *_names: "failed")
    monkeypatch.setattr(machines, "version_log", lambda *_names: ["ModuleNotFoundError: no module named mlflow"])
    deploy(app, DEFAULT, "one")
    wanted = {"resourceNames": [f"projects/{PROJECT}"], "filter": 'resource.labels.version_id="one"'}
    entries = google.discovery("logging", "v2").entries().list(body=wanted).execute()["entries"]

    assert [entry["textPayload"] for entry in entries] == ["ModuleNotFoundError: no module named mlflow"]


@pytest.mark.source("https://github.com/GoogleCloudPlatform/app-maven-plugin/issues/417")
def test_an_image_that_cannot_be_run_fails_the_deployment(emulator, app, monkeypatch):
    """The machine's own words are in the error."""

    def fail(*_order: Any) -> None:
        raise MachineError("it has no Dockerfile")

    monkeypatch.setattr(emulator.world.machines, "version_start", fail)

    assert "it has no Dockerfile" in deploy(app, DEFAULT, "one")["error"]["message"]


@pytest.mark.source("https://docs.cloud.google.com/appengine/docs/admin-api/reference/rest/v1/apps.services.versions")
@pytest.mark.parametrize(
    ("place", "words"),
    [
        pytest.param({}, "networks/default", id="the default network is not there"),
        pytest.param({"name": "vpc"}, "subnetwork_name must be set", id="a custom network needs the subnet"),
        pytest.param({"name": "vpc", "subnetworkName": "none"}, "subnetworks/none", id="no such subnet"),
    ],
)
def test_a_version_needs_a_place_in_the_network(app, place, words):
    """The deployment fails, for the rules of the network are looked at then."""
    error = deploy(app, DEFAULT, "one", network=place)["error"]

    assert error["code"] == 9
    assert words in error["message"]


@pytest.mark.source("https://docs.cloud.google.com/appengine/docs/flexible/disable-external-ip")
def test_internal_instances_need_private_google_access(google, app):
    """Without it they never get as far as being healthy."""
    make_subnet(google.discovery("compute", "v1"), "dark", "10.99.0.0/24")
    place = {"name": "vpc", "subnetworkName": "dark", "instanceIpMode": "INTERNAL"}

    assert deploy(app, DEFAULT, "one", network=place)["error"]["code"] == 4
    assert "error" not in deploy(app, DEFAULT, "one", network=place | {"subnetworkName": "sub"})


@pytest.mark.source("https://docs.cloud.google.com/appengine/docs/flexible/known-issues")
def test_instances_with_external_addresses_never_come_where_those_are_forbidden(google, app):
    """The deployment waits for them in vain."""
    constraint = "compute.vmExternalIpAccess"
    body = {"name": f"projects/{PROJECT}/policies/{constraint}", "spec": {"rules": [{"denyAll": True}]}}
    google.discovery("orgpolicy", "v2").projects().policies().create(parent=f"projects/{PROJECT}", body=body).execute()
    place = {"name": "vpc", "subnetworkName": "sub"}

    assert deploy(app, DEFAULT, "one", network=place)["error"]["code"] == 4
    assert "error" not in deploy(app, DEFAULT, "one", network=place | {"instanceIpMode": "INTERNAL"})


@pytest.mark.source("https://github.com/GoogleCloudPlatform/magic-modules/pull/13815")
def test_both_accounts_must_be_able_to_pull_the_image(emulator, app, image):
    """Without the application's own it is code 7, without the version's it is code 9; with both it runs."""
    settings = {"deployment": {"container": {"image": image}}, "serviceAccount": RUNNER}
    seventh = deploy(app, DEFAULT, "one", **settings)["error"]
    permit(emulator, APPSPOT)
    ninth = deploy(app, DEFAULT, "one", **settings)["error"]
    permit(emulator, APPSPOT, RUNNER)
    last = deploy(app, DEFAULT, "one", **settings)

    assert seventh["code"] == 7
    assert f"must have permissions on the image [{image}]" in seventh["message"]
    assert ninth["code"] == 9
    assert "error while pulling the application's docker image" in ninth["message"]
    assert last["response"]["serviceAccount"] == RUNNER


@pytest.mark.source("https://github.com/GoogleCloudPlatform/magic-modules/pull/6391")
def test_an_image_that_is_not_there_is_not_pulled(emulator, app, image):
    """The error is the same as without permission."""
    permit(emulator, APPSPOT, RUNNER)
    missing = {"deployment": {"container": {"image": image.replace("ab", "cd")}}, "serviceAccount": RUNNER}

    assert deploy(app, DEFAULT, "one", **missing)["error"]["code"] == 9


@pytest.mark.source("https://docs.cloud.google.com/appengine/docs/admin-api/reference/rest/v1/apps.services.versions")
def test_the_machine_gets_folder_and_account(emulator, app, image, monkeypatch):
    """The folder is the one that the build made for the digest."""
    started = []
    monkeypatch.setattr(emulator.world.machines, "version_start", lambda *order: started.append(order))
    folder = emulator.world.data / "images" / DIGEST.removeprefix("sha256:")
    folder.mkdir(parents=True)
    permit(emulator, APPSPOT, RUNNER)
    deploy(app, DEFAULT, "one", deployment={"container": {"image": image}}, serviceAccount=RUNNER)
    deploy(app, MLFLOW, "v1")

    assert [(order[:3], order[4], order[5]) for order in started] == [
        ((PROJECT, "default", "one"), folder, RUNNER),
        ((PROJECT, "mlflow", "v1"), None, APPSPOT),
    ]


@pytest.mark.source("https://github.com/google-github-actions/setup-gcloud/issues/191")
def test_deploying_takes_the_right_to_act_as_the_account(emulator, google, app, image):
    """A deployer without it is told so."""
    with emulator.world.transaction():
        token = tokens.issue(emulator.world, "user:dev@example.com", 3600)
        roles = [{"role": "roles/appengine.appAdmin", "members": ["user:dev@example.com"]}]
        iam.put_policy(emulator.world, f"projects/{PROJECT}", {"bindings": roles})
    dev = google.discovery("appengine", "v1", credentials=Credentials(token))
    with pytest.raises(HttpError, match=f"You do not have permission to act as '{RUNNER}'"):
        deploy(dev, DEFAULT, "one", serviceAccount=RUNNER)
    with emulator.world.transaction():
        acting = [{"role": "roles/iam.serviceAccountUser", "members": ["user:dev@example.com"]}]
        iam.put_policy(emulator.world, f"projects/{PROJECT}/serviceAccounts/{RUNNER}", {"bindings": acting})

    assert "error" not in deploy(dev, DEFAULT, "one", serviceAccount=RUNNER)


@pytest.mark.source(
    "https://github.com/twistedpair/google-cloud-sdk/tree/master/google-cloud-sdk/lib/googlecloudsdk/api_lib/app"
)
def test_the_flexible_environment_has_an_api_of_its_own(emulator, google):
    """Without it a flexible version is refused as any call to a disabled API is."""
    on = ["appengine", "compute"]
    emulator.reset([{"projectId": PROJECT, "projectNumber": NUMBER, "services": on}])
    gae = google.discovery("appengine", "v1")
    ended(gae, gae.apps().create(body={"id": PROJECT, "locationId": "europe-west"}).execute())
    with pytest.raises(HttpError, match="Flexible Environment API has not been used in project") as caught:
        deploy(gae, DEFAULT, "one")

    assert error_of(caught)["details"][0]["reason"] == "SERVICE_DISABLED"


@pytest.mark.source(
    "https://github.com/hashicorp/terraform-provider-google/blob/main/google/transport/error_retry_predicates.go"
)
def test_on_googles_time_a_new_application_lacks_its_account_for_a_while(emulator, gae, network):
    """404 asks to try again; half a minute later the same call is accepted."""
    emulator.world.profile = "google"
    try:
        first = gae.apps().create(body={"id": PROJECT, "locationId": "europe-west"}).execute()
        emulator.world.clock.ahead += 30
        assert ended(gae, first)["done"] is True
        create = gae.apps().services().versions().create(body=version(), **DEFAULT)
        with pytest.raises(HttpError, match="Unable to retrieve P4SA") as caught:
            create.execute()

        assert caught.value.status_code == 404
        emulator.world.clock.ahead += 31
        assert "name" in create.execute()
    finally:
        emulator.world.profile = "instant"


# -- afterwards
@pytest.mark.source(
    "https://github.com/twistedpair/google-cloud-sdk/blob/master/google-cloud-sdk/lib/googlecloudsdk/api_lib/app/version_util.py"
)
def test_a_version_is_stopped_and_started(emulator, served, monkeypatch):
    """Stopping stops its machine; starting waits for its health again."""
    stopped = []
    monkeypatch.setattr(emulator.world.machines, "version_stop", lambda *names: stopped.append(names))
    patch = served.apps().services().versions().patch
    last = ended(
        served,
        patch(versionsId="one", body={"servingStatus": "STOPPED"}, updateMask="servingStatus", **DEFAULT).execute(),
    )

    assert last["response"]["servingStatus"] == "STOPPED"
    assert stopped == [(PROJECT, "default", "one")]
    monkeypatch.setattr(emulator.world.machines, "version_health", lambda *_names: "starting")
    first = patch(versionsId="one", body={"servingStatus": "SERVING"}, updateMask="servingStatus", **DEFAULT).execute()
    assert "done" not in ended(served, first)
    monkeypatch.undo()
    assert ended(served, first)["response"]["servingStatus"] == "SERVING"


@pytest.mark.source("https://docs.cloud.google.com/appengine/docs/admin-api/reference/rest/v1/apps.services.versions")
def test_scaling_changes_in_place(served):
    """By a mask that names one field of it, in either spelling."""
    patch = served.apps().services().versions().patch
    for mask, count in (("manualScaling.instances", 3), ("manual_scaling.instances", 2)):
        body = {"manualScaling": {"instances": count}}
        last = ended(served, patch(versionsId="one", body=body, updateMask=mask, **DEFAULT).execute())
        assert last["response"]["manualScaling"] == {"instances": count}

    instances = served.apps().services().versions().instances().list(versionsId="one", **DEFAULT).execute()
    assert len(instances["instances"]) == 2
    with pytest.raises(HttpError, match="cannot be updated"):
        patch(versionsId="one", body={"runtime": "python"}, updateMask="runtime", **DEFAULT).execute()


@pytest.mark.source("https://github.com/GoogleCloudPlatform/runtimes-common/pull/205")
def test_versions_are_deleted_when_they_are_neither_last_nor_in_use(served):
    """Each refusal has its own words."""
    versions = served.apps().services().versions()
    with pytest.raises(HttpError, match="Cannot delete the final version of a service"):
        versions.delete(versionsId="one", **DEFAULT).execute()
    deploy(served, DEFAULT, "two")
    with pytest.raises(HttpError, match="non-zero traffic allocation"):
        versions.delete(versionsId="one", **DEFAULT).execute()
    split(served, DEFAULT, two=1.0)
    ended(served, versions.delete(versionsId="one", **DEFAULT).execute())

    assert [row["id"] for row in versions.list(**DEFAULT).execute()["versions"]] == ["two"]


@pytest.mark.source("https://docs.cloud.google.com/appengine/docs/admin-api/reference/rest/v1/apps.services")
def test_a_service_goes_with_its_versions_but_never_the_default_one(served):
    """The default service can only be stopped."""
    deploy(served, MLFLOW, "v1")
    services = served.apps().services()
    ended(served, services.delete(**MLFLOW).execute())

    with pytest.raises(HttpError) as caught:
        services.versions().get(versionsId="v1", **MLFLOW).execute()
    assert caught.value.status_code == 404
    with pytest.raises(HttpError, match="The default service \\(module\\) cannot be deleted"):
        services.delete(**DEFAULT).execute()


@pytest.mark.source("https://github.com/GoogleCloudPlatform/magic-modules/pull/10326")
def test_a_running_version_keeps_its_subnet(served, network):
    """Its machines are in it, until it is stopped."""
    delete = network.subnetworks().delete(project=PROJECT, region="europe-west1", subnetwork="sub")
    with pytest.raises(HttpError, match=r"is already being used by .*/instances/aef-default-one"):
        delete.execute()
    patch = served.apps().services().versions().patch
    patch(versionsId="one", body={"servingStatus": "STOPPED"}, updateMask="servingStatus", **DEFAULT).execute()

    assert delete.execute()["operationType"] == "delete"
