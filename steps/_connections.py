"""Private connections between networks and Google's services: what several rows ask about them.

https://docs.cloud.google.com/service-infrastructure/docs/service-networking/reference/rest/v1/services.connections
"""

from typing import Any

from provision.gcp import Gcp

SERVICE = "services/servicenetworking.googleapis.com"
PEERING = "servicenetworking-googleapis-com"


def of_network(gcp: Gcp, network: str) -> dict[str, Any] | None:
    """The connection of ``projects/NUMBER/global/networks/NAME``; None when it has none."""
    asked = gcp.servicenetworking.services().connections().list(parent=SERVICE, network=network)
    found = asked.execute().get("connections", [])
    return next((dict(connection) for connection in found if connection.get("peering") == PEERING), None)


def connected(gcp: Gcp) -> list[str]:
    """The names of the project's networks that have one."""
    calls = gcp.compute.networks()
    found: list[str] = []
    request = calls.list(project=gcp.project)
    while request is not None:
        answer = request.execute()
        networks = {network["name"]: network.get("peerings", []) for network in answer.get("items", [])}
        found += [name for name, peerings in networks.items() if any(held["name"] == PEERING for held in peerings)]
        request = calls.list_next(request, answer)
    return sorted(found)
