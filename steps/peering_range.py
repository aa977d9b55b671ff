"""A range of private addresses that Google's services, Cloud SQL here, take theirs from.

https://cloud.google.com/vpc/docs/configure-private-services-access#allocating-range
"""

from provision import operations
from provision.deployment import Deployment
from provision.gcp import Gcp
from provision.step import Body, FactBook, Operation, Ref, Stays, by_description, immutable, no_contents, no_facts
from steps import _connections, _names, network

PREFIX_LENGTH = 16
"""Google advises a /16; a /24 is used up by a second kind of service (same page)."""

LEAVES: str | None = None
RIGHTS: tuple[str, ...] = (
    "compute.globalAddresses.create", "compute.globalAddresses.createInternal", "compute.globalAddresses.get",
    "compute.globalAddresses.delete", "compute.globalAddresses.deleteInternal", "compute.networks.use",
    "compute.globalOperations.get", "servicenetworking.services.get", "resourcemanager.projects.get",
)  # fmt: skip


def name(deployment: Deployment) -> str:
    """The range's name."""
    return f"{deployment.name}-services"


def declare(deployment: Deployment, facts: FactBook) -> dict[Ref, Body]:
    """One range, which Google chooses among the free ones of the network."""
    body = {
        "addressType": "INTERNAL",
        "description": deployment.mark,
        "network": network.ref(deployment),
        "prefixLength": PREFIX_LENGTH,
        "purpose": "VPC_PEERING",
    }
    return {f"projects/{deployment.project}/global/addresses/{name(deployment)}": body}


def read(gcp: Gcp, ref: Ref) -> Body | None:
    """The range as it was reserved."""
    project, address = _where(ref)
    answer = gcp.compute.globalAddresses().get(project=project, address=address).execute()
    return _names.chosen(answer, "addressType", "description", "network", "prefixLength", "purpose")


def create(gcp: Gcp, ref: Ref, body: Body) -> Operation | None:
    """Reserve the range."""
    project, address = _where(ref)
    answer = gcp.compute.globalAddresses().insert(project=project, body={"name": address, **body}).execute()
    return operations.started("compute", answer)


def delete(gcp: Gcp, ref: Ref, live: Body, applied: Body) -> Operation | None:
    """Give the range back, unless the connection of a network that is not ours still holds it."""
    project, address = _where(ref)
    number = gcp.projects.get_project(name=f"projects/{project}", retry=None).name.rpartition("/")[2]
    network = f"projects/{number}/global/networks/{live['network'].rpartition('/')[2]}"
    connection = _connections.of_network(gcp, network)
    if connection and address in connection.get("reservedPeeringRanges", []):
        raise Stays(f"The range stays: the private connection of network {network} still holds it.")
    answer = gcp.compute.globalAddresses().delete(project=project, address=address).execute()
    return operations.started("compute", answer)


def _where(ref: Ref) -> tuple[str, str]:
    _, project, _, _, name = ref.split("/")
    return project, name


update = immutable
facts = no_facts
owner = by_description
contents = no_contents
