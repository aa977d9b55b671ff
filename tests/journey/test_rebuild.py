"""A ledger that is lost, made anew from the cloud alone: as good as the old one for `drift`, `up` and `down`.

The machines behind the emulator are off; steps, engine, journal and Google's client libraries are the real ones.
"""

import pytest

from provision import bootstrap, rebuild, session
from provision.config import check
from provision.errors import BadConfig, BadUsage, NothingDeployed
from provision.step import keep
from provision.teardown import Left
from state import moving
from state.journal import Journal, Pace
from steps import PLAN, _archive
from tests.journey.deploy import BASE, NUMBER, PROJECT
from tests.journey.neighbours import Neighbour, changes, things, unlisted
from tests.journey.recovery import census

CORPORATE = {"network": {"name": "corporate", "subnet": "data"}}


def found(deployment, wanted=None, config=None, *, region_is_set=True):
    """What can be found out about the deployment that its settings mean."""
    project = bootstrap.Project(PROJECT, NUMBER)
    config = config or deployment.config
    with session.read_only(deployment.gcp):
        return rebuild.discover(
            PLAN, deployment.gcp, deployment.clock, project, config, wanted, region_is_set=region_is_set
        )


def rebuilt(deployment, **given):
    """The ledger as it is made anew; nothing is changed meanwhile."""
    with session.read_only(deployment.gcp):
        discovery = found(deployment, **given)
        return rebuild.Rebuilding(PLAN, deployment.gcp, discovery, deployment.clock, "rebuild").ledger()


def lose(deployment):
    """The ledger is gone with all its history; what it was."""
    known = deployment.ledger()
    moving.clear(deployment.store())
    return known


def save(deployment, ledger):
    """The ledger that was made anew takes the place of the lost one."""
    Journal(deployment.store(), pace=Pace(burst=10**6)).open("rebuild", lambda: ledger)


def known(ledger, *guests):
    """What a ledger says of every resource, but for what happened when, and who made what nobody can delete."""
    said = {"step", "needs", "body", "adopted", "protected", "keep"}
    return {
        ref: record.model_dump(include=said - ({"adopted"} if PLAN[record.step].step.delete is keep else set()))
        for ref, record in ledger.records.items()
        if record.step not in guests
    }


def same(deployment, lost, *guests):
    """What the new ledger says is what the old one said; but for rows in which we are guests, if any are named."""
    anew = rebuilt(deployment)

    assert known(anew, *guests) == known(lost, *guests)
    for field in ("deployment", "salt", "env", "project", "project_number", "region", "counters", "facts", "runners"):
        assert getattr(anew, field) == getattr(lost, field), field
    save(deployment, anew)


def settled(deployment):
    """Nothing differs from what was applied, and a plain `up` changes nothing."""
    assert deployment.drift() == []
    assert changes(deployment.emulator, deployment.up) == []


def test_an_undisturbed_deployment(deploying, emulator):
    """Record by record the same as before; `down` then takes away as much, to the last thing."""
    deployment = deploying()
    before = things(emulator)
    deployment.up()
    deployment.down()
    left = census(deployment)
    emulator.reset()
    deployment.up()
    deployment.up()  # the first could not learn of the default service what it made itself

    same(deployment, lose(deployment))
    settled(deployment)
    stays = deployment.down()

    assert census(deployment) == left
    assert unlisted(before, things(emulator), stays) == {}
    assert deployment.ledger().records == {}


def test_a_deployment_that_has_lived(deploying, emulator, monkeypatch, tmp_path):
    """New ids of a secret, a database and a password; older images are known again too, in the order of their making."""
    deployment = deploying()
    before = things(emulator)
    monkeypatch.setattr(_archive.packed, "__defaults__", (tmp_path,))
    for number in range(3):
        (tmp_path / "Dockerfile").write_text(f"FROM scratch\n# {number}\n")
        deployment.up()
    (secret,) = [ref for ref in deployment.ledger().records if ref.endswith("-password")]
    deployment.gcp.secrets.destroy_secret_version(name=f"{secret}/versions/1")
    deployment.up()
    calls = deployment.gcp.sql.instances()
    (instance,) = [item["name"] for item in calls.list(project=PROJECT).execute()["items"]]
    Neighbour(deployment.gcp).wait("sqladmin", calls.delete(project=PROJECT, instance=instance))
    deployment.up()
    deployment.up()

    lost = lose(deployment)
    anew = rebuilt(deployment)
    images = [record for record in anew.records.values() if record.step == "image"]
    order = [record.ref for record in sorted(images, key=lambda record: record.done.serial)]
    expected = sorted(
        (record for record in lost.records.values() if record.step == "image"), key=lambda record: record.done.serial
    )

    assert anew.counters == lost.counters == {"secret_version": 1, "sql_instance": 1}
    assert set(anew.records) == set(lost.records)
    assert order == [record.ref for record in expected]
    save(deployment, anew)
    settled(deployment)
    stays = deployment.down()
    assert unlisted(before, things(emulator), [*stays, *backups(emulator)]) == {}


def backups(emulator):
    """The final backup of the database that was deleted behind our back: no `down` can tell of it."""
    rows = emulator.world.table("sql.backups").items()
    return [Left(f"projects/{PROJECT}/instances/{row['instance']}", "") for _, row in rows]


def test_who_has_run_it_may_still_act_as_the_client(deploying):
    """Nothing but the rights that they were given tells who they were; a plain `up` of another must not take them."""
    deployment = deploying()
    engine = deployment.engine(deployment.store())
    engine.journal.commit(lambda ledger: ledger.runners.extend(["user:eve@example.com", "user:zoe@example.com"]))
    deployment.up()

    assert rebuilt(deployment).runners == ["user:eve@example.com", "user:zoe@example.com"]
    lost = lose(deployment)
    save(deployment, rebuilt(deployment))
    settled(deployment)
    assert known(deployment.ledger()).keys() == known(lost).keys()


def test_what_was_changed_while_the_ledger_was_lost(deploying, gcp):
    """It counts as applied, so `drift` is silent; the next `up` makes it what the settings say."""
    deployment = deploying()
    deployment.up()
    lose(deployment)
    (bucket,) = [item.name for item in gcp.storage.list_buckets() if "-artifacts-" in item.name]
    gcp.buckets.buckets().patch(bucket=bucket, body={"lifecycle": {"rule": []}}).execute()
    save(deployment, rebuilt(deployment))

    assert deployment.drift() == []
    assert changes(deployment.emulator, deployment.up) == ["storage.buckets.patch"]


def test_a_deployment_that_was_only_half_made(deploying, gcp):
    """What is there is recorded, with what waits for it; `up` goes on with the rest."""
    deployment = deploying()
    deployment.up()
    lose(deployment)
    account = f"projects/{PROJECT}/serviceAccounts/mlflow-builder@{PROJECT}.iam.gserviceaccount.com"
    gcp.iam.projects().serviceAccounts().delete(name=account).execute()
    anew = rebuilt(deployment)
    save(deployment, anew)

    assert account not in anew.records
    deployment.up()
    settled(deployment)


def test_without_the_settings(deploying):
    """Size, people and workers are as they are; `drift` has nothing to say, and `down` misses nothing."""
    deployment = deploying(database={"disk_gb": 20}, access={"users": ["ada@example.com", "bob@example.com"]})
    deployment.up()
    lost = lose(deployment)
    anew = rebuilt(deployment, config=check({"project": PROJECT}, "nothing"), region_is_set=False)
    save(deployment, anew)

    assert set(anew.records) == set(lost.records)
    assert deployment.drift() == []
    deployment.down()
    assert deployment.ledger().records == {}


def test_without_the_settings_in_another_region(deploying):
    """The region is told by what lies in one; settings that say another one are not believed."""
    deployment = deploying(region="us-central1")
    deployment.up()

    assert found(deployment, config=check({"project": PROJECT}, ""), region_is_set=False).config.region == "us-central1"
    with pytest.raises(BadConfig, match="lies in us-central1"):
        found(deployment, config=check(BASE, ""))


def test_what_is_not_ours_stays_so(deploying, emulator):
    """A network of others, an application that was there, roles and accounts of theirs."""
    deployment = deploying(**CORPORATE)
    neighbour = Neighbour(deployment.gcp)
    neighbour.has_network("theirs")
    neighbour.has_application(iap=True)
    neighbour.serves("default")
    neighbour.has_things()
    before = things(emulator)
    deployment.up()

    same(deployment, lose(deployment))
    settled(deployment)
    stays = deployment.down()

    assert unlisted(before, things(emulator), stays) == {}


def test_mlflow_as_the_default_service(deploying, emulator):
    """What `down` has to keep is kept by the new ledger too."""
    deployment = deploying(server={"service": "default"})
    deployment.up()
    lost = lose(deployment)
    anew = rebuilt(deployment)
    save(deployment, anew)

    assert {ref: record.keep for ref, record in anew.records.items()} == {
        ref: record.keep for ref, record in lost.records.items()
    }
    assert set(anew.records) == set(lost.records)
    settled(deployment)


def test_what_the_settings_protect(deploying, emulator):
    """It is protected by the new ledger too, with what goes with it, so `down` still leaves it alone."""
    deployment = deploying(protect=["sql_instance"])
    deployment.up()
    deployment.up()  # see above
    same(deployment, lose(deployment))
    kept = {record.step for record in deployment.ledger().records.values() if record.protected}
    before = set(emulator.world.table("sql.instances"))
    stays = {left.ref: left.why for left in deployment.down()}

    assert kept == {"sql_instance", "sql_database", "sql_user"}
    assert set(emulator.world.table("sql.instances")) == before
    assert "The settings protect it." in stays.values()


def test_two_environments_side_by_side(deploying):
    """Each finds its own by the names that its env makes; one of no such name has to be told which."""
    one, other = deploying(), deploying(env="prod")
    one.up()
    other.up()
    ids = sorted({one.ledger().deployment, other.ledger().deployment})

    assert found(one).deployment == one.ledger().deployment
    assert found(other).deployment == other.ledger().deployment
    with pytest.raises(BadUsage) as told:
        found(deploying(env="staging"))
    assert [name for name in ids if name not in str(told.value)] == []
    same(other, lose(other), "project_roles")  # the role of Google's agent was there; nothing tells that it was
    settled(other)
    settled(one)


def test_two_deployments_of_the_same_names(deploying, gcp):
    """A bucket that an earlier deployment left: it has to be told which one is meant."""
    deployment = deploying()
    deployment.up()
    bucket = gcp.storage.bucket(f"{PROJECT}-mlflow-artifacts-old1")
    bucket.labels = {"managed-by": "provision", "deployment": "00000000"}
    bucket.create(location="europe-west1")
    ours = deployment.ledger().deployment

    with pytest.raises(BadUsage, match=f"00000000 .*{ours}|{ours} .*00000000"):
        found(deployment)
    with pytest.raises(BadUsage, match="deployment ffffffff"):
        found(deployment, "ffffffff")

    assert found(deployment, ours).salt == deployment.ledger().salt
    assert found(deployment, "00000000").salt == "old1"


def test_nothing_was_ever_deployed(deploying):
    """There is nothing to make a ledger of."""
    with pytest.raises(NothingDeployed, match=r"Nothing in project test-project-1 carries our mark\."):
        found(deploying())
