"""Cloud SQL instances: made, changed one operation at a time, and deleted with or without a final backup.

https://docs.cloud.google.com/sql/docs/postgres/admin-api/rest/v1/instances. For PostgreSQL a real server is behind them
when the emulator has machines; MySQL and SQL Server are control plane only.
"""

import hashlib
import json
import re
from datetime import timedelta

from provision.emulator import errors, operations
from provision.emulator.api import Call, Json, method
from provision.emulator.apis import compute_regions as regions
from provision.emulator.apis import servicenetworking, sql_backups
from provision.emulator.apis import sql_machine as machine
from provision.emulator.apis import sql_settings as settings
from provision.emulator.machines.failure import MachineError
from provision.emulator.operations import NOT_YET, NotYet, OperationError
from provision.emulator.world import World

TABLE = "sql.instances"
RESERVED = "sql.reserved"
LINK = "https://sqladmin.googleapis.com/sql/v1beta4/"
DELETED_NAMES_STAY = timedelta(days=7)

_NAME = re.compile(r"[a-z]([-a-z0-9]{0,95}[a-z0-9])?")
_PROTECTED = (
    "The instance is protected. Please disable the deletion protection and try again. To disable deletion protection, "
    "update the instance settings with deletionProtectionEnabled set to false."
)
# Who an instance has from its first moment on, by the database.
FIRST_USERS = {"POSTGRES": ["postgres"], "MYSQL": ["root"]}
FIRST_SQLSERVER_USERS = ["##MS_PolicyEventProcessingLogin##", "##MS_PolicyTsqlExecutionLogin##", "sqlserver"]


def path_of(call: Call) -> str:
    """Path of the instance that a call names; also its name to the machines."""
    return f"projects/{call.project_id}/instances/{call.params['instance']}"


def found(call: Call) -> Json:
    """The instance that a call names; raises 404 when there is none."""
    row = call.world.table(TABLE).get(path_of(call))
    if row is None:
        raise errors.not_found("The Cloud SQL instance does not exist.", reason="instanceDoesNotExist")
    return row


def require_idle(world: World, path: str) -> None:
    """Refuse to begin anything while another operation of the instance is running."""
    rows = operations.pending(world, "sql", path)
    if any(row["target"] == path or row["target"].startswith(f"{path}/") for row in rows):
        message = "Operation failed because another operation was already in progress."
        raise errors.GoogleError(409, message, reason="operationInProgress")


def require_running(call: Call) -> Json:
    """The instance that a call names, when it takes orders now: idle, made, and not stopped."""
    row = found(call)
    require_idle(call.world, path_of(call))
    if row["state"] != "RUNNABLE" or row["settings"]["activationPolicy"] == "NEVER":
        raise settings.refused("Invalid request since instance is not running")
    return row


def etag(content: object) -> str:
    """An etag of Cloud SQL: 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def begin(call: Call, path: str, type: str, **args: object) -> Json:  # noqa: A002
    """Start the operation of this call on an instance and answer it."""
    return operations.start(call, kind="sql", verb=call.id, type=type, target=path, args=args)


@method("sql.instances.insert", permission="cloudsql.instances.create")
def insert(call: Call) -> Json:
    """Begin to create an instance. Its name must be new: deleted ones stay reserved for a week."""
    body, world = call.body, call.world
    name = body.get("name") or body.get("instance") or ""
    if not _NAME.fullmatch(name) or len(f"{call.project_id}:{name}") > 97:
        raise settings.refused(f"Invalid full instance name: {call.project_id}:{name}")
    path = f"projects/{call.project_id}/instances/{name}"
    _require_new(world, path)
    version, region = body.get("databaseVersion") or "MYSQL_8_0", body.get("region") or "us-central1"
    settings.check_version(version)
    if region not in regions.AUTO_RANGES:
        raise settings.refused(f"Invalid region ({region})")
    sent = body.get("settings") or {}
    settings.normalise_network(call, sent)
    complete = settings.completed(version, region, sent, 1)
    settings.check(version, complete)
    settings.check_network(call, name, complete["ipConfiguration"])
    row = _described(call, name, version, region, complete)
    row |= _replica_of(call, body) | _encrypted(body)
    world.table(TABLE)[path] = row
    _seed(world, path, row)
    machine.behind(world, row).database_start(path, machine.spec(row, machine.private_address(world, path)))
    return begin(call, path, "CREATE_REPLICA" if row.get("masterInstanceName") else "CREATE")


@operations.finish("sql.instances.insert")
def inserted(world: World, operation: Json) -> NotYet | None:
    """The instance runs, has its addresses and its own certificate authority."""
    path = operation["target"]
    row = world.table(TABLE)[path]
    if not _settled(world, path, row):
        return NOT_YET
    row |= {"state": "RUNNABLE", "ipAddresses": machine.addresses(world, path, row)}
    row |= machine.private_service(path, row)
    row["serverCaCert"] = {
        "kind": "sql#sslCert",
        "instance": row["name"],
        **machine.behind(world, row).database_ca(path),
    }
    _save(world, path, row)
    return None


@method("sql.instances.get", permission="cloudsql.instances.get")
def get(call: Call) -> Json:
    """One instance."""
    return found(call)


@method("sql.instances.list", permission="cloudsql.instances.list")
def list_instances(call: Call) -> Json:
    """The project's instances."""
    rows = [row for _, row in call.world.table(TABLE).under(f"projects/{call.project_id}/")]
    return {"kind": "sql#instancesList", **call.page(rows)}


@method("sql.instances.patch", permission="cloudsql.instances.update")
def patch(call: Call) -> Json:
    """Begin to change what is sent, and leave the rest."""
    row = found(call)
    given = call.body.get("settings") or {}
    return _change(call, row, settings.merged(row["settings"], given), given.get("settingsVersion"))


@method("sql.instances.update", permission="cloudsql.instances.update")
def update(call: Call) -> Json:
    """Begin to replace the settings; settingsVersion must be the current one."""
    row = found(call)
    given = call.body.get("settings") or {}
    if not given.get("settingsVersion"):
        raise settings.refused("Missing parameter: settings.settingsVersion")
    return _change(call, row, given, given["settingsVersion"])


@operations.finish("sql.instances.patch")
@operations.finish("sql.instances.update")
def updated(world: World, operation: Json) -> NotYet | None:
    """The new settings hold, and a server that had to restart for them is up again."""
    path = operation["target"]
    row = world.table(TABLE)[path]
    if not _settled(world, path, row):
        return NOT_YET
    row["ipAddresses"] = machine.addresses(world, path, row)
    _save(world, path, row)
    return None


@method("sql.instances.restart", permission="cloudsql.instances.restart")
def restart(call: Call) -> Json:
    """Begin to stop the server and start it again."""
    row, path, world = require_running(call), path_of(call), call.world
    machine.behind(world, row).database_stop(path)
    machine.behind(world, row).database_start(path, machine.spec(row, machine.private_address(world, path)))
    return begin(call, path, "RESTART")


@operations.finish("sql.instances.restart")
def restarted(world: World, operation: Json) -> NotYet | None:
    """The server is up again."""
    row = world.table(TABLE)[operation["target"]]
    return None if _settled(world, operation["target"], row) else NOT_YET


@method("sql.instances.delete", permission="cloudsql.instances.delete")
def delete(call: Call) -> Json:
    """Begin to delete an instance, keeping a final backup when one is asked for."""
    row, path = found(call), path_of(call)
    require_idle(call.world, path)
    if row["settings"]["deletionProtectionEnabled"]:
        raise errors.invalid(_PROTECTED, reason="badRequest")
    if row.get("replicaNames"):
        raise settings.refused("The instance has read replicas: delete them first")
    row["state"] = "PENDING_DELETE"
    call.world.table(TABLE)[path] = row
    kept = sql_backups.final_backup_of(call, row)
    return begin(call, path, "DELETE", backup=kept)


@operations.finish("sql.instances.delete")
def deleted(world: World, operation: Json) -> None:
    """Instance, databases and users are gone; name, and perhaps a backup, stay for a while."""
    path = operation["target"]
    row = world.table(TABLE).pop(path)
    if operation["args"]["backup"]:
        sql_backups.keep(world, row, operation["args"]["backup"])
    for table in ("sql.databases", "sql.users"):
        for key, _ in world.table(table).under(f"{path}/"):
            del world.table(table)[key]
    until = world.clock.now() + DELETED_NAMES_STAY
    world.table(RESERVED)[path] = {"until": until.isoformat()}
    primary = row.get("masterInstanceName", "").rpartition(":")[2]
    master = world.table(TABLE).get(f"projects/{path.split('/')[1]}/instances/{primary}")
    if master:
        left = [name for name in master.get("replicaNames", []) if name != row["name"]]
        _save(world, f"projects/{path.split('/')[1]}/instances/{master['name']}", master | {"replicaNames": left})
    machine.behind(world, row).database_delete(path)
    network = row["settings"]["ipConfiguration"].get("privateNetwork")
    if network:
        servicenetworking.released(world, network)


def _require_new(world: World, path: str) -> None:
    if path in world.table(TABLE):
        raise errors.GoogleError(409, "The Cloud SQL instance already exists.", reason="instanceAlreadyExists")
    reserved = world.table(RESERVED).get(path)
    if reserved and reserved["until"] > world.clock.now().isoformat():
        message = (
            "The Cloud SQL instance already exists. When you delete an instance, you cannot reuse the name of the "
            "deleted instance until one week from the deletion date."
        )
        raise errors.GoogleError(409, message, reason="instanceAlreadyExists")


def _described(call: Call, name: str, version: str, region: str, complete: Json) -> Json:
    number = call.project["projectNumber"]
    row: Json = {
        "kind": "sql#instance",
        "name": name,
        "project": call.project_id,
        "state": "PENDING_CREATE",
        "backendType": "SECOND_GEN",
        "instanceType": "CLOUD_SQL_INSTANCE",
        "databaseVersion": version,
        "databaseInstalledVersion": settings.installed(version),
        "maintenanceVersion": settings.maintenance(version),
        "region": region,
        "gceZone": complete["locationPreference"]["zone"],
        "connectionName": f"{call.project_id}:{region}:{name}",
        "selfLink": f"{LINK}projects/{call.project_id}/instances/{name}",
        "createTime": call.world.timestamp(3),
        "serviceAccountEmailAddress": f"p{number}-{call.world.hex(6)}@gcp-sa-cloud-sql.iam.gserviceaccount.com",
        "sqlNetworkArchitecture": "NEW_NETWORK_ARCHITECTURE",
        "satisfiesPzi": True,
        "settings": complete,
    }
    gemini = settings.gemini(version)
    row |= {"geminiConfig": gemini} if gemini else {}
    if version.startswith("POSTGRES"):
        row["includeReplicasForMajorVersionUpgrade"] = False
    upgrades = settings.upgrades(version)
    row |= {"upgradableDatabaseVersions": upgrades} if upgrades else {}
    row |= _standby(region, complete)
    return row | {"etag": etag(row)}


def _standby(region: str, complete: Json) -> Json:
    """What a regional instance has beside its main zone."""
    if complete["availabilityType"] != "REGIONAL":
        return {}
    location = complete["locationPreference"]
    other = next(zone for zone in regions.zones(region) if zone != location["zone"])
    return {"failoverReplica": {"available": True}, "secondaryGceZone": location.get("secondaryZone") or other}


def _replica_of(call: Call, body: Json) -> Json:
    """The fields that make an instance a read replica, which its primary is told of too."""
    name = (body.get("masterInstanceName") or "").rpartition(":")[2]
    if not name:
        return {}
    path = f"projects/{call.project_id}/instances/{name}"
    primary = call.world.table(TABLE).get(path)
    if primary is None:
        raise errors.not_found("The Cloud SQL instance does not exist.", reason="instanceDoesNotExist")
    require_idle(call.world, path)
    primary["replicaNames"] = [*primary.get("replicaNames", []), body.get("name")]
    call.world.table(TABLE)[path] = primary
    sent = body.get("replicaConfiguration") or {}
    said = {key: sent[key] for key in ("failoverTarget", "cascadableReplica") if key in sent}
    told = {"replicaConfiguration": {"kind": "sql#replicaConfiguration"} | said} if sent else {}
    return {"instanceType": "READ_REPLICA_INSTANCE", "masterInstanceName": f"{call.project_id}:{name}"} | told


def _encrypted(body: Json) -> Json:
    """The key that an instance is encrypted with, and which version of it.

    https://docs.cloud.google.com/sql/docs/postgres/cmek
    """
    key = (body.get("diskEncryptionConfiguration") or {}).get("kmsKeyName")
    if not key:
        return {}
    version = {"kind": "sql#diskEncryptionStatus", "kmsKeyVersionName": f"{key}/cryptoKeyVersions/1"}
    configuration = {"kind": "sql#diskEncryptionConfiguration", "kmsKeyName": key}
    return {"diskEncryptionConfiguration": configuration, "diskEncryptionStatus": version}


def _seed(world: World, path: str, row: Json) -> None:
    """The users and the database that an instance has from the start."""
    if row.get("masterInstanceName"):
        return
    family = row["databaseVersion"].partition("_")[0]
    for user in FIRST_USERS.get(family, FIRST_SQLSERVER_USERS):
        world.table("sql.users")[f"{path}/users/{user}@"] = {"name": user, "host": ""}
    if family == "POSTGRES":
        encoding = {"charset": "UTF8", "collation": "en_US.UTF8"}
        world.table("sql.databases")[f"{path}/databases/postgres"] = {"name": "postgres", **encoding}


def _change(call: Call, row: Json, wanted: Json, given_version: str | None) -> Json:
    """Check and store changed settings, restart the machine when it must, and begin the operation."""
    path, world = path_of(call), call.world
    require_idle(world, path)
    if row["state"] != "RUNNABLE":
        raise settings.refused("Invalid request since instance is not running")
    # Only an older version is stale; what Google says to one that it has never given out is not known.
    if given_version and int(given_version) < int(row["settings"]["settingsVersion"]):
        raise errors.GoogleError(412, "Condition does not match.", reason="staleData")
    settings.normalise_network(call, wanted)
    version = call.body.get("databaseVersion") or row["databaseVersion"]
    settings.check_version(version)
    complete = settings.completed(version, row["region"], wanted, int(row["settings"]["settingsVersion"]) + 1)
    settings.check(version, complete)
    settings.check_change(row["settings"], complete)
    network = complete["ipConfiguration"].get("privateNetwork")
    if network != row["settings"]["ipConfiguration"].get("privateNetwork"):
        settings.check_network(call, row["name"], complete["ipConfiguration"])
    for name in ("failoverReplica", "secondaryGceZone"):
        row.pop(name, None)
    row |= {"settings": complete, "gceZone": complete["locationPreference"]["zone"]}
    row |= _standby(row["region"], complete)
    if version != row["databaseVersion"]:
        row |= {"databaseVersion": version, "databaseInstalledVersion": settings.installed(version)}
        row |= {"maintenanceVersion": settings.maintenance(version)}
        row["upgradableDatabaseVersions"] = settings.upgrades(version)
    _save(world, path, row)
    if complete["activationPolicy"] == "NEVER":
        machine.behind(world, row).database_stop(path)
    else:
        machine.behind(world, row).database_start(path, machine.spec(row, machine.private_address(world, path)))
    return begin(call, path, "UPDATE")


def _save(world: World, path: str, row: Json) -> None:
    for name in ("replicaNames", "upgradableDatabaseVersions"):
        if not row.get(name):
            row.pop(name, None)
    row["etag"] = etag({key: value for key, value in row.items() if key != "etag"})
    world.table(TABLE)[path] = row


def _settled(world: World, path: str, row: Json) -> bool:
    """Whether the machine is as it should be; one that can not start fails the operation."""
    if row["settings"]["activationPolicy"] == "NEVER":
        return True
    try:
        return machine.behind(world, row).database_ready(path)
    except MachineError as problem:
        world.table(TABLE)[path] = row | {"state": "FAILED"}
        raise OperationError("INTERNAL_ERROR", str(problem), keep=True) from None
