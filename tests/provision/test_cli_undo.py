"""Typed to undo, or to go about a part: rollback, adopt, release, protect, only, replace, and what Google holds on to."""

import pytest

from provision.emulator.world import World
from tests.provision.conftest import PROJECT

NETWORK = f"projects/{PROJECT}/global/networks/mlflow"
NETWORKS = f"compute.googleapis.com/compute/v1/projects/{PROJECT}/global/networks"
FIREWALLS = f"compute.googleapis.com/compute/v1/projects/{PROJECT}/global/firewalls"


def settings(folder, text):
    """Settings beside the project; `up --local` writes none."""
    folder.write(f'project = "{PROJECT}"\n{text}')


def artifacts(cloud):
    found = cloud.google("GET", "storage.googleapis.com/storage/v1/b", project=PROJECT)
    return next(item for item in found.get("items", []) if "-artifacts-" in item["name"])


def retention(cloud):
    return int(artifacts(cloud)["softDeletePolicy"]["retentionDurationSeconds"]) // 86400


def resources(world: World) -> set[str]:
    """What there is of the kinds that `down` takes away."""
    kinds = ("compute.networks", "compute.subnetworks", "sql.instances", "storage.buckets")
    return {f"{kind}/{key}" for kind in kinds for key in world.table(kind) if "-provision-" not in key}


def test_a_rollback(folder, cloud):
    """What the last run changed is as it was; the one before it is undone when it is named."""
    settings(folder, "")
    first = folder.type("status", "--local", code=3)
    before = resources(cloud.world)
    folder.type("up", "--local")
    run = folder.type("status", "--local", "--json").json["last_run"]
    settings(folder, "[artifacts]\nsoft_delete_days = 30\n")
    folder.type("up", "--local")
    changed = retention(cloud)
    told = folder.type("rollback", "--local", "--yes")
    restored = retention(cloud)
    again = folder.type("rollback", "--local", "--yes", "--to", run, "--json").json

    assert "There is no ledger" in first.err or "holds no ledger" in first.err
    assert (changed, restored) == (30, 7)
    assert "Gone back: 1 change" in told.out
    assert resources(cloud.world) == before
    assert {item["ref"] for item in again["stays"]} >= {f"apps/{PROJECT}"}


def test_a_rollback_asks_first(folder, cloud):
    """It shows what it would do; without the right word nothing is touched."""
    folder.type("up", "--local")
    cloud.writes()
    screen = folder.at_a_terminal("rollback", "--local")
    screen.until(f"Type the project's id, {PROJECT}, to go back: ")
    screen.type("no")
    told = screen.ended()
    nobody = folder.type("rollback", "--local", code=3)

    assert told.code == 3
    assert "- global/networks/mlflow" in told.out
    assert "Add --yes" in nobody.err
    assert cloud.writes() == []


def test_a_rollback_shows_the_way_that_it_goes(folder, cloud):
    """Also once one has arrived and something else was done since: what was released is taken back, and told."""
    settings(folder, "")
    folder.type("up", "--local")
    settings(folder, "[artifacts]\nsoft_delete_days = 30\n")
    folder.type("up", "--local")
    folder.type("rollback", "--local", "--yes")
    again = folder.type("rollback", "--local", "--yes").out
    bucket = f"projects/_/buckets/{artifacts(cloud)['name']}"
    folder.type("release", bucket, "--local")
    after = folder.type("rollback", "--local", "--yes").out
    listed = folder.type("state", "list", "--local", "--json").json["records"]

    assert "nothing to do" in again
    assert f"~ {bucket.removeprefix('projects/_/')}" in after
    assert bucket in [item["ref"] for item in listed]


def test_a_rollback_undoes_nothing_that_was_not_shown(folder, cloud):
    """Somebody else's run came between the question and the answer: it is named, and stays as it is."""
    settings(folder, "")
    folder.type("up", "--local")
    settings(folder, "[artifacts]\nsoft_delete_days = 30\n")
    folder.type("up", "--local")
    screen = folder.at_a_terminal("rollback", "--local")
    screen.until(f"Type the project's id, {PROJECT}, to go back: ")
    settings(folder, "[artifacts]\nsoft_delete_days = 20\n")
    folder.type("up", "--local")
    rival = folder.type("status", "--local", "--json").json["last_run"]
    screen.type(PROJECT)
    told = screen.ended()

    assert told.code == 4
    assert f"Run {rival} has changed the deployment meanwhile" in told.out
    assert "python -m provision rollback --local shows it." in told.out
    assert retention(cloud) == 20


def test_a_way_back_goes_with_its_ledger(folder, cloud):
    """An interrupted rollback is gone on with in the ledger mended meanwhile, and not in one of another time."""
    settings(folder, "")
    folder.type("up", "--local")
    settings(folder, "[artifacts]\nsoft_delete_days = 30\n")
    folder.type("up", "--local")
    cloud.fails(method="storage.buckets.patch", status=403, times=99)
    folder.type("rollback", "--local", "--yes", code=5)
    serial = folder.type("state", "show", "--local").json["serial"]
    folder.type("state", "pull", "copy.json", "--local")
    folder.type("state", "push", "copy.json", "--local", "--yes")
    same = folder.type("status", "--local", "--json").json["rollback"]
    folder.type("rollback", "--local", "--abandon")
    folder.type("state", "restore", str(serial), "--local", "--yes")
    other = folder.type("status", "--local", "--json").json["rollback"]

    assert same.endswith("interrupted")
    assert other is None


def test_a_failed_run_undoes_itself(folder, cloud):
    """The error is told, and nothing of the run is left but what can never go."""
    before = resources(cloud.world)
    cloud.fails(method="secretmanager.projects.secrets.setIamPolicy", status=400)
    told = folder.type("up", "--local", "--rollback-on-failure", code=1)
    status = folder.type("status", "--local", "--json").json

    assert "What this run had changed is undone." in told.err
    assert resources(cloud.world) == before
    assert status["rollback"] == f"to before run {status['last_run']}"


def test_adoption(folder, cloud):
    """Refused by name with what differs; taken over when it is asked for; `down` leaves it."""
    cloud.google(
        "POST",
        NETWORKS,
        {"name": "mlflow", "autoCreateSubnetworks": False, "routingConfig": {"routingMode": "REGIONAL"}},
    )
    refused = folder.type("up", "--local", code=5)
    folder.type("up", "--local", "--adopt", NETWORK)
    listed = folder.type("down", "--local", "--yes", "--json").json["stays"]

    assert "What differs: description: None -> " in refused.err
    assert "python -m provision up --local --adopt REF" in refused.err
    assert (NETWORK, "was there before us") in [(item["ref"], item["why"]) for item in listed]
    assert cloud.google("GET", f"{NETWORKS}/mlflow")["name"] == "mlflow"


def test_adoption_of_whatever_stands_in_the_way(folder, cloud):
    """`--adopt` alone, also in front of another option."""
    cloud.google(
        "POST",
        NETWORKS,
        {"name": "mlflow", "autoCreateSubnetworks": False, "routingConfig": {"routingMode": "REGIONAL"}},
    )
    told = folder.type("up", "--adopt", "--local", "--json").json

    settled = folder.type("plan", "--local")

    assert NETWORK not in [item["ref"] for item in told["changes"]]
    assert "Nothing to do" in settled.out


def test_release(folder, cloud):
    """Nothing is touched; what still is in the settings is taken again by its mark."""
    folder.type("up", "--local")
    cloud.writes()
    bucket = artifacts(cloud)["name"]
    released = folder.type("release", f"projects/_/buckets/{bucket}", "--local", "--json").json["released"]
    touched = cloud.writes()
    again = folder.type("up", "--local", "--json").json["changes"]
    unknown = folder.type("release", "projects/_/buckets/none", "--local", code=3)

    assert released == [f"projects/_/buckets/{bucket}", f"projects/_/buckets/{bucket}/iamPolicy"]
    assert touched == []
    assert again == []
    assert "is not in the ledger" in unknown.err
    assert "Next: python -m provision state list --local shows what is." in unknown.err


def test_what_has_lost_its_mark(folder, cloud):
    """`plan` and `drift` tell it as `up` would: not ours any more; with its labels again it is, and so it is once adopted."""
    folder.type("up", "--local")
    found = artifacts(cloud)
    bucket, path = f"projects/_/buckets/{found['name']}", f"storage.googleapis.com/storage/v1/b/{found['name']}"
    cloud.google("PATCH", path, {"labels": {"managed-by": None, "deployment": None}})
    planned = folder.type("plan", "--local", code=2).out
    drifted = folder.type("drift", "--local", code=2).out
    kinds = [item["kind"] for item in folder.type("drift", "--local", "--json", code=2).json["findings"]]
    refused = folder.type("up", "--local", code=5).err
    cloud.google("PATCH", path, {"labels": found["labels"]})
    mended = folder.type("drift", "--local").code
    cloud.google("PATCH", path, {"labels": {"managed-by": None, "deployment": None}})
    folder.type("up", "--local", "--adopt", bucket)
    adopted = [folder.type(look, "--local").code for look in ("plan", "drift")]

    for told in (planned, drifted):
        assert f"! buckets/{found['name']} is not ours any more" in told
        assert f"python -m provision release {bucket} --local" in told.replace("\n", "")
    assert kinds == ["unmarked"]
    assert "does not carry our mark any more" in refused
    assert f"python -m provision release --local {bucket}" in refused
    assert (mended, adopted) == (0, [0, 0])


def test_protection(folder, cloud):
    """What the settings protect stays, with all that it needs, and is still ours; it goes once they do not."""
    settings(folder, 'protect = ["sql_instance"]\n')
    folder.type("up", "--local")
    (instance,) = cloud.world.table("sql.instances")
    ref = f"projects/{PROJECT}/instances/{instance.rpartition('/')[2]}"
    replaced = folder.type("up", "--local", "--replace", ref, code=5)
    told = folder.type("down", "--local", "--yes", "--json").json["stays"]
    kept = list(cloud.world.table("sql.instances"))
    settings(folder, "")
    folder.type("up", "--local")
    folder.type("down", "--local", "--yes")

    why = {item["ref"]: item["why"] for item in told}
    assert "is protected by the settings" in replaced.err
    assert why[ref] == "The settings protect it."
    assert why[NETWORK] == "Something that the settings protect needs it."
    assert kept == [instance]
    assert list(cloud.world.table("sql.instances")) == []


def test_a_part_of_the_table(folder, cloud):
    """A row with what it needs; then that row with what depends on it; misspelt ones are named."""
    made = folder.type("up", "--local", "--only", "subnet", "--json").json["changes"]
    gone = folder.type("down", "--local", "--yes", "--only", "network", "--json").json["deleted"]
    wrong = folder.type("up", "--local", "--only", "subnets", code=3)
    protected = settings(folder, 'protect = ["bucket"]\n') or folder.type("up", "--local", code=3)

    assert {item["step"] for item in made} == {"network", "subnet"}
    assert gone == [f"projects/{PROJECT}/regions/europe-west1/subnetworks/mlflow", NETWORK]
    assert "'subnets' is no row of the table; did you mean subnet?" in wrong.err
    assert "'bucket' is no row of the table" in protected.err


def test_what_google_does_not_let_go_of(folder, cloud):
    """`down` does all the rest and ends with 6; `status` tells it; the same command again goes on."""
    folder.type("up", "--local")
    cloud.google("POST", FIREWALLS, {"name": "theirs", "network": NETWORK, "allowed": [{"IPProtocol": "tcp"}]})
    told = folder.type("down", "--local", "--yes", code=6)
    status = folder.type("status", "--local", "--json").json
    left = resources(cloud.world)
    cloud.google("DELETE", f"{FIREWALLS}/theirs")
    folder.type("down", "--local", "--yes", "--wait", "1m")

    assert "Not yet, for Google does not let go of it" in told.out
    assert "If they may go: gcloud compute firewall-rules delete theirs." in " ".join(told.out.split())
    assert "again later, or with --wait 2h:" in told.out
    assert NETWORK in status["waits"]
    assert {ref.partition("/")[0] for ref in left} == {"compute.networks"}
    assert resources(cloud.world) == set()


def test_a_rollback_that_google_holds_up(folder, cloud):
    """It is told what can be typed: the same again, and no option that only `down` has."""
    folder.type("up", "--local", "--only", "network")
    cloud.google("POST", FIREWALLS, {"name": "theirs", "network": NETWORK, "allowed": [{"IPProtocol": "tcp"}]})
    told = folder.type("rollback", "--local", "--yes", code=6)
    cloud.google("DELETE", f"{FIREWALLS}/theirs")
    folder.type("rollback", "--local")

    assert "StillInUse: " in told.err
    assert "Next: Run the same command again later." in told.err
    assert "--wait" not in told.err
    assert resources(cloud.world) == set()


@pytest.mark.parametrize("wait", ["2", "h", "2 h", "-1h"])
def test_a_duration_that_is_none(folder, wait):
    """What one can type is told."""
    told = folder.type("down", "--local", f"--wait={wait}", code=3)

    assert "90s, 30m, 2h or 1d" in told.err
