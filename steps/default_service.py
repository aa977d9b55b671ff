"""A placeholder as the application's default service, which App Engine wants first; stopped once it is up.

Nothing is made when there is a default service already, or when MLflow is to be it. A stopped version costs nothing
(https://cloud.google.com/appengine/docs/admin-api/reference/rest/v1/apps.services.versions#servingstatus). While it
gets the traffic of the default service it can never be deleted.
"""

from collections.abc import Sequence

from provision.deployment import Deployment
from provision.gcp import Gcp
from provision.step import Body, Change, FactBook, Operation, Ref, Stays, no_contents, no_facts
from steps import _appengine, _names, app, network, subnet

IMAGE = "us-docker.pkg.dev/cloudrun/container/hello:latest"
"""Google's own greeting, public (https://cloud.google.com/run/docs/quickstarts/deploy-container)."""

LEAVES: str | None = None
RIGHTS: tuple[str, ...] = (
    "appengine.services.list", "appengine.services.update", "appengine.versions.create", "appengine.versions.get",
    "appengine.versions.list", "appengine.versions.update", "appengine.versions.delete", "appengine.operations.get",
    "iam.serviceAccounts.actAs",
)  # fmt: skip


def declare(deployment: Deployment, facts: FactBook) -> dict[Ref, Body]:
    """A stopped version, unless somebody else's default service, or MLflow, is there."""
    holders = facts[app.Facts].default_of
    if deployment.service == _appengine.DEFAULT or (holders and deployment.id not in holders):
        return {}
    body = {
        "envVariables": {_appengine.MARK: deployment.id},
        "network": {"name": network.name(deployment), "subnetworkName": subnet.name(deployment)},
        "serviceAccount": deployment.account("server"),
        "servingStatus": "STOPPED",
        "predecessors": [],
    }
    tried = deployment.counters.get("default_service", 0)  # a deployment that failed inside of Google wants a new id
    version = f"{_appengine.PLACEHOLDER}{deployment.id}" + (f"-{tried}" if tried else "")
    return {f"{app.ref(deployment)}/services/{_appengine.DEFAULT}/versions/{version}": body}


def read(gcp: Gcp, ref: Ref) -> Body | None:
    """Whose it is, whether it runs, how much traffic it gets, and which versions of the same deployment get some.

    Where it would run does not matter once it is stopped.
    """
    where = _appengine.path(ref)
    service = _appengine.service(gcp, where["appsId"], where["servicesId"])
    version = service.versions.get(where["versionsId"]) if service else None
    if service is None or version is None:
        return None
    others = [name for name in sorted(service.split) if name != where["versionsId"]]
    return {
        **_names.chosen(version, "envVariables", "servingStatus"),
        "share": service.split.get(where["versionsId"], 0.0),
        "predecessors": [
            name for name in others if _appengine.mark(service.versions.get(name, {})) == _appengine.mark(version)
        ],
    }


def create(gcp: Gcp, ref: Ref, body: Body) -> Operation | None:
    """Deploy it, as small as App Engine flexible gets."""
    asked = {
        **_names.chosen(body, "envVariables", "serviceAccount"),
        "env": "flex",
        "runtime": "custom",
        "deployment": {"container": {"image": IMAGE}},
        "network": {**body["network"], "instanceIpMode": "INTERNAL"},
        "resources": {"cpu": 1, "memoryGb": 0.6, "diskGb": 10},
        "manualScaling": {"instances": 1},
        "livenessCheck": {"path": "/"},
        "readinessCheck": {"path": "/"},
    }
    return _appengine.create_version(gcp, ref, asked)


def update(gcp: Gcp, ref: Ref, body: Body, changes: Sequence[Change]) -> Operation | None:
    """Stop it; give it the traffic that MLflow had when it was the default service."""
    fields = {change.path[0] for change in changes}
    if "servingStatus" in fields:
        return _appengine.stop_version(gcp, ref)
    if "predecessors" in fields:
        return _appengine.send_traffic(gcp, _names.parent(ref), _appengine.path(ref)["versionsId"])
    return None


def delete(gcp: Gcp, ref: Ref, live: Body, applied: Body) -> Operation | None:
    """Delete it if somebody else has the traffic by now; otherwise see that it is stopped."""
    if not live["share"]:
        return _appengine.delete_version(gcp, ref)
    if _appengine.is_serving(live):
        return _appengine.stop_version(gcp, ref)
    raise Stays("App Engine's default service, a stopped placeholder: Google lets nobody delete it.")


facts = no_facts
owner = _appengine.by_environment
contents = no_contents
