"""Going back to what was before a run, by the real steps: afterwards the settings of then have nothing to do.

The machines behind the emulator are off; steps, engine, journal and Google's client libraries are the real ones.
"""

import pytest

from provision.config import check
from tests.journey.deploy import BASE, Deployment
from tests.journey.neighbours import changes, things, unlisted


@pytest.fixture
def deployment(deploying):
    """A deployment that is up."""
    made = deploying()
    made.up()
    return made


def reconfigured(deployment, **settings):
    """`up` with other settings."""
    deployment.config = check({**BASE, **settings}, "provision.toml")
    deployment.up()


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"access": {"users": ["grace@example.com"], "groups": ["ml@example.com"]}}, id="other people"),
        pytest.param({"artifacts": {"noncurrent_days": 90, "soft_delete_days": 30}}, id="another bucket lifecycle"),
        pytest.param({"database": {"tier": "db-g1-small"}}, id="a larger database"),
        pytest.param({"server": {"memory_gb": 4.5}}, id="a new version of the server"),
        pytest.param({"server": {"service": "tracking"}}, id="the server under another name"),
        pytest.param({"server": {"service": "default"}}, id="the server as the default service"),
        pytest.param(
            {"server": {"memory_gb": 4.5}, "access": {"users": []}, "database": {"tier": "db-g1-small"}}, id="all of it"
        ),
    ],
)
def test_other_settings_are_taken_back(deployment, settings):
    """Nothing differs, and nothing is left to do by the settings of then."""
    before = things(deployment.emulator)
    reconfigured(deployment, **settings)
    changed = things(deployment.emulator)
    deployment.rollback()
    drift = deployment.drift()
    deployment.config = check(BASE, "provision.toml")
    left_to_do = changes(deployment.emulator, deployment.up)

    assert changed != before
    assert drift == []
    assert left_to_do == []


def test_a_first_run_is_undone(emulator, gcp):
    """But for what Google lets nobody delete."""
    deployment = Deployment(emulator, config=check(BASE, "provision.toml"), gcp=gcp)
    before = things(emulator)
    deployment.up()
    _, left = deployment.rollback()

    assert deployment.ledger().records == {}
    assert [
        ref for ref in unlisted(before, things(emulator), left) if "@appspot" not in ref and "/apps/" not in ref
    ] == []


def test_a_password_that_was_destroyed_stays_replaced(deployment):
    """It is told beforehand, and the server, which was made for the new one, stays as it is."""
    (version,) = [ref for ref, record in deployment.ledger().records.items() if record.step == "secret_version"]
    deployment.gcp.secrets.destroy_secret_version(name=version)
    deployment.up()
    way, _ = deployment.rollback()
    drift = deployment.drift()

    assert list(way.lost) == [version]
    assert {record.step for ref, record in deployment.ledger().records.items() if ref in way.stays} >= {
        "secret_version",
        "server",
        "sql_user",
        "traffic",
    }
    assert drift == []
    assert changes(deployment.emulator, deployment.up) == []


def test_a_down_is_undone_and_the_artifacts_are_used_again(deployment):
    """The bucket that `down` has spared is the one that the next `up` works on; the database comes anew."""
    (ref,) = [ref for ref, record in deployment.ledger().records.items() if record.step == "artifact_bucket"]
    bucket = deployment.gcp.storage.bucket(ref.rpartition("/")[2])
    bucket.blob("1/model.pkl").upload_from_string(b"precious")
    deployment.down(delete_data=False)
    deployment.rollback()
    deployment.up()
    buckets = [found.name for found in deployment.gcp.storage.list_buckets() if "-artifacts-" in found.name]

    assert buckets == [bucket.name]
    assert bucket.blob("1/model.pkl").download_as_bytes() == b"precious"
    assert deployment.drift() == []
