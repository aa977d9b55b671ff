"""The database inside the instance.

https://docs.cloud.google.com/sql/docs/postgres/admin-api/rest/v1/databases
"""

from provision import operations
from provision.deployment import Deployment
from provision.gcp import Gcp
from provision.step import Body, FactBook, Operation, Ref, by_parent, immutable, no_contents, no_facts
from steps import _names, sql_instance

NAME = "mlflow"

LEAVES: str | None = None
RIGHTS: tuple[str, ...] = (
    "cloudsql.databases.create", "cloudsql.databases.get", "cloudsql.databases.delete", "cloudsql.instances.get",
)  # fmt: skip


def declare(deployment: Deployment, facts: FactBook) -> dict[Ref, Body]:
    """One database, in Unicode."""
    return {f"{sql_instance.ref(deployment)}/databases/{NAME}": {"charset": "UTF8", "collation": "en_US.UTF8"}}


def read(gcp: Gcp, ref: Ref) -> Body | None:
    """How it stores text."""
    return _names.chosen(gcp.sql.databases().get(**_where(ref)).execute(), "charset", "collation")


def create(gcp: Gcp, ref: Ref, body: Body) -> Operation | None:
    """Make the database."""
    where = _where(ref)
    asked = {"name": where.pop("database"), **body}
    return operations.started("sqladmin", gcp.sql.databases().insert(**where, body=asked).execute())


def delete(gcp: Gcp, ref: Ref, live: Body, applied: Body) -> Operation | None:
    """Drop the database."""
    return operations.started("sqladmin", gcp.sql.databases().delete(**_where(ref)).execute())


def _where(ref: Ref) -> dict[str, str]:
    names = _names.parts(ref)
    return {"project": names["projects"], "instance": names["instances"], "database": names["databases"]}


update = immutable
facts = no_facts
owner = by_parent
contents = no_contents
