"""APIs that are on and do not answer, or that somebody else is switching on."""

from typing import Any

from provision.emulator import errors
from provision.emulator.api import Call
from provision.emulator.operations import OperationError
from provision.emulator.scenarios import TABLE, Answer, GoOn, Playing, ending, habit, scenario
from provision.emulator.world import World

Json = dict[str, Any]

ENABLING = ("serviceusage.services.enable", "serviceusage.services.batchEnable")
SWITCHING = ("serviceusage.googleapis.com", "sts.googleapis.com", "oauth2.googleapis.com")


@scenario("apis-wake-late", 2, "https://github.com/hashicorp/terraform-provider-google/issues/10510", seconds=60.0)
def apis_wake_late(world: World, options: Json) -> None:
    """An API that was switched on goes on answering SERVICE_DISABLED for a while."""
    del world, options


@ending(*ENABLING, of="apis-wake-late")
def woken(world: World, operation: Json, playing: Playing) -> None:
    """Remember when which was switched on."""
    switched = dict.fromkeys(operation["args"]["names"], world.timestamp(6))
    playing.row["woken"] = switched | playing.row.get("woken", {})
    world.table(TABLE)[playing.name] = playing.row


@habit("*", of="apis-wake-late")
def still_asleep(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """Of what was switched on a moment ago, nothing is heard yet."""
    since = playing.row.get("woken", {}).get(call.host)
    if since and call.host not in SWITCHING and playing.lasts(since):
        number = call.number if call.names_project() else next(iter(call.world.projects.values()))["projectNumber"]
        raise errors.service_disabled(call.host, _title(call.host), number)
    return go_on()


@scenario(
    "foreign-quota-project",
    2,
    "https://github.com/GoogleCloudPlatform/dlp-pdf-redaction/issues/31",
    consumer="764086051850",
)
def foreign_quota_project(world: World, options: Json) -> None:
    """Credentials that name no project to pay for calls let Google ask one of its own, in which every API is off."""
    del options
    for name, project in world.projects.items():  # the project itself is not asked at all
        world.projects[name] = project | {"services": {"*": True}}


@habit("*", of="foreign-quota-project")
def asks_another(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """Unless the request says which project is meant."""
    if call.host in SWITCHING[1:] or call.headers.get("x-goog-user-project"):
        return go_on()
    raise errors.service_disabled(call.host, _title(call.host), playing["consumer"])


@scenario(
    "activation-in-progress",
    3,
    "https://github.com/terraform-google-modules/terraform-google-project-factory/issues/461",
    seconds=40.0,
    failed_services=0,
)
def activation_in_progress(world: World, options: Json) -> None:
    """Somebody else is switching APIs on, and no second one may; or an own operation ends with failed services."""
    del world, options


@habit(*ENABLING, of="activation-in-progress")
def busy(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """As long as the other one is at it."""
    if not playing["failed_services"] and playing.lasts():
        number = call.number
        raise errors.failed_precondition(
            f"Another activation or deactivation is in progress for project '{number}'. Please try again later."
        )
    return go_on()


@ending(*ENABLING, of="activation-in-progress")
def failed(world: World, operation: Json, playing: Playing) -> None:
    """So many times the operation ends with a failure inside of Google."""
    del world, operation
    if playing.count("failed") <= playing["failed_services"]:
        raise OperationError(13, "Error 160009 with failed services [compute.googleapis.com]", keep=True)


def _title(host: str) -> str:
    return f"{host.partition('.')[0].capitalize()} API"
