"""Cloud SQL for PostgreSQL: where MLflow keeps runs, metrics and the model registry.

https://docs.cloud.google.com/sql/docs/postgres/admin-api/rest/v1/instances
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from provision import operations, step
from provision.deployment import Deployment
from provision.errors import BeyondRepair
from provision.gcp import Gcp
from provision.step import Body, Change, FactBook, Operation, Ref, by_labels, immutable, no_contents
from steps import _names, network, peering_range

BACKUP_DAYS = 30
"""How long the final backup is kept (https://cloud.google.com/sql/docs/postgres/backup-recovery/final-backups)."""

FIXED = {"region", "settings.ipConfiguration.privateNetwork", "settings.ipConfiguration.allocatedIpRange"}
"""What Google lets nobody change on an instance."""

RUNS = "RUNNABLE"
SUSPENDED = "SUSPENDED"
BEING_MADE = "PENDING_CREATE"
FAILED = "FAILED"
COMES_BACK = {"MAINTENANCE", "REPAIRING", "ONLINE_MAINTENANCE"}
"""States of one that runs again in a moment, without anybody's doing."""

LEAVES: str | None = f"A final backup of the database, for {BACKUP_DAYS} days."
RIGHTS: tuple[str, ...] = (
    "cloudsql.instances.create", "cloudsql.instances.get", "cloudsql.instances.update", "cloudsql.instances.delete",
)  # fmt: skip


class Facts(step.Facts):
    """What clients name the instance by."""

    step: ClassVar[str] = "sql_instance"
    connection_name: str


def name(deployment: Deployment) -> str:
    """The instance's name: salted and counted, since Google may keep that of a deleted one reserved for a week."""
    return deployment.numbered(f"{deployment.name}-{deployment.salt}", "sql_instance")


def ref(deployment: Deployment) -> Ref:
    """The instance."""
    return f"projects/{deployment.project}/instances/{name(deployment)}"


def declare(deployment: Deployment, facts: FactBook) -> dict[Ref, Body]:
    """A private, encrypted, backed-up instance."""
    database = deployment.config.database
    settings = {
        "tier": database.tier,
        # Left out, it means ENTERPRISE_PLUS from PostgreSQL 16 on, which has none of the small tiers.
        "edition": "ENTERPRISE",
        "availabilityType": "REGIONAL" if database.high_availability else "ZONAL",
        "dataDiskType": "PD_SSD",
        "dataDiskSizeGb": str(database.disk_gb),
        "storageAutoResize": True,
        "deletionProtectionEnabled": database.deletion_protection,
        "activationPolicy": "ALWAYS",
        "backupConfiguration": {
            "enabled": True,
            "pointInTimeRecoveryEnabled": True,
            "transactionLogRetentionDays": 7,
            "backupRetentionSettings": {"retentionUnit": "COUNT", "retainedBackups": 7},
        },
        "ipConfiguration": {
            "ipv4Enabled": False,
            "privateNetwork": network.ref(deployment),
            "allocatedIpRange": peering_range.name(deployment),
            "sslMode": "ENCRYPTED_ONLY",
        },
        "userLabels": deployment.labels,
    }
    body = {"databaseVersion": database.version, "region": deployment.region, "settings": settings, "state": RUNS}
    return {ref(deployment): body}


def read(gcp: Gcp, ref: Ref) -> Body | None:
    """The instance's settings, its connection name, and whether it is what it should be, or on its way there."""
    answer = gcp.sql.instances().get(**_where(ref)).execute()
    state = RUNS if answer.get("state") in COMES_BACK else answer.get("state", RUNS)
    state = " ".join([state, *answer.get("suspensionReason", [])])
    return {**_names.chosen(answer, "connectionName", "databaseVersion", "region", "settings"), "state": state}


def create(gcp: Gcp, ref: Ref, body: Body) -> Operation | None:
    """Make the instance: minutes."""
    where = _where(ref)
    asked = gcp.sql.instances().insert(project=where["project"], body={"name": where["instance"], **_settable(body)})
    return operations.started("sqladmin", asked.execute())


def update(gcp: Gcp, ref: Ref, body: Body, changes: Sequence[Change]) -> Operation | None:
    """Patch what differs; some of it restarts the database. One that is still being made is waited for."""
    if any(change.path == ("state",) for change in changes):
        return _under_way(gcp, ref)
    if any(".".join(change.path) in FIXED for change in changes):
        immutable(gcp, ref, body, changes)
    return _patch(gcp, ref, _names.nested(changes))


def trouble(gcp: Gcp, ref: Ref, live: Body) -> str:
    """Whether the database runs, is on its way there, or was stopped by its owner.

    https://docs.cloud.google.com/sql/docs/postgres/admin-api/rest/v1/instances#SqlInstanceState: one that was stopped
    is RUNNABLE all the same.

    Raises:
        BeyondRepair: It is suspended, has failed, or is being deleted.
    """
    state = live["state"]
    if state not in {RUNS, BEING_MADE}:
        suspended = state.startswith(SUSPENDED)
        first = "See to what Google has suspended it for" if suspended else "Look into it in the console"
        hint = f"{first}; python -m provision up --replace {ref} makes another one, which is empty."
        never_was = state == FAILED and _making_failed(gcp, ref)
        raise BeyondRepair(f"The database instance {ref} is {state}.", hint=hint, never_was=never_was)
    return "it is stopped" if live["settings"].get("activationPolicy") == "NEVER" else ""


def delete(gcp: Gcp, ref: Ref, live: Body, applied: Body) -> Operation | None:
    """Switch the deletion protection off; then delete the instance, with a final backup."""
    if live["settings"].get("deletionProtectionEnabled"):
        return _patch(gcp, ref, {"settings": {"deletionProtectionEnabled": False}})
    asked = gcp.sql.instances().delete(**_where(ref), enableFinalBackup=True, finalBackupTtlDays=BACKUP_DAYS)
    return operations.started("sqladmin", asked.execute())


def facts(live: Body) -> Facts:
    """The connection name."""
    return Facts(connection_name=live["connectionName"])


def _under_way(gcp: Gcp, ref: Ref) -> Operation | None:
    """The operation that makes the instance: whoever asked for it may have died before its name was heard."""
    running = (operation for operation in _operations(gcp, ref) if operation["status"] != "DONE")
    return next((operations.started("sqladmin", operation) for operation in running), None)


def _making_failed(gcp: Gcp, ref: Ref) -> bool:
    """Whether Cloud SQL says that the instance was never there: one that has failed later may hold data."""
    return any(one["operationType"] == "CREATE" and "error" in one for one in _operations(gcp, ref))


def _operations(gcp: Gcp, ref: Ref) -> list[dict[str, Any]]:
    return list(gcp.sql.operations().list(**_where(ref)).execute().get("items", []))


def _patch(gcp: Gcp, ref: Ref, patch: Body) -> Operation | None:
    # Google refuses the patch when somebody else has changed the settings since this version of them.
    version = gcp.sql.instances().get(**_where(ref)).execute()["settings"]["settingsVersion"]
    patch = {**patch, "settings": {**patch.get("settings", {}), "settingsVersion": version}}
    return operations.started("sqladmin", gcp.sql.instances().patch(**_where(ref), body=patch).execute())


def _settable(body: Body) -> Body:
    """What may be asked for: what becomes of it is Google's to tell."""
    return {key: value for key, value in body.items() if key != "state"}


def _where(ref: Ref) -> dict[str, str]:
    names = _names.parts(ref)
    return {"project": names["projects"], "instance": names["instances"]}


owner = by_labels
contents = no_contents
