"""`state ...` where it changes something: a ledger put back, pushed, moved, unlocked, removed, or made anew."""

import json
import platform
import shlex

import pytest

from provision import bootstrap
from state.files import FileStore
from state.holder import Holder
from state.journal import read_ledger
from state.ledger import Ledger, dumps, signpost
from tests.provision.conftest import NUMBER, PROJECT
from tests.waiting import until

STATE = ("--state", "./ledger.json")
NETWORK = f"projects/{PROJECT}/global/networks/mlflow"
PROOF = ["storage.objects.insert", "storage.objects.delete"]  # a ledger that was made anew knows of no proof


def a_ledger(**fields):
    """A ledger of this project without any resource."""
    basics = {"deployment": "0a1b2c3d", "salt": "x7f2", "project_number": NUMBER, "region": "europe-west1"}
    return Ledger.model_validate({"project": PROJECT, **basics, **fields})


def state(folder, *words, place=STATE, **given):
    """Type `state ...` for this machine and a ledger in a file."""
    return folder.type("state", *words, "--local", *place, **given)


def ledger_in(folder, file="ledger.json"):
    """The ledger as it is saved in a file of the folder."""
    return read_ledger(FileStore(folder.path / file))


@pytest.fixture
def lived(folder, cloud):
    """A folder whose ledger two runs have left: serial 5, then one with a runner more."""
    folder.write(dumps(a_ledger(serial=5, run="20261101T101500Z-aaaa", counters={"server": 1})).decode(), "ledger.json")
    state(folder, "push", "ledger.json", "--yes")
    return folder


class TestRestore:
    def test_an_earlier_ledger_takes_the_place_of_the_current_one(self, lived):
        """Under a new serial; what was there is kept, and the cloud is left alone."""
        lived.write(dumps(a_ledger(serial=50, counters={"server": 2})).decode(), "next.json")
        state(lived, "push", "next.json", "--yes")
        before = ledger_in(lived)
        told = state(lived, "restore", "5", "--yes").out
        after = ledger_in(lived)

        assert (before.counters, after.counters) == ({"server": 2}, {"server": 1})
        assert after.serial == before.serial + 1
        assert "      counters.server: 2 -> 1" in told
        assert "python -m provision drift --local --state ./ledger.json" in told
        assert [item["serial"] for item in state(lived, "history", "--json").json["history"]] == [5, 6, 7, 8]

    def test_a_damaged_ledger_is_told_with_the_line_that_mends_it(self, lived):
        """The line can be typed as it stands."""
        whole = (lived.path / "ledger.json").read_text()
        for text, says in ((whole[:200], "no JSON"), (whole.replace("x7f2", "y7f2"), "digest"), ("", "empty")):
            lived.write(text, "ledger.json")
            for command in (("status",), ("up",), ("down", "--yes"), ("state", "list")):
                told = lived.type(*command, "--local", *STATE, code=3).err

                assert "LedgerDamaged: " in told
                assert says in told
                assert "The last good one has serial 5; to put it back: " in told
                assert "python -m provision state restore 5 --local --state ./ledger.json; or to make it anew" in told
        told = state(lived, "restore", "5", "--yes").out

        assert "The current ledger cannot be read" in told
        assert ledger_in(lived).counters == {"server": 1}
        assert "cannot be read" in state(lived, "history").out
        assert "is damaged" in state(lived, "restore", "6", "--yes", code=3).err

    def test_one_is_asked_on_a_terminal(self, lived):
        """Anything but yes leaves everything as it is."""
        before = (lived.path / "ledger.json").read_bytes()
        screen = lived.at_a_terminal("state", "restore", "5", "--local", *STATE)
        screen.until("Put the ledger with serial 5 in the place of the current one? [y/N]: ")
        screen.type("n")
        told = screen.ended()

        assert told.code == 3
        assert "Not confirmed; nothing was touched." in told.out
        assert (lived.path / "ledger.json").read_bytes() == before


class TestLost:
    """The ledger is gone and its history is there: somebody has deleted it, for nothing of ours leaves that behind."""

    COMMANDS = (("status",), ("plan",), ("up",), ("down", "--yes"), ("state", "list"), ("state", "pull"),
                ("state", "migrate", "--to", "./there.json"), ("state", "destroy", "--yes"))  # fmt: skip

    @pytest.fixture
    def lost(self, lived):
        """As after `rm ledger.json`."""
        (lived.path / "ledger.json").unlink()
        return lived

    @pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
    def test_it_is_told_with_the_lines_that_mend_it(self, lost, cloud, command):
        """Above all no second deployment is begun beside the one that is there."""
        told = lost.type(*command, "--local", *STATE, code=3).err

        assert "LedgerLost: " in told
        assert "to put it back: python -m provision state restore 5 --local --state ./ledger.json;" in told
        assert (
            "or to make it anew from the cloud: python -m provision state rebuild --local --state ./ledger.json\n"
            in told
        )
        assert cloud.writes() == []
        assert not (lost.path / "ledger.json").exists()

    def test_the_line_puts_it_back(self, lost):
        """Under a serial that goes on; the history tells of it as ever, before and after."""
        before = state(lost, "history", "--json").json["history"]
        state(lost, "restore", "5", "--yes")

        assert [item["serial"] for item in before] == [5]
        assert (ledger_in(lost).counters, ledger_in(lost).serial) == ({"server": 1}, 6)
        assert lost.type("status", "--local", *STATE, "--json").json["deployment"] == "0a1b2c3d"

    def test_a_copy_puts_it_back_too(self, lost):
        """It must be of the deployment that the history tells of."""
        for deployment, code in (("ffffffff", 3), ("0a1b2c3d", 0)):
            lost.write(dumps(a_ledger(deployment=deployment, serial=9)).decode(), "copy.json")
            state(lost, "push", "copy.json", "--yes", code=code)

        assert ledger_in(lost).deployment == "0a1b2c3d"

    def test_it_is_made_anew(self, folder, cloud):
        """Also beside its history; then there is nothing to do."""
        folder.type("up", "--local", *STATE)
        folder.type("up", "--local", *STATE)
        deployment = ledger_in(folder).deployment
        (folder.path / "ledger.json").unlink()
        refused = folder.type("up", "--local", *STATE, code=3).err
        state(folder, "rebuild", place=(*STATE, "--project", PROJECT))
        cloud.writes()

        assert "LedgerLost: " in refused
        assert "nothing to change" in folder.type("up", "--local", *STATE).out
        assert cloud.writes() == PROOF
        assert ledger_in(folder).deployment == deployment

    def test_the_lease_of_a_dead_run_is_taken_away(self, lost):
        """It stands in the way of whoever mends the ledger."""
        holder = Holder(owner="o", who="user:grace@example.com", host="far-away", pid=7, run="r", doing="the database")
        FileStore(lost.path / "ledger.json").put("lease.json", holder.written(), 0)
        state(lost, "unlock", "--yes")

        assert FileStore(lost.path / "ledger.json").get("lease.json") is None

    def test_nothing_is_moved_on_top_of_it(self, lost):
        """What is left of it is all that can mend it."""
        lost.write(dumps(a_ledger(deployment="ffffffff")).decode(), "other.json")
        told = state(lost, "migrate", "--to", "./ledger.json", place=("--state", "./other.json"), code=3).err

        assert "Name a place that holds no ledger." in told
        assert not (lost.path / "ledger.json").exists()


class TestPush:
    @pytest.mark.parametrize(
        ("pushed", "says"),
        [
            pytest.param(a_ledger(project="another-project", serial=9), "of project another-project", id="project"),
            pytest.param(a_ledger(deployment="ffffffff", serial=9), "of deployment ffffffff", id="deployment"),
            pytest.param(a_ledger(serial=2), "has serial 2, and the ledger at", id="an older one"),
        ],
    )
    def test_what_does_not_belong_here(self, lived, pushed, says):
        """Refused before anything is asked or written."""
        lived.write(dumps(pushed).decode(), "pushed.json")
        before = (lived.path / "ledger.json").read_bytes()

        assert says in state(lived, "push", "pushed.json", "--yes", code=3).err
        assert (lived.path / "ledger.json").read_bytes() == before

    def test_an_older_one_by_force(self, lived):
        """With a serial that goes on all the same."""
        lived.write(dumps(a_ledger(serial=2)).decode(), "pushed.json")
        told = state(lived, "push", "pushed.json", "--yes", "--force", "--json").json

        assert told["serial"] == 7
        assert ledger_in(lived).counters == {}

    @pytest.mark.parametrize(
        "text", ["", "{", '{"schema_version": 99}'], ids=["empty", "cut off", "of a newer release"]
    )
    def test_what_is_no_ledger(self, lived, text):
        """The file is named."""
        lived.write(text, "pushed.json")

        assert "BadUsage: pushed.json" in state(lived, "push", "pushed.json", "--yes", code=3).err

    def test_a_ledger_mended_by_hand(self, lived):
        """Pulled, its digest taken out, changed, and pushed again."""
        content = state(lived, "pull").json
        del content["digest"]
        lived.write(json.dumps({**content, "counters": {"server": 7}}), "mended.json")
        state(lived, "push", "mended.json", "--yes")

        assert ledger_in(lived).counters == {"server": 7}


class TestMigrate:
    def test_from_the_projects_bucket_into_a_file(self, folder, cloud):
        """The deployment goes on from there; the old place tells the line to type, with arguments."""
        folder.type("up", "--local")
        told = state(folder, "migrate", "--to", "./here.json", place=())
        here = str(folder.path / "here.json")
        gone = folder.type("up", "--local", code=3).err
        shown = folder.type("state", "show", NETWORK, "--local", code=3).err
        cloud.writes()
        folder.type("up", "--local", "--state", here)

        assert f"The ledger is at {here} now. Give every command --state {here}" in told.out.replace("\n", "")
        assert "LedgerMoved: " in gone
        assert f"Type: python -m provision up --local --state {here}" in gone
        assert f"Type: python -m provision state show {NETWORK} --local --state {here}" in shown
        assert cloud.writes() == []
        assert folder.type("drift", "--local", "--state", here).code == 0

    def test_the_line_that_is_told_is_the_one_that_was_typed(self, lived):
        """Word by word, with nothing but the place changed: `down` of a part stays the part."""
        (lived.path / "ledger.json").rename(lived.path / "copy.json")
        lived.write(signpost("gs://states/a b").decode(), "ledger.json")
        here, there = "--state ./ledger.json", "--state 'gs://states/a b'"
        for typed, told in (
            (f"release --local projects/a 'b c' {here}", f"release --local projects/a 'b c' {there}"),
            (f"release --local {here} -- -a", f"release --local {there} -- -a"),
            (f"--local down {here} --only traffic --yes", f"--local down --only traffic --yes {there}"),
            ("down --state=./ledger.json --yes --local", f"down --yes --local {there}"),
            (f"state push copy.json --local --yes {here}", f"state push copy.json --local --yes {there}"),
            (f"up --replace x --local --adopt {here} --env a", f"up --replace x --local --adopt --env a {there}"),
        ):
            refused = lived.type(*shlex.split(typed), code=3).err
            assert refused.endswith(f"\nNext: Type: python -m provision {told}\n")

    def test_typed_again_it_has_nothing_to_do(self, lived):
        """Not even where the first time died behind its last step; elsewhere it does not go on its own."""
        state(lived, "migrate", "--to", "./there.json")
        again = state(lived, "migrate", "--to", "./there.json", "--json").json
        elsewhere = state(lived, "migrate", "--to", "./elsewhere.json", code=3).err

        assert again["ledger"] == str(lived.path / "there.json")
        assert "LedgerMoved: " in elsewhere
        assert ledger_in(lived, "there.json").counters == {"server": 1}
        assert len(list((lived.path / "there.json.history").iterdir())) == 2

    def test_into_a_bucket_of_any_project(self, lived, cloud):
        """The ledger may lie in another project than what it tells of; nothing is deployed there."""
        cloud.world.reset(
            [{"projectId": PROJECT, "projectNumber": NUMBER}, {"projectId": "vault-1", "projectNumber": "77"}]
        )
        cloud.google("POST", "storage.googleapis.com/storage/v1/b", {"name": "vault-1-states"}, project="vault-1")
        state(lived, "migrate", "--to", "gs://vault-1-states/mlflow/prod")
        there = ("--state", "gs://vault-1-states/mlflow/prod")
        told = lived.type("up", "--local", *there, "--json").json
        buckets = cloud.google("GET", "storage.googleapis.com/storage/v1/b", project=PROJECT)["items"]

        assert {change["ref"] for change in told["changes"]} >= {NETWORK}
        assert [item for item in buckets if "-provision-" in item["name"]] == []
        assert lived.type("status", "--local", *there, "--json").json["project"] == PROJECT
        lived.type("drift", "--local", *there)

    def test_a_place_that_holds_something_else(self, lived):
        """It is left as it is."""
        lived.write(dumps(a_ledger(deployment="ffffffff")).decode(), "there.json")
        told = state(lived, "migrate", "--to", "./there.json", code=3).err

        assert "Name a place that holds no ledger." in told
        assert ledger_in(lived, "there.json").deployment == "ffffffff"
        assert ledger_in(lived) is not None
        assert "is at" in state(lived, "migrate", "--to", "./ledger.json", code=3).err


class TestUnlock:
    def test_a_lease_is_taken_away(self, lived):
        """Who holds it is shown; without --yes nobody is unlocked."""
        holder = Holder(owner="o", who="user:grace@example.com", host="far-away", pid=7, run="r", doing="the database")
        FileStore(lived.path / "ledger.json").put("lease.json", holder.written(), 0)
        refused = state(lived, "unlock", code=3).err
        told = state(lived, "unlock", "--yes").out

        assert "Add --yes." in refused
        assert "Run r holds the lease no more." in told
        assert FileStore(lived.path / "ledger.json").get("lease.json") is None

    def test_the_holder_is_shown_before_it_is_asked(self, lived):
        """So that a run that is alive is left alone."""
        holder = Holder(owner="o", who="user:grace@example.com", host=platform.node(), pid=1, run="r", doing="a door")
        FileStore(lived.path / "ledger.json").put("lease.json", holder.written(), 0)
        screen = lived.at_a_terminal("state", "unlock", "--local", *STATE)
        shown = screen.until("Take its lease away? [y/N]: ")
        screen.type("n")

        assert "user:grace@example.com on " in shown
        assert "it is at: a door" in shown
        assert screen.ended().code == 3
        assert FileStore(lived.path / "ledger.json").get("lease.json") is not None

    def test_nobody_holds_it(self, lived):
        """It is said."""
        assert "BadUsage: Nobody holds the lease at " in state(lived, "unlock", "--yes", code=3).err


class TestDestroy:
    def test_the_ledger_and_its_bucket_go_once_it_is_empty(self, folder, cloud):
        """Not before; and afterwards nothing of ours is in the project."""
        folder.type("up", "--local")
        refused = state(folder, "destroy", "--yes", place=(), code=5).err
        folder.type("down", "--local", "--yes", "--delete-data")
        told = state(folder, "destroy", "--yes", "--json", place=()).json

        assert "StillDeployed: " in refused
        assert "Take them away first: python -m provision down --local" in refused
        assert told["bucket_removed"] is True
        assert cloud.google("GET", "storage.googleapis.com/storage/v1/b", project=PROJECT).get("items", []) == []
        assert "holds no ledger" in folder.type("status", "--local", code=3).err

    @pytest.mark.parametrize("dies_at", ["storage.objects.delete", "storage.buckets.delete"])
    def test_dead_when_the_ledger_is_gone_already(self, folder, cloud, dies_at):
        """Typed again it finishes, whether the lease of the dead run has stayed, or only the bucket."""
        folder.type("up", "--local")
        folder.type("down", "--local", "--yes", "--delete-data")
        name = bootstrap.state_bucket(bootstrap.Project(PROJECT, NUMBER))

        def objects(**query):
            found = cloud.google("GET", f"storage.googleapis.com/storage/v1/b/{name}/o", **query)
            return [item["name"].partition("/")[2] for item in found.get("items", [])]

        of_the_ledger = len(objects()) + 1  # and the snapshot that this run leaves; then comes the lease
        left, skip = (["lease.json"], of_the_ledger) if dies_at == "storage.objects.delete" else ([], 0)
        cloud.fails(method=dies_at, skip=skip, delay=10.0)
        dying = folder.start("state", "destroy", "--yes", "--local")
        until(lambda: objects(versions=str(not left).lower()) == left, seconds=60.0)
        dying.process.kill()
        dying.process.join()
        before = objects()
        told = state(folder, "destroy", "--yes", "--json", place=()).json

        assert before == left
        assert told["bucket_removed"] is True
        assert cloud.google("GET", "storage.googleapis.com/storage/v1/b", project=PROJECT).get("items", []) == []

    def test_google_is_busy(self, folder, cloud):
        """For a moment: the bucket is looked at once more, and goes."""
        folder.type("up", "--local")
        folder.type("down", "--local", "--yes", "--delete-data")
        cloud.fails(method="storage.buckets.delete", status=503)

        assert state(folder, "destroy", "--yes", "--json", place=()).json["bucket_removed"] is True

    def test_where_nothing_was(self, folder, cloud):
        """An env without a ledger, beside one that has its ledger in the same bucket; or a file that is not there."""
        folder.type("up", "--local", "--env", "prod")
        beside = state(folder, "destroy", "--yes", place=(), code=3).err
        nowhere = state(folder, "destroy", "--yes", code=3).err

        assert "NothingDeployed: There is no ledger at gs://" in beside
        assert "something else lies in it" in beside
        assert "NothingDeployed: There is no ledger at /" in nowhere
        assert folder.type("drift", "--local", "--env", "prod").code == 0

    def test_the_bucket_stays_while_another_environment_has_its_ledger_there(self, folder, cloud):
        """Which goes on as ever."""
        folder.type("up", "--local", "--env", "prod")
        folder.type("up", "--local")
        folder.type("down", "--local", "--yes", "--delete-data")
        told = state(folder, "destroy", "--yes", place=()).out
        name = bootstrap.state_bucket(bootstrap.Project(PROJECT, NUMBER))
        left = cloud.google("GET", f"storage.googleapis.com/storage/v1/b/{name}/o", versions="true")["items"]

        assert "Its bucket stays: something else lies in it." in told
        assert {item["name"].partition("/")[0] for item in left} == {"prod"}
        assert folder.type("drift", "--local", "--env", "prod").code == 0
        assert folder.type("state", "list", "--local", "--env", "prod", "--json").json["records"]

    def test_a_signpost_goes_too(self, folder, cloud):
        """The ledger itself is elsewhere, and stays."""
        folder.type("up", "--local")
        state(folder, "migrate", "--to", "./here.json", place=())
        told = state(folder, "destroy", "--yes", "--json", place=()).json

        assert told["bucket_removed"] is True
        assert NETWORK in ledger_in(folder, "here.json").records
        assert "holds no ledger" in folder.type("status", "--local", code=3).err

    def test_a_file_goes_with_what_lies_beside_it(self, lived):
        """History and logs too."""
        state(lived, "destroy", "--yes")

        assert [path.name for path in lived.path.iterdir() if "ledger.json" in path.name] == [".ledger.json.lock"]


class TestRebuild:
    def test_a_lost_ledger_is_made_anew(self, folder, cloud):
        """Then nothing differs, a plain `up` changes nothing, and `down` leaves nothing behind."""
        folder.type("up", "--local")
        lost = json.loads(state(folder, "pull", place=()).out)
        name = bootstrap.state_bucket(bootstrap.Project(PROJECT, NUMBER))
        path = f"storage.googleapis.com/storage/v1/b/{name}"
        for item in cloud.google("GET", f"{path}/o", versions="true")["items"]:
            cloud.google("DELETE", f"{path}/o/{item['name'].replace('/', '%2F')}", generation=item["generation"])
        cloud.google("DELETE", path)
        cloud.writes()
        told = state(folder, "rebuild", "--json", place=()).json

        assert cloud.writes() == ["storage.buckets.insert"]  # the ledger's own
        assert told["deployment"] == lost["deployment"]
        assert told["records"] == sorted(lost["records"])
        assert (told["not_ours"], told["runners"]) == ([], [])
        folder.type("drift", "--local")
        assert "nothing to change" in folder.type("up", "--local").out
        assert cloud.writes() == PROOF
        folder.type("token", "--local")
        assert "Taken down" in folder.type("down", "--local", "--yes", "--delete-data").out

    def test_what_the_settings_protect_is_known_from_them_only(self, folder, cloud):
        """With them `down` keeps it as ever; without them that is said, and the next `up` mends it."""
        folder.write(f'project = "{PROJECT}"\nprotect = ["sql_instance"]\n')
        folder.type("up", "--local", *STATE)
        (folder.path / "ledger.json").unlink()
        known = state(folder, "rebuild").out
        folder.type("down", "--local", "--yes", *STATE)
        kept = list(cloud.world.table("sql.instances"))
        folder.type("up", "--local", *STATE)
        settings = (folder.path / "provision.toml").rename(folder.path / "settings.toml")
        unknown = state(folder, "rebuild", "--force", place=(*STATE, "--project", PROJECT)).out
        unprotected = [record for record in ledger_in(folder).records.values() if record.protected]
        folder.type("up", "--local", *STATE, "--config", settings.name)

        assert "protects" not in known
        assert len(kept) == 1
        assert "Without provision.toml nobody knows what it protects" in unknown
        assert unprotected == []
        assert [record.step for record in ledger_in(folder).records.values() if record.protected]

    def test_a_good_ledger_is_not_replaced_unless_by_force(self, folder, cloud):
        """What was replaced is in the history."""
        folder.type("up", "--local")
        refused = state(folder, "rebuild", place=(), code=3).err
        before = state(folder, "history", "--json", place=()).json["history"]
        state(folder, "rebuild", "--force", place=())
        after = state(folder, "history", "--json", place=()).json["history"]

        assert "There is a good ledger at gs://" in refused
        assert "--force makes it anew all the same, and keeps it." in refused
        assert [item["serial"] for item in after] == [before[0]["serial"], before[0]["serial"] + 1]
        assert (after[1]["added"], after[1]["removed"]) == ([], [])

    def test_a_damaged_ledger_without_a_history(self, folder, cloud):
        """There is nothing to put back, so it is made anew; the damaged one is kept."""
        folder.type("up", "--local", *STATE)
        folder.write((folder.path / "ledger.json").read_text()[:1000], "ledger.json")
        told = folder.type("status", "--local", *STATE, "--project", PROJECT, code=3).err
        state(folder, "rebuild", place=(*STATE, "--project", PROJECT, "--env", "default"))

        assert "to make it anew from the cloud: python -m provision state rebuild --local" in told
        folder.type("drift", "--local", *STATE)
        assert [path.name for path in (folder.path / "ledger.json.history").iterdir()] == ["00000001.json"]

    def test_nothing_is_rebuilt_while_another_run_is_at_work(self, folder, cloud):
        """It waits for the lease like any other run."""
        folder.type("up", "--local", *STATE)
        (folder.path / "ledger.json").unlink()
        holder = Holder(owner="o", who="user:grace@example.com", host="far-away", pid=7, run="r", doing="the database")
        FileStore(folder.path / "ledger.json").put("lease.json", holder.written(), 0)
        told = state(folder, "rebuild", "--lock-timeout", "0", place=(*STATE, "--project", PROJECT), code=4).err

        assert "LockedByAnotherRun: " in told
        assert not (folder.path / "ledger.json").exists()

    def test_where_nothing_was_deployed(self, folder, cloud):
        """There is nothing to be found, and nothing is made."""
        told = state(folder, "rebuild", code=3).err

        assert "NothingDeployed: Nothing in project local-mlflow carries our mark." in told
        assert not (folder.path / "ledger.json").exists()
