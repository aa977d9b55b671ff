"""Policies that others edit at the same time, grants that work only later, members that an organization forbids."""

from typing import Any

from provision.emulator import errors, iam
from provision.emulator.api import Call
from provision.emulator.scenarios import TABLE, Answer, GoOn, Playing, habit, playing, scenario
from provision.emulator.world import World

Json = dict[str, Any]

SPREADING = ("grants-spread-late", "door-policy-late")
"""Scenarios that remember what was granted when, and for how long it does not count."""

NIGHT = {"title": "at night", "expression": "request.time.getHours('UTC') > 20"}


@scenario(
    "policy-edited-meanwhile",
    4,
    "https://github.com/DataBiosphere/leonardo/pull/737",
    times=2,
    method="cloudresourcemanager.projects.getIamPolicy",
)
def policy_edited_meanwhile(world: World, options: Json) -> None:
    """Somebody else grants something between our reading of a policy and our writing of it."""
    del world, options


@habit("*.getIamPolicy", of="policy-edited-meanwhile")
def edits(call: Call, state: Playing, go_on: GoOn) -> Answer:
    """Right after it was read: a plain grant, and one under a condition."""
    answer = go_on()
    if call.id == state["method"] and state.again():
        number, resource = state.row["counts"]["times"], call.resource
        policy = iam.policy_of(call.world, resource)
        policy["bindings"] = iam.merged([
            *policy.get("bindings", []),
            {"role": "roles/viewer", "members": [f"user:stranger{number}@example.com"]},
            {"role": "roles/browser", "members": [f"user:stranger{number}@example.com"], "condition": NIGHT},
        ])  # fmt: skip
        iam.put_policy(call.world, resource, {**policy, "version": 3})
    return answer


@scenario("grants-spread-late", 5, "https://cloud.google.com/iam/docs/access-change-propagation", seconds=120.0)
def grants_spread_late(world: World, options: Json) -> None:
    """What a policy grants works only minutes later."""
    del world, options


@habit("*.setIamPolicy", of="grants-spread-late")
def granted(call: Call, state: Playing, go_on: GoOn) -> Answer:
    """Remember since when."""
    before = _all_granted(call.world)
    answer = go_on()
    known, now = state.row.setdefault("granted", {}), call.world.timestamp(6)
    state.row["granted"] = known | dict.fromkeys(_all_granted(call.world) - before, now)
    call.world.table(TABLE)[state.name] = state.row
    return answer


@iam.before_any_grant
def has_spread(world: World, resource: str, role: str, member: str) -> bool:
    """Whether a grant works by now."""
    return all(_knows(world, name, f"{resource} {role} {member}") for name in SPREADING)


def _knows(world: World, name: str, grant: str) -> bool:
    state = playing(world, name)
    since = state.row.get("granted", {}).get(grant) if state else None
    return state is None or since is None or not state.lasts(since)


def _all_granted(world: World) -> set[str]:
    policies = world.table("iam.policies").items()
    return {f"{resource} {role} {member}" for resource, policy in policies for role, member in _pairs(policy)}


def _pairs(policy: Json) -> set[tuple[str, str]]:
    return {(binding["role"], member) for binding in policy.get("bindings", []) for member in binding["members"]}


@scenario(
    "domains-restricted",
    14,
    "https://github.com/terraform-google-modules/terraform-example-foundation/issues/1454",
    domain="example.com",
)
def domains_restricted(world: World, options: Json) -> None:
    """The organization lets nobody but its own people into any policy."""
    del world, options


@habit("*.setIamPolicy", of="domains-restricted")
def restricted(call: Call, state: Playing, go_on: GoOn) -> Answer:
    """A policy that names somebody else is refused whole, and says whom."""
    sent = call.body.get("policy") or call.body
    for _, member in sorted(_pairs(sent)):
        kind, _, address = member.partition(":")
        if kind in ("user", "group", "domain") and address.rpartition("@")[2] != state["domain"]:
            violation = {
                "type": "constraints/iam.allowedPolicyMemberDomains",
                "subject": f"orgpolicy:projects/{call.project_id}?configvalue={address}",
                "description": f"User {address} is not in permitted organization.",
            }
            raise errors.failed_precondition(
                "One or more users named in the policy do not belong to a permitted customer.",
                details=[{"@type": "type.googleapis.com/google.rpc.PreconditionFailure", "violations": [violation]}],
            )
    return go_on()
