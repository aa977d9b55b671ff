"""The traffic of the service, all of it on the newest version.

https://cloud.google.com/appengine/docs/admin-api/reference/rest/v1/apps.services
"""

from collections.abc import Sequence

from provision import operations
from provision.deployment import Deployment
from provision.gcp import Gcp
from provision.step import Body, Change, FactBook, Operation, Owner, Ref, no_contents, no_facts
from steps import _appengine, server

LEAVES: str | None = None


def declare(deployment: Deployment, facts: FactBook) -> dict[Ref, Body]:
    """Everything to the version that the server's row declares."""
    (version,) = server.declare(deployment, facts)
    allocations = {_appengine.path(version)["versionsId"]: 1.0}
    return {server.service_ref(deployment): {"split": {"allocations": allocations}}}


def read(gcp: Gcp, ref: Ref) -> Body | None:
    """Who gets how much, and whose the running ones of those versions are.

    A default service can only be stopped; it counts as gone when all its versions with traffic are.
    """
    split, serving = _serving(gcp, ref)
    if not split or (_appengine.path(ref)["servicesId"] == _appengine.DEFAULT and not serving):
        return None
    return {"split": {"allocations": split}, "serving": sorted(set(serving.values()))}


def create(gcp: Gcp, ref: Ref, body: Body) -> Operation | None:
    """Send the traffic there; the service itself came with its first version."""
    services = gcp.appengine.apps().services()
    asked = services.patch(**_appengine.path(ref), updateMask="split", body={"split": body["split"]})
    return operations.started("appengine", asked.execute())


def update(gcp: Gcp, ref: Ref, body: Body, changes: Sequence[Change]) -> Operation | None:
    """Send the traffic there."""
    return create(gcp, ref, body)


def delete(gcp: Gcp, ref: Ref, live: Body, applied: Body) -> Operation | None:
    """Delete the service with all its versions; of the default service, stop the version that has its traffic."""
    where = _appengine.path(ref)
    if where["servicesId"] != _appengine.DEFAULT:
        return operations.started("appengine", gcp.appengine.apps().services().delete(**where).execute())
    _, serving = _serving(gcp, ref)
    return _appengine.patch_version(
        gcp, f"{ref}/versions/{min(serving)}", {"servingStatus": "STOPPED"}, "servingStatus"
    )


def owner(live: Body, deployment_id: str) -> Owner:
    """Ours unless the traffic is served by a version that is not."""
    return Owner.OURS if set(live["serving"]) <= {deployment_id} else Owner.FOREIGN


def _serving(gcp: Gcp, ref: Ref) -> tuple[dict[str, float], dict[str, str]]:
    """How the traffic is split, and of the running versions that get some, whose they are."""
    where = _appengine.path(ref)
    split = _appengine.allocations(gcp, where["appsId"], where["servicesId"])
    versions = _appengine.versions(gcp, where["appsId"], where["servicesId"], split)
    running = {name: version for name, version in versions.items() if version.get("servingStatus") == "SERVING"}
    return split, {name: _appengine.mark(version) for name, version in running.items()}


facts = no_facts
contents = no_contents
