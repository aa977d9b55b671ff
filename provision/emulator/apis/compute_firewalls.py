"""Firewall rules of VPC networks.

https://docs.cloud.google.com/compute/docs/reference/rest/v1/firewalls
"""

from provision.emulator import operations
from provision.emulator.api import Call, Json, method
from provision.emulator.apis import compute_resources as resources
from provision.emulator.world import World

TABLE = "compute.firewalls"
_SENT = ("sourceRanges", "destinationRanges", "sourceTags", "targetTags", "sourceServiceAccounts")
_ALSO_SENT = ("targetServiceAccounts", "allowed", "denied")


@method("compute.firewalls.insert", permission="compute.firewalls.create")
@resources.once
def insert(call: Call) -> Json:
    """A rule on a network; INGRESS, priority 1000 and enabled unless said otherwise."""
    path, row = resources.created(call, "global/firewalls", "firewall", call.body)
    network = resources.path_of(call, call.body.get("network") or "global/networks/default")
    resources.found(call.world, "compute.networks", network)
    resources.require_ready(call.world, network)
    row |= _rule(call.body) | {"network": resources.LINK + network}
    call.world.table(TABLE)[path] = row
    return resources.begin(call, path, row, "insert")


@method("compute.firewalls.get", permission="compute.firewalls.get")
def get(call: Call) -> Json:
    """One rule."""
    return resources.found(call.world, TABLE, _path(call))


@method("compute.firewalls.list", permission="compute.firewalls.list")
def list_firewalls(call: Call) -> Json:
    """The project's rules."""
    rows = [row for _, row in call.world.table(TABLE).under(f"projects/{call.project_id}/")]
    return resources.listed(call, "firewall", "global/firewalls", rows)


@method("compute.firewalls.patch", permission="compute.firewalls.update")
@resources.once
def patch(call: Call) -> Json:
    """Change the fields that are sent."""
    path = _path(call)
    row = resources.found(call.world, TABLE, path)
    resources.require_ready(call.world, path)
    return _save(call, path, row, row | call.body, "patch")


@method("compute.firewalls.update", permission="compute.firewalls.update")
@resources.once
def update(call: Call) -> Json:
    """Replace the rule."""
    path = _path(call)
    row = resources.found(call.world, TABLE, path)
    resources.require_ready(call.world, path)
    return _save(call, path, row, call.body, "update")


@method("compute.firewalls.delete", permission="compute.firewalls.delete")
@resources.once
def delete(call: Call) -> Json:
    """Delete the rule."""
    path = _path(call)
    row = resources.found(call.world, TABLE, path)
    resources.require_ready(call.world, path)
    return resources.begin(call, path, row, "delete")


@operations.finish("compute.firewalls.delete")
def deleted(world: World, operation: Json) -> None:
    """The rule is gone."""
    world.table(TABLE).pop(operation["target"], None)


def _path(call: Call) -> str:
    return f"projects/{call.project_id}/global/firewalls/{call.params['firewall']}"


def _save(call: Call, path: str, row: Json, wanted: Json, type: str) -> Json:  # noqa: A002
    kept = {key: row[key] for key in ("kind", "id", "creationTimestamp", "name", "selfLink", "network")}
    if "network" in wanted and resources.link_of(call, wanted["network"]) != row["network"]:
        raise resources.invalid("resource.network", wanted["network"], "Field cannot be changed.")
    call.world.table(TABLE)[path] = kept | _rule(wanted)
    return resources.begin(call, path, row, type)


def _rule(body: Json) -> Json:
    if not (body.get("allowed") or body.get("denied")):
        raise resources.invalid("resource", "", "Either allowed or denied must be specified.")
    rule: Json = {
        "description": body.get("description") or "",
        "direction": body.get("direction") or "INGRESS",
        "priority": body.get("priority", 1000),
        "disabled": bool(body.get("disabled")),
        "logConfig": _log(body.get("logConfig") or {}),
    }
    rule |= {key: body[key] for key in (*_SENT, *_ALSO_SENT) if body.get(key)}
    sources = ("sourceRanges", "sourceTags", "sourceServiceAccounts")
    if rule["direction"] == "INGRESS" and not any(key in rule for key in sources):
        rule["sourceRanges"] = ["0.0.0.0/0"]
    if rule["direction"] == "EGRESS" and "destinationRanges" not in rule:
        rule["destinationRanges"] = ["0.0.0.0/0"]
    return rule


def _log(sent: Json) -> Json:
    """Whether connections are logged, and if so with metadata unless the rule says otherwise.

    https://docs.cloud.google.com/firewall/docs/firewall-rules-logging
    """
    return ({"metadata": "INCLUDE_ALL_METADATA"} if sent.get("enable") else {}) | {"enable": False} | sent
