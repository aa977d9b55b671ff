"""What an organization forbids its projects."""

import pytest

from provision.errors import PolicyForbids, SeveralFailed
from tests.journey.deploy import NUMBER, PROJECT

GOOGLES = (f"{PROJECT}@appspot.gserviceaccount.com", f"{NUMBER}-compute@developer.gserviceaccount.com")


def by_design(rehearsal, calm):
    """`up`, of which a policy of the organization takes nothing: it neither waits nor tries twice."""
    waited = rehearsal.up()

    assert waited < calm + 3
    assert rehearsal.bare_retries() == []
    assert rehearsal.deployment.drift() == []


def test_14_keys_of_accounts_are_forbidden(rehearsal, calm):
    """There are none: nobody makes one, and the clients' tokens are signed by Google."""
    rehearsal.plays("keys-forbidden")
    by_design(rehearsal, calm)

    assert [call for call in rehearsal.calls.all() if "serviceAccounts.keys" in call["id"]] == []


def test_14_external_addresses_are_forbidden(rehearsal, calm):
    """No version wants one: each has an internal address, in a subnet from which Google is reached."""
    rehearsal.plays("no-external-addresses")
    by_design(rehearsal, calm)
    versions = rehearsal.place.world.table("appengine.versions").values()
    subnets = rehearsal.place.world.table("compute.subnetworks").values()

    assert [version["network"]["instanceIpMode"] for version in versions] == ["INTERNAL"] * 2
    assert [subnet["privateIpGoogleAccess"] for subnet in subnets] == [True]


def test_14_the_accounts_that_google_makes_have_no_roles(rehearsal, calm):
    """None of ours is them; App Engine's own may pull images of one repository, and nothing else is granted to any."""
    rehearsal.plays("bare-default-accounts")
    by_design(rehearsal, calm)
    granted = {
        (resource.rpartition("/")[0].rpartition("/")[2], binding["role"])
        for resource, policy in rehearsal.place.world.table("iam.policies").items()
        for binding in policy.get("bindings", []) for member in binding["members"]
        if member.endswith(GOOGLES)
    }  # fmt: skip

    assert granted == {("repositories", "roles/artifactregistry.reader")}


def test_14_resources_may_lie_in_our_region_only(rehearsal, calm):
    """They do, also the secret."""
    rehearsal.plays("locations-restricted")
    by_design(rehearsal, calm)

    (secret,) = rehearsal.place.world.table("secretmanager.secrets").values()

    assert rehearsal.called("secretmanager.projects.secrets.create") == [200]
    assert secret["replication"] == {"userManaged": {"replicas": [{"location": "europe-west1"}]}}


def test_14_a_secret_that_was_there_before_us(rehearsal):
    """Taken over, it is good wherever it is kept: nobody can change that."""
    world, name = rehearsal.place.world, f"projects/{NUMBER}/secrets/mlflow-database-password"
    kept = {"replication": {"automatic": {}}, "createTime": world.timestamp(6), "etag": '"1"'}
    with world.transaction():
        world.table("secretmanager.secrets")[name] = {"name": name} | kept
    engine = rehearsal.deployment.engine(rehearsal.deployment.store())
    engine.up(rehearsal.deployment.config, adopts=lambda ref: ref == name)
    engine.journal.flush()

    assert rehearsal.called("secretmanager.projects.secrets.create") == []
    assert rehearsal.deployment.drift() == []


def test_14_resources_may_not_lie_in_our_region(rehearsal):
    """It is said at once, by the constraint, and nothing is made."""
    rehearsal.plays("locations-restricted", region="us-central1")
    with pytest.raises(
        PolicyForbids, match=r"'europe-west1' violates constraint 'constraints/gcp\.resourceLocations'"
    ) as told:
        rehearsal.up()

    assert told.value.hint.startswith("Set region in provision.toml to one that it allows, or ask an administrator")
    assert rehearsal.waited() < 3
    assert rehearsal.made() == {"serviceusage.services.enable"}


def test_14_resources_may_lie_in_our_region_no_more(rehearsal, calm):
    """The constraint came between two runs: each row that would lie there says so."""
    rehearsal.deployment.store()
    rehearsal.plays("locations-restricted", region="us-central1")
    with pytest.raises(SeveralFailed) as told:
        rehearsal.up()

    assert {type(error) for error in told.value.errors} == {PolicyForbids}
    assert all("constraints/gcp.resourceLocations" in str(error) for error in told.value.errors)
    assert rehearsal.waited() < calm + 3
    assert rehearsal.bare_retries() == []


def test_14_accounts_are_forbidden(rehearsal, calm):
    """We cannot do without; it is said which constraint that is."""
    rehearsal.plays("accounts-forbidden")
    with pytest.raises(PolicyForbids, match=r"not allowed on this project\. \[constraints/iam\.disableService") as told:
        rehearsal.up()

    assert told.value.hint.startswith("No setting of provision.toml keeps clear of it: ask an administrator")
    assert "an exception from iam.disableServiceAccountCreation for the project" in told.value.hint
    assert rehearsal.waited() < calm + 3
    assert rehearsal.called("iam.projects.serviceAccounts.create") == [400]
