"""The Google APIs that everything else needs, switched on.

All in one batch (https://docs.cloud.google.com/service-usage/docs/enable-disable); never switched off again, since
nobody can know who else in the project has come to rely on them.
"""

from collections.abc import Iterable, Sequence

from provision import operations
from provision.deployment import Deployment
from provision.gcp import Gcp
from provision.step import Body, Change, FactBook, Operation, Ref, keep, no_contents, no_facts, shared
from steps import _names

SERVICES = (
    "appengine", "appengineflex", "artifactregistry", "cloudbilling", "cloudbuild", "cloudresourcemanager", "compute",
    "iam", "iamcredentials", "iap", "logging", "monitoring", "orgpolicy", "run", "secretmanager", "servicenetworking",
    "serviceusage", "sql-component", "sqladmin", "storage",
)  # fmt: skip
"""Twenty, the most that one batch takes; each is NAME.googleapis.com."""

LEAVES: str | None = "The APIs stay switched on: others in the project may have come to rely on them."
RIGHTS: tuple[str, ...] = ("serviceusage.services.get", "serviceusage.services.enable")


def declare(deployment: Deployment, facts: FactBook) -> dict[Ref, Body]:
    """All of them enabled."""
    return {f"projects/{deployment.project_number}/services": {"services": dict.fromkeys(SERVICES, "ENABLED")}}


def read(gcp: Gcp, ref: Ref) -> Body | None:
    """The state of each of them."""
    names = [f"{ref}/{service}.googleapis.com" for service in SERVICES]
    answer = gcp.serviceusage.services().batchGet(parent=_names.parent(ref + "/-"), names=names).execute()
    states = {_names.parts(service["name"])["services"]: service["state"] for service in answer["services"]}
    return {"services": {name.removesuffix(".googleapis.com"): state for name, state in states.items()}}


def create(gcp: Gcp, ref: Ref, body: Body) -> Operation | None:
    """Switch all on."""
    return _enable(gcp, ref, body["services"])


def update(gcp: Gcp, ref: Ref, body: Body, changes: Sequence[Change]) -> Operation | None:
    """Switch on what is off."""
    return _enable(gcp, ref, [change.path[-1] for change in changes])


def _enable(gcp: Gcp, ref: Ref, services: Iterable[str]) -> Operation | None:
    hosts = [f"{service}.googleapis.com" for service in services]
    calls = gcp.serviceusage.services()
    if len(hosts) == 1:  # a batch of one is refused
        request = calls.enable(name=f"{ref}/{hosts[0]}")
    else:
        request = calls.batchEnable(parent=_names.parent(ref + "/-"), body={"serviceIds": hosts})
    return operations.started("serviceusage", request.execute())


delete = keep
facts = no_facts
owner = shared
contents = no_contents
