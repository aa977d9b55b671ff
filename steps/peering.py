"""The private connection between the network and Google's services, so that the database needs no public address.

A network has one such connection. Of our own network it is ours as a whole, and the ref is the connection. In a network
that was there before us only our range in it is ours, and the ref is that range: it is added to the connection, and
`down` takes out nothing else; when it is the last one it stays.

https://docs.cloud.google.com/service-infrastructure/docs/service-networking/reference/rest/v1/services.connections
"""

from collections.abc import Sequence

from provision import operations
from provision.deployment import Deployment
from provision.errors import StillInUse
from provision.gcp import Gcp
from provision.step import Body, Change, FactBook, Operation, Ref, Stays, by_parent, no_contents, no_facts
from steps import _connections, _names, network, peering_range
from steps._connections import PEERING, SERVICE

LEAVES: str | None = None
RIGHTS: tuple[str, ...] = (
    "servicenetworking.services.get", "servicenetworking.services.addPeering",
    "servicenetworking.services.deleteConnection", "servicenetworking.operations.get",
    "compute.networks.removePeering", "cloudsql.instances.list",
)  # fmt: skip


def declare(deployment: Deployment, facts: FactBook) -> dict[Ref, Body]:
    """A connection that holds our range, and perhaps others' ranges too."""
    name = f"projects/{deployment.project_number}/global/networks/{network.name(deployment)}"
    ours = peering_range.name(deployment)
    ref = f"{name}/peerings/{PEERING}"
    if deployment.config.network.name:
        ref += f"/ranges/{ours}"
    return {ref: {"network": name, "reservedPeeringRanges": [ours]}}


def read(gcp: Gcp, ref: Ref) -> Body | None:
    """The network's connection; of a network that is not ours only if our range is in it."""
    connection = _connections.of_network(gcp, _network(ref))
    ours = _our_range(ref)
    if connection is None or (ours and ours not in connection.get("reservedPeeringRanges", [])):
        return None
    return _names.chosen(connection, "network", "reservedPeeringRanges")


def create(gcp: Gcp, ref: Ref, body: Body) -> Operation | None:
    """Connect the network, or add our range to its connection."""
    there = (_connections.of_network(gcp, _network(ref)) or {}).get("reservedPeeringRanges", [])
    return _set_ranges(gcp, ref, [*there, *(ours for ours in body["reservedPeeringRanges"] if ours not in there)])


def update(gcp: Gcp, ref: Ref, body: Body, changes: Sequence[Change]) -> Operation | None:
    """Put our range back beside the others."""
    return create(gcp, ref, body)


def delete(gcp: Gcp, ref: Ref, live: Body, applied: Body) -> Operation | None:
    """Disconnect our network; take our range out of one that is not ours."""
    if ours := _our_range(ref):
        others = [name for name in live.get("reservedPeeringRanges", []) if name != ours]
        if not others:  # Google documents no connection without a range, and this one is not ours to delete
            raise Stays(f"{ours} is the only range of a connection in a network that is not ours, so it stays in it.")
        return _set_ranges(gcp, ref, others)
    _must_be_unused(gcp, ref)
    calls = gcp.servicenetworking.services().connections()
    answer = calls.deleteConnection(name=f"{SERVICE}/connections/{PEERING}", body={"consumerNetwork": _network(ref)})
    return operations.started("servicenetworking", answer.execute())


def delete_refused(gcp: Gcp, ref: Ref, live: Body, applied: Body) -> Operation | None:
    """Remove our side of the peering, as Google's own console does.

    For hours to days after the last database is gone Google's side still counts the connection as used
    (https://github.com/hashicorp/terraform-provider-google/issues/16275). The engine calls this when `delete` goes on
    failing.
    """
    _must_be_unused(gcp, ref)
    if ours := _our_range(ref):
        raise Stays(f"Google does not let {ours} go from the connection of a network that is not ours.")
    name = _network(ref).rpartition("/")[2]
    asked = gcp.compute.networks().removePeering(project=gcp.project, network=name, body={"name": PEERING})
    return operations.started("compute", asked.execute())


def _set_ranges(gcp: Gcp, ref: Ref, ranges: list[str]) -> Operation | None:
    """Patch by force: unlike create it also works where Google still remembers a connection that was removed.

    https://github.com/hashicorp/terraform-provider-google/issues/3294; it makes the connection where there is none.
    """
    body = {"network": _network(ref), "reservedPeeringRanges": ranges}
    calls = gcp.servicenetworking.services().connections()
    asked = calls.patch(name=f"{SERVICE}/connections/-", updateMask="reservedPeeringRanges", force=True, body=body)
    return operations.started("servicenetworking", asked.execute())


def _must_be_unused(gcp: Gcp, ref: Ref) -> None:
    """Make certain that no database, of whomever, would be cut off."""
    if users := _databases(gcp, _network(ref)):
        raise StillInUse(f"{', '.join(users)} in this project still uses the connection {ref}.")


def _databases(gcp: Gcp, network: Ref) -> list[str]:
    """The database instances of the project that are reached over a network's connection.

    Cloud SQL spells the project as it was told: by id or by number.
    """
    calls, found = gcp.sql.instances(), []
    request = calls.list(project=gcp.project)
    while request is not None:
        answer = request.execute()
        for instance in answer.get("items", []):
            used = instance.get("settings", {}).get("ipConfiguration", {}).get("privateNetwork", "")
            if used.rpartition("/")[2] == network.rpartition("/")[2]:
                found.append(instance["name"])
        request = calls.list_next(request, answer)
    return sorted(found)


def _network(ref: Ref) -> str:
    return ref.partition("/peerings/")[0]


def _our_range(ref: Ref) -> str:
    return ref.partition("/ranges/")[2]


facts = no_facts
owner = by_parent
contents = no_contents
