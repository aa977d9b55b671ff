"""Builds that may not run where they should, or fail."""

from typing import Any

from provision.emulator import errors
from provision.emulator.api import Call
from provision.emulator.apis import cloudbuild_work as work
from provision.emulator.clock import stamp
from provision.emulator.operations import OperationError
from provision.emulator.scenarios import Answer, GoOn, Playing, ending, habit, scenario
from provision.emulator.world import World

Json = dict[str, Any]

BUILDING = "cloudbuild.projects.locations.builds.create"
STATUSES = "https://cloud.google.com/build/docs/api/reference/rest/v1/projects.builds#status"


@scenario(
    "build-region-forbidden",
    17,
    "https://github.com/google-github-actions/deploy-cloudrun/issues/480",
    region="europe-west1",
)
def build_region_forbidden(world: World, options: Json) -> None:
    """The project may not build in a region, or (`*`) in any; some may only in six of them."""
    del world, options


@habit(BUILDING, of="build-region-forbidden")
def not_here(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """It is refused before it begins."""
    if playing["region"] not in ("*", call.parent.split("/")[3]):
        return go_on()
    why = "due to quota restrictions, cannot run builds in this region. Please contact support"
    raise errors.failed_precondition(f"failed precondition: {why}")


@scenario("build-fails", 17, STATUSES, says="ERROR: No matching distribution found for mlflow==99")
def build_fails(world: World, options: Json) -> None:
    """A step of a build ends with an error, and what it said stands in the log of the build."""
    del world, options


@ending(BUILDING, of="build-fails")
def fails(world: World, operation: Json, playing: Playing) -> None:
    """The first step."""
    build = operation["metadata"]["build"]
    name, label = build["steps"][0]["name"], "Step #0"
    shop = work.Workshop(world, build)
    shop.log(f'starting build "{build["id"]}"')
    shop.log(f"Starting {label}", step=label)
    shop.log(f"{label}: {playing['says']}", step=label)
    build["steps"][0] |= {"status": "FAILURE", "exitCode": 1}
    detail = f'build step 0 "{name}" failed: step exited with non-zero status: 1'
    _ended(world, build, "FAILURE", "USER_BUILD_STEP", detail)
    shop.log("ERROR", error=True)
    raise OperationError(2, f"Build failed; check build logs for details: {detail}", keep=True)


@scenario("build-internal-error", 17, STATUSES, times=1)
def build_internal_error(world: World, options: Json) -> None:
    """A build ends with an error inside of Google."""
    del world, options


@ending(BUILDING, of="build-internal-error")
def breaks(world: World, operation: Json, playing: Playing) -> None:
    """So many times."""
    if playing.again():
        _ended(world, operation["metadata"]["build"], "INTERNAL_ERROR", "INTERNAL_ERROR", "internal error")
        raise OperationError(13, "INTERNAL_ERROR", keep=True)


def _ended(world: World, build: Json, status: str, kind: str, detail: str) -> None:
    now = stamp(world.clock.now(), 9)
    build |= {"status": status, "statusDetail": detail, "startTime": build["createTime"], "finishTime": now}
    build["failureInfo"] = {"type": kind, "detail": detail}
