"""VPC networks: made empty or with a subnet per region, peered, and deleted once nothing uses them.

https://docs.cloud.google.com/compute/docs/reference/rest/v1/networks
"""

from provision.emulator import errors, operations
from provision.emulator.api import Call, Json, method
from provision.emulator.apis import compute_regions as regions
from provision.emulator.apis import compute_resources as resources
from provision.emulator.apis import compute_subnetworks as subnetworks
from provision.emulator.operations import OperationError
from provision.emulator.world import World

TABLE = "compute.networks"
PEERING_BUSY = "There is a peering operation in progress on the local or peer network. Try again later."


def path_of(call: Call, name: str) -> str:
    """Path of the project's network of that name."""
    return f"projects/{call.project_id}/global/networks/{name}"


def peering_name(row: Json) -> set[str]:
    """Names of a network's peerings."""
    return {peering["name"] for peering in row.get("peerings", [])}


@method("compute.networks.insert", permission="compute.networks.create")
@resources.once
def insert(call: Call) -> Json:
    """A network in custom mode, in auto mode, or, when autoCreateSubnetworks is left out, a legacy one."""
    body = call.body
    path, row = resources.created(call, "global/networks", "network", body)
    limit = regions.limit("NETWORKS")
    if len(call.world.table(TABLE).under(f"projects/{call.project_id}/")) >= limit:
        message = f"Quota 'NETWORKS' exceeded.  Limit: {limit} globally."
        raise errors.permission_denied(message, reason="quotaExceeded")
    row |= {key: body[key] for key in ("description", "mtu") if body.get(key)}
    row |= _private_ipv6(call, body)
    row["selfLinkWithId"] = f"{resources.LINK}projects/{call.project_id}/global/networks/{row['id']}"
    row["routingConfig"] = {"routingMode": "REGIONAL", "bgpBestPathSelectionMode": "LEGACY"} | (
        body.get("routingConfig") or {}
    )
    row["networkFirewallPolicyEnforcementOrder"] = (
        body.get("networkFirewallPolicyEnforcementOrder") or "AFTER_CLASSIC_FIREWALL"
    )
    if "autoCreateSubnetworks" in body:
        row["autoCreateSubnetworks"] = body["autoCreateSubnetworks"]
    else:
        row |= {"IPv4Range": body.get("IPv4Range") or "10.240.0.0/16", "gatewayIPv4": "10.240.0.1"}
    call.world.table(TABLE)[path] = row
    return resources.begin(call, path, row, "insert")


@operations.finish("compute.networks.insert")
def inserted(world: World, operation: Json) -> None:
    """An auto mode network gets its subnets."""
    row = world.table(TABLE).get(operation["target"])
    if row and row.get("autoCreateSubnetworks"):
        subnetworks.make_automatic(world, operation["target"], row)


@method("compute.networks.get", permission="compute.networks.get")
def get(call: Call) -> Json:
    """One network, with links to its subnets."""
    return _shown(call.world, resources.found(call.world, TABLE, path_of(call, call.params["network"])))


@method("compute.networks.list", permission="compute.networks.list")
def list_networks(call: Call) -> Json:
    """The project's networks."""
    rows = [_shown(call.world, row) for _, row in call.world.table(TABLE).under(f"projects/{call.project_id}/")]
    return resources.listed(call, "network", "global/networks", rows)


@method("compute.networks.patch", permission="compute.networks.update")
@resources.once
def patch(call: Call) -> Json:
    """Change routing, MTU or the order of firewall policies."""
    path = path_of(call, call.params["network"])
    row = resources.found(call.world, TABLE, path)
    resources.require_ready(call.world, path)
    changeable = {"routingConfig", "mtu", "networkFirewallPolicyEnforcementOrder", "enableUlaInternalIpv6"}
    for field, value in call.body.items():
        if field in changeable:
            row[field] = row.get(field, {}) | value if isinstance(value, dict) else value
        elif value != row.get(field):
            raise resources.invalid(f"resource.{field}", value, "Field cannot be changed.")
    row |= _private_ipv6(call, row)
    call.world.table(TABLE)[path] = row
    return resources.begin(call, path, row, "compute.networks.patch")


@method("compute.networks.removePeering", permission="compute.networks.removePeering")
@resources.once
def remove_peering(call: Call) -> Json:
    """Take down one side of a peering, whatever still uses it."""
    path = path_of(call, call.params["network"])
    row = resources.found(call.world, TABLE, path)
    if peering_in_progress(call.world, path):
        raise errors.invalid(PEERING_BUSY, reason="badRequest")
    name = call.body.get("name") or ""
    if name not in peering_name(row):
        raise resources.invalid("name", name, f"There is no peering of that name on network '{path}'.")
    return resources.begin(call, path, row, "removePeering", peering=name)


@operations.finish("compute.networks.removePeering")
def peering_removed(world: World, operation: Json) -> None:
    """The peering is gone; the producer's side remembers it."""
    row = world.table(TABLE).get(operation["target"])
    if row:
        drop_peering(world, operation["target"], row, operation["args"]["peering"])


@method("compute.networks.delete", permission="compute.networks.delete")
@resources.once
def delete(call: Call) -> Json:
    """Begin to delete; what still uses the network makes the operation fail, not this call."""
    path = path_of(call, call.params["network"])
    row = resources.found(call.world, TABLE, path)
    resources.require_ready(call.world, path)
    return resources.begin(call, path, row, "delete")


@operations.finish("compute.networks.delete")
def deleted(world: World, operation: Json) -> None:
    """The network goes, with the subnets that it made itself."""
    path = operation["target"]
    row = world.table(TABLE).get(path)
    if row is None:
        return
    user = _first_user(world, path, row)
    if user:
        message = f"The network resource '{path}' is already being used by '{user}'"
        raise OperationError("RESOURCE_IN_USE_BY_ANOTHER_RESOURCE", message)
    if row.get("autoCreateSubnetworks"):
        for key, _ in subnetworks.of_network(world, path):
            del world.table(subnetworks.TABLE)[key]
    del world.table(TABLE)[path]


def peering_in_progress(world: World, path: str) -> bool:
    """Whether a peering of this network is being made or removed right now: only one may be."""
    removals = [row for row in operations.pending(world, "compute", path) if row["verb"].endswith(".removePeering")]
    rows = removals + operations.pending(world, "servicenetworking", path)
    return any(row["target"] == path for row in rows)


def add_peering(world: World, path: str, peering: Json) -> None:
    """Peer a network with a producer's, in place of a peering of the same name."""
    row = world.table(TABLE)[path]
    others = [held for held in row.get("peerings", []) if held["name"] != peering["name"]]
    world.table(TABLE)[path] = row | {"peerings": [*others, peering]}


def drop_peering(world: World, path: str, row: Json, name: str) -> None:
    """Take a peering out of a network's row."""
    left = [peering for peering in row.get("peerings", []) if peering["name"] != name]
    row = {key: value for key, value in row.items() if key != "peerings"}
    world.table(TABLE)[path] = row | ({"peerings": left} if left else {})


def _private_ipv6(call: Call, wanted: Json) -> Json:
    """The range of unique local addresses, fd20::/20, of a network that is to have one; nothing for the others.

    https://docs.cloud.google.com/compute/docs/reference/rest/v1/networks (internalIpv6Range)
    """
    if not wanted.get("enableUlaInternalIpv6"):
        return {}
    chosen = wanted.get("internalIpv6Range") or resources.ipv6(f"fd20{call.world.hex(8)}", 48)
    return {"enableUlaInternalIpv6": True, "internalIpv6Range": chosen}


def _shown(world: World, row: Json) -> Json:
    links = [subnet["selfLink"] for _, subnet in subnetworks.of_network(world, row["selfLink"])]
    return row | ({"subnetworks": links} if links else {})


def _first_user(world: World, path: str, row: Json) -> str | None:
    """Path of something that keeps the network from being deleted."""
    link = resources.LINK + path
    tables = ["compute.firewalls", "compute.addresses"]
    if not row.get("autoCreateSubnetworks"):
        tables.insert(0, subnetworks.TABLE)
    for table in tables:
        for key, user in world.table(table).items():
            if user.get("network") == link:
                return key
    peerings = row.get("peerings", [])
    return f"{path}/networkPeerings/{peerings[0]['name']}" if peerings else None
