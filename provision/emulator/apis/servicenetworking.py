"""Service Networking: the peering through which Google's services, such as Cloud SQL, reach a VPC network.

https://docs.cloud.google.com/service-infrastructure/docs/service-networking/reference/rest. The producer's side
remembers a connection until deleteConnection succeeds, also when the peering was removed or the network was made anew.
"""

import base64
import hashlib
from datetime import timedelta

from provision.emulator import errors, operations
from provision.emulator.api import Call, Json, method
from provision.emulator.apis import compute_networks as networks
from provision.emulator.apis import compute_resources as resources
from provision.emulator.operations import OperationError
from provision.emulator.world import World

TABLE = "servicenetworking.connections"
RELEASED = "servicenetworking.released"
PEERING = "servicenetworking-googleapis-com"
SERVICE = "services/servicenetworking.googleapis.com"

# How long a producer goes on using a connection after its last instance is gone; hours to days are reported:
# https://github.com/hashicorp/terraform-provider-google/issues/19908
_LINGER = {"google": timedelta(hours=4)}


def connected(world: World, network: str) -> bool:
    """Whether the network has a service connection whose peering is up."""
    row = world.table(networks.TABLE).get(network)
    return row is not None and network in world.table(TABLE) and PEERING in networks.peering_name(row)


def was_connected(world: World, network: str) -> bool:
    """Whether the producer's side remembers a connection of the network."""
    return network in world.table(TABLE)


def ranges_of(world: World, network: str) -> list[str]:
    """Names of the reserved ranges that services may take addresses from."""
    row = world.table(TABLE).get(network)
    return list(row["ranges"]) if row else []


def released(world: World, network: str) -> None:
    """A service has just given up its last address in the network."""
    until = world.clock.now() + _LINGER.get(world.profile, timedelta())
    world.table(RELEASED)[network] = {"until": until.isoformat()}


def _project(call: Call) -> str:
    """The project whose policy decides about a call: that of the network, wherever the call names it."""
    text = call.params.get("network") or call.body.get("network") or call.body.get("consumerNetwork") or ""
    return call.world.by_id("/".join(str(text).split("/")[:2]))


@method("servicenetworking.services.connections.list", permission="servicenetworking.services.get", resource=_project)
def list_connections(call: Call) -> Json:
    """The connections of one network."""
    number, network = _network(call, str(call.params.get("network") or ""))
    return {"connections": [_shown(call.world, number, network)]} if connected(call.world, network) else {}


@method(
    "servicenetworking.services.connections.create",
    permission="servicenetworking.services.addPeering",
    resource=_project,
)
def create(call: Call) -> Json:
    """Begin to connect a network for the first time."""
    return _begin(call)


@method(
    "servicenetworking.services.connections.patch",
    permission="servicenetworking.services.addPeering",
    resource=_project,
)
def patch(call: Call) -> Json:
    """Begin to set the reserved ranges; connects the network when it is not. Ranges are only dropped with force."""
    mask = call.params.get("updateMask")
    if mask not in (None, "", "*", "reservedPeeringRanges", "reserved_peering_ranges"):
        raise errors.invalid(f"Invalid update mask '{mask}': only reservedPeeringRanges can be updated.")
    return _begin(call, force=bool(call.params.get("force")))


@method(
    "servicenetworking.services.connections.deleteConnection",
    permission="servicenetworking.services.deleteConnection",
    resource=_project,
)
def delete(call: Call) -> Json:
    """Begin to disconnect a network; it fails as long as a service uses the connection."""
    number, network = _network(call, call.body.get("consumerNetwork") or "")
    if not was_connected(call.world, network):
        raise errors.not_found(f"No service connection was found for network projects/{number}/global/networks/...")
    return _start(call, network)


@operations.finish("servicenetworking.services.connections.create")
def created(world: World, operation: Json) -> Json:
    """The peering is up, unless the producer's side remembers other ranges."""
    network, ranges = operation["target"], operation["args"]["ranges"]
    known = world.table(TABLE).get(network)
    if known and not (connected(world, network) and sorted(known["ranges"]) == sorted(ranges)):
        raise _refused("Cannot modify allocated ranges in CreateConnection. Please use UpdateConnection.", operation)
    return _connect(world, operation)


@operations.finish("servicenetworking.services.connections.patch")
def patched(world: World, operation: Json) -> Json:
    """The ranges are set, and the peering is up."""
    known = ranges_of(world, operation["target"])
    if set(known) - set(operation["args"]["ranges"]) and not operation["args"]["force"]:
        raise _refused("Cannot remove allocated ranges from a connection unless force is set.", operation)
    return _connect(world, operation)


@operations.finish("servicenetworking.services.connections.deleteConnection")
def deleted(world: World, operation: Json) -> Json:
    """Peering and memory are gone, unless a service still uses the connection."""
    network = operation["target"]
    if _in_use(world, network):
        message = (
            "Failed to delete connection; Producer services (e.g. CloudSQL, Cloud Memstore, etc.) are still using this "
            "connection."
        )
        raise _refused(message, operation)
    world.table(TABLE).pop(network, None)
    row = world.table(networks.TABLE).get(network)
    if row:
        networks.drop_peering(world, network, row, PEERING)
    return {"@type": "type.googleapis.com/google.protobuf.Empty"}


def _operation_project(call: Call) -> str:
    """The project of an operation: its number is part of the name, pssn.p24-NUMBER-UUID."""
    parts = str(call.params["name"]).split("-")
    return call.world.by_id(f"projects/{parts[1]}") if len(parts) > 1 else ""


@method(
    "servicenetworking.operations.get",
    permission="servicenetworking.operations.get",
    resource=_operation_project,
)
def get_operation(call: Call) -> Json:
    """How an operation stands."""
    return operations.read(call, "servicenetworking", call.params["name"])


def _network(call: Call, text: str) -> tuple[str, str]:
    """The project's number and the network's path, of projects/N/global/networks/n."""
    parts = text.split("/")
    if len(parts) != 5 or parts[0] != "projects" or parts[2:4] != ["global", "networks"]:
        raise errors.invalid(f"Invalid network name '{text}': projects/NUMBER/global/networks/NAME is needed.")
    project = call.world.project(parts[1])
    return str(project["projectNumber"]), f"projects/{project['projectId']}/global/networks/{parts[4]}"


def _begin(call: Call, *, force: bool = False) -> Json:
    number, network = _network(call, call.body.get("network") or "")
    row = call.world.table(networks.TABLE).get(network)
    if row is None:
        name = network.rpartition("/")[2]
        raise errors.not_found(f"The network projects/{number}/global/networks/{name} was not found.")
    ranges = call.body.get("reservedPeeringRanges") or []
    if not ranges:
        raise errors.invalid("At least one reserved peering range is needed.")
    if networks.peering_in_progress(call.world, network):
        raise errors.invalid(networks.PEERING_BUSY)
    return _start(call, network, ranges=ranges, force=force)


def _start(call: Call, network: str, **args: object) -> Json:
    project = network.split("/")[1]
    return operations.start(call, kind="servicenetworking", verb=call.id, target=network, args=args, project=project)


def _connect(world: World, operation: Json) -> Json:
    network, ranges = operation["target"], operation["args"]["ranges"]
    project = network.split("/")[1]
    for name in ranges:
        held = world.table("compute.addresses").get(f"projects/{project}/global/addresses/{name}")
        if held is None or held.get("network") != resources.LINK + network:
            raise _refused(f"Allocated IP range '{name}' not found in network.", operation)
    if network not in world.table(networks.TABLE):
        raise _refused("The consumer network was not found.", operation)
    known = world.table(TABLE).get(network)
    tenant = known["tenant"] if known else f"{hashlib.sha256(network.encode()).hexdigest()[:16]}p-tp"
    world.table(TABLE)[network] = {"ranges": ranges, "tenant": tenant}
    networks.add_peering(world, network, _peering(world, tenant))
    number = str(world.project(project)["projectNumber"])
    shown = _shown(world, number, network)
    del shown["service"]
    return {"@type": "type.googleapis.com/google.cloud.servicenetworking.v1.Connection", **shown}


def _peering(world: World, tenant: str) -> Json:
    passed = ("CustomRoutes", "SubnetRoutesWithPublicIp")
    traffic = {f"export{what}ToPeer": False for what in passed} | {f"import{what}FromPeer": False for what in passed}
    return {
        "name": PEERING,
        "network": f"{resources.LINK}projects/{tenant}/global/networks/servicenetworking",
        "state": "ACTIVE",
        "stateDetails": f"[{resources.timestamp(world.clock.now())}]: Connected.",
        "autoCreateRoutes": True,
        "exchangeSubnetRoutes": True,
        **{f"export{what}": False for what in passed},
        **{f"import{what}": False for what in passed},
        "stackType": "IPV4_ONLY",
        "updateStrategy": "INDEPENDENT",
        "connectionStatus": {
            "trafficConfiguration": {**traffic, "stackType": "IPV4_ONLY"},
            "updateStrategy": "INDEPENDENT",
        },
    }


def _shown(world: World, number: str, network: str) -> Json:
    return {
        "network": f"projects/{number}/global/networks/{network.rpartition('/')[2]}",
        "peering": PEERING,
        "reservedPeeringRanges": ranges_of(world, network),
        "service": SERVICE,
    }


def _in_use(world: World, network: str) -> bool:
    instances = world.table("sql.instances").values()
    if any(row["settings"]["ipConfiguration"].get("privateNetwork") == network for row in instances):
        return True
    row = world.table(RELEASED).get(network)
    return row is not None and row["until"] > world.clock.now().isoformat()


def _refused(message: str, operation: Json) -> OperationError:
    token = base64.urlsafe_b64encode(hashlib.sha256(operation["target"].encode()).digest()).decode().rstrip("=")
    return OperationError(9, f"{message}\nHelp Token: {token}")
