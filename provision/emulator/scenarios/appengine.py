"""App Engine: an application that is new, busy, elsewhere or switched off, and deployments that end badly."""

from typing import Any

from provision.emulator import errors
from provision.emulator.api import Call
from provision.emulator.apis import appengine_apps as apps
from provision.emulator.apis import appengine_services as services
from provision.emulator.apis import appengine_versions as versions
from provision.emulator.apis import logging
from provision.emulator.apis.appengine_regions import LOCATIONS
from provision.emulator.operations import OperationError
from provision.emulator.scenarios import Answer, GoOn, Playing, ending, habit, scenario
from provision.emulator.world import World

Json = dict[str, Any]

RETRYABLE = (
    "https://github.com/hashicorp/terraform-provider-google/blob/main/google/transport/error_retry_predicates.go"
)
DEPLOYING = "appengine.apps.services.versions.create"

ENDS = {
    4: "Timed out waiting for the app infrastructure to become healthy.",
    7: "The App Engine appspot and App Engine flexible environment service accounts must have permissions on the image"
       " [{image}].",
    9: "An internal error occurred while processing task /app-engine-flex/flex_await_healthy/flex_await_healthy>1.2:"
       " There was an error while pulling the application's docker image: the image does not exist, or one of its"
       " layers is corrupt.",
    13: "An internal error occurred during deployment. You may need to delete this version manually.",
}  # fmt: skip
"""What a deployment says in the end, by google.rpc code."""

WORDS = ("Listening at: http://0.0.0.0:8080", "Worker failed to boot.")
"""What such a version has written until then."""


@scenario("app-account-unknown", 6, RETRYABLE, seconds=60.0)
def app_account_unknown(world: World, options: Json) -> None:
    """Google's own account of a new application is not found everywhere for a while."""
    del world, options


@habit("appengine.apps.services.*", "appengine.apps.patch", of="app-account-unknown")
def no_account(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """Whatever changes something needs it."""
    row = call.world.table(apps.TABLE).get(call.project_id)
    if call.http != "GET" and row and call.now.timestamp() - row["made"] < playing["seconds"]:
        account = f"service-{call.number}@gcp-gae-service.iam.gserviceaccount.com"
        why = "Could be GAIA propagation delay or request from deleted apps."
        raise errors.not_found(f"Unable to retrieve P4SA: [{account}] from GAIA. {why}")
    return go_on()


@scenario("app-busy", 6, "https://github.com/google-github-actions/setup-gcloud/issues/122", seconds=90.0)
def app_busy(world: World, options: Json) -> None:
    """Somebody else's operation is at work on the application, and it takes one at a time."""
    del world, options


@habit("appengine.apps.services.*", "appengine.apps.patch", of="app-busy")
def busy(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """As long as it is."""
    if call.http != "GET" and playing.lasts():
        app = f"apps/{call.project_id}"
        raise errors.aborted(f"Cannot operate on {app} because an operation is already in progress for {app} by 5f2d.")
    return go_on()


@scenario(
    "versions-listed-briefly",
    6,
    "https://docs.cloud.google.com/appengine/docs/admin-api/reference/rest/v1/apps.services.versions",
)
def versions_listed_briefly(world: World, options: Json) -> None:
    """A list of versions leaves image and environment out in the full view too; only a version by itself tells them."""
    del world, options


@habit("appengine.apps.services.versions.list", of="versions-listed-briefly")
def listed_briefly(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """Whichever view is asked for: "only returned in GET requests if view=FULL is set"."""
    del playing
    call.params.pop("view", None)
    return go_on()


@scenario(
    "app-elsewhere",
    6,
    "https://docs.cloud.google.com/appengine/docs/standard/locations",
    among={"location": LOCATIONS},
    location="us-central",
)
def app_elsewhere(world: World, options: Json) -> None:
    """The project's one application lies in another region, for ever."""
    _make_application(world, options["location"])


@scenario(
    "app-disabled",
    6,
    "https://docs.cloud.google.com/appengine/docs/admin-api/reference/rest/v1/apps",
    among={"location": LOCATIONS},
    location="europe-west",
)
def app_disabled(world: World, options: Json) -> None:
    """Somebody has switched the application off."""
    _make_application(world, options["location"], servingStatus="USER_DISABLED")


@scenario(
    "deployment-ends",
    7,
    "https://github.com/GoogleCloudPlatform/nodejs-getting-started/issues/358",
    code=4,
    times=1,
    service="",
)
def deployment_ends(world: World, options: Json) -> None:
    """A deployment of the flexible environment fails, with one of the codes that it fails with."""
    del world, options


@ending(DEPLOYING, of="deployment-ends")
def fails(world: World, operation: Json, playing: Playing) -> None:
    """So many times; it is rolled back, but after code 13 the version stays behind."""
    service = operation["target"].split("/")[3]
    if playing["service"] not in ("", service) or not playing.again():
        return
    row = world.table(versions.TABLE).get(operation["target"], {})
    image = row.get("deployment", {}).get("container", {}).get("image", "")
    _, app, _, _, _, version = operation["target"].split("/")
    labels = {"project_id": app, "module_id": service, "version_id": version}
    for line in WORDS:
        logging.record(
            world, app, "appengine.googleapis.com/stdout", {"type": "gae_app", "labels": labels}, {"textPayload": line}
        )
    if playing["code"] != 13:
        versions.clear_away(world, operation["target"])
    elif (path := operation["target"].partition("/versions/")[0]) not in world.table(services.TABLE):
        services.make(world, path, version)
    raise OperationError(playing["code"], ENDS[playing["code"]].format(image=image), keep=True)


def _make_application(world: World, location: str, **fields: str) -> None:
    for app in world.projects:
        operation = {"project": app, "metadata": {}, "args": {"body": {}, "location": location}}
        apps.created(world, operation)
        table = world.table(apps.TABLE)
        table[app] = {**table[app], **fields}
