"""Cloud SQL: names that stay taken, one operation at a time, instances that take long, fail, or grow."""

from typing import Any

from provision.emulator import errors
from provision.emulator.api import Call
from provision.emulator.apis import sql_instances as instances
from provision.emulator.apis import sql_machine as machine
from provision.emulator.operations import NOT_YET, NotYet, OperationError
from provision.emulator.scenarios import Answer, GoOn, Playing, ending, habit, scenario
from provision.emulator.world import World

Json = dict[str, Any]

INSERT = "sql.instances.insert"
WEEK = (
    "The Cloud SQL instance already exists. When you delete an instance, you cannot reuse the name of the deleted "
    "instance until one week from the deletion date."
)


@scenario(
    "database-name-kept",
    8,
    "https://github.com/terraform-google-modules/terraform-google-gke-gitlab/issues/81",
    times=1,
)
def database_name_kept(world: World, options: Json) -> None:
    """The name that is asked for is that of an instance deleted within the last week, and stays reserved."""
    del world, options


@habit(INSERT, of="database-name-kept")
def kept(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """The first names that are asked for are."""
    name = call.body["name"]
    playing.first(name)
    if list(playing.row["first"]).index(name) < playing["times"]:
        raise errors.GoogleError(409, WEEK, reason="instanceAlreadyExists")
    return go_on()


@scenario("database-name-free", 8, "https://docs.cloud.google.com/sql/docs/postgres/delete-instance")
def database_name_free(world: World, options: Json) -> None:
    """The name of a deleted instance can be used again at once, as Google's page of today says."""
    del world, options


@habit(INSERT, of="database-name-free")
def free(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """No name is reserved."""
    del playing
    call.world.table(instances.RESERVED).pop(f"projects/{call.project_id}/instances/{call.body['name']}", None)
    return go_on()


@scenario(
    "database-busy",
    8,
    "https://github.com/hashicorp/terraform-provider-google/issues/3279",
    seconds=60.0,
    status=409,
)
def database_busy(world: World, options: Json) -> None:
    """Another operation is at work on the instance, which takes one at a time; older answers say so with 403."""
    del world, options


@habit("sql.databases.*", "sql.users.*", "sql.instances.patch", "sql.instances.delete", of="database-busy")
def busy(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """From the first change on that meets it."""
    if call.http != "GET" and playing.lasts(playing.first(call.params["instance"])):
        message = "Operation failed because another operation was already in progress."
        raise errors.GoogleError(playing["status"], message, reason="operationInProgress")
    return go_on()


@scenario(
    "database-takes-long",
    8,
    "https://github.com/GoogleCloudPlatform/magic-modules/pull/10960",
    seconds=5400.0,
)
def database_takes_long(world: World, options: Json) -> None:
    """Making an instance takes longer than other tools have patience."""
    del world, options


@ending(INSERT, of="database-takes-long")
def lasts(world: World, operation: Json, playing: Playing) -> NotYet | None:
    """It is over when it is over, whoever still waits."""
    del world
    return NOT_YET if playing.lasts(operation["begun"]) else None


@scenario(
    "database-fails",
    8,
    "https://docs.cloud.google.com/sql/docs/postgres/admin-api/rest/v1/instances",
    times=1,
    seconds=0.0,
)
def database_fails(world: World, options: Json) -> None:
    """Making an instance fails inside of Google, and the instance stays behind in the state FAILED."""
    del world, options


@ending(INSERT, of="database-fails")
def fails(world: World, operation: Json, playing: Playing) -> NotYet | None:
    """So many times, each after so many seconds."""
    if playing.lasts(operation["begun"]):
        return NOT_YET
    if playing.again():
        _put_in_state(world, operation["target"], "FAILED")
        raise OperationError("INTERNAL_ERROR", "Failed to create instance because of an internal error.", keep=True)
    return None


@scenario(
    "database-suspended",
    8,
    "https://docs.cloud.google.com/sql/docs/postgres/admin-api/rest/v1/instances",
    among={"state": ("SUSPENDED", "FAILED", "MAINTENANCE", "REPAIRING")},
    state="SUSPENDED",
    reason="BILLING_ISSUE",
)
def database_suspended(world: World, options: Json) -> None:
    """Instances that were running are suspended, or have failed."""
    reason = {"suspensionReason": [options["reason"]]} if options["state"] == "SUSPENDED" else {}
    for path in list(world.table(instances.TABLE)):
        _put_in_state(world, path, options["state"], **reason)


@scenario(
    "tier-refused",
    8,
    "https://github.com/hashicorp/terraform-provider-google/blob/main/website/docs/r/sql_database_instance.html.markdown",
    tier="db-f1-micro",
    edition="ENTERPRISE_PLUS",
)
def tier_refused(world: World, options: Json) -> None:
    """The edition has no machine of this kind."""
    del world, options


@habit(INSERT, "sql.instances.patch", of="tier-refused")
def refused(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """Before anything is made or changed."""
    tier, edition = playing["tier"], playing["edition"]
    if (call.body.get("settings") or {}).get("tier") == tier:
        advice = "Use a predefined Tier like db-perf-optimized-N-* instead"
        raise errors.invalid(f"Invalid request: Invalid Tier ({tier}) for ({edition}) Edition. {advice}.")
    return go_on()


@scenario("disk-grows", 8, "https://docs.cloud.google.com/sql/docs/postgres/instance-settings", gigabytes=10)
def disk_grows(world: World, options: Json) -> None:
    """The disk is nearly full, so Google makes it larger, and never smaller again."""
    del world, options


@habit("sql.instances.get", of="disk-grows")
def grows(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """Between one look and the next."""
    path = instances.path_of(call)
    row = call.world.table(instances.TABLE).get(path)
    if row and row["state"] == "RUNNABLE":
        settings = row["settings"]
        grown = str(int(settings["dataDiskSizeGb"]) + playing["gigabytes"])
        call.world.table(instances.TABLE)[path] = row | {"settings": settings | {"dataDiskSizeGb": grown}}
    return go_on()


def _put_in_state(world: World, path: str, state: str, **more: Any) -> None:
    table = world.table(instances.TABLE)
    table[path] = table[path] | {"state": state, **more}
    machine.behind(world, table[path]).database_stop(path)  # nobody is let in
