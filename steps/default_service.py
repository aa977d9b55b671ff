"""A placeholder as the application's default service, which App Engine wants first; stopped once it is up.

Nothing is made when there is a default service already, or when MLflow is to be it. A stopped version costs nothing
(https://cloud.google.com/appengine/docs/admin-api/reference/rest/v1/apps.services.versions#servingstatus).
"""

from collections.abc import Sequence

from provision.deployment import Deployment
from provision.gcp import Gcp
from provision.step import Body, Change, FactBook, Operation, Ref, keep, no_contents, no_facts
from steps import _appengine, _names, app, network, subnet

IMAGE = "us-docker.pkg.dev/cloudrun/container/hello:latest"
"""Google's own greeting, public (https://cloud.google.com/run/docs/quickstarts/deploy-container)."""

LEAVES: str | None = "App Engine's default service, a stopped placeholder: Google lets nobody delete it."


def declare(deployment: Deployment, facts: FactBook) -> dict[Ref, Body]:
    """A stopped version, unless somebody else's default service, or MLflow, is there."""
    holders = facts[app.Facts].default_of
    if deployment.config.server.service == _appengine.DEFAULT or (holders and deployment.id not in holders):
        return {}
    body = {
        "envVariables": {_appengine.MARK: deployment.id},
        "network": {"name": network.name(deployment), "subnetworkName": subnet.name(deployment)},
        "serviceAccount": deployment.account("server"),
        "servingStatus": "STOPPED",
    }
    return {f"{app.ref(deployment)}/services/{_appengine.DEFAULT}/versions/placeholder": body}


def read(gcp: Gcp, ref: Ref) -> Body | None:
    """Whose it is and whether it runs; where it would run does not matter once it is stopped."""
    return _names.chosen(_appengine.version(gcp, ref), "envVariables", "servingStatus")


def create(gcp: Gcp, ref: Ref, body: Body) -> Operation | None:
    """Deploy it, as small as App Engine flexible gets."""
    asked = {
        **body,
        "env": "flex",
        "runtime": "custom",
        "deployment": {"container": {"image": IMAGE}},
        "network": {**body["network"], "instanceIpMode": "INTERNAL"},
        "resources": {"cpu": 1, "memoryGb": 0.6, "diskGb": 10},
        "manualScaling": {"instances": 1},
        "livenessCheck": {"path": "/"},
        "readinessCheck": {"path": "/"},
    }
    del asked["servingStatus"]  # it has to start once
    return _appengine.create_version(gcp, ref, asked)


def update(gcp: Gcp, ref: Ref, body: Body, changes: Sequence[Change]) -> Operation | None:
    """Stop it."""
    if not any(change.path == ("servingStatus",) for change in changes):
        return None
    return _appengine.patch_version(gcp, ref, {"servingStatus": "STOPPED"}, "servingStatus")


delete = keep
facts = no_facts
owner = _appengine.by_environment
contents = no_contents
