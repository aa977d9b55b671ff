"""The MLflow tracking server, on App Engine flexible.

https://cloud.google.com/appengine/docs/admin-api/reference/rest/v1/apps.services.versions. A version cannot be changed
but for its scaling and whether it serves, so its id is made from all the rest: other settings are another version.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import ClassVar

from provision import step
from provision.deployment import Deployment
from provision.errors import NotOurs
from provision.gcp import Gcp
from provision.step import Body, Change, FactBook, Operation, Ref, immutable, no_contents
from steps import (
    _appengine,
    _bucket,
    _names,
    app,
    artifact_bucket,
    image,
    network,
    secret_version,
    service_accounts,
    sql_database,
    sql_instance,
    sql_user,
    subnet,
)

ORIGIN = "SERVER_ORIGIN"
"""The one variable that is not declared: it follows from the ref and the application's host name."""

AT_ITS_ORIGIN = "atItsOrigin"
"""Not Google's: whether the version is reached where it was told. An emulator's door moves when its port is taken."""

CHANGEABLE = ("manualScaling", "servingStatus")

FIELDS = (
    "deployment", "env", "envVariables", "livenessCheck", "manualScaling", "network", "readinessCheck", "resources",
    "runtime", "serviceAccount", "servingStatus",
)  # fmt: skip

LEAVES: str | None = None
RIGHTS: tuple[str, ...] = (
    "appengine.applications.get", "appengine.services.list", "appengine.services.delete",
    "appengine.versions.create", "appengine.versions.get", "appengine.versions.list", "appengine.versions.update",
    "appengine.versions.delete", "appengine.operations.get", "iam.serviceAccounts.actAs",
)  # fmt: skip


class Facts(step.Facts):
    """Where the server is reached: scheme, host and, if not the usual one, port."""

    step: ClassVar[str] = "server"
    origin: str


def service_ref(deployment: Deployment) -> Ref:
    """The service that the versions belong to."""
    return f"{app.ref(deployment)}/services/{deployment.service}"


def version_id(deployment: Deployment, body: Body, account: str) -> str:
    """The id of the version with this body, running as the account with this unique id."""
    fixed = {field: value for field, value in body.items() if field not in CHANGEABLE}
    named = json.dumps([fixed, account, deployment.counters.get("server", 0)], sort_keys=True)
    return f"{_appengine.SERVER}{hashlib.sha256(named.encode()).hexdigest()[:8]}"


def declare(deployment: Deployment, facts: FactBook) -> dict[Ref, Body]:
    """One version, of the image as it was built."""
    size = deployment.config.server
    body = {
        "env": "flex",
        "runtime": "custom",
        "serviceAccount": deployment.account("server"),
        "deployment": {"container": {"image": facts[image.Facts].uri}},
        "network": {
            "name": network.name(deployment),
            "subnetworkName": subnet.name(deployment),
            "instanceIpMode": "INTERNAL",  # needs Private Google Access on the subnet
        },
        "resources": {"cpu": size.cpu, "memoryGb": size.memory_gb, "diskGb": size.disk_gb},
        "manualScaling": {"instances": size.instances},
        # Both answer for any Host and without the database; the entrypoint answers them itself while it waits for it.
        "livenessCheck": {
            "path": "/version", "checkInterval": "30s", "timeout": "4s", "failureThreshold": 4,
            "successThreshold": 2, "initialDelay": "300s",
        },
        "readinessCheck": {
            "path": "/health", "checkInterval": "5s", "timeout": "4s", "failureThreshold": 2,
            "successThreshold": 2, "appStartTimeout": "1800s",
        },
        "envVariables": {
            _appengine.MARK: deployment.id,
            "ARTIFACT_ROOT": f"gs://{_bucket.name(artifact_bucket.ref(deployment))}/artifacts",
            **({"ARTIFACT_SIGNER": deployment.account("server")} if deployment.signs else {}),
            # Named here and not learnt from the instance: the server is deployed while the instance is made.
            "DATABASE_INSTANCE": f"{deployment.project}:{deployment.region}:{sql_instance.name(deployment)}",
            "DATABASE_NAME": sql_database.NAME,
            "DATABASE_PASSWORD_VERSION": secret_version.ref(deployment),
            "DATABASE_USER": sql_user.NAME,
            "WORKERS": str(size.workers),
        },
        "servingStatus": "SERVING",
        AT_ITS_ORIGIN: True,
    }  # fmt: skip
    version = version_id(deployment, body, facts[service_accounts.Facts].server_id)
    return {f"{service_ref(deployment)}/versions/{version}": body}


def read(gcp: Gcp, ref: Ref) -> Body | None:
    """The version's settings; Google takes "flex" and answers "flexible"."""
    version = _appengine.version(gcp, ref)
    return _names.chosen(version, *FIELDS) | {
        "env": version.get("env", "").replace("flexible", "flex"),
        AT_ITS_ORIGIN: version.get("envVariables", {}).get(ORIGIN) == _origin(gcp, ref),
    }


def create(gcp: Gcp, ref: Ref, body: Body) -> Operation | None:
    """Deploy the version, which takes minutes; never into a service that is not ours."""
    where = _appengine.path(ref)
    service = _service(gcp, ref)
    if service and service.marks(serving=True) - {_appengine.mark(body)}:
        raise NotOurs(f"The service {where['servicesId']} of the App Engine application serves somebody else already")
    variables = {**body["envVariables"], ORIGIN: _origin(gcp, ref)}
    new = {field: value for field, value in body.items() if field not in {"servingStatus", AT_ITS_ORIGIN}}
    return _appengine.create_version(gcp, ref, {**new, "envVariables": variables})


def update(gcp: Gcp, ref: Ref, body: Body, changes: Sequence[Change]) -> Operation | None:
    """Start it again, or scale it."""
    fields = {change.path[0] for change in changes}
    if not fields <= set(CHANGEABLE):
        immutable(gcp, ref, body, changes)
    if "servingStatus" in fields:
        return _appengine.patch_version(gcp, ref, {"servingStatus": body["servingStatus"]}, "servingStatus")
    return _appengine.patch_version(gcp, ref, {"manualScaling": body["manualScaling"]}, "manualScaling.instances")


def delete(gcp: Gcp, ref: Ref, live: Body, applied: Body) -> Operation | None:
    """Delete the version; one that has traffic only goes with its service, or is stopped."""
    where = _appengine.path(ref)
    service = _service(gcp, ref)
    if service is None or where["versionsId"] not in service.split:
        return _appengine.delete_version(gcp, ref)
    return _appengine.end_service(gcp, _names.parent(ref), _appengine.mark(live))


def facts(live: Body) -> Facts:
    """The origin that the version was told."""
    return Facts(origin=live["envVariables"][ORIGIN])


def _origin(gcp: Gcp, ref: Ref) -> str:
    where = _appengine.path(ref)
    hostname = gcp.appengine.apps().get(appsId=where["appsId"]).execute()["defaultHostname"]
    return gcp.origin(where["servicesId"], hostname)


def _service(gcp: Gcp, ref: Ref) -> _appengine.Service | None:
    where = _appengine.path(ref)
    return _appengine.service(gcp, where["appsId"], where["servicesId"])


owner = _appengine.by_environment
contents = no_contents
