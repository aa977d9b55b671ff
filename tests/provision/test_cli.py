"""The commands over a deployment that stands: what each prints, and with which exit code it ends."""

import base64
import json

import pytest
from click.testing import CliRunner

from provision.cli import cli
from provision.emulator import tokens
from provision.proof import LINKS
from tests.provision.conftest import PROJECT, folder_in
from tests.provision.terminal import Folder

COMMANDS = (
    "doctor", "up", "plan", "drift", "verify", "status", "token", "client", "rollback", "release", "down", "stop",
    "rehearse",
)  # fmt: skip


@pytest.fixture(scope="module")
def deployed(shared_cloud, tmp_path_factory):
    """A folder with a deployment, and what the `up` that made it said."""
    shared_cloud.empty(services=[])
    made = folder_in(tmp_path_factory.mktemp("commands") / "folder", shared_cloud)
    made.first = made.type("up", "--local", "--json")
    return made


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_tells_what_it_does(command):
    """And takes the options that all have."""
    told = CliRunner().invoke(cli, [command, "--help"])

    assert told.exit_code == 0
    for option in ("--config FILE", "--state PLACE", "--local", "--json", "--verbose"):
        assert option in told.output


def test_the_commands_are_listed_in_the_order_of_their_use():
    """Each in a line that is not cut off."""
    told = CliRunner().invoke(cli, ["--help"], terminal_width=80)
    lines = told.output.partition("Commands:\n")[2].splitlines()

    assert [line.split()[0] for line in lines] == [*COMMANDS, "state"]
    assert not [line for line in lines if line.endswith("...")]


def test_up_says_where_it_is_and_who_may_sign_in(deployed):
    """One object for machines, and a log of JSON lines beside it."""
    told = deployed.first.json

    assert told["url"].startswith("http://127.0.0.1:")
    assert told["access"] == ["user:owner@example.com"]
    assert {"verb": "create", "step": "network", "ref": f"projects/{PROJECT}/global/networks/mlflow"} in told["changes"]
    assert {json.loads(line)["event"] for line in deployed.first.err.splitlines()} >= {"resource.created"}


def test_a_second_up_changes_nothing_and_says_what_to_type_next(deployed, shared_cloud):
    """What it names can be typed as it stands."""
    shared_cloud.writes()
    again = deployed.type("up", "--local")

    assert shared_cloud.writes() == []
    assert "nothing to change" in again.out
    assert '$(python -m provision token --local)"' in again.out
    assert "python -m provision client --local" in again.out
    assert "python -m provision drift --local" in again.out
    assert "python -m provision down --local" in again.out
    assert again.err == ""


def test_up_proves_what_it_has_changed(deployed, shared_cloud):
    """The first one logs a run and a file; another one, which changes nothing, reads only."""
    again = deployed.type("up", "--local", "--json").json

    assert deployed.first.json["proved"] == [link.asked for link in LINKS]
    assert again["proved"] == [link.asked for link in LINKS if not link.changes]
    assert [run["info"]["lifecycle_stage"] for run in shared_cloud.tracking.runs.values()] == ["deleted"]


def test_verify_proves_it_whenever_it_is_asked(deployed, shared_cloud):
    """One run, one file, and nothing is left of either; what was asked is told, and the ledger stays as it was."""
    shared_cloud.writes()
    told = deployed.type("verify", "--local")
    writes = shared_cloud.writes()

    assert writes == ["storage.objects.insert", "storage.objects.delete"]
    assert [line.strip() for line in told.out.splitlines()[:-1]] == [f"ok {link.asked}" for link in LINKS]
    assert told.out.splitlines()[-1].startswith(f"MLflow works: {deployed.first.json['url']}")
    assert deployed.type("verify", "--local", "--json").json["proved"] == [link.asked for link in LINKS]


def test_who_only_verifies_is_given_no_rights(deployed, shared_cloud, tmp_path):
    """The next `up` grants to those who deploy, and asking whether it works is no deploying."""
    path = f"cloudresourcemanager.googleapis.com/v3/projects/{PROJECT}"
    policy = shared_cloud.google("POST", f"{path}:getIamPolicy", {})
    for role in ("roles/owner", "roles/iam.serviceAccountTokenCreator"):
        policy["bindings"].append({"role": role, "members": ["user:bob@example.com"]})
    shared_cloud.google("POST", f"{path}:setIamPolicy", {"policy": policy})
    with shared_cloud.world.transaction():
        token = tokens.issue(shared_cloud.world, "user:bob@example.com")
    bobs = Folder(tmp_path / "bobs", shared_cloud.url, token)
    proved = bobs.type("verify", "--local", "--json").json["proved"]
    runners = deployed.type("state", "show", "--local", "--json").json["runners"]

    assert proved == [link.asked for link in LINKS]
    assert runners == ["user:owner@example.com"]


def test_a_proof_that_broke_is_made_up_for(deployed, shared_cloud):
    """By the next `up`, though that one has nothing to change; `verify` says the same meanwhile."""
    refusing = lambda asked: (500, {}, "disk full") if asked.path.endswith("/runs/create") else None  # noqa: E731 - one line
    bucket = next(name for name in buckets(shared_cloud) if "-artifacts-" in name)
    shared_cloud.google("PATCH", f"storage.googleapis.com/storage/v1/b/{bucket}", {"lifecycle": {"rule": []}})
    shared_cloud.tracking.instead = refusing
    broken = [deployed.type(command, "--local", code=1).err for command in ("up", "verify")]
    shared_cloud.tracking.instead = lambda asked: None
    mended = deployed.type("up", "--local", "--json").json
    again = deployed.type("up", "--local", "--json").json

    for told in broken:
        assert "MLflow and its database answer, and no run can be logged: 500 disk full" in told
    assert mended["changes"] == []
    assert mended["proved"] == [link.asked for link in LINKS]
    assert again["proved"] == [link.asked for link in LINKS if not link.changes]


@pytest.mark.parametrize("command", ["plan", "drift"])
def test_nothing_to_tell(deployed, command):
    """Exit code 0, a sentence for people, an empty list for machines."""
    assert deployed.type(command, "--local").out.count("\n") == 1
    assert deployed.type(command, "--local", "--json").json == {"findings": []}


def test_status_tells_what_there_is(deployed):
    """The same for people and for machines."""
    told = deployed.type("status", "--local", "--json").json

    assert told["project"] == PROJECT
    assert told["url"] == deployed.first.json["url"]
    assert told["unfinished"] == 0
    assert told["held_by"] is None
    assert told["resources"]["service_accounts"] == 3
    assert f"url          {told['url']}" in deployed.type("status", "--local").out


def test_token_prints_nothing_but_a_token(deployed):
    """Signed by the log pusher, for every path of the server."""
    printed = deployed.type("token", "--local").out
    claims = json.loads(base64.urlsafe_b64decode(printed.split(".")[1] + "=="))

    assert printed.count("\n") == 1
    assert claims["sub"] == f"mlflow-log-pusher@{PROJECT}.iam.gserviceaccount.com"
    assert claims["aud"] == f"{deployed.first.json['url']}/*"
    assert claims["exp"] - claims["iat"] == 3600
    assert set(deployed.type("token", "--local", "--json").json) == {"token", "url"}


@pytest.mark.parametrize("words", [("down",), ("down", "--delete-data"), ("down", "--json")], ids=" ".join)
def test_down_does_nothing_unasked(deployed, shared_cloud, words):
    """Without a terminal it must be told --yes."""
    shared_cloud.writes()
    told = deployed.type(*words, "--local", code=3)

    assert "This asks before it does harm, and nobody is there to answer." in told.err
    assert "Add --yes." in told.err
    assert shared_cloud.writes() == []


def test_local_may_stand_before_the_command(deployed):
    """As people type it."""
    assert deployed.type("--local", "status", "--json").json["project"] == PROJECT


def test_verbose_tells_every_change_with_its_fields(deployed, shared_cloud):
    """For those who want to know."""
    bucket = next(name for name in buckets(shared_cloud) if "-artifacts-" in name)
    shared_cloud.google("PATCH", f"storage.googleapis.com/storage/v1/b/{bucket}", {"lifecycle": {"rule": []}})
    told = deployed.type("up", "--local", "--verbose")

    assert "lifecycle" in told.err
    assert "resource.updated" in told.err


def test_plan_tells_what_new_settings_would_change(deployed, shared_cloud):
    """The field, as it is and as it would be; nothing is changed."""
    deployed.write(f'project = "{PROJECT}"\naccess.users = ["owner@example.com"]\ndatabase.disk_gb = 20', "more.toml")
    shared_cloud.writes()
    told = deployed.type("plan", "--local", "--config", "more.toml", code=2)
    (found,) = deployed.type("plan", "--local", "--config", "more.toml", "--json", code=2).json["findings"]

    assert '      settings.dataDiskSizeGb: "10" -> "20"' in told.out
    assert "1 to change. Make it so: python -m provision up --local --config more.toml" in told.out
    assert found["kind"] == "update"
    assert found["changes"] == [{"field": "settings.dataDiskSizeGb", "live": "10", "goal": "20"}]
    assert shared_cloud.writes() == []


def test_drift_tells_what_was_changed_and_up_puts_it_back(deployed, shared_cloud):
    """Resource, field, what it is and what it was; and an added member by name."""
    (instance,) = shared_cloud.google("GET", f"sqladmin.googleapis.com/v1/projects/{PROJECT}/instances")["items"]
    path = f"sqladmin.googleapis.com/v1/projects/{PROJECT}/instances/{instance['name']}"
    shared_cloud.google("PATCH", path, {"settings": {"tier": "db-g1-small"}})
    bucket = f"storage.googleapis.com/storage/v1/b/{next(n for n in buckets(shared_cloud) if '-artifacts-' in n)}/iam"
    policy = shared_cloud.google("GET", bucket)
    next(item for item in policy["bindings"] if item["role"].endswith("objectUser"))["members"].append(
        "user:eve@example.com"
    )
    shared_cloud.google("PUT", bucket, policy)

    told = deployed.type("drift", "--local", code=2)
    found = deployed.type("drift", "--local", "--json", code=2).json["findings"]
    deployed.type("up", "--local")

    assert f"  ~ instances/{instance['name']} was changed" in told.out
    assert 'settings.tier: is "db-g1-small", was applied as "db-f1-micro"' in told.out
    assert "user:eve@example.com was added" in told.out
    assert told.out.endswith("2 changed. Put it back: python -m provision up --local\n")
    assert {item["step"]: item["kind"] for item in found} == {"sql_instance": "changed", "artifact_access": "changed"}
    deployed.type("drift", "--local")


def test_drift_does_not_stumble_over_an_api_that_somebody_has_switched_off(deployed, shared_cloud):
    """It says so, and `up` switches it on again."""
    path = f"serviceusage.googleapis.com/v1/projects/{PROJECT}/services/secretmanager.googleapis.com:disable"
    shared_cloud.google("POST", path, {"disableDependentServices": True})
    told = deployed.type("drift", "--local", code=2)
    deployed.type("up", "--local")

    assert 'services.secretmanager: is "DISABLED", was applied as "ENABLED"' in told.out
    assert "secrets/mlflow-database-password is gone" in told.out


def buckets(cloud):
    return [
        item["name"] for item in cloud.google("GET", "storage.googleapis.com/storage/v1/b", project=PROJECT)["items"]
    ]
