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


@method("compute.globalAddresses.insert", permission="compute.globalAddresses.create")
@resources.once
def insert_global(call: Call) -> Json:
    """Reserve an external address, or with purpose VPC_PEERING a range of a network. Labels are not taken here."""
    path, row = resources.created(call, "global/addresses", "address", call.body)
    row |= _common(call) | {"networkTier": "PREMIUM"}
    if row["addressType"] == "INTERNAL":
        row |= _range(call)
    else:
        row["address"] = call.body.get("address") or _external(call.world)
    return _reserve(call, path, row)


@method("compute.addresses.insert", permission="compute.addresses.create")
@resources.once
def insert_regional(call: Call) -> Json:
    """Reserve one address of a region, external or in a subnet."""
    region = call.params["region"]
    if region not in regions.AUTO_RANGES:
        raise resources.invalid("region", region, "Unknown region.")
    path, row = resources.created(call, f"regions/{region}/addresses", "address", call.body)
    row |= _common(call) | {"networkTier": call.body.get("networkTier") or "PREMIUM"}
    row["region"] = f"{resources.LINK}projects/{call.project_id}/regions/{region}"
    if row["addressType"] == "INTERNAL":
        where = call.body.get("subnetwork") or f"regions/{region}/subnetworks/default"
        subnet = resources.found(call.world, subnetworks.TABLE, resources.path_of(call, where))
        row |= {"purpose": call.body.get("purpose") or "GCE_ENDPOINT", "subnetwork": subnet["selfLink"]}
        row["address"] = call.body.get("address") or _free_in(call.world, subnet)
    else:
        row["address"] = call.body.get("address") or _external(call.world)
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
    }


def _reserve(call: Call, path: str, row: Json) -> Json:
    call.world.table(TABLE)[path] = row
    return resources.begin(call, path, row, "insert")


def _range(call: Call) -> Json:
    """The fields of a range for private services access, free in its network."""
    body = call.body
    if body.get("purpose") != "VPC_PEERING":
        why = "Global internal addresses need the purpose VPC_PEERING."
        raise resources.invalid("resource.purpose", body.get("purpose") or "", why)
    network = resources.path_of(call, body.get("network") or "global/networks/default")
    resources.found(call.world, "compute.networks", network)
    resources.require_ready(call.world, network)
    length = int(body.get("prefixLength") or 0)
    if not 8 <= length <= 30:
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
    return {
        "address": str(wanted.network_address),
        "prefixLength": length,
        "purpose": "VPC_PEERING",
        "network": resources.LINK + network,
    }


def _parsed(address: str, length: int) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(f"{address}/{length}", strict=False)
    except ValueError:
        raise resources.invalid("resource.address", address, "Must be a valid IP address.") from None


def _reserved_in(world: World, network: str) -> list[ipaddress.IPv4Network]:
    rows = [row for row in world.table(TABLE).values() if row.get("network") == resources.LINK + network]
    return [_parsed(row["address"], row["prefixLength"]) for row in rows]


def _external(world: World) -> str:
    taken = {row["address"] for row in world.table(TABLE).values()}
    pool = ipaddress.IPv4Network("34.8.0.0/16").hosts()
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
