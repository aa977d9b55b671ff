"""Backups that outlive a Cloud SQL instance: those taken as it is deleted.

https://docs.cloud.google.com/sql/docs/postgres/admin-api/rest/v1/Backups
"""

from datetime import timedelta

from provision.emulator import errors, operations
from provision.emulator.api import Call, Json, method
from provision.emulator.world import World

TABLE = "sql.backups"
_LINK = "https://sqladmin.googleapis.com/v1/"


def final_backup_of(call: Call, row: Json) -> Json | None:
    """How the final backup is to be kept, by the call's parameters or else the instance's settings; None for none."""
    params, configured = call.params, row["settings"].get("finalBackupConfig") or {}
    wanted = params.get("enableFinalBackup")
    if not (configured.get("enabled") if wanted is None else wanted):
        return None
    days = params.get("finalBackupTtlDays") or configured.get("retentionDays") or 30
    expiry = params.get("finalBackupExpiryTime") or call.world.timestamp(3, call.now + timedelta(days=int(days)))
    return {
        "id": f"{call.world.number(19)}",
        "description": params.get("finalBackupDescription") or "",
        "expiryTime": expiry,
        "ttlDays": str(days),
    }


def keep(world: World, instance: Json, kept: Json) -> None:
    """Store the final backup of an instance that is being deleted."""
    name = f"projects/{instance['project']}/backups/{kept['id']}"
    now = world.timestamp(3)
    row = {
        "kind": "sql#backup",
        "name": name,
        "selfLink": _LINK + name,
        "type": "FINAL",
        "state": "SUCCESSFUL",
        "backupKind": "SNAPSHOT",
        "instance": instance["name"],
        "instanceDeletionTime": now,
        "instanceSettings": {key: instance[key] for key in ("databaseVersion", "region", "settings")},
        "databaseVersion": instance["databaseVersion"],
        "location": instance["region"].partition("-")[0],
        "backupInterval": {"startTime": now, "endTime": now},
        "expiryTime": kept["expiryTime"],
        "ttlDays": kept["ttlDays"],
        "maxChargeableBytes": "0",
        "satisfiesPzi": True,
    }
    world.table(TABLE)[name] = row | ({"description": kept["description"]} if kept["description"] else {})


@method("sql.Backups.ListBackups", permission="cloudsql.backupRuns.list")
def list_backups(call: Call) -> Json:
    """The project's backups; filter= takes instance, type and name with : or =."""
    rows = [row for _, row in call.world.table(TABLE).under(f"{call.parent}/backups/") if _wanted(call, row)]
    return call.page(rows, key="backups", default=500)


@method("sql.Backups.GetBackup", permission="cloudsql.backupRuns.get")
def get_backup(call: Call) -> Json:
    """One backup."""
    return _found(call)


@method("sql.Backups.UpdateBackup", permission="cloudsql.backupRuns.update")
def update_backup(call: Call) -> Json:
    """Change description or time of expiry."""
    row = _found(call)
    row |= {key: call.body[key] for key in ("description", "expiryTime", "ttlDays") if call.body.get(key)}
    call.world.table(TABLE)[call.name] = row
    return _begin(call, row, "UPDATE_BACKUP")


@method("sql.Backups.DeleteBackup", permission="cloudsql.backupRuns.delete")
def delete_backup(call: Call) -> Json:
    """Begin to delete a backup."""
    return _begin(call, _found(call), "DELETE_BACKUP", backup=call.name)


@operations.finish("sql.Backups.DeleteBackup")
def backup_deleted(world: World, operation: Json) -> None:
    """The backup is gone."""
    world.table(TABLE).pop(operation["args"]["backup"], None)


def _found(call: Call) -> Json:
    row = call.world.table(TABLE).get(call.name)
    if row is None:
        raise errors.not_found("The backup does not exist.", reason="backupDoesNotExist")
    return row


def _begin(call: Call, row: Json, type: str, **args: object) -> Json:  # noqa: A002
    target = f"projects/{call.project_id}/instances/{row['instance']}"
    return operations.start(call, kind="sql", verb=call.id, type=type, target=target, args=args)


def _wanted(call: Call, row: Json) -> bool:
    for clause in (call.params.get("filter") or "").split(" AND "):
        field, mark, value = clause.replace("=", ":", 1).partition(":")
        if mark and str(row.get(field.strip())) != value.strip().strip("\"'"):
            return False
    return True
