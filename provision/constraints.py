"""Constraints of the organization: what is in effect, and what to do about it, by a setting or by asking somebody.

https://docs.cloud.google.com/resource-manager/docs/organization-policy/org-policy-constraints
"""

from typing import Any

from provision.gcp import Gcp

Rules = list[dict[str, Any]]

_MEMBERS = "Take those whom it does not allow out of access in provision.toml"

SETTINGS = {
    "gcp.resourceLocations": "Set region in provision.toml to one that it allows",
    "iam.allowedPolicyMemberDomains": _MEMBERS,
    "iam.managed.allowedPolicyMembers": _MEMBERS,
}
"""By constraint, the setting that keeps clear of it; no setting does of any other."""


def in_effect(gcp: Gcp, project: str, constraint: str) -> Rules:
    """The rules of a policy as they hold for a project, by id or number; those under a condition are left out.

    Conditions are on tags, and nothing of ours carries any.
    """
    name = f"projects/{project}/policies/{constraint}"
    policy = gcp.orgpolicy.projects().policies().getEffectivePolicy(name=name).execute()
    return [rule for rule in policy.get("spec", {}).get("rules", []) if not rule.get("condition")]


def advice(constraint: str) -> str:
    """What to do about a constraint, as ``gcp.resourceLocations``; empty when it is not known which it is."""
    if not constraint:
        return ""
    ask = (
        f"ask an administrator of the organization (roles/orgpolicy.policyAdmin) for an exception from {constraint} for"
        " the project"
    )
    setting = SETTINGS.get(constraint)
    return f"{setting}, or {ask}." if setting else f"No setting of provision.toml keeps clear of it: {ask}."
