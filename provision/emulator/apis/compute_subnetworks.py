"""Subnets of VPC networks: one range in one region, never overlapping.

https://docs.cloud.google.com/compute/docs/reference/rest/v1/subnetworks
"""

import ipaddress
from datetime import datetime

from provision.emulator import errors, operations
from provision.emulator.api import Call, Json, method
from provision.emulator.apis import compute_regions as regions
from provision.emulator.apis import compute_resources as resources
from provision.emulator.world import World

TABLE = "compute.subnetworks"
_AUTOMATIC = ipaddress.ip_network("10.128.0.0/9")
_PROXIES = ("REGIONAL_MANAGED_PROXY", "GLOBAL_MANAGED_PROXY", "INTERNAL_HTTPS_LOAD_BALANCER")
"""Purposes of subnets for load balancers: they have a state, and no flow logs."""
_DUAL = ("stackType", "ipv6AccessType")


def of_network(world: World, network: str) -> list[tuple[str, Json]]:
    """The subnets of a network, given its path or its link."""
    link = network if network.startswith(resources.LINK) else resources.LINK + network
    return [(path, row) for path, row in world.table(TABLE).items() if row["network"] == link]


@method("compute.subnetworks.insert", permission="compute.subnetworks.create")
@resources.once
def insert(call: Call) -> Json:
    """A subnet in a network that is not a legacy one; its range must be free there."""
    body, region = call.body, call.params["region"]
    if region not in regions.AUTO_RANGES:
        raise resources.invalid("region", region, "Unknown region.")
    path, row = resources.created(call, f"regions/{region}/subnetworks", "subnetwork", body)
    network_path = resources.path_of(call, body.get("network") or "global/networks/default")
    network = resources.found(call.world, "compute.networks", network_path)
    resources.require_ready(call.world, network_path)
    if "autoCreateSubnetworks" not in network:
        why = "Cannot create a subnetwork in a legacy network."
        raise resources.invalid("resource.network", network["selfLink"], why)
    ranges = [("resource.ipCidrRange", body.get("ipCidrRange"))]
    secondary = body.get("secondaryIpRanges") or []
    ranges += [
        (f"resource.secondaryIpRanges[{i}].ipCidrRange", item.get("ipCidrRange")) for i, item in enumerate(secondary)
    ]
    for field, value in ranges:
        if network["autoCreateSubnetworks"] and _range(field, value).overlaps(_AUTOMATIC):
            why = f"Extended subnetworks in auto subnet mode networks cannot overlap with {_AUTOMATIC}."
            raise resources.invalid(field, value, why)
        _require_free(call.world, network_path, field, value)
    row |= _described(call.project_id, region, network["selfLink"], body)
    row |= _ipv6(call, network, row)
    row["fingerprint"] = resources.fingerprint([row["id"], row["ipCidrRange"]])
    call.world.table(TABLE)[path] = row
    return resources.begin(call, path, row, "insert")


@method("compute.subnetworks.get", permission="compute.subnetworks.get")
def get(call: Call) -> Json:
    """One subnet."""
    return resources.found(call.world, TABLE, _path(call))


@method("compute.subnetworks.list", permission="compute.subnetworks.list")
def list_subnetworks(call: Call) -> Json:
    """The subnets of one region."""
    collection = f"regions/{call.params['region']}/subnetworks"
    rows = [row for _, row in call.world.table(TABLE).under(f"projects/{call.project_id}/{collection}/")]
    return resources.listed(call, "subnetwork", collection, rows)


@method("compute.subnetworks.patch", permission="compute.subnetworks.update")
@resources.once
def patch(call: Call) -> Json:
    """Change what may be changed of a subnet; its fingerprint must be sent."""
    path = _path(call)
    row = resources.found(call.world, TABLE, path)
    resources.require_ready(call.world, path)
    changed = {key: value for key, value in call.body.items() if key != "fingerprint"}
    message = "Supplied fingerprint does not match current metadata fingerprint."
    resources.require_fingerprint(call.body.get("fingerprint"), row["fingerprint"], message, "resource.fingerprint")
    changeable = {
        "description",
        "privateIpGoogleAccess",
        "privateIpv6GoogleAccess",
        "secondaryIpRanges",
        "role",
        *_DUAL,
    }
    changeable |= {"logConfig", "enableFlowLogs", "allowSubnetCidrRoutesOverlap"}
    for field, value in changed.items():
        if field not in changeable and value != row.get(field):
            raise resources.invalid(f"resource.{field}", value, "Field cannot be changed.")
    if "logConfig" in changed or "enableFlowLogs" in changed:
        changed["logConfig"] = _log(changed, row.get("logConfig", {}))
    row |= changed
    row |= _ipv6(
        call, resources.found(call.world, "compute.networks", row["network"].removeprefix(resources.LINK)), row
    )
    return _save(call, path, row, "compute.subnetworks.patch")


@method("compute.subnetworks.setPrivateIpGoogleAccess", permission="compute.subnetworks.setPrivateIpGoogleAccess")
@resources.once
def set_private_access(call: Call) -> Json:
    """Switch Private Google Access on or off."""
    path = _path(call)
    row = resources.found(call.world, TABLE, path)
    resources.require_ready(call.world, path)
    wanted = bool(call.body.get("privateIpGoogleAccess"))
    return _save(call, path, row | {"privateIpGoogleAccess": wanted}, "setPrivateIpGoogleAccess")


@method("compute.subnetworks.expandIpCidrRange", permission="compute.subnetworks.expandIpCidrRange")
@resources.once
def expand(call: Call) -> Json:
    """Make the range wider; it never shrinks."""
    path = _path(call)
    row = resources.found(call.world, TABLE, path)
    resources.require_ready(call.world, path)
    wider = call.body.get("ipCidrRange")
    new, old = _range("ipCidrRange", wider), _range("ipCidrRange", row["ipCidrRange"])
    if not (new.prefixlen < old.prefixlen and new.overlaps(old)):
        why = f"The range must contain the current one, {old}, and be larger."
        raise resources.invalid("ipCidrRange", wider, why)
    network = row["network"].removeprefix(resources.LINK)
    _require_free(call.world, network, "ipCidrRange", wider, but=path)
    row |= {"ipCidrRange": str(new), "gatewayAddress": str(new.network_address + 1)}
    return _save(call, path, row, "expandIpCidrRange")


@method("compute.subnetworks.delete", permission="compute.subnetworks.delete")
@resources.once
def delete(call: Call) -> Json:
    """Refused while an address or a machine of App Engine is in the subnet, and for one of an auto mode network."""
    path = _path(call)
    row = resources.found(call.world, TABLE, path)
    resources.require_ready(call.world, path)
    network = resources.found(call.world, "compute.networks", row["network"].removeprefix(resources.LINK))
    if network.get("autoCreateSubnetworks") and row["name"] == network["name"]:
        why = "'Cannot delete auto subnetwork from an auto subnet mode network.'"
        raise errors.invalid(f"Invalid resource usage: {why}.", reason="invalidResourceUsage")
    user = _first_user(call.world, path, row)
    if user:
        raise resources.in_use("subnetwork", path, user)
    return resources.begin(call, path, row, "delete")


@operations.finish("compute.subnetworks.delete")
def deleted(world: World, operation: Json) -> None:
    """The subnet is gone."""
    world.table(TABLE).pop(operation["target"], None)


def make_automatic(world: World, network: str, row: Json) -> None:
    """The subnets of an auto mode network: one for each region, named like the network."""
    project = network.split("/")[1]
    for region, ip_range in regions.AUTO_RANGES.items():
        path = f"projects/{project}/regions/{region}/subnetworks/{row['name']}"
        subnet = {
            "kind": "compute#subnetwork",
            "id": resources.new_id(world),
            "creationTimestamp": resources.timestamp(world.clock.now()),
            "name": row["name"],
            "selfLink": resources.LINK + path,
            **_described(project, region, resources.LINK + network, {"ipCidrRange": ip_range}),
        }
        subnet["fingerprint"] = resources.fingerprint([subnet["id"], ip_range])
        world.table(TABLE)[path] = subnet


def ranges_of(world: World, network: str) -> list[ipaddress.IPv4Network]:
    """Every range that a network's subnets take."""
    rows = [row for _, row in of_network(world, network)]
    texts = [row["ipCidrRange"] for row in rows]
    texts += [item["ipCidrRange"] for row in rows for item in row.get("secondaryIpRanges", [])]
    return [ipaddress.IPv4Network(text) for text in texts]


def _path(call: Call) -> str:
    return f"projects/{call.project_id}/regions/{call.params['region']}/subnetworks/{call.params['subnetwork']}"


def _described(project: str, region: str, network: str, body: Json) -> Json:
    purpose = body.get("purpose") or "PRIVATE"
    primary = _range("resource.ipCidrRange", body.get("ipCidrRange"))
    row: Json = {
        "allowSubnetCidrRoutesOverlap": bool(body.get("allowSubnetCidrRoutesOverlap")),
        "gatewayAddress": str(primary.network_address + 1),
        "ipCidrRange": str(primary),
        "network": network,
        "privateIpGoogleAccess": bool(body.get("privateIpGoogleAccess")),
        "privateIpv6GoogleAccess": body.get("privateIpv6GoogleAccess") or "DISABLE_GOOGLE_ACCESS",
        "purpose": purpose,
        "region": f"{resources.LINK}projects/{project}/regions/{region}",
    }
    sent = ("description", "role", "secondaryIpRanges", "reservedInternalRange", "ipv6AccessType", "externalIpv6Prefix")
    row |= {key: body[key] for key in sent if body.get(key)}
    if purpose == "PRIVATE":
        row["stackType"] = body.get("stackType") or "IPV4_ONLY"
    if purpose in _PROXIES:
        row["state"] = "READY"
    else:
        log = _log(body, {})
        row |= {"logConfig": log, "enableFlowLogs": log["enable"]}
    return row


def _log(sent: Json, held: Json) -> Json:
    """Whether flows are logged, by either of the two fields, and how: what was held, else what the reference says."""
    log: Json = {"enable": bool(sent.get("enableFlowLogs", held.get("enable")))} | (sent.get("logConfig") or {})
    if not log["enable"]:
        return {"enable": False}
    defaults = {"aggregationInterval": "INTERVAL_5_SEC", "flowSampling": 0.5, "metadata": "EXCLUDE_ALL_METADATA"}
    return defaults | held | log


def _ipv6(call: Call, network: Json, row: Json) -> Json:
    """The range of IPv6 that a subnet with both stacks gets: of Google's, or of the network's own.

    https://docs.cloud.google.com/compute/docs/reference/rest/v1/subnetworks (ipv6AccessType)
    """
    if row.get("stackType") != "IPV4_IPV6":
        return {}
    access = row.get("ipv6AccessType")
    if access not in ("EXTERNAL", "INTERNAL"):
        why = "It must be specified for a subnetwork with IPv6."
        raise resources.invalid("resource.ipv6AccessType", access or "", why)
    if access == "EXTERNAL":
        return {
            "externalIpv6Prefix": row.get("externalIpv6Prefix")
            or resources.ipv6(f"260019004000{call.world.hex(4)}", 64)
        }
    if "internalIpv6Range" not in network:
        why = "The network has no range of internal IPv6 addresses: enableUlaInternalIpv6 is off."
        raise resources.invalid("resource.ipv6AccessType", access, why)
    parts = "".join(part.zfill(4) for part in network["internalIpv6Range"].split(":")[:3])
    return {"internalIpv6Prefix": row.get("internalIpv6Prefix") or resources.ipv6(parts + call.world.hex(4), 64)}


def _range(field: str, value: str | None) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(value or "")
    except ValueError:
        raise resources.invalid(field, value or "", "Must be a valid IPV4 CIDR address range.") from None


def _require_free(world: World, network: str, field: str, value: str | None, but: str = "") -> None:
    wanted = _range(field, value)
    for path, row in of_network(world, network):
        held = [row["ipCidrRange"], *(item["ipCidrRange"] for item in row.get("secondaryIpRanges", []))]
        if path != but and any(wanted.overlaps(ipaddress.IPv4Network(text)) for text in held):
            held_by = f"existing subnetwork '{row['name']}' in region '{row['region'].rpartition('/')[2]}'"
            why = f"Invalid IPCidrRange: {value} conflicts with {held_by}."
            raise resources.invalid(field, value, why)
    for path, row in world.table("compute.addresses").items():
        if row.get("network") == resources.LINK + network and row.get("prefixLength"):
            taken = ipaddress.IPv4Network(f"{row['address']}/{row['prefixLength']}", strict=False)
            if wanted.overlaps(taken):
                why = f"Invalid IPCidrRange: {value} conflicts with reserved IP range '{path}'."
                raise resources.invalid(field, value, why)


def _save(call: Call, path: str, row: Json, type: str) -> Json:  # noqa: A002
    now: datetime = call.now
    row["fingerprint"] = resources.fingerprint([row["id"], now.isoformat(), row["ipCidrRange"]])
    if row.get("logConfig"):
        row["enableFlowLogs"] = row["logConfig"]["enable"]
    call.world.table(TABLE)[path] = row
    return resources.begin(call, path, row, type)


def _first_user(world: World, path: str, row: Json) -> str | None:
    """Path of an address or of a machine in the subnet."""
    for address, held in world.table("compute.addresses").items():
        if held.get("subnetwork") == row["selfLink"]:
            return address
    _, project, _, region, _, name = path.split("/")
    network = row["network"].rpartition("/")[2]
    for key, version in world.table("appengine.versions").under(f"apps/{project}/"):
        place = version.get("network", {})
        here = place.get("subnetworkName") == name and place.get("name", "default") == network
        if here and version.get("servingStatus") == "SERVING":
            _, _, _, service, _, version_id = key.split("/")
            return f"projects/{project}/zones/{regions.zones(region)[0]}/instances/aef-{service}-{version_id}-0001"
    return None
