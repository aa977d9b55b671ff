"""Services of an App Engine application: which version gets which share of the traffic.

https://docs.cloud.google.com/appengine/docs/admin-api/reference/rest/v1/apps.services
"""

from provision.emulator import errors, operations
from provision.emulator.api import Call, Json, method
from provision.emulator.apis import appengine_apps as apps
from provision.emulator.world import World

TABLE = "appengine.services"
VERSIONS = "appengine.versions"


def path_of(call: Call) -> str:
    """Name of the service that a call names."""
    return f"apps/{call.project_id}/services/{call.params['servicesId']}"


def found(call: Call) -> Json:
    """The service that a call names; raises 404 when there is none."""
    apps.app_of(call)
    row = call.world.table(TABLE).get(path_of(call))
    if row is None:
        raise errors.not_found(f"Could not find Service '{call.params['servicesId']}'.")
    return row


@method("appengine.apps.services.get", permission="appengine.services.get")
def get(call: Call) -> Json:
    """One service."""
    return found(call)


@method("appengine.apps.services.list", permission="appengine.services.list")
def list_services(call: Call) -> Json:
    """The application's services."""
    apps.app_of(call)
    rows = [row for _, row in call.world.table(TABLE).under(f"apps/{call.project_id}/services/")]
    return call.page(rows, key="services", default=100)


@method("appengine.apps.services.patch", permission="appengine.services.update")
def patch(call: Call) -> Json:
    """Begin to change traffic, labels or network settings, as updateMask names them."""
    row = found(call)
    apps.require_idle(call.world, row["name"])
    if call.params.get("migrateTraffic"):
        raise errors.invalid("Traffic migration is not supported in the flexible environment.")
    mask = (call.params.get("updateMask") or ",".join(call.body)).split(",")
    named = {apps.camel(part.strip().partition(".")[0]) for part in mask} & set(call.body)
    changes = {field: call.body[field] for field in ("split", "labels", "networkSettings") if field in named}
    if "split" in changes:
        changes["split"] = _split(call, row, changes["split"])
    if not changes:
        raise errors.invalid("The update mask names nothing that is in the request.")
    return apps.begin(call, row["name"], "Services.UpdateService", changes=changes)


@operations.finish("appengine.apps.services.patch")
def patched(world: World, operation: Json) -> Json:
    """The change holds; a version that has gone meanwhile makes it fail."""
    row = world.table(TABLE)[operation["target"]] | operation["args"]["changes"]
    for version in row["split"]["allocations"]:
        if f"{row['name']}/versions/{version}" not in world.table(VERSIONS):
            raise operations.OperationError(5, f"Could not find Version '{version}'.")
    world.table(TABLE)[operation["target"]] = row
    apps.ended(world, operation)
    return apps.response("Service", row)


@method("appengine.apps.services.delete", permission="appengine.services.delete")
def delete(call: Call) -> Json:
    """Begin to delete a service with all its versions; the default service stays for ever."""
    row = found(call)
    if row["id"] == "default":
        raise errors.invalid("The default service (module) cannot be deleted.")
    for busy in operations.pending(call.world, "appengine", f"{row['name']}/"):
        apps.require_idle(call.world, busy["target"])
    apps.require_idle(call.world, row["name"])
    return apps.begin(call, row["name"], "Services.DeleteService")


@operations.finish("appengine.apps.services.delete")
def deleted(world: World, operation: Json) -> Json:
    """Service and versions are gone."""
    drop(world, operation["target"])
    apps.ended(world, operation)
    return {"@type": "type.googleapis.com/google.protobuf.Empty"}


def drop(world: World, path: str) -> None:
    """Stop all versions of a service and forget them and it."""
    _, app, _, service = path.split("/")
    for key, version in world.table(VERSIONS).under(f"{path}/"):
        world.machines.version_stop(app, service, version["id"])
        del world.table(VERSIONS)[key]
    world.table(TABLE).pop(path, None)


def make(world: World, path: str, first_version: str) -> None:
    """A service comes with its first version, which gets all traffic."""
    service = path.rpartition("/")[2]
    world.table(TABLE)[path] = {
        "name": path,
        "id": service,
        "split": {"allocations": {first_version: 1}},
        "networkSettings": {"ingressTrafficAllowed": "INGRESS_TRAFFIC_ALLOWED_ALL"},
    }


def _split(call: Call, row: Json, split: Json) -> Json:
    """A checked split: shares of versions that exist, 1 in all, with as many decimals as its kind takes."""
    shares = split.get("allocations") or {}
    total = sum(float(share) for share in shares.values())
    if not shares or abs(total - 1) > 0.0005:
        raise errors.invalid(f"The sum of all traffic allocations must be 1, and is {total:g}.")
    decimals = 3 if split.get("shardBy") == "COOKIE" else 2
    for version, share in shares.items():
        if not 0 < float(share) <= 1 or round(float(share), decimals) != float(share):
            raise errors.invalid(f"Invalid traffic allocation {share} of version {version}: up to {decimals} decimals.")
        if f"{row['name']}/versions/{version}" not in call.world.table(VERSIONS):
            raise errors.not_found(f"Could not find Version '{version}'.")
    return {key: split[key] for key in ("shardBy", "allocations") if split.get(key)}
