"""IAM policies of any API: our bindings are read, changed and taken out, everything else in the policy stays as it is.

A policy is only ever written back as it was read a moment before, with its etag and as version 3, since conditions are
dropped from a lower version without a word (https://cloud.google.com/iam/docs/policies#versions).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provision.gcp import Gcp
from provision.step import Body, Change, Ref

Policy = dict[str, Any]
"""A policy as JSON: version, etag, and bindings of one role each, some with a condition."""

Pairs = set[tuple[str, str]]
"""Role and member."""

SUFFIX = "/iamPolicy"
"""What makes the ref of a policy from the name of its resource."""


@dataclass(frozen=True)
class Policies:
    """The verbs of a step whose refs are policies.

    Args:
        fetch: Gets the policy of a resource, as version 3.
        store: Replaces it, which Google refuses when the etag was overtaken.
    """

    fetch: Callable[[Gcp, str], Policy]
    store: Callable[[Gcp, str, Policy], object]

    def read(self, gcp: Gcp, ref: Ref) -> Body | None:
        """All unconditional bindings, ours and others'."""
        return granted(self.fetch(gcp, ref.removesuffix(SUFFIX)))

    def create(self, gcp: Gcp, ref: Ref, body: Body) -> None:
        """Add our bindings; a policy is always there, so this is for symmetry."""
        self._edit(gcp, ref, add=_pairs(body["bindings"]), remove=set())

    def update(self, gcp: Gcp, ref: Ref, body: Body, changes: Sequence[Change]) -> None:
        """Add and take out what differs."""
        live, goal = (
            {change.path[-1]: side for change, side in zip(changes, sides, strict=True)}
            for sides in ([change.live for change in changes], [change.goal for change in changes])
        )
        self._edit(gcp, ref, add=_pairs(goal) - _pairs(live), remove=_pairs(live) - _pairs(goal))

    def delete(self, gcp: Gcp, ref: Ref, live: Body, applied: Body) -> None:
        """Take out exactly the bindings that we applied."""
        self._edit(gcp, ref, add=set(), remove=_pairs(applied.get("bindings", {})))

    def _edit(self, gcp: Gcp, ref: Ref, add: Pairs, remove: Pairs) -> None:
        resource = ref.removesuffix(SUFFIX)
        self.store(gcp, resource, edited(self.fetch(gcp, resource), add, remove))


def of_messages(client: Callable[[Gcp], Any]) -> Policies:
    """The verbs over one of the clients that speak in messages instead of JSON."""

    def fetch(gcp: Gcp, resource: str) -> Policy:
        from google.protobuf import json_format  # type: ignore[import-untyped]  # comes without types

        asked = {"resource": resource, "options": {"requested_policy_version": 3}}
        return dict(json_format.MessageToDict(client(gcp).get_iam_policy(request=asked, retry=None)))

    def store(gcp: Gcp, resource: str, policy: Policy) -> None:
        from google.iam.v1 import policy_pb2  # type: ignore[import-untyped]  # comes without types
        from google.protobuf import json_format

        asked = {"resource": resource, "policy": json_format.ParseDict(policy, policy_pb2.Policy())}
        client(gcp).set_iam_policy(request=asked, retry=None)

    return Policies(fetch, store)


def bindings(members: Mapping[str, Iterable[str]]) -> Body:
    """Members by role, in Google's spelling and sorted."""
    return {"bindings": {role: sorted({_spelled(member) for member in who}) for role, who in members.items()}}


def account(email: str) -> str:
    """The IAM member that a service account is."""
    return f"serviceAccount:{email}"


def granted(policy: Policy) -> Body:
    """Members by role, of the unconditional bindings."""
    members: dict[str, set[str]] = {}
    for binding in _unconditional(policy):
        members.setdefault(binding["role"], set()).update(binding.get("members", []))
    return bindings(members)


def edited(policy: Policy, add: Pairs, remove: Pairs) -> Policy:
    """The policy with some unconditional grants more and some fewer; all else is the very same.

    With a grant to an account goes what is left of one to an account of the same address that was deleted meanwhile.
    """
    kept = []
    for binding in policy.get("bindings", []):
        if "condition" in binding:
            kept.append(binding)
            continue
        role, members = binding["role"], binding.get("members", [])
        buried = {member for member in members if (role, _before_its_end(member)) in add | remove}
        members = [member for member in members if member not in buried and (role, _spelled(member)) not in remove]
        if members:
            kept.append({**binding, "members": members})
    result = {**policy, "version": 3, "bindings": kept}
    for role, member in sorted(add - _pairs(granted(result)["bindings"])):
        same = next((binding for binding in _unconditional(result) if binding["role"] == role), None)
        if same is None:
            kept.append({"role": role, "members": [member]})
        else:
            same["members"].append(member)
    return result


def _unconditional(policy: Policy) -> list[dict[str, Any]]:
    return [binding for binding in policy.get("bindings", []) if "condition" not in binding]


def _spelled(member: str) -> str:
    """Google writes the addresses of members in lower case (https://cloud.google.com/iam/docs/principal-identifiers)."""
    kind, _, address = member.partition(":")
    return f"{kind}:{address.lower()}" if kind in {"user", "group", "domain", "serviceAccount"} else member


def _before_its_end(member: str) -> str:
    """The account that ``deleted:serviceAccount:ADDRESS?uid=N`` has been; empty for a member that is alive."""
    return member.removeprefix("deleted:").partition("?uid=")[0] if member.startswith("deleted:") else ""


def _pairs(members: Mapping[str, Iterable[str] | None]) -> Pairs:
    return {(role, member) for role, who in members.items() for member in who or ()}
