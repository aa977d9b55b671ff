"""Organizations, as far as they describe themselves. https://cloud.google.com/resource-manager/reference/rest/v1/organizations."""

from provision.emulator import errors
from provision.emulator.api import Call, Json, method
from provision.emulator.world import ORGANIZATION, World

TABLE = "organizations"
DEFAULT: Json = {"displayName": "example.com", "directoryCustomerId": "C012abc34"}


def organization_of(world: World, project: Json) -> tuple[str, Json] | None:
    """Name and row of the organization that a project belongs to; None when it belongs to none."""
    above = project.get("ancestors") or ([project["parent"]] if project["parent"] else [])
    number = next((resource["id"] for resource in above if resource["type"] == "organization"), None)
    row = _row(world, number) if number else None
    return (f"organizations/{number}", row) if row is not None else None


def _row(world: World, number: str) -> Json | None:
    return world.table(TABLE).get(number, DEFAULT if number == ORGANIZATION else None)


def _name(call: Call) -> str:
    return str(call.params["name"])


@method("cloudresourcemanager.organizations.get", permission="resourcemanager.organizations.get", resource=_name)
def get(call: Call) -> Json:
    """An organization; one that is not there answers 403, as projects do."""
    name = _name(call)
    row = _row(call.world, name.partition("/")[2])
    if row is None:
        raise errors.permission_denied()
    owner = row["directoryCustomerId"]
    shown: Json = {"name": name, "displayName": row["displayName"]}
    if call.version == "v3":
        return shown | {"directoryCustomerId": owner, "state": "ACTIVE"}
    return shown | {"owner": {"directoryCustomerId": owner}, "lifecycleState": "ACTIVE"}
