"""What App Engine asks of a flexible version before and while it deploys it: settings, network, image and accounts.

https://docs.cloud.google.com/appengine/docs/flexible/reference/app-yaml and, for the messages of failed deployments,
https://docs.cloud.google.com/appengine/docs/flexible/troubleshooting.
"""

import re
from pathlib import Path
from typing import Any

from provision.emulator import errors
from provision.emulator.api import Call, Json
from provision.emulator.apis import appengine_regions as regions
from provision.emulator.apis import artifactregistry_images as images
from provision.emulator.apis import orgpolicy
from provision.emulator.operations import OperationError
from provision.emulator.world import World

_ID = re.compile(r"(?!-)[a-z\d-]{1,63}(?<!-)")
_NEVER_HEALTHY = "Timed out waiting for the app infrastructure to become healthy."
_PULL = "artifactregistry.repositories.downloadArtifacts"
_READINESS = {
    "checkInterval": "5s",
    "timeout": "4s",
    "failureThreshold": 2,
    "successThreshold": 2,
    "appStartTimeout": "300s",
}
_LIVENESS = {
    "checkInterval": "30s",
    "timeout": "4s",
    "failureThreshold": 4,
    "successThreshold": 2,
    "initialDelay": "300s",
}
_SCALING = {
    "coolDownPeriod": "120s",
    "cpuUtilization": {"targetUtilization": 0.5},
    "maxTotalInstances": 20,
    "minTotalInstances": 2,
}
_RESOURCES = {"cpu": 1, "memoryGb": 0.6, "diskGb": 13}
_LONGEST_START = 1800


def completed(body: Json) -> Json:
    """A version's settings with the defaults that the documentation names; raises 400 for what it forbids."""
    version_id = body.get("id") or ""
    if not _ID.fullmatch(version_id) or version_id.startswith("ah-") or version_id in ("default", "latest"):
        raise errors.invalid(f"Invalid version id '{version_id}'.")
    if body.get("env") not in ("flex", "flexible"):
        raise errors.GoogleError(501, "Versions of the standard environment are not implemented by this emulator")
    if body.get("vpcAccessConnector"):
        raise errors.invalid(
            "This field cannot be set for an App Engine Flexible Environment. field: version.vpc_access_connector"
        )
    if not body.get("runtime"):
        raise errors.invalid("The runtime of the version must be specified.")
    image = ((body.get("deployment") or {}).get("container") or {}).get("image") or ""
    if not re.search(r"@sha256:[0-9a-f]{64}$|:[\w.-]+$", image):
        raise errors.invalid(f"Invalid container image '{image}': it must have a tag or a digest.")
    made = {key: value for key, value in body.items() if value is not None}
    made |= {
        "env": "flexible",
        "resources": _RESOURCES | (body.get("resources") or {}),
        "readinessCheck": _READINESS | (body.get("readinessCheck") or {}),
        "livenessCheck": _LIVENESS | (body.get("livenessCheck") or {}),
    }
    if not body.get("manualScaling"):
        made["automaticScaling"] = _SCALING | (body.get("automaticScaling") or {})
    check(made)
    return made


def check(version: Json) -> None:
    """Refuse resources, checks and scaling outside the documented limits."""
    resources = version["resources"]
    cores, memory, disk = resources["cpu"], float(resources["memoryGb"]), resources["diskGb"]
    if not (cores == 1 or (cores % 2 == 0 and 2 <= cores <= 32) or (cores % 4 == 0 and cores <= 80)):
        raise errors.invalid(
            f"Invalid value for CPU: {cores}. It must be 1, even up to 32, or a multiple of 4 up to 80."
        )
    least, most = round(cores * 1.0 - 0.4, 2), round(cores * 6.5 - 0.4, 2)
    if not least <= memory <= most:
        raise errors.invalid(f"Invalid value for memory: {memory} GB. With {cores} CPU it is from {least} to {most}.")
    if not 10 <= disk <= 10240:
        raise errors.invalid(f"Invalid value for disk: {disk} GB. It must be from 10 to 10240.")
    start = seconds(version["readinessCheck"]["appStartTimeout"])
    if not 1 <= start <= _LONGEST_START:
        raise errors.invalid(f"Invalid app_start_timeout_sec: {start:g}. It must be from 1 to {_LONGEST_START}.")
    automatic = version.get("automaticScaling")
    if automatic:
        low, high = automatic["minTotalInstances"], automatic["maxTotalInstances"]
        if low < 1 or high < low:
            raise errors.invalid(f"Invalid automatic scaling: from {low} to {high} instances. The least is 1.")
        if seconds(automatic["coolDownPeriod"]) < 60:
            raise errors.invalid("Invalid cool_down_period_sec: it must be at least 60.")
    elif (version["manualScaling"].get("instances") or 0) < 1:
        raise errors.invalid("Invalid manual scaling: there must be at least 1 instance.")


def check_account(call: Call, email: str) -> None:
    """Refuse a runtime account that is not there, or that the caller may not act as."""
    account = call.world.table("iam.accounts").get(email)
    owner = account["projectId"] if account else call.project_id
    allowed = call.caller == call.world.owner or call.world.allowed(
        call.caller, "iam.serviceAccounts.actAs", f"projects/{owner}/serviceAccounts/{email}"
    )
    if not allowed:
        raise errors.permission_denied(f"You do not have permission to act as '{email}'")
    if account is None or account.get("deleted"):
        raise errors.invalid(f"Service account '{email}' does not exist.")


def check_network(world: World, app: Json, network: Json) -> None:
    """Make the deployment fail when its machines have no place in the network.

    The rules are those of the API's schema: https://docs.cloud.google.com/appengine/docs/admin-api/reference/rest/v1/
    apps.services.versions#Network. What Google says then is not known.
    """
    constraint = "compute.vmExternalIpAccess"  # the instances never come: see the flexible environment's known issues,
    if network.get("instanceIpMode") != "INTERNAL" and orgpolicy.denied(world, app["id"], constraint):
        raise OperationError(
            4, _NEVER_HEALTHY, keep=True
        )  # https://docs.cloud.google.com/appengine/docs/flexible/known-issues
    project, name = app["id"], (network.get("name") or "default").rpartition("/")[2]
    row = world.table("compute.networks").get(f"projects/{project}/global/networks/{name}")
    if row is None:
        raise _unplaced(f"The referenced network resource 'projects/{project}/global/networks/{name}' cannot be found.")
    subnet = network.get("subnetworkName")
    if row.get("autoCreateSubnetworks") or "autoCreateSubnetworks" not in row:
        if subnet:
            raise _unplaced(f"subnetwork_name must not be set: network {name} has subnets of its own.")
        return
    if not subnet:
        raise _unplaced(f"subnetwork_name must be set: network {name} is in custom subnet mode.")
    region = regions.region_of(app["locationId"])
    path = f"projects/{project}/regions/{region}/subnetworks/{subnet}"
    held = world.table("compute.subnetworks").get(path)
    if held is None or held["network"] != row["selfLink"]:
        raise _unplaced(f"The referenced subnetwork resource '{path}' cannot be found.")
    if network.get("instanceIpMode") == "INTERNAL" and not held["privateIpGoogleAccess"]:
        raise OperationError(4, _NEVER_HEALTHY, keep=True)


def image_of(world: World, app: Json, version: Json) -> Path | None:
    """The folder of a version's image, None for one that is not kept here, such as a public one.

    Raises:
        OperationError: when the image is not there, or may not be pulled by the accounts that have to.
    """
    text = version["deployment"]["container"]["image"]
    address = images.address(text)
    if address is None or address.repository.split("/")[1] not in world.projects:
        return None
    appspot = f"serviceAccount:{app['id']}@appspot.gserviceaccount.com"
    if not world.allowed(appspot, _PULL, address.repository):
        message = (
            "The App Engine appspot and App Engine flexible environment service accounts must have permissions on the "
            f"image [{text}]. Please check that the App Engine default service account has the role Artifact Registry "
            "Reader."
        )
        raise OperationError(7, message, keep=True)
    digest = images.resolve(world, address)
    if digest is None or not world.allowed(f"serviceAccount:{version['serviceAccount']}", _PULL, address.repository):
        message = (
            "There was an error while pulling the application's docker image: the image does not exist, one of the "
            "image layers is missing or the default service account does not have permission to pull the image. Please "
            "check if the image exists. Also check if the default service account has the role Artifact Registry "
            "Reader (roles/artifactregistry.reader) to pull images from Artifact Registry."
        )
        raise OperationError(9, _task(world, message), keep=True)
    folder = world.data / "images" / digest.removeprefix("sha256:")
    return folder if folder.is_dir() else None


def seconds(duration: Any) -> float:
    """A duration of the API, such as 300s or 1.5s, in seconds."""
    try:
        return float(str(duration).removesuffix("s"))
    except ValueError:
        raise errors.invalid(f"Illegal duration format; duration must end with 's': '{duration}'.") from None


def _unplaced(why: str) -> OperationError:
    return OperationError(9, f"Flex deployment failed while its network was set up: {why}", keep=True)


def _task(world: World, message: str) -> str:
    task = f"/app-engine-flex/flex_await_healthy/flex_await_healthy>{world.timestamp(3)}.in.2"
    return f"An internal error occurred while processing task {task}: {message}"
