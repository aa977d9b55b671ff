"""Routes of VPC networks: the way to the internet, which may be taken away, and one for each subnet and reserved range.

https://docs.cloud.google.com/compute/docs/reference/rest/v1/routes
"""

import hashlib

from provision.emulator import errors, operations
from provision.emulator.api import Call, Json, method
from provision.emulator.apis import compute_networks as networks
from provision.emulator.apis import compute_resources as resources
from provision.emulator.apis import compute_subnetworks as subnetworks
from provision.emulator.world import World

GONE = "compute.routes.gone"


@method("compute.routes.list", permission="compute.routes.list")
def list_routes(call: Call) -> Json:
    """The routes that every network of the project has by itself."""
    return resources.listed(call, "route", "global/routes", _routes(call))


@method("compute.routes.get", permission="compute.routes.get")
def get(call: Call) -> Json:
    """One route."""
    return _found(call)


@method("compute.routes.delete", permission="compute.routes.delete")
@resources.once
def delete(call: Call) -> Json:
    """Begin to take the way to the internet away; the others go with their subnets and ranges."""
    row = _found(call)
    if "nextHopGateway" not in row:
        raise errors.invalid(f"The local route {row['name']} cannot be deleted.", reason="badRequest")
    return resources.begin(call, _path(call), row, "delete")


@operations.finish("compute.routes.delete")
def deleted(world: World, operation: Json) -> None:
    """It is gone."""
    world.table(GONE)[operation["target"]] = {}


def _found(call: Call) -> Json:
    for row in _routes(call):
        if row["name"] == call.params["route"]:
            return row
    raise resources.not_found(_path(call))


def _path(call: Call) -> str:
    return f"projects/{call.project_id}/global/routes/{call.params['route']}"


def _routes(call: Call) -> list[Json]:
    rows = []
    gateway = f"{resources.LINK}projects/{call.project_id}/global/gateways/default-internet-gateway"
    for _, network in call.world.table(networks.TABLE).under(f"projects/{call.project_id}/"):
        rows.append(_route(call, network, "0.0.0.0/0", 1000, {"nextHopGateway": gateway}))
        for _, subnet in subnetworks.of_network(call.world, network["selfLink"]):
            hop = {"nextHopNetwork": network["selfLink"]}
            rows.append(_route(call, network, subnet["ipCidrRange"], 0, hop))
        for peering in network.get("peerings", []):
            hop = {"nextHopPeering": peering["name"]}
            rows += [
                _route(call, network, f"{row['address']}/{row['prefixLength']}", 0, hop)
                for _, row in call.world.table("compute.addresses").under(f"projects/{call.project_id}/global/")
                if row.get("network") == network["selfLink"] and "prefixLength" in row
            ]
    gone = call.world.table(GONE)
    return [row for row in rows if f"projects/{call.project_id}/global/routes/{row['name']}" not in gone]


def _route(call: Call, network: Json, to: str, priority: int, hop: Json) -> Json:
    digest = hashlib.sha256(f"{network['id']} {to}".encode()).hexdigest()[:16]
    kind = "peering-route" if "nextHopPeering" in hop else "default-route"
    name = f"{kind}-{digest}"
    return {
        "kind": "compute#route",
        "id": resources.fixed_id(name) + network["id"][-14:],
        "creationTimestamp": network["creationTimestamp"],
        "name": name,
        "description": "Default route to the Internet." if "nextHopGateway" in hop else f"Route to {to}.",
        "network": network["selfLink"],
        "destRange": to,
        "priority": priority,
        **hop,
        "selfLink": f"{resources.LINK}projects/{call.project_id}/global/routes/{name}",
    }
