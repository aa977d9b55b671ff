"""Cloud Storage: answers that mislead, writes that come too fast, and names that somebody else has."""

import pytest

from provision import bootstrap, rebuild, session
from provision.errors import NameTaken, StateBucketTaken
from steps import PLAN
from tests.journey.deploy import NUMBER, PROJECT

SAVES, MAKE = "storage.objects.insert", "storage.buckets.insert"
BUCKETS = "storage.buckets"


def saves(rehearsal, status):
    """How many saves of the ledger were answered so."""
    ours = [call for call in rehearsal.calls.all() if call["id"] == SAVES and "-provision-" in call["path"]]
    return len([call for call in ours if call["status"] == status])


def names(rehearsal, purpose):
    """The buckets of one purpose."""
    return [name for name in rehearsal.table(BUCKETS) if f"-{purpose}-" in name]


def made_anew(rehearsal):
    """The ledger as it is made anew from the cloud alone."""
    deployment = rehearsal.deployment
    project = bootstrap.Project(PROJECT, NUMBER)
    with session.read_only(deployment.gcp):
        found = rebuild.discover(
            PLAN, deployment.gcp, deployment.clock, project, deployment.config, None, region_is_set=True
        )
        return rebuild.Rebuilding(PLAN, deployment.gcp, found, deployment.clock, "rebuild").ledger()


def test_12_our_own_success_is_answered_412(rehearsal, calm):
    """It is told from a rival's write by what lies there: nothing is lost, and nobody thinks that he was overtaken."""
    rehearsal.plays("own-success-412", times=10)
    waited = rehearsal.up()
    serial = rehearsal.deployment.ledger().serial
    rehearsal.over()
    again = rehearsal.up()

    assert saves(rehearsal, 412) >= 9  # and one of the archive of the server's source
    assert waited < calm + 10
    assert again < 5
    assert rehearsal.deployment.ledger().serial > serial
    assert rehearsal.deployment.drift() == []


def test_12_the_archive_that_we_have_uploaded_is_answered_412(rehearsal, calm):
    """It lies there, and is built."""
    rehearsal.up()
    rehearsal.down()
    rehearsal.plays("own-success-412", times=1000)
    waited = rehearsal.up()

    assert waited < calm + 1.6 * 60
    assert rehearsal.deployment.drift() == []


def test_12_the_ledger_is_written_too_fast(rehearsal, calm):
    """Each save waits for its second, and none is lost."""
    rehearsal.plays("ledger-throttled", seconds=1)
    waited = rehearsal.up()

    assert saves(rehearsal, 429) > 0
    assert waited < calm + 1.6 * saves(rehearsal, 200) + 3
    assert rehearsal.bare_retries() == []
    assert rehearsal.deployment.drift() == []


def test_12_a_run_dies_while_its_ledger_is_written_too_fast(rehearsal):
    """What was done is known: the next run makes nothing twice."""
    rehearsal.plays("ledger-throttled", seconds=1)
    rehearsal.killed(after=40)
    rehearsal.up()

    assert len(rehearsal.table("sql.instances")) == len(rehearsal.table("compute.networks")) == 1
    assert rehearsal.deployment.drift() == []


@pytest.mark.parametrize("look", [403, 404], ids=["nobody may look at it", "it is not even shown"])
@pytest.mark.parametrize("purpose", ["artifacts", "builds"])
def test_12_a_stranger_has_the_name_of_a_bucket(rehearsal, calm, purpose, look):
    """The next name is taken at once; theirs is neither read nor written."""
    rehearsal.plays("bucket-taken", bucket=f"*-{purpose}-*", times=2, look=look)
    waited = rehearsal.up()
    (ours,) = names(rehearsal, purpose)
    theirs = ours.removesuffix("-3")
    touched = [call for call in rehearsal.calls.all() if f"/b/{theirs}/" in call["path"] + "/"]

    assert ours.endswith("-3")
    assert rehearsal.called(MAKE).count(409) == 2
    assert touched == rehearsal.bare_retries() == []
    assert waited < calm + 5
    assert rehearsal.deployment.drift() == []
    assert made_anew(rehearsal).counters[f"{purpose.removesuffix('s')}_bucket"] == 2
    rehearsal.down()
    assert names(rehearsal, purpose) == []


def test_12_a_stranger_has_taken_the_name_of_a_bucket_that_was_ours(rehearsal):
    """What lay in it is lost, and whoever knows it by its name would ask the stranger: it is told."""
    rehearsal.up()
    (ours,) = names(rehearsal, "artifacts")
    rehearsal.deployment.gcp.buckets.buckets().delete(bucket=ours).execute()
    rehearsal.plays("bucket-taken", times=1)
    with pytest.raises(NameTaken, match="bucket name is not available"):
        rehearsal.up()

    assert names(rehearsal, "artifacts") == []


@pytest.mark.parametrize("look", [403, 404], ids=["nobody may look at it", "it is not even shown"])
def test_12_a_stranger_has_the_name_of_the_bucket_of_the_ledger(rehearsal, look):
    """Said at once, with another place to name; nothing was touched."""
    rehearsal.plays("bucket-taken", bucket="*-provision-*", times=1, look=look)
    since = rehearsal.place.clock.monotonic()
    with pytest.raises(StateBucketTaken) as told:
        rehearsal.up()
    changed = {call["id"] for call in rehearsal.calls.all() if call["write"] and call["status"] == 200}

    assert rehearsal.place.clock.monotonic() - since < 5
    assert "--state gs://BUCKET/PREFIX" in told.value.hint
    assert changed <= {"serviceusage.services.enable"}
    assert rehearsal.table(BUCKETS) == {}
