"""A VPC network of our own, without automatic subnets; or the existing one that the settings name.

https://docs.cloud.google.com/compute/docs/reference/rest/v1/networks
"""

from collections.abc import Sequence

from provision import operations
from provision.deployment import Deployment
from provision.errors import StillInUse
from provision.gcp import Gcp
from provision.step import Body, Change, FactBook, Operation, Ref, by_description, immutable, no_contents, no_facts
from steps import _names

LEAVES: str | None = None
RIGHTS: tuple[str, ...] = (
    "compute.networks.create", "compute.networks.get", "compute.networks.update", "compute.networks.delete",
    "compute.globalOperations.get", "compute.firewalls.list", "compute.firewalls.delete",
)  # fmt: skip

APP_ENGINES = "aef-"
"""How App Engine flexible begins the names and the target tags of what it makes in a network by itself
(https://docs.cloud.google.com/appengine/docs/flexible/reference/app-yaml#network_settings)."""


def name(deployment: Deployment) -> str:
    """The network's name, ours or the user's."""
    return deployment.config.network.name or deployment.name


def ref(deployment: Deployment) -> Ref:
    """The network, ours or the user's."""
    return f"projects/{deployment.project}/global/networks/{name(deployment)}"


def declare(deployment: Deployment, facts: FactBook) -> dict[Ref, Body]:
    """A custom-mode network, unless there is one already."""
    if deployment.config.network.name:
        return {}
    body = {
        "autoCreateSubnetworks": False,  # left out, it would make a legacy network
        "description": deployment.mark,
        "mtu": 1460,
        "routingConfig": {"routingMode": "REGIONAL"},
    }
    return {ref(deployment): body}


def read(gcp: Gcp, ref: Ref) -> Body | None:
    """The network's settings; where Google does not tell the MTU, it is the default."""
    project, name = _where(ref)
    answer = {"mtu": 1460, **gcp.compute.networks().get(project=project, network=name).execute()}
    return _names.chosen(answer, "autoCreateSubnetworks", "description", "mtu", "routingConfig")


def create(gcp: Gcp, ref: Ref, body: Body) -> Operation | None:
    """Make the network."""
    project, name = _where(ref)
    answer = gcp.compute.networks().insert(project=project, body={"name": name, **body}).execute()
    return operations.started("compute", answer)


def update(gcp: Gcp, ref: Ref, body: Body, changes: Sequence[Change]) -> Operation | None:
    """Patch the routing, the only thing that can be patched."""
    if any(change.path[0] != "routingConfig" for change in changes):
        immutable(gcp, ref, body, changes)
    project, name = _where(ref)
    answer = gcp.compute.networks().patch(project=project, network=name, body=_names.nested(changes)).execute()
    return operations.started("compute", answer)


def delete(gcp: Gcp, ref: Ref, live: Body, applied: Body) -> Operation | None:
    """Delete it; its subnets and its peering are gone by then, and with them all that a firewall rule could be for.

    Rules that App Engine has made by itself go first, one by one
    (https://cloud.google.com/appengine/docs/flexible/nodejs/understanding-firewalls); a person's rule is not touched.
    """
    project, name = _where(ref)
    rules = _rules(gcp, ref)
    if ours := [rule["name"] for rule in rules if _is_app_engines(rule)]:
        return operations.started(
            "compute", gcp.compute.firewalls().delete(project=project, firewall=ours[0]).execute()
        )
    if theirs := ", ".join(rule["name"] for rule in rules):
        told = f"Somebody has made firewall rules in the network {ref}: {theirs}."
        raise StillInUse(f"{told} If they may go: gcloud compute firewall-rules delete {theirs.replace(',', '')}.")
    return operations.started("compute", gcp.compute.networks().delete(project=project, network=name).execute())


def _rules(gcp: Gcp, ref: Ref) -> list[Body]:
    """The firewall rules in the network."""
    calls, found = gcp.compute.firewalls(), list[Body]()
    request = calls.list(project=gcp.project)
    while request is not None:
        answer = request.execute()
        found += [rule for rule in answer.get("items", []) if rule["network"].endswith(f"/{ref}")]
        request = calls.list_next(request, answer)
    return found


def _is_app_engines(rule: Body) -> bool:
    """Whether App Engine has made a rule by itself, for its own machines and nobody else's."""
    tags = rule.get("targetTags", [])
    return bool(tags) and all(name.startswith(APP_ENGINES) for name in (rule["name"], *tags))


def _where(ref: Ref) -> tuple[str, str]:
    _, project, _, _, name = ref.split("/")
    return project, name


facts = no_facts
owner = by_description
contents = no_contents
