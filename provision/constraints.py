"""What to do about a constraint of the organization: the setting that keeps clear of it, or whom to ask for what.

https://docs.cloud.google.com/resource-manager/docs/organization-policy/org-policy-constraints
"""

_MEMBERS = "Take those whom it does not allow out of access in provision.toml"

SETTINGS = {
    "gcp.resourceLocations": "Set region in provision.toml to one that it allows",
    "iam.allowedPolicyMemberDomains": _MEMBERS,
    "iam.managed.allowedPolicyMembers": _MEMBERS,
}
"""By constraint, the setting that keeps clear of it; no setting does of any other."""


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
