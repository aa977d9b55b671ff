"""Versions of App Engine services: deployed from an image, stopped, started, deleted.

https://docs.cloud.google.com/appengine/docs/admin-api/reference/rest/v1/apps.services.versions
"""

from typing import Any

from provision.emulator import errors, operations
from provision.emulator.api import Call, Json, method
from provision.emulator.apis import appengine_apps as apps
from provision.emulator.apis import appengine_rules as rules
from provision.emulator.apis import appengine_services as services
from provision.emulator.apis import logging
from provision.emulator.machines.failure import MachineError
from provision.emulator.operations import NOT_YET, NotYet, OperationError
from provision.emulator.world import World

TABLE = services.VERSIONS
_PERMISSION = "appengine.versions"
# Fields that get and list only show with view=FULL.
FULL_ONLY = (
    "apiConfig",
    "buildEnvVariables",
    "defaultExpiration",
    "deployment",
    "envVariables",
    "errorHandlers",
    "handlers",
    "libraries",
    "nobuildFilesRegex",
)
_FIRST_MUST_BE_DEFAULT = (
    "The first service (module) you upload to a new application must be the 'default' service (module). Please upload "
    "a version of the 'default' service (module) before uploading a version for the '{service}' service (module). See "
    "the documentation for more information."
)

_TOO_LATE = (
    "Your deployment has failed to become healthy in the allotted time and therefore was rolled back. If you believe "
    "this was an error, try adjusting the 'app_start_timeout_sec' setting in the 'readiness_check' section."
)


@method("appengine.apps.services.versions.create", permission=f"{_PERMISSION}.create")
def create(call: Call) -> Json:
    """Begin to deploy a version from an image. The first service of an application must be the default one."""
    app, service_path = apps.app_of(call), services.path_of(call)
    service = call.params["servicesId"]
    _require_flexible(call)
    version = rules.completed(call.body)
    path = f"{service_path}/versions/{version['id']}"
    apps.require_idle(call.world, path)
    default = f"apps/{call.project_id}/services/default"
    if service != "default" and default not in call.world.table(services.TABLE):
        raise errors.invalid(_FIRST_MUST_BE_DEFAULT.format(service=service))
    version["serviceAccount"] = version.get("serviceAccount") or app["serviceAccount"]
    rules.check_account(call, version["serviceAccount"])
    apps.require_spread(call, app)
    host = app["defaultHostname"]
    version |= {
        "name": path,
        "servingStatus": "SERVING",
        "threadsafe": True,
        "createdBy": call.caller.partition(":")[2],
        "createTime": call.world.timestamp(0),
        "versionUrl": f"https://{version['id']}-dot-{host}"
        if service == "default"
        else f"https://{version['id']}-dot-{service}-dot-{host}",
    }
    call.world.table(TABLE)[path] = version
    return apps.begin(call, path, "Versions.CreateVersion", started=None)


@operations.finish("appengine.apps.services.versions.create")
def created(world: World, operation: Json) -> Json | NotYet:
    """The version is healthy; or the deployment has failed, and what there was of it is cleared away."""
    path = operation["target"]
    row = world.table(TABLE)[path]
    try:
        if not _is_up(world, operation, row):
            return NOT_YET
    except OperationError:
        clear_away(world, path)
        apps.ended(world, operation)
        raise
    service = path.partition("/versions/")[0]
    if service not in world.table(services.TABLE):
        services.make(world, service, row["id"])
    apps.ended(world, operation)
    return apps.response("Version", _shown(row, "BASIC"))


@method("appengine.apps.services.versions.get", permission=f"{_PERMISSION}.get")
def get(call: Call) -> Json:
    """One version; the full view shows image and environment too."""
    return _shown(_found(call), call.params.get("view"))


@method("appengine.apps.services.versions.list", permission=f"{_PERMISSION}.list")
def list_versions(call: Call) -> Json:
    """The versions of a service."""
    services.found(call)
    rows = call.world.table(TABLE).under(f"{services.path_of(call)}/versions/")
    view = call.params.get("view")
    return call.page([_shown(row, view) for _, row in rows], key="versions", default=100)


@method("appengine.apps.services.versions.patch", permission=f"{_PERMISSION}.update")
def patch(call: Call) -> Json:
    """Begin to stop or start a version, or to scale it."""
    row = _found(call)
    apps.require_idle(call.world, row["name"])
    changes = _changes(call, row)
    wanted = row | changes
    if wanted["servingStatus"] not in ("SERVING", "STOPPED"):
        raise errors.invalid(f"Serving status {wanted['servingStatus']} cannot be set.")
    if changes.get("manualScaling"):
        wanted.pop("automaticScaling", None)
    rules.check(wanted)
    return apps.begin(call, row["name"], "Versions.UpdateVersion", changes=changes, started=None)


@operations.finish("appengine.apps.services.versions.patch")
def patched(world: World, operation: Json) -> Json | NotYet:
    """The change holds; a version that was started is healthy."""
    path, changes = operation["target"], operation["args"]["changes"]
    row = world.table(TABLE)[path]
    was = row["servingStatus"]
    row |= changes
    if row["servingStatus"] == "SERVING" and was != "SERVING":
        try:
            if not _is_up(world, operation, row):
                return NOT_YET
        except OperationError:
            world.machines.version_stop(*_names(path))
            apps.ended(world, operation)
            raise
    if row["servingStatus"] == "STOPPED" and was != "STOPPED":
        world.machines.version_stop(*_names(path))
    world.table(TABLE)[path] = row
    apps.ended(world, operation)
    return apps.response("Version", _shown(row, "BASIC"))


@method("appengine.apps.services.versions.delete", permission=f"{_PERMISSION}.delete")
def delete(call: Call) -> Json:
    """Begin to delete a version that is not the last of its service and gets no traffic."""
    row = _found(call)
    apps.require_idle(call.world, row["name"])
    service_path = services.path_of(call)
    service = call.world.table(services.TABLE).get(service_path)
    others = [key for key, _ in call.world.table(TABLE).under(f"{service_path}/versions/") if key != row["name"]]
    if not others:
        message = (
            "Cannot delete the final version of a service (module). Please delete the whole service (module) in order "
            "to delete this version."
        )
        raise errors.invalid(message)
    if service and service["split"]["allocations"].get(row["id"]):
        message = (
            "Cannot delete a version with a non-zero traffic allocation. Please update your traffic split to not "
            "include this version before deleting it."
        )
        raise errors.invalid(message)
    return apps.begin(call, row["name"], "Versions.DeleteVersion")


@operations.finish("appengine.apps.services.versions.delete")
def deleted(world: World, operation: Json) -> Json:
    """The version is gone; what it logged is not."""
    logging.keep(world, *_names(operation["target"]))
    world.machines.version_stop(*_names(operation["target"]))
    world.table(TABLE).pop(operation["target"], None)
    apps.ended(world, operation)
    return {"@type": "type.googleapis.com/google.protobuf.Empty"}


@method("appengine.apps.services.versions.instances.list", permission="appengine.instances.list")
def list_instances(call: Call) -> Json:
    """The machines that run a version."""
    row = _found(call)
    return call.page(_instances(call, row), key="instances", default=100)


def _names(path: str) -> tuple[str, str, str]:
    """Application, service and version of a version's name."""
    parts = path.split("/")
    return parts[1], parts[3], parts[5]


def _found(call: Call) -> Json:
    apps.app_of(call)
    row = call.world.table(TABLE).get(f"{services.path_of(call)}/versions/{call.params['versionsId']}")
    if row is None:
        raise errors.not_found(f"Could not find Version '{call.params['versionsId']}'.")
    return row


def _shown(row: Json, view: str | None) -> Json:
    return row if view == "FULL" else {key: value for key, value in row.items() if key not in FULL_ONLY}


def _require_flexible(call: Call) -> None:
    """The flexible environment has an API of its own, which must be on."""
    service = "appengineflex.googleapis.com"
    if not call.world.enabled(call.project_id, service):
        title = "Google App Engine Flexible Environment API"
        raise errors.service_disabled(service, title, call.project["projectNumber"])


def _is_up(world: World, operation: Json, row: Json) -> bool:
    """Start the version's machine once, then tell whether it is healthy.

    Raises:
        OperationError: when it never will be.
    """
    args, now = operation["args"], world.clock.now().timestamp()
    names = _names(operation["target"])
    if args["started"] is None:
        app = world.table(apps.TABLE)[operation["project"]]
        rules.check_network(world, app, row.get("network") or {})
        folder = rules.image_of(world, app, row)
        args["started"] = now
        try:
            world.machines.version_start(*names, row, folder, row["serviceAccount"])
        except MachineError as problem:
            raise OperationError(9, f"Application startup error: {problem}", keep=True) from None
    health = world.machines.version_health(*names)
    # The machine gives up by itself after appStartTimeout, on a clock of its own that may be a moment ahead.
    late = now - args["started"] > rules.seconds(row["readinessCheck"]["appStartTimeout"]) - 1
    if health == "failed" and not late:
        log = "\n".join(world.machines.version_log(*names)[-50:])
        raise OperationError(9, f"Application startup error! Code: APP_CONTAINER_CRASHED\n{log}", keep=True)
    if health != "healthy" and late:
        raise OperationError(4, _TOO_LATE, keep=True)
    return health == "healthy"


def clear_away(world: World, path: str) -> None:
    """Roll a failed deployment back: its machine is stopped and the version is not there; what it logged is."""
    logging.keep(world, *_names(path))
    world.machines.version_stop(*_names(path))
    world.table(TABLE).pop(path, None)


def _changes(call: Call, row: Json) -> Json:
    """The changed top-level fields, of which updateMask may name parts."""
    allowed = ("servingStatus", "manualScaling", "automaticScaling", "instanceClass")
    mask = [part.strip() for part in (call.params.get("updateMask") or ",".join(call.body)).split(",") if part.strip()]
    changes: Json = {}
    for path in mask:
        field, *inner = [apps.camel(part) for part in path.split(".")]
        if field not in allowed:
            raise errors.invalid(f"Field '{path}' in the update mask cannot be updated.")
        if not inner:
            changes[field] = call.body.get(field)
            continue
        held: Any = changes.setdefault(field, dict(row.get(field) or {}))
        given: Any = call.body.get(field) or {}
        for part in inner[:-1]:
            held[part] = dict(held.get(part) or {})
            held, given = held[part], given.get(part) or {}
        held[inner[-1]] = given.get(inner[-1])
    return changes


def _instances(call: Call, row: Json) -> list[Json]:
    if row["servingStatus"] != "SERVING":
        return []
    scaling = row.get("manualScaling") or {"instances": row.get("automaticScaling", {}).get("minTotalInstances", 1)}
    return [
        {
            "name": f"{row['name']}/instances/aef-{row['id']}-{number:04d}",
            "id": f"aef-{row['id']}-{number:04d}",
            "availability": "DYNAMIC",
            "vmStatus": "RUNNING",
            "vmName": f"aef-{call.params['servicesId']}-{row['id']}-{number:04d}",
            "startTime": row["createTime"],
            "vmLiveness": "HEALTHY",
        }
        for number in range(scaling["instances"])
    ]
