"""Reserved addresses, global and regional; among them the ranges that private services access takes.

https://docs.cloud.google.com/compute/docs/reference/rest/v1/globalAddresses
"""

import ipaddress
from collections.abc import Iterator
from typing import TypeVar

from provision.emulator import operations
from provision.emulator.api import Call, Json, method
from provision.emulator.apis import compute_regions as regions
from provision.emulator.apis import compute_resources as resources
from provision.emulator.apis import compute_subnetworks as subnetworks
from provision.emulator.world import World

TABLE = "compute.addresses"
_Kind = TypeVar("_Kind")
_POOL = ipaddress.IPv4Network("10.0.0.0/8")
_OUTSIDE = ipaddress.IPv4Network("34.8.0.0/16")
_OUTSIDE_6 = ipaddress.IPv6Network("2600:1901:0:1::/64")
_RANGES = ("VPC_PEERING", "IPSEC_INTERCONNECT")
_IN_NETWORK = (*_RANGES, "PRIVATE_SERVICE_CONNECT")
"""Purposes of what is reserved in a network, not in a subnet: ranges, and single addresses."""


@method("compute.globalAddresses.insert", permission="compute.globalAddresses.create")
@resources.once
def insert_global(call: Call) -> Json:
    """Reserve an external address, a range of a network, or an address of it. Labels are not taken here."""
    path, row = resources.created(call, "global/addresses", "address", call.body)
    row |= _common(call) | {"networkTier": "PREMIUM"}
    if row["addressType"] == "INTERNAL":
        row |= _in_network(call)
    else:
        row["address"] = call.body.get("address") or _external(call)
    return _reserve(call, path, row)


@method("compute.addresses.insert", permission="compute.addresses.create")
@resources.once
def insert_regional(call: Call) -> Json:
    """Reserve an address of a region, external or in a subnet, or a range of a network for an interconnect."""
    region = call.params["region"]
    if region not in regions.AUTO_RANGES:
        raise resources.invalid("region", region, "Unknown region.")
    path, row = resources.created(call, f"regions/{region}/addresses", "address", call.body)
    row |= _common(call) | {"networkTier": call.body.get("networkTier") or "PREMIUM"}
    row["region"] = f"{resources.LINK}projects/{call.project_id}/regions/{region}"
    row |= {key: call.body[key] for key in ("ipv6EndpointType",) if call.body.get(key)}
    if call.body.get("purpose") in _RANGES:
        row |= _in_network(call)
    elif row["addressType"] == "INTERNAL":
        where = call.body.get("subnetwork") or f"regions/{region}/subnetworks/default"
        subnet = resources.found(call.world, subnetworks.TABLE, resources.path_of(call, where))
        row |= {"purpose": call.body.get("purpose") or "GCE_ENDPOINT", "subnetwork": subnet["selfLink"]}
        row["address"] = call.body.get("address") or _free_in(call.world, subnet)
    else:
        row["address"] = call.body.get("address") or _external(call)
    return _reserve(call, path, row)


@method("compute.globalAddresses.get", permission="compute.globalAddresses.get")
@method("compute.addresses.get", permission="compute.addresses.get")
def get(call: Call) -> Json:
    """One address."""
    return resources.found(call.world, TABLE, _path(call))


@method("compute.globalAddresses.list", permission="compute.globalAddresses.list")
@method("compute.addresses.list", permission="compute.addresses.list")
def list_addresses(call: Call) -> Json:
    """The addresses of one region, or the global ones."""
    collection = _collection(call)
    rows = [row for _, row in call.world.table(TABLE).under(f"projects/{call.project_id}/{collection}/")]
    return resources.listed(call, "address", collection, rows)


@method("compute.globalAddresses.setLabels", permission="compute.globalAddresses.setLabels")
@method("compute.addresses.setLabels", permission="compute.addresses.setLabels")
def set_labels(call: Call) -> Json:
    """Replace all labels; the current fingerprint must be sent. Done at once."""
    params = call.params
    path = f"projects/{call.project_id}/{_collection(call)}/{params.get('resource')}"
    row = resources.found(call.world, TABLE, path)
    resources.require_ready(call.world, path)
    message = "Labels fingerprint either invalid or resource labels have changed"
    given = call.body.get("labelFingerprint")
    resources.require_fingerprint(given, row["labelFingerprint"], message, "labelFingerprint")
    labels = call.body.get("labels") or {}
    row = {key: value for key, value in row.items() if key != "labels"} | ({"labels": labels} if labels else {})
    row["labelFingerprint"] = resources.fingerprint(labels)
    call.world.table(TABLE)[path] = row
    return resources.begin(call, path, row, "setLabels", done=True)


@method("compute.globalAddresses.delete", permission="compute.globalAddresses.delete")
@method("compute.addresses.delete", permission="compute.addresses.delete")
@resources.once
def delete(call: Call) -> Json:
    """Give an address back. A range that a service connection still names can be given back too."""
    path = _path(call)
    row = resources.found(call.world, TABLE, path)
    resources.require_ready(call.world, path)
    return resources.begin(call, path, row, "delete")


@operations.finish("compute.globalAddresses.delete")
@operations.finish("compute.addresses.delete")
def deleted(world: World, operation: Json) -> None:
    """The address is free again."""
    world.table(TABLE).pop(operation["target"], None)


def _collection(call: Call) -> str:
    region = call.params.get("region")
    return f"regions/{region}/addresses" if region else "global/addresses"


def _path(call: Call) -> str:
    return f"projects/{call.project_id}/{_collection(call)}/{call.params['address']}"


def _common(call: Call) -> Json:
    return {
        "description": call.body.get("description") or "",
        "addressType": call.body.get("addressType") or "EXTERNAL",
        "status": "RESERVED",
        "labelFingerprint": resources.fingerprint({}),
        **{key: call.body[key] for key in ("ipVersion",) if call.body.get(key)},
    }


def _reserve(call: Call, path: str, row: Json) -> Json:
    call.world.table(TABLE)[path] = row
    return resources.begin(call, path, row, "insert")


def _in_network(call: Call) -> Json:
    """The fields of a range, or with purpose PRIVATE_SERVICE_CONNECT of one address, that is free in its network.

    https://docs.cloud.google.com/compute/docs/reference/rest/v1/globalAddresses (purpose)
    """
    body, purpose = call.body, call.body.get("purpose")
    if purpose not in _IN_NETWORK:
        why = f"Addresses in a network need one of the purposes {', '.join(_IN_NETWORK)}."
        raise resources.invalid("resource.purpose", purpose or "", why)
    network = resources.path_of(call, body.get("network") or "global/networks/default")
    resources.found(call.world, "compute.networks", network)
    resources.require_ready(call.world, network)
    length = int(body.get("prefixLength") or 0) if purpose in _RANGES else 32
    if purpose in _RANGES and not 8 <= length <= 30:
        raise resources.invalid("resource.prefixLength", length, "Must be between 8 and 30.")
    taken = subnetworks.ranges_of(call.world, network) + _reserved_in(call.world, network)
    if body.get("address"):
        wanted = _parsed(body["address"], length)
        if any(wanted.overlaps(held) for held in taken):
            why = "Requested IP range conflicts with a range that is in use in the network."
            raise resources.invalid("resource.address", body["address"], why)
    else:
        free = (one for one in _POOL.subnets(new_prefix=length) if not any(one.overlaps(held) for held in taken))
        wanted = _first(free, "resource.prefixLength", length)
    row = {"address": str(wanted.network_address), "purpose": purpose, "network": resources.LINK + network}
    return row | ({"prefixLength": length} if purpose in _RANGES else {})


def _parsed(address: str, length: int) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(f"{address}/{length}", strict=False)
    except ValueError:
        raise resources.invalid("resource.address", address, "Must be a valid IP address.") from None


def _reserved_in(world: World, network: str) -> list[ipaddress.IPv4Network]:
    rows = [row for row in world.table(TABLE).values() if row.get("network") == resources.LINK + network]
    return [_parsed(row["address"], row.get("prefixLength", 32)) for row in rows]


def _external(call: Call) -> str:
    taken = {row["address"] for row in call.world.table(TABLE).values()}
    pool = (_OUTSIDE_6 if call.body.get("ipVersion") == "IPV6" else _OUTSIDE).hosts()
    return str(_first((host for host in pool if str(host) not in taken), "resource.address", ""))


def _free_in(world: World, subnet: Json) -> str:
    taken = {row["address"] for row in world.table(TABLE).values()} | {subnet["gatewayAddress"]}
    hosts = ipaddress.IPv4Network(subnet["ipCidrRange"]).hosts()
    return str(_first((host for host in hosts if str(host) not in taken), "resource.subnetwork", subnet["selfLink"]))


def _first(free: Iterator[_Kind], field: str, value: object) -> _Kind:
    """The first that is free; 400 when none is."""
    for one in free:
        return one
    raise resources.invalid(field, value, "There is no free IP address space left for it.")
