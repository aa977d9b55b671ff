"""A subnet for the server, from which Google's APIs are reached without an external address.

https://cloud.google.com/vpc/docs/private-google-access
"""

from collections.abc import Sequence

from provision import operations
from provision.config import Config
from provision.deployment import Deployment
from provision.errors import NetworkNotUsable
from provision.gcp import Gcp
from provision.step import Body, Change, FactBook, Operation, Ref, by_description, immutable, no_contents, no_facts
from steps import _names, network

LEAVES: str | None = None
RIGHTS: tuple[str, ...] = (
    "compute.subnetworks.create", "compute.subnetworks.get", "compute.subnetworks.setPrivateIpGoogleAccess",
    "compute.subnetworks.delete", "compute.networks.updatePolicy", "compute.regionOperations.get",
)  # fmt: skip

ACCESS = "privateIpGoogleAccess"


def must_be_usable(gcp: Gcp, config: Config) -> None:
    """Make sure of a network that was there before us, for it is only used after a quarter of an hour.

    Raises:
        NetworkNotUsable: It or its subnet is missing, elsewhere, or without Private Google Access.
    """
    project, region, name, subnet = config.project, config.region, config.network.name, config.network.subnet
    if name is None or subnet is None:
        return
    found = gcp.compute.networks().list(project=project, filter=f"name={name}").execute().get("items", [])
    if not found:
        raise NetworkNotUsable(f"network.name = {name!r}: project {project} has no network of this name")
    places = [link.split("/") for link in found[0].get("subnetworks", [])]  # .../regions/REGION/subnetworks/NAME
    if not any((place[-3], place[-1]) == (region, subnet) for place in places):
        held = ", ".join(sorted(f"{place[-1]} in {place[-3]}" for place in places)) or "none"
        raise NetworkNotUsable(
            f"network.subnet = {subnet!r}: network {name} has no subnet of this name in {region}; it has: {held}"
        )
    if not gcp.compute.subnetworks().get(project=project, region=region, subnetwork=subnet).execute().get(ACCESS):
        raise NetworkNotUsable(
            f"network.subnet = {subnet!r}: it has no Private Google Access, the server's only way to Google's APIs",
            hint="Have it switched on: "
            f"gcloud compute networks subnets update {subnet} --region={region} --enable-private-ip-google-access",
        )


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
