"""Policies that others edit at the same time, grants that work only later, members that an organization forbids."""

import re

import pytest

from provision.config import Config
from provision.emulator import iam
from provision.emulator.machines.door_tokens import Identity
from provision.emulator.machines.registry import Registry
from provision.errors import OperationFailed, PermissionDenied, PolicyForbids, SeveralFailed
from tests.journey.deploy import BASE, PROJECT, Death, DyingStore

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
    assert "out of access in provision.toml, or ask an administrator of the organization" in told.value.hint
    assert "an exception from iam.allowedPolicyMemberDomains for the project" in told.value.hint


def test_05_what_we_grant_works_only_minutes_later(rehearsal, calm):
    """The builder reads the source, and App Engine pulls the image, as soon as they may; nothing is granted twice."""
    rehearsal.plays("grants-spread-late", seconds=180)
    waited = rehearsal.up()

    assert 180 <= waited < calm + 1.1 * 180
    assert rehearsal.called("cloudresourcemanager.projects.setIamPolicy") == [200]
    assert rehearsal.bare_retries() == []
    assert rehearsal.deployment.drift() == []


def test_05_it_was_granted_by_a_run_that_died(rehearsal, calm):
    """The next one knows from the ledger when that was, and waits no longer than is left."""
    rehearsal.plays("grants-spread-late", seconds=180)
    with pytest.raises(Death):
        rehearsal.deployment.up(DyingStore(rehearsal.deployment.store(), die_at=40))
    granted = rehearsal.called("cloudresourcemanager.projects.setIamPolicy")
    waited = rehearsal.up()

    assert granted == [200]
    assert 150 <= waited < calm + 1.1 * 180
    assert rehearsal.called("cloudresourcemanager.projects.setIamPolicy") == [200]
    assert rehearsal.bare_retries() == []
    assert rehearsal.deployment.drift() == []


def test_05_it_was_granted_long_ago(rehearsal):
    """Then it does not spread any more, and waiting would not help: something else is in the way."""
    rehearsal.up()
    rehearsal.place.clock.sleep(3600)
    rehearsal.plays("deployment-ends", code=7, times=1000)
    rehearsal.deployment.config = Config.model_validate({**BASE, "server": {"memory_gb": 4}})
    since = rehearsal.place.clock.monotonic()
    with pytest.raises(OperationFailed, match="must have permissions on the image"):
        rehearsal.up()

    assert rehearsal.place.clock.monotonic() - since < 5
    assert rehearsal.bare_retries() == []


def test_05_the_caller_lacks_rights(rehearsal, calm):
    """Nobody has granted those: all that is missing is told at once, by permission and resource."""
    rehearsal.signed_in("user:ada@example.com", "roles/editor", "roles/storage.admin")
    since = rehearsal.place.clock.monotonic()
    with pytest.raises(SeveralFailed) as told:
        rehearsal.up()

    assert rehearsal.place.clock.monotonic() - since < calm + 3
    assert {type(error) for error in told.value.errors} == {PermissionDenied}
    assert re.search(f"resourcemanager.projects.setIamPolicy.*projects/{PROJECT}", str(told.value))
    assert rehearsal.bare_retries() == []


def test_05_the_right_to_sign_was_just_granted(rehearsal):
    """To ourselves, on the log pusher; nobody who owns the project has it without that."""
    rehearsal.plays("grants-spread-late", seconds=300)
    rehearsal.signed_in("user:ada@example.com", "roles/owner")
    engine = rehearsal.deployment.up()
    signs = rehearsal.deployment.gcp.credentials_api.sign_blob
    account = f"projects/-/serviceAccounts/mlflow-log-pusher@{PROJECT}.iam.gserviceaccount.com"
    engine.deeds.patience.with_("signing", lambda: signs(name=account, payload=b"x"))

    assert 300 <= rehearsal.place.clock.monotonic() < 330


def test_05_the_door_lets_in_only_later(rehearsal):
    """Who was granted access is refused until that is known everywhere; the proof at the end of `up` waits for it."""
    rehearsal.up()
    registry, pusher = Registry(rehearsal.place.world), Identity(f"mlflow-log-pusher@{PROJECT}.iam.gserviceaccount.com")
    door = f"projects/{PROJECT}/iap_web/appengine-{PROJECT}/services/mlflow"
    with rehearsal.place.world.transaction():
        iam.put_policy(rehearsal.place.world, door, {})
    rehearsal.plays("grants-spread-late", seconds=120)
    rehearsal.up()
    at_first = registry.admits(PROJECT, "mlflow", None, pusher)
    rehearsal.place.clock.sleep(121)

    assert not at_first
    assert registry.admits(PROJECT, "mlflow", None, pusher)
