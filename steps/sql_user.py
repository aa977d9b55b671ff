"""The database user that MLflow signs in as; its password is read from Secret Manager when it is set.

https://docs.cloud.google.com/sql/docs/postgres/admin-api/rest/v1/users
"""

from collections.abc import Sequence

from provision import operations
from provision.deployment import Deployment
from provision.gcp import Gcp
from provision.step import Body, Change, FactBook, Operation, Ref, by_parent, no_contents, no_facts
from steps import _names, secret_version, sql_instance

NAME = "mlflow"

LEAVES: str | None = None
RIGHTS: tuple[str, ...] = (
    "cloudsql.users.create", "cloudsql.users.list", "cloudsql.users.update", "cloudsql.users.delete",
    "cloudsql.instances.get", "secretmanager.versions.access",
)  # fmt: skip


def declare(deployment: Deployment, facts: FactBook) -> dict[Ref, Body]:
    """One user, whose password is this version of the secret."""
    body = {"name": NAME, "passwordVersion": secret_version.ref(deployment)}
    return {f"{sql_instance.ref(deployment)}/users/{NAME}": body}


def read(gcp: Gcp, ref: Ref) -> Body | None:
    """The user's name; nobody can read the password back."""
    where, name = _where(ref)
    users = gcp.sql.users().list(**where).execute().get("items", [])
    return {"name": name} if name in {user["name"] for user in users} else None


def create(gcp: Gcp, ref: Ref, body: Body) -> Operation | None:
    """Make the user."""
    where, name = _where(ref)
    asked = {"name": name, "password": _password(gcp, body)}
    return operations.started("sqladmin", gcp.sql.users().insert(**where, body=asked).execute())


def update(gcp: Gcp, ref: Ref, body: Body, changes: Sequence[Change]) -> Operation | None:
    """Set the password anew."""
    where, name = _where(ref)
    asked = {"name": name, "password": _password(gcp, body)}
    return operations.started("sqladmin", gcp.sql.users().update(**where, name=name, body=asked).execute())


def delete(gcp: Gcp, ref: Ref, live: Body, applied: Body) -> Operation | None:
    """Drop the user."""
    where, name = _where(ref)
    return operations.started("sqladmin", gcp.sql.users().delete(**where, name=name).execute())


def _password(gcp: Gcp, body: Body) -> str:
    return gcp.secrets.access_secret_version(name=body["passwordVersion"], retry=None).payload.data.decode()


def _where(ref: Ref) -> tuple[dict[str, str], str]:
    names = _names.parts(ref)
    return {"project": names["projects"], "instance": names["instances"]}, names["users"]


facts = no_facts
owner = by_parent
contents = no_contents
