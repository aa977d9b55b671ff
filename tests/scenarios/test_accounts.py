"""Service accounts that are new, remade or forbidden."""

import pytest

from provision.emulator import iam
from provision.errors import NamesTheDeleted
from tests.journey.deploy import PROJECT

DELETED = f"deleted:serviceAccount:old@{PROJECT}.iam.gserviceaccount.com?uid=1"


def roles(rehearsal):
    """Who has which role on what, in every policy."""
    return {
        (resource, binding["role"], member)
        for resource, policy in rehearsal.place.world.table("iam.policies").items()
        for binding in policy.get("bindings", [])
        for member in binding["members"]
    }


def test_01_an_account_that_was_just_made_is_not_known_everywhere(rehearsal, calm):
    """It is looked for again, its policy too, and nothing is made twice."""
    rehearsal.plays("new-accounts-flap", seconds=30)
    waited = rehearsal.up()

    assert waited < calm + 1.6 * 30 + 3
    assert rehearsal.called("iam.projects.serviceAccounts.create") == [200] * 3
    assert rehearsal.bare_retries() == []
    assert rehearsal.deployment.drift() == []


@pytest.mark.parametrize("account", ["server", "builder", "log-pusher"])
def test_19_an_account_was_made_again_under_its_address(rehearsal, calm, account):
    """The other one gets all that the old one had, and nothing is left of that one; the server runs as the new one."""
    rehearsal.up()
    before = roles(rehearsal)
    rehearsal.plays("account-remade", account=account)
    lost = roles(rehearsal)
    rehearsal.calls.clear()
    waited = rehearsal.up()

    assert any(member.startswith(f"deleted:serviceAccount:mlflow-{account}@") for _, _, member in lost)
    assert roles(rehearsal) == before
    assert rehearsal.called("appengine.apps.services.versions.create") == [200] * (account == "server")
    assert waited < calm + 3
    assert rehearsal.bare_retries() == []
    assert rehearsal.deployment.drift() == []


@pytest.mark.parametrize("refused", [pytest.param(0, id="is taken back"), pytest.param(1, id="is not taken back")])
def test_19_a_policy_that_names_a_strangers_account_that_was_deleted(rehearsal, calm, refused):
    """It is not ours to take out, since an account can be brought back; who can do it is told whom."""
    rehearsal.plays("deleted-members", refused=refused)
    if refused:
        with pytest.raises(NamesTheDeleted, match=r"deleted:serviceAccount:old@.*\?uid=1") as told:
            rehearsal.up()
        assert "remove-iam-policy-binding" in told.value.hint
        assert rehearsal.called("cloudresourcemanager.projects.setIamPolicy") == [400]
        with rehearsal.place.world.transaction():
            iam.put_policy(rehearsal.place.world, f"projects/{PROJECT}", {})
    rehearsal.up()

    assert rehearsal.waited() < calm + 6
    assert ((f"projects/{PROJECT}", "roles/viewer", DELETED) in roles(rehearsal)) == (not refused)
    assert rehearsal.bare_retries() == []
    assert rehearsal.deployment.drift() == []
