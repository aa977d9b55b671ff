"""Addresses: room for those of Google's services in the network, a way to Google's APIs, and none that is no use.

https://cloud.google.com/vpc/docs/configure-private-services-access#allocating-range
"""

from collections.abc import Iterator
from ipaddress import IPv4Network

from provision.doctor.facts import Facts
from provision.doctor.telling import Finding, blocked, ok, warning
from provision.errors import NetworkNotUsable

PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
"""Where Google looks for a free range (https://www.rfc-editor.org/rfc/rfc1918)."""

GATEWAY = "/global/gateways/default-internet-gateway"
"""By which Google's APIs are reached from inside, too (https://cloud.google.com/vpc/docs/configure-private-google-access);
by a route to everywhere, or to the addresses that the network's own DNS has for them."""

DOCKER = IPv4Network("172.17.0.0/16")
"""Kept for containers inside of instances (https://cloud.google.com/sql/docs/postgres/private-ip)."""


def free(facts: Facts) -> Iterator[Finding]:
    """Whether the network has a free range for Google's services, a way to its APIs, and no range out of reach."""
    settings, found = facts.settings.network, False
    own = IPv4Network(settings.cidr)
    if settings.name is None and own.overlaps(DOCKER):
        found = True
        yield warning(
            f"network.cidr = {settings.cidr} overlaps {DOCKER}, which containers use inside of their machines: what"
            " lies there may not be reached.",
            "Choose another network.cidr in provision.toml.",
        )
    if settings.name and facts.makes("default_service", "server") and not _leads_to_google(facts, settings.name):
        found = True
        yield warning(
            f"Network {settings.name} has no route to the default internet gateway, by which Google's APIs are reached"
            " with Private Google Access too: without one the deployment of the server times out.",
            f"gcloud compute routes create google-apis-{settings.name} --network={settings.name}"
            " --destination-range=0.0.0.0/0 --next-hop-gateway=default-internet-gateway; or go on, where Google's APIs"
            " have an address of Private Service Connect in it.",
        )
    wanted = [body["prefixLength"] for row, _, body in facts.unbegun if row.name == "peering_range"]
    if not wanted:
        yield from [] if found else [ok("No new range is needed.")]
        return
    used = _used(facts, settings.name) if settings.name else [own]
    if not any(_has_room(space, wanted[0], used) for space in PRIVATE):
        yield blocked(
            NetworkNotUsable(
                f"Network {settings.name or 'mlflow'} has no free /{wanted[0]} among the private addresses for Google's"
                f" services; it uses {', '.join(map(str, sorted(used)))}.",
                hint="Free a range in it, or name another network in provision.toml.",
            )
        )
    elif not found:
        yield ok(f"There is a free /{wanted[0]} for Google's services.")


def _leads_to_google(facts: Facts, network: str) -> bool:
    return any(route.get("nextHopGateway", "").endswith(GATEWAY) for route in _routes(facts, network))


def _routes(facts: Facts, network: str) -> list[dict[str, str]]:
    """The routes of a network, asked for once."""
    asked = facts.gcp.compute.routes().list(project=facts.settings.project)
    return [route for route in facts.once("routes", asked.execute).get("items", []) if _is_of(route, network)]


def _used(facts: Facts, network: str) -> list[IPv4Network]:
    """What an existing network has routes to: its subnets, what it is connected with, and ranges that are reserved."""
    calls, project = facts.gcp.compute, facts.settings.project
    reserved = calls.globalAddresses().list(project=project).execute().get("items", [])
    texts = [route["destRange"] for route in _routes(facts, network)]
    texts += [
        f"{one['address']}/{one['prefixLength']}" for one in reserved if "prefixLength" in one and _is_of(one, network)
    ]
    parsed = (IPv4Network(text, strict=False) for text in texts if ":" not in text)
    return [found for found in parsed if found.prefixlen]  # but for the way to everywhere


def _is_of(found: dict[str, str], network: str) -> bool:
    return found.get("network", "").rpartition("/")[2] == network


def _has_room(space: IPv4Network, prefix: int, used: list[IPv4Network]) -> bool:
    return any(not any(one.overlaps(taken) for taken in used) for one in space.subnets(new_prefix=prefix))
