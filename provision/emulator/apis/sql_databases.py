"""Databases of Cloud SQL instances.

https://docs.cloud.google.com/sql/docs/postgres/admin-api/rest/v1/databases
"""

from collections.abc import Callable

from provision.emulator import errors, operations
from provision.emulator.api import Call, Json, method
from provision.emulator.apis import sql_instances as instances
from provision.emulator.apis import sql_settings as settings
from provision.emulator.machines.failure import MachineError
from provision.emulator.world import World

TABLE = "sql.databases"
_ENCODINGS = {"POSTGRES": ("UTF8", "en_US.UTF8"), "MYSQL": ("utf8", "utf8_general_ci")}
_MYSQL_COLLATIONS = {"utf8": "utf8_general_ci", "utf8mb4": "utf8mb4_0900_ai_ci", "latin1": "latin1_swedish_ci"}


@method("sql.databases.insert", permission="cloudsql.databases.create")
def insert(call: Call) -> Json:
    """Create a database; done at once."""
    instance = instances.require_running(call)
    name = call.body.get("name") or ""
    if not name:
        raise settings.refused("Missing parameter: name")
    path = f"{instances.path_of(call)}/databases/{name}"
    if path in call.world.table(TABLE):
        raise errors.already_exists(f'database "{name}" already exists', reason="databaseAlreadyExists")
    family = instance["databaseVersion"].partition("_")[0]
    charset, collation = _ENCODINGS.get(family, ("", "SQL_Latin1_General_CP1_CI_AS"))
    charset = call.body.get("charset") or charset
    collation = call.body.get("collation") or _MYSQL_COLLATIONS.get(charset, collation)
    if family == "POSTGRES":
        _order(call.world.machines.database_create, instances.path_of(call), name)
    call.world.table(TABLE)[path] = {"name": name, "charset": charset, "collation": collation}
    return operations.start(call, kind="sql", verb=call.id, type="CREATE_DATABASE", target=path, done=True)


@method("sql.databases.get", permission="cloudsql.databases.get")
def get(call: Call) -> Json:
    """One database."""
    instances.found(call)
    return _shown(call, _found(call))


@method("sql.databases.list", permission="cloudsql.databases.list")
def list_databases(call: Call) -> Json:
    """The instance's databases."""
    instances.found(call)
    rows = call.world.table(TABLE).under(f"{instances.path_of(call)}/")
    items = [_shown(call, row) for _, row in rows]
    return {"kind": "sql#databasesList", **({"items": items} if items else {})}


@method("sql.databases.patch", permission="cloudsql.databases.update")
@method("sql.databases.update", permission="cloudsql.databases.update")
def update(call: Call) -> Json:
    """Begin to change character set or collation."""
    instances.require_running(call)
    row = _found(call)
    changes = {key: call.body[key] for key in ("charset", "collation") if call.body.get(key)}
    call.world.table(TABLE)[_path(call)] = row | changes
    return operations.start(call, kind="sql", verb=call.id, type="UPDATE_DATABASE", target=_path(call))


@method("sql.databases.delete", permission="cloudsql.databases.delete")
def delete(call: Call) -> Json:
    """Begin to drop a database with all that is in it."""
    instance = instances.require_running(call)
    row = _found(call)
    if instance["databaseVersion"].startswith("POSTGRES"):
        _order(call.world.machines.database_drop, instances.path_of(call), row["name"])
    return operations.start(call, kind="sql", verb=call.id, type="DELETE_DATABASE", target=_path(call))


@operations.finish("sql.databases.delete")
def deleted(world: World, operation: Json) -> None:
    """The database is gone."""
    world.table(TABLE).pop(operation["target"], None)


def _order(machine_order: Callable[[str, str], None], instance: str, name: str) -> None:
    try:
        machine_order(instance, name)
    except MachineError as problem:
        raise settings.refused(str(problem).rstrip(".")) from None


def _path(call: Call) -> str:
    return f"{instances.path_of(call)}/databases/{call.params['database']}"


def _found(call: Call) -> Json:
    row = call.world.table(TABLE).get(_path(call))
    if row is None:
        raise errors.not_found("Not Found", reason="notFound", status="NOT_FOUND")
    return row


def _shown(call: Call, row: Json) -> Json:
    instance = call.params["instance"]
    link = f"{instances.LINK}projects/{call.project_id}/instances/{instance}/databases/{row['name']}"
    return {
        "kind": "sql#database",
        "name": row["name"],
        "charset": row["charset"],
        "collation": row["collation"],
        "instance": instance,
        "project": call.project_id,
        "selfLink": link,
        "etag": instances.etag(row),
    }
