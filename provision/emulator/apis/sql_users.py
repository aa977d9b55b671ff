"""Users of Cloud SQL instances. Their passwords go to the database and are kept nowhere else.

https://docs.cloud.google.com/sql/docs/postgres/admin-api/rest/v1/users
"""

from collections.abc import Callable

from provision.emulator import errors, operations
from provision.emulator.api import Call, Json, method
from provision.emulator.apis import sql_instances as instances
from provision.emulator.apis import sql_settings as settings
from provision.emulator.machines.failure import MachineError

TABLE = "sql.users"


@method("sql.users.insert", permission="cloudsql.users.create")
def insert(call: Call) -> Json:
    """Create a user, or give one that is there the password that is sent; done at once."""
    instance = instances.require_running(call)
    body = call.body
    name = body.get("name") or ""
    if not name:
        raise settings.refused("Missing parameter: name")
    mysql = instance["databaseVersion"].startswith("MYSQL")  # only there have users a host
    row = {"name": name, "host": (body.get("host") or "") if mysql else ""}
    row |= {key: body[key] for key in ("type", "databaseRoles") if body.get(key)}
    if row.get("type", "BUILT_IN") == "BUILT_IN":
        _set_password(call, instance, name, body.get("password") or "")
    call.world.table(TABLE)[_path(call, name, row["host"])] = row
    return _done(call, "CREATE_USER")


@method("sql.users.get", permission="cloudsql.users.get")
def get(call: Call) -> Json:
    """One user; the password never comes back."""
    instance = instances.found(call)
    row = _find(call, call.params["name"], call.params.get("host"))
    if row is None:
        raise errors.not_found("Not Found", reason="notFound")
    return _shown(call, instance, row)


@method("sql.users.list", permission="cloudsql.users.list")
def list_users(call: Call) -> Json:
    """The instance's users."""
    instance = instances.found(call)
    rows = call.world.table(TABLE).under(f"{instances.path_of(call)}/users/")
    items = [_shown(call, instance, row) for _, row in rows]
    return {"kind": "sql#usersList", **({"items": items} if items else {})}


@method("sql.users.update", permission="cloudsql.users.update")
def update(call: Call) -> Json:
    """Give a user a new password; done at once."""
    instance = instances.require_running(call)
    name = call.params.get("name") or call.body.get("name") or ""
    row = _find(call, name, call.params.get("host"))
    if row is None:
        raise errors.not_found("Not Found", reason="notFound")
    if call.body.get("password"):
        _set_password(call, instance, name, call.body["password"])
    row |= {"databaseRoles": call.body["databaseRoles"]} if call.body.get("databaseRoles") else {}
    call.world.table(TABLE)[_path(call, name, row["host"])] = row
    return _done(call, "UPDATE_USER")


@method("sql.users.delete", permission="cloudsql.users.delete")
def delete(call: Call) -> Json:
    """Drop a user, which fails while it owns something; done at once."""
    instance = instances.require_running(call)
    name, host = call.params.get("name") or "", call.params.get("host")
    row = _find(call, name, host)
    version = instance["databaseVersion"]
    if version.startswith("MYSQL") and (row is None or host is None):
        raise settings.refused(f"Error 1396: Operation DROP USER failed for '{name}'@'{host or ''}'")
    if row is None:
        raise settings.refused(f'failed to delete user {name}: . role "{name}" does not exist')
    if version.startswith("POSTGRES") and row.get("type", "BUILT_IN") == "BUILT_IN":
        _order(lambda: call.world.machines.database_drop_user(instances.path_of(call), name), f"delete user {name}")
    del call.world.table(TABLE)[_path(call, name, row["host"])]
    return _done(call, "DELETE_USER")


def _set_password(call: Call, instance: Json, name: str, password: str) -> None:
    if not instance["databaseVersion"].startswith("POSTGRES"):
        return
    if not password:
        raise settings.refused("Missing parameter: password")
    path = instances.path_of(call)
    _order(lambda: call.world.machines.database_set_user(path, name, password), f"set the password of user {name}")


def _order(machine_order: Callable[[], None], what: str) -> None:
    try:
        machine_order()
    except MachineError as problem:
        raise settings.refused(f"failed to {what}: . {str(problem).rstrip('.')}") from None


def _done(call: Call, type: str) -> Json:  # noqa: A002
    return operations.start(call, kind="sql", verb=call.id, type=type, target=instances.path_of(call), done=True)


def _path(call: Call, name: str, host: str) -> str:
    return f"{instances.path_of(call)}/users/{name}@{host}"


def _find(call: Call, name: str, host: str | None) -> Json | None:
    """The user of that name; MySQL's first user is there under the host % too, though it is shown without."""
    table = call.world.table(TABLE)
    return table.get(_path(call, name, host or "")) or (table.get(_path(call, name, "")) if host == "%" else None)


def _shown(call: Call, instance: Json, row: Json) -> Json:
    shown = {
        "kind": "sql#user",
        **row,
        "instance": call.params["instance"],
        "project": call.project_id,
        "etag": instances.etag(row),
        "iamStatus": "IAM_STATUS_UNSPECIFIED",
    }
    if instance["databaseVersion"].startswith("MYSQL"):
        shown["passwordPolicy"] = {"status": {}}
    if instance["databaseVersion"].startswith("SQLSERVER"):
        del shown["iamStatus"]
        system = row["name"].startswith("##")
        shown["sqlserverUserDetails"] = {"disabled": True} if system else {"serverRoles": ["CustomerDbRootRole"]}
    return shown
