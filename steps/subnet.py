"""A subnet for the server, from which Google's APIs are reached without an external address.

https://cloud.google.com/vpc/docs/private-google-access
"""

from collections.abc import Sequence

from provision import operations
from provision.deployment import Deployment
from provision.gcp import Gcp
from provision.step import Body, Change, FactBook, Operation, Ref, by_description, immutable, no_contents, no_facts
from steps import _names, network

LEAVES: str | None = None


def name(deployment: Deployment) -> str:
    """The subnet's name, ours or the user's."""
    return deployment.config.network.subnet or deployment.name


def ref(deployment: Deployment) -> Ref:
    """The subnet, ours or the user's."""
    return f"projects/{deployment.project}/regions/{deployment.region}/subnetworks/{name(deployment)}"


def declare(deployment: Deployment, facts: FactBook) -> dict[Ref, Body]:
    """A subnet with Private Google Access, unless there is one already."""
    if deployment.config.network.subnet:
        return {}
    body = {
        "description": deployment.mark,
        "ipCidrRange": deployment.config.network.cidr,
        "network": network.ref(deployment),
        "privateIpGoogleAccess": True,
    }
    return {ref(deployment): body}


def read(gcp: Gcp, ref: Ref) -> Body | None:
    """The subnet's settings."""
    answer = gcp.compute.subnetworks().get(**_where(ref)).execute()
    return _names.chosen(answer, "description", "ipCidrRange", "network", "privateIpGoogleAccess")


def create(gcp: Gcp, ref: Ref, body: Body) -> Operation | None:
    """Make the subnet."""
    where = _where(ref)
    asked = {"name": where.pop("subnetwork"), **body}
    return operations.started("compute", gcp.compute.subnetworks().insert(**where, body=asked).execute())


def update(gcp: Gcp, ref: Ref, body: Body, changes: Sequence[Change]) -> Operation | None:
    """Switch Private Google Access; nothing else can be changed without a new subnet."""
    if any(change.path != ("privateIpGoogleAccess",) for change in changes):
        immutable(gcp, ref, body, changes)
    asked = {"privateIpGoogleAccess": body["privateIpGoogleAccess"]}
    answer = gcp.compute.subnetworks().setPrivateIpGoogleAccess(**_where(ref), body=asked).execute()
    return operations.started("compute", answer)


def delete(gcp: Gcp, ref: Ref, live: Body, applied: Body) -> Operation | None:
    """Delete it."""
    return operations.started("compute", gcp.compute.subnetworks().delete(**_where(ref)).execute())


def _where(ref: Ref) -> dict[str, str]:
    names = _names.parts(ref)
    return {"project": names["projects"], "region": names["regions"], "subnetwork": names["subnetworks"]}


facts = no_facts
owner = by_description
contents = no_contents
