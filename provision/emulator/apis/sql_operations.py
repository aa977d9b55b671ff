"""Operations of Cloud SQL: read and listed.

https://docs.cloud.google.com/sql/docs/postgres/admin-api/rest/v1/operations
"""

from provision.emulator import operations
from provision.emulator.api import Call, Json, method


@method("sql.operations.get", permission="cloudsql.instances.get")
def get(call: Call) -> Json:
    """How an operation stands."""
    return operations.read(call, "sql", f"projects/{call.project_id}/operations/{call.params['operation']}")


@method("sql.operations.list", permission="cloudsql.instances.get")
def list_operations(call: Call) -> Json:
    """The operations of an instance, or of all, newest first."""
    rows = operations.listed(call.world, "sql", f"projects/{call.project_id}/operations/")
    instance = call.params.get("instance")
    items = [row for row in rows if instance in (None, row["targetId"])]
    return {"kind": "sql#operationsList", **call.page(items)}
