"""The traffic of the service, all of it on the newest version.

https://cloud.google.com/appengine/docs/admin-api/reference/rest/v1/apps.services
"""

from collections.abc import Sequence

from provision.deployment import Deployment
from provision.gcp import Gcp
from provision.step import Body, Change, FactBook, Operation, Owner, Ref, no_contents, no_facts
from steps import _appengine, server

LEAVES: str | None = None
RIGHTS: tuple[str, ...] = (
    "appengine.services.list", "appengine.services.update", "appengine.services.delete", "appengine.versions.get",
    "appengine.versions.list", "appengine.versions.update", "appengine.versions.delete", "appengine.operations.get",
)  # fmt: skip


def declare(deployment: Deployment, facts: FactBook) -> dict[Ref, Body]:
    """Everything to the version that the server's row declares, and none of ours lies about stopped."""
    (version,) = server.declare(deployment, facts)
    allocations = {_appengine.path(version)["versionsId"]: 1.0}
    return {server.service_ref(deployment): {"split": {"allocations": allocations}, "idle": {deployment.id: []}}}


def read(gcp: Gcp, ref: Ref) -> Body | None:
    """Who gets how much, whose the running ones of those versions are, and which versions of whom idle, stopped.

    A default service can only be stopped; it counts as gone when all its versions with traffic are.
    """
    service = _service(gcp, ref)
    if service is None or (_is_default(ref) and not service.marks(serving=True)):
        return None
    serving: dict[str, str] = {}
    idle: dict[str, list[str]] = {}
    for name, version in sorted(service.versions.items()):
        if name in service.split and _appengine.is_serving(version):
            serving[name] = _appengine.mark(version)
        elif name not in service.split and not _appengine.is_serving(version):
            idle.setdefault(_appengine.mark(version), []).append(name)
    return {"split": {"allocations": dict(service.split)}, "serving": serving, "idle": idle}


def create(gcp: Gcp, ref: Ref, body: Body) -> Operation | None:
    """Send the traffic there; the service itself came with its first version."""
    (version,) = body["split"]["allocations"]
    return _appengine.send_traffic(gcp, ref, version)


def update(gcp: Gcp, ref: Ref, body: Body, changes: Sequence[Change]) -> Operation | None:
    """Send the traffic there; then delete what idles."""
    idle = [name for change in changes if change.path[0] == "idle" for name in change.live]
    if len(changes) > 1 or not idle:
        return create(gcp, ref, body)
    return _appengine.delete_version(gcp, f"{ref}/versions/{idle[0]}")


def delete(gcp: Gcp, ref: Ref, live: Body, applied: Body) -> Operation | None:
    """Delete the service with all its versions, or stop the versions that have its traffic."""
    (ours,) = applied["idle"]
    return _appengine.end_service(gcp, ref, ours)


def owner(live: Body, deployment_id: str) -> Owner:
    """Ours unless the traffic is served by a version that is not."""
    return Owner.OURS if set(live["serving"].values()) <= {deployment_id} else Owner.FOREIGN


def _service(gcp: Gcp, ref: Ref) -> _appengine.Service | None:
    where = _appengine.path(ref)
    return _appengine.service(gcp, where["appsId"], where["servicesId"])


def _is_default(ref: Ref) -> bool:
    return _appengine.path(ref)["servicesId"] == _appengine.DEFAULT


facts = no_facts
contents = no_contents
