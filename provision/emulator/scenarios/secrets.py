"""Secret Manager: what shows late."""

from typing import Any

from provision.emulator import errors
from provision.emulator.api import Call
from provision.emulator.apis.secretmanager import numbered
from provision.emulator.scenarios import Answer, GoOn, Playing, habit, scenario
from provision.emulator.world import World

Json = dict[str, Any]

VERSIONS = "secretmanager.projects.secrets.versions"


@scenario("latest-stale", 11, "https://docs.cloud.google.com/secret-manager/docs/reference/consistency", seconds=300.0)
def latest_stale(world: World, options: Json) -> None:
    """What `latest` means, and which versions there are, is told as it was minutes ago; only a number is true."""
    del world, options


@habit(f"{VERSIONS}.access", f"{VERSIONS}.get", of="latest-stale")
def stale(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """`latest` is the newest version that is old enough."""
    secret, _, which = numbered(call, "name").rpartition("/versions/")
    if which == "latest":
        shown = [row for _, row in call.world.table("secretmanager.versions").under(f"{secret}/versions/")]
        old = [row["name"] for row in shown if not playing.lasts(row["createTime"])]
        if not old:
            raise errors.not_found(f"Secret [{secret}] not found or has no versions.")
        call.params["name"] = max(old, key=lambda name: int(name.rpartition("/")[2]))
    return go_on()


@habit(f"{VERSIONS}.list", of="latest-stale")
def listed(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """Only what is old enough is listed."""
    del call
    answer = go_on()
    assert isinstance(answer, dict)
    old = [row for row in answer.get("versions", []) if not playing.lasts(row["createTime"])]
    return {**answer, "versions": old, "totalSize": len(old)} if old else {}
