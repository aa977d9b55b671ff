"""IAM policies of every resource, and who may do what.

https://cloud.google.com/iam/docs/allow-policies. A conditional binding is kept and shown, but grants nothing
here: the emulator does not evaluate conditions.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from provision.emulator import errors
from provision.emulator.roles import grants

if TYPE_CHECKING:
    from provision.emulator.api import Call
    from provision.emulator.world import World

Json = dict[str, Any]

FRESH_ETAG = "ACAB"
_BASIC = {"projectOwner": "roles/owner", "projectEditor": "roles/editor", "projectViewer": "roles/viewer"}
Spread = Callable[["World", str, str, str], bool]
"""Whether what a policy grants is known everywhere by now, of a resource, a role and a member."""
_SPREAD: list[Spread] = []
_CASED = ("deleted:", "principal:", "principalSet:", *(f"{kind}:" for kind in _BASIC), "allUsers", "allAuth")


def before_any_grant(look: Spread) -> Spread:
    """Register what is asked before anything that a policy grants counts; it answers whether it does by now."""
    _SPREAD.append(look)
    return look


def policy_of(world: "World", resource: str) -> Json:
    """The policy stored for a resource; a fresh one is an etag and nothing else."""
    return world.table("iam.policies").get(world.by_id(resource), {"etag": FRESH_ETAG})


def put_policy(world: "World", resource: str, policy: Json) -> Json:
    """Store a policy under a new etag, and give it back."""
    policy = policy | {"etag": _etag(world)}
    world.table("iam.policies")[world.by_id(resource)] = policy
    return policy


def drop_policies(world: "World", resource: str) -> None:
    """Forget the policy of a resource that is deleted, and those of what is in it."""
    table, resource = world.table("iam.policies"), world.by_id(resource)
    table.pop(resource, None)
    for key, _ in table.under(resource + "/"):
        del table[key]


def get_policy(call: "Call", resource: str) -> Json:
    """Answer of getIamPolicy; conditions are shown only to who asks for version 3."""
    option = "requestedPolicyVersion"
    wanted = int((call.body.get("options") or {}).get(option) or call.params.get(f"options.{option}") or 1)
    policy = policy_of(call.world, resource)
    if wanted < 3 and any("condition" in b for b in policy.get("bindings", ())):  # the version with conditions
        return policy | {"version": 1, "bindings": [_without_condition(b) for b in policy["bindings"]]}
    return policy


def set_policy(call: "Call", resource: str) -> Json:
    """Store the policy of a setIamPolicy and answer it; raises 409 ABORTED when its etag is not the stored one."""
    sent: Json = call.body.get("policy") or {}
    stored = policy_of(call.world, resource)
    if sent.get("etag") and sent["etag"] != stored["etag"]:
        raise errors.aborted(
            "There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff. "
            f"The request's ETag '{sent['etag']}' did not match the current policy's ETag '{stored['etag']}'."
        )
    bindings = merged(sent.get("bindings") or [])
    conditional = any("condition" in b for b in bindings)
    if conditional and int(sent.get("version") or 0) < 3:  # the version with conditions
        raise errors.invalid("Policy version must be set to 3 when a binding has a condition.", reason="badRequest")
    _check_members(call.world, bindings)
    policy: Json = {"version": 3 if conditional else 1}
    if bindings:
        policy["bindings"] = bindings
    audit = sent.get("auditConfigs") or stored.get("auditConfigs")
    if audit:
        policy["auditConfigs"] = audit
    return put_policy(call.world, resource, policy)


def test_permissions(call: "Call", resource: str) -> Json:
    """Answer of testIamPermissions: the subset that the caller has."""
    asked = call.body.get("permissions") or call.params.get("permissions") or []
    held = [p for p in asked if call.caller == call.world.owner or allowed(call.world, call.caller, p, resource)]
    return {"permissions": held} if held else {}


def merged(bindings: list[Json]) -> list[Json]:
    """Bindings as IAM keeps them: one a role and condition, sorted, with sorted lower-case members, none empty."""
    kept: dict[tuple[str, str], Json] = {}
    for binding in bindings:
        condition = binding.get("condition")
        key = binding.get("role", ""), json.dumps(condition, sort_keys=True)
        members = {normal_member(m) for m in binding.get("members") or []}
        entry = kept.setdefault(key, {"role": key[0], "members": []} | ({"condition": condition} if condition else {}))
        entry["members"] = sorted(members | set(entry["members"]))
    return [kept[key] for key in sorted(kept) if kept[key]["members"]]


def normal_member(member: str) -> str:
    """A member as IAM writes it: addresses in lower case."""
    if member.startswith(_CASED):
        return member
    kind, colon, address = member.partition(":")
    return f"{kind}{colon}{address.lower()}"


def allowed(world: "World", member: str, permission: str, resource: str) -> bool:
    """Whether a member has a permission on a resource, by its own policy or those of what it lies in."""
    identities = _identities(world, member)
    return any(
        _grants(world, role, permission)
        and _is(world, identities, listed)
        and all(look(world, name, role, listed) for look in _SPREAD)
        for name in _names_above(world, resource)
        for role, listed in _granted(world, name)
    )


def members(world: "World", resource: str, role: str) -> list[str]:
    """Who has a role by a resource's own policy, without those whose grant is not known everywhere yet."""
    name = world.by_id(resource)
    listed = [listed for given, listed in _granted(world, name) if given == role]
    return [member for member in listed if all(look(world, name, role, member) for look in _SPREAD)]


def _grants(world: "World", role: str, permission: str) -> bool:
    """Whether a role holds a permission; a custom one (projects/P/roles/R) says itself which it includes."""
    if role.startswith(("projects/", "organizations/")):
        return permission in world.table("iam.roles").get(role, {}).get("includedPermissions", [])
    return grants(role, permission)


def is_member(world: "World", member: str, listed: str) -> bool:
    """Whether `listed`, an entry of a policy, means the member: itself, its group, its domain, or everybody."""
    return _is(world, _identities(world, member), listed)


def _identities(world: "World", member: str) -> set[str]:
    member = normal_member(member)
    found = {member, "allUsers", "allAuthenticatedUsers"}
    if member.startswith("user:"):
        found.add("domain:" + member.rpartition("@")[2])
    found |= {f"group:{name}" for name, group in world.table("groups").items() if member in group["members"]}
    return found


def _is(world: "World", identities: set[str], listed: str) -> bool:
    kind, _, project = listed.partition(":")
    if kind not in _BASIC:
        return listed in identities
    bindings = policy_of(world, f"projects/{project}").get("bindings", ())
    return any(b["role"] == _BASIC[kind] and identities & set(b["members"]) for b in bindings)


def _granted(world: "World", name: str) -> Iterator[tuple[str, str]]:
    """Roles and members of a policy, without those that hold under a condition only."""
    for binding in world.table("iam.policies").get(name, {}).get("bindings", ()):
        if "condition" not in binding:
            yield from ((binding["role"], member) for member in binding["members"])


def _names_above(world: "World", resource: str) -> list[str]:
    resource = world.by_id(resource)
    parts = resource.split("/")
    names = ["/".join(parts[:end]) for end in range(len(parts), 1, -1)]
    if resource.startswith("projects/_/buckets/"):
        bucket = world.table("storage.buckets").get(parts[3])
        names += [f"projects/{world.project_id(str(bucket['projectNumber']))}"] if bucket else []
    return names


def _check_members(world: "World", bindings: list[Json]) -> None:
    """A service account of a known project must exist when it is named, as must every member have a kind."""
    accounts = world.table("iam.accounts")
    for member in {m for b in bindings for m in b["members"]}:
        kind, _, address = member.partition(":")
        if not address and member not in ("allUsers", "allAuthenticatedUsers"):
            raise errors.invalid(f"Invalid member {member}: members are of the form KIND:ADDRESS.", reason="badRequest")
        project = world.project_of_account(address) if kind == "serviceAccount" and "@" in address else ""
        own = address.endswith(".iam.gserviceaccount.com") and project in world.projects
        if own and accounts.get(address, {"deleted": True}).get("deleted"):
            raise errors.invalid(f"Service account {address} does not exist.", reason="badRequest")


def _without_condition(binding: Json) -> Json:
    if "condition" not in binding:
        return binding
    mark = hashlib.sha256(json.dumps(binding["condition"], sort_keys=True).encode()).hexdigest()[:20]
    return {"role": f"{binding['role']}_withcond_{mark}", "members": binding["members"]}


def _etag(world: "World") -> str:
    """Base64 of eight bytes that begins with `Bw`, never the same twice."""
    count = world.counter("iam.etag")
    return base64.b64encode(b"\x07" + (int(world.clock.now().timestamp()) << 16 | count & 0xFFFF).to_bytes(7)).decode()
