"""Compute Engine and Service Networking: what is not ready, still in use, remembered, or made by Google itself."""

from typing import Any

from provision.emulator import errors, iam
from provision.emulator.api import Call
from provision.emulator.apis import compute_firewalls as firewalls
from provision.emulator.apis import compute_networks as networks
from provision.emulator.apis import compute_resources as resources
from provision.emulator.apis import servicenetworking as connections
from provision.emulator.operations import OperationError
from provision.emulator.scenarios import Answer, GoOn, Playing, ending, habit, scenario
from provision.emulator.world import World

Json = dict[str, Any]

CONNECTING = ("servicenetworking.services.connections.create", "servicenetworking.services.connections.patch")
DISCONNECTING = "servicenetworking.services.connections.deleteConnection"
AGENT = "@service-networking.iam.gserviceaccount.com"
AGENT_ROLE = "roles/servicenetworking.serviceAgent"


@scenario(
    "network-agent-new",
    9,
    "https://github.com/GoogleCloudPlatform/cloud-foundation-fabric/issues/1399",
    seconds=60.0,
)
def network_agent_new(world: World, options: Json) -> None:
    """Google's own account for private connections exists once it was asked for, and its role works only later."""
    del world, options


@habit("serviceusage.services.generateServiceIdentity", of="network-agent-new")
def woken(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """Now it exists."""
    del call
    playing.first("exists")
    return go_on()


@habit("cloudresourcemanager.projects.setIamPolicy", of="network-agent-new")
def unknown(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """A policy that names it before is refused whole."""
    bindings = (call.body.get("policy") or {}).get("bindings", [])
    named = {member for binding in bindings for member in binding["members"] if member.endswith(AGENT)}
    if named and "exists" not in playing.row.get("first", {}):
        raise errors.invalid(f"Service account {named.pop().partition(':')[2]} does not exist.", reason="badRequest")
    answer = go_on()
    if any(binding["role"] == AGENT_ROLE for binding in bindings):
        playing.first("granted")
    return answer


@ending(*CONNECTING, of="network-agent-new")
def may_not(world: World, operation: Json, playing: Playing) -> None:
    """Connecting a network fails as long as it may not look at the network's ranges."""
    granted = playing.row.get("first", {}).get("granted")
    project = f"projects/{operation['project']}"
    held = any(binding["role"] == AGENT_ROLE for binding in iam.policy_of(world, project).get("bindings", []))
    if not held or (granted and playing.lasts(granted)):
        message = f"Required 'compute.globalAddresses.list' permission for 'projects/{operation['number']}'"
        raise OperationError(7, message, keep=True)


@scenario(
    "connection-remembered",
    9,
    "https://github.com/hashicorp/terraform-provider-google/issues/3294",
    range="an-older-range",
)
def connection_remembered(world: World, options: Json) -> None:
    """Google still knows a connection, with another range, of an earlier network of the same name."""
    del world, options


@habit("compute.networks.insert", of="connection-remembered")
def remembers(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """On the producer's side only: the new network has no peering."""
    answer = go_on()
    path = networks.path_of(call, call.body["name"])
    call.world.table(connections.TABLE)[path] = {"ranges": [playing["range"]], "tenant": "an-older-tenant-p-tp"}
    return answer


@scenario(
    "connection-lingers",
    9,
    "https://github.com/hashicorp/terraform-provider-google/issues/16275",
    seconds=345600.0,
    network=0,
)
def connection_lingers(world: World, options: Json) -> None:
    """Google counts a connection as used for days after the last database is gone, and perhaps the network too."""
    del world, options


@ending(DISCONNECTING, of="connection-lingers")
def still_used(world: World, operation: Json, playing: Playing) -> None:
    """Whatever the list of databases says."""
    del world, operation
    if playing.lasts(playing.first("asked")):
        raise OperationError(
            9,
            "Failed to delete connection; Producer services (e.g. CloudSQL, Cloud Memstore, etc.) are still using this"
            " connection.",
            keep=True,
        )


@ending("compute.networks.delete", of="connection-lingers")
def holds_the_network(world: World, operation: Json, playing: Playing) -> None:
    """If it is told to: pages differ on whether a network goes before Google's side of its peering."""
    del world
    if playing["network"] and playing.lasts(playing.first("asked")):
        path = operation["target"]
        user = f"{path}/networkPeerings/{connections.PEERING}"
        message = f"The network resource '{path}' is already being used by '{user}'"
        raise OperationError("RESOURCE_IN_USE_BY_ANOTHER_RESOURCE", message, keep=True)


@scenario(
    "network-not-ready",
    10,
    "https://github.com/hashicorp/terraform-provider-google/blob/main/google/transport/error_retry_predicates.go",
    seconds=30.0,
)
def network_not_ready(world: World, options: Json) -> None:
    """A network is not ready for what is to lie in it, though the operation that makes it is over."""
    del world, options


@habit("compute.subnetworks.insert", "compute.globalAddresses.insert", of="network-not-ready")
def not_ready(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """From the first that asks on."""
    if playing.lasts(playing.first("asked")):
        path = resources.path_of(call, call.body["network"])
        raise errors.invalid(f"The resource '{path}' is not ready", reason="resourceNotReady")
    return go_on()


@scenario("network-shows-late", 10, "https://docs.cloud.google.com/compute/docs/reference/rest/v1/networks", times=1)
def network_shows_late(world: World, options: Json) -> None:
    """The first looks at a network that was just made do not find it."""
    del world, options


@habit("compute.networks.get", of="network-shows-late")
def not_found(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """So many of them."""
    path = networks.path_of(call, call.params["network"])
    if path in call.world.table(networks.TABLE) and playing.again():
        raise resources.not_found(path)
    return go_on()


@scenario(
    "peering-busy",
    10,
    "https://github.com/hashicorp/terraform-provider-google/blob/main/google/transport/error_retry_predicates.go",
    seconds=60.0,
)
def peering_busy(world: World, options: Json) -> None:
    """Somebody else's change of a peering is under way in the network, and only one may be."""
    del world, options


@habit(*CONNECTING, DISCONNECTING, "compute.networks.removePeering", of="peering-busy")
def busy(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """From the first change on that meets it."""
    if playing.lasts(playing.first(call.id)):
        raise errors.invalid(networks.PEERING_BUSY)
    return go_on()


@scenario(
    "subnet-in-use",
    10,
    "https://github.com/GoogleCloudPlatform/magic-modules/pull/10326",
    seconds=120.0,
)
def subnet_in_use(world: World, options: Json) -> None:
    """Machines of App Engine hold on to a subnet for a while after their version is gone."""
    del world, options


@habit("compute.subnetworks.delete", of="subnet-in-use")
def in_use(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """From the first that asks on."""
    if playing.lasts(playing.first("asked")):
        project, region = call.project_id, call.params["region"]
        path = f"projects/{project}/regions/{region}/subnetworks/{call.params['subnetwork']}"
        raise resources.in_use(
            "subnetwork", path, f"projects/{project}/zones/{region}-b/instances/aef-mlflow-5c2d-x7f2"
        )
    return go_on()


@scenario(
    "firewall-made-by-google",
    10,
    "https://cloud.google.com/appengine/docs/flexible/nodejs/understanding-firewalls",
    rule="aef-mlflow-5c2d",
    tag="aef-mlflow-5c2d",
)
def firewall_made_by_google(world: World, options: Json) -> None:
    """App Engine makes a firewall rule of its own in the network of a flexible version, and leaves it there."""
    del world, options


@ending("appengine.apps.services.versions.create", of="firewall-made-by-google")
def makes_a_rule(world: World, operation: Json, playing: Playing) -> None:
    """For Google's health checks."""
    row = world.table("appengine.versions").get(operation["target"], {})
    network = (row.get("network") or {}).get("name")
    if not network:
        return
    path = f"projects/{operation['project']}/global/firewalls/{playing['rule']}"
    world.table(firewalls.TABLE)[path] = {
        "kind": "compute#firewall",
        "id": resources.new_id(world),
        "name": playing["rule"],
        "selfLink": resources.LINK + path,
        "network": f"{resources.LINK}projects/{operation['project']}/global/networks/{network.rpartition('/')[2]}",
        "direction": "INGRESS",
        "priority": 1000,
        "sourceRanges": ["130.211.0.0/22", "35.191.0.0/16"],
        "targetTags": [playing["tag"]],
        "allowed": [{"IPProtocol": "tcp"}],
    }
