"""Policies that others edit at the same time, grants that work only later, members that an organization forbids."""

import pytest

from provision.errors import PolicyForbids, SeveralFailed

METHODS = [
    pytest.param("cloudresourcemanager.projects.getIamPolicy", id="of the project"),
    pytest.param("iam.projects.serviceAccounts.getIamPolicy", id="of an account"),
    pytest.param("secretmanager.projects.secrets.getIamPolicy", id="of a secret"),
    pytest.param("artifactregistry.projects.locations.repositories.getIamPolicy", id="of a repository"),
]


@pytest.mark.parametrize("method", METHODS)
def test_04_somebody_else_edits_a_policy_meanwhile(rehearsal, method):
    """The whole is read and written once more; what they granted stays, with its condition."""
    rehearsal.plays("policy-edited-meanwhile", method=method, times=2)
    rehearsal.up()
    policies = rehearsal.place.world.table("iam.policies").values()
    granted = [
        (member, "condition" in binding)
        for policy in policies for binding in policy.get("bindings", []) for member in binding["members"]
        if member.startswith("user:stranger")
    ]  # fmt: skip

    assert sorted(granted) == sorted(
        (f"user:stranger{n}@example.com", bound) for n in (1, 2) for bound in (False, True)
    )
    assert rehearsal.deployment.drift() == []


def test_14_the_organization_lets_nobody_else_in(rehearsal):
    """The member is named, and what forbids it."""
    rehearsal.plays("domains-restricted", domain="acme.example")
    with pytest.raises(SeveralFailed, match=r"User ada@example\.com is not in permitted organization") as told:
        rehearsal.up()

    assert {type(error) for error in told.value.errors} == {PolicyForbids}
