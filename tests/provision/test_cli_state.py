"""`state ...` over a deployment that stands: looking into the ledger, putting earlier ones back, moving and removing it."""

import base64
import json

import pytest
import requests
from click.testing import CliRunner

from provision.cli import cli
from tests.provision.conftest import PROJECT, folder_in

COMMANDS = (
    "show", "list", "history", "diff", "pull", "restore", "push", "rebuild", "migrate", "unlock", "destroy",
)  # fmt: skip
NETWORK = f"projects/{PROJECT}/global/networks/mlflow"


def state(folder, *words, **given):
    """Type `state ...` for this machine."""
    return folder.type("state", *words, "--local", **given)


def serials(folder):
    """The serials of the history, oldest first, the current one last."""
    return [item["serial"] for item in state(folder, "history", "--json").json["history"]]


@pytest.fixture(scope="module")
def deployed(shared_cloud, tmp_path_factory):
    """A folder with a deployment that two runs have made, the second of them with a larger disk."""
    shared_cloud.empty()
    made = folder_in(tmp_path_factory.mktemp("state") / "folder", shared_cloud)
    made.type("up", "--local")
    settings = f'project = "{PROJECT}"\naccess.users = ["owner@example.com"]\ndatabase.disk_gb = 20\n'
    made.write(settings)
    made.type("up", "--local")
    return made


def test_the_ledger_is_pulled_onto_a_full_disk(deployed):
    """That is told of this machine, and not of Google."""
    told = state(deployed, "pull", "/dev/full", code=1).err

    assert told.startswith("FileTrouble: A file of this machine: No space left on device\nNext: Make room ")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_tells_what_it_does(command):
    """And takes the options that all commands have."""
    told = CliRunner().invoke(cli, ["state", command, "--help"])

    assert told.exit_code == 0
    for option in ("--config FILE", "--state PLACE", "--local", "--json", "--verbose"):
        assert option in told.output


def test_they_are_listed_in_lines_that_are_not_cut_off():
    """In the order of their use."""
    told = CliRunner().invoke(cli, ["state", "--help"], terminal_width=80)
    lines = told.output.partition("Commands:\n")[2].splitlines()

    assert [line.split()[0] for line in lines] == list(COMMANDS)
    assert not [line for line in lines if line.endswith("...")]


def test_the_ledger_is_shown_whole_or_record_by_record(deployed):
    """By the full name or by an end that only one has; the same with and without --json."""
    whole = json.loads(state(deployed, "show").out)
    record = state(deployed, "show", NETWORK, "--json").json
    short = state(deployed, "show", "networks/mlflow").json

    assert whole["project"] == PROJECT
    assert whole["records"][NETWORK] == record == short
    assert record["step"] == "network"


def test_a_record_that_is_not_there_or_not_the_only_one(deployed):
    """Which ones there are is told."""
    assert "names 0 records" in state(deployed, "show", "nothing", code=3).err
    several = state(deployed, "show", "iamPolicy", code=3).err

    assert " records: projects/" in several
    assert "python -m provision state list --local tells all" in several


def test_records_are_listed_with_their_marks(deployed):
    """What was there before us is marked."""
    told = {item["ref"]: item for item in state(deployed, "list", "--json").json["records"]}
    lines = state(deployed, "list").out.splitlines()

    assert told[NETWORK] == {"ref": NETWORK, "step": "network", "adopted": False, "protected": False, "pending": None}
    assert [ref for ref, item in told.items() if item["adopted"]] == ["projects/123456789012/services"]
    assert "network            global/networks/mlflow" in lines
    assert len(lines) == len(told)


def test_history_tells_what_each_run_has_left(deployed):
    """Serial, run, time, how many resources, and which of them came, changed or went with it."""
    first, now = state(deployed, "history", "--json").json["history"]
    lines = state(deployed, "history").out.splitlines()

    assert NETWORK in first["added"]
    assert (now["added"], now["removed"]) == ([], [])
    assert [ref for ref in now["changed"] if "/instances/" in ref and ref.count("/") == 3]
    assert first["resources"] == now["resources"] == len(first["added"])
    assert first["run"].startswith(first["at"][:4])
    assert f"+ {first['resources']} resources" in lines[0]
    assert len(state(deployed, "history", "-n", "1").out.splitlines()) == 1


def test_what_differs_is_told_field_by_field(deployed):
    """Between any two serials, or one and the current ledger."""
    first, last = serials(deployed)
    told = state(deployed, "diff", str(first), "now", "--json").json
    (changed,) = [fields for ref, fields in told["changed"].items() if "/instances/" in ref and ref.count("/") == 3]
    said = state(deployed, "diff", str(first)).out

    assert {"path": "body.settings.dataDiskSizeGb", "before": "10", "after": "20"} in changed
    assert '      body.settings.dataDiskSizeGb: "10" -> "20"' in said
    assert "done.before" not in said
    assert state(deployed, "diff", str(last), "now").out == "They do not differ.\n"
    assert "neither a serial nor 'now'" in state(deployed, "diff", "yesterday", code=3).err
    assert "no ledger with serial 999" in state(deployed, "diff", "999", code=3).err


def test_looking_writes_nothing(deployed, shared_cloud):
    """Neither into the cloud nor beside the ledger."""
    before = objects(shared_cloud)
    shared_cloud.writes()
    for words in (("show",), ("list",), ("history",), ("diff", "now", "now"), ("pull",)):
        state(deployed, *words)

    assert shared_cloud.writes() == []
    assert objects(shared_cloud) == before


def test_pull_gives_the_very_bytes(deployed, shared_cloud):
    """To standard output or into a file, which can be pushed again."""
    ledger = shared_cloud.google("GET", f"{objects_path(shared_cloud)}/default%2Fledger.json", alt="media")
    told = state(deployed, "pull", "copy.json")

    assert state(deployed, "pull").json == ledger
    assert json.loads((deployed.path / "copy.json").read_text()) == ledger
    assert "python -m provision state push copy.json --local" in told.out


def test_no_secret_is_in_what_lies_beside_the_ledger(deployed, shared_cloud):
    """Nor in the ledger: the password is in Secret Manager and nowhere else."""
    (version,) = [ref for ref in json.loads(state(deployed, "show").out)["records"] if "/versions/1" in ref]
    payload = shared_cloud.google("GET", f"secretmanager.googleapis.com/v1/{version}:access")["payload"]["data"]
    password = base64.b64decode(payload)
    path = objects_path(shared_cloud)
    texts = [
        requests.get(
            f"{shared_cloud.url}/{path}/{name.replace('/', '%2F')}", params={"alt": "media"}, timeout=10
        ).content
        for name in objects(shared_cloud)
    ]

    assert len(texts) == 4
    assert [text for text in texts if password in text] == []


def test_every_run_leaves_a_log(deployed, shared_cloud):
    """Beside the ledger, one JSON object a line, the details too, though they were not shown."""
    logs = [name for name in objects(shared_cloud) if name.startswith("default/runs/")]
    path = f"{objects_path(shared_cloud)}/{logs[-1].replace('/', '%2F')}"
    lines = requests.get(f"{shared_cloud.url}/{path}", params={"alt": "media"}, timeout=10).text.splitlines()
    events = [json.loads(line) for line in lines]

    assert len(logs) == 2
    assert events[0]["event"] == "run.begun"
    assert events[-1]["event"] == "run.ended"
    assert {"resource.change", "resource.updated"} <= {event["event"] for event in events}
    assert {event.get("run", logs[-1][13:-6]) for event in events} == {logs[-1][13:-6]}


@pytest.mark.parametrize("words", [("restore", "1"), ("push", "copy.json"), ("destroy",)], ids=" ".join)
def test_nothing_is_replaced_unasked(folder, cloud, words):
    """Without a terminal it must be told --yes."""
    folder.type("up", "--local")
    if words[0] == "destroy":
        folder.type("down", "--local", "--yes", "--delete-data")
    state(folder, "pull", "copy.json")
    folder.type("up", "--local") if words[0] != "destroy" else None
    words = (words[0], str(serials(folder)[0])) if words[0] == "restore" else words
    if words[0] == "push":
        words = (*words, "--force")
    before = objects(cloud)
    told = state(folder, *words, code=3)

    assert "asks before it changes the ledger, and nobody is there to answer." in told.err
    assert objects(cloud) == before


def objects_path(cloud):
    """Where the objects of the ledgers' bucket are asked for."""
    buckets = cloud.google("GET", "storage.googleapis.com/storage/v1/b", project=PROJECT)["items"]
    (name,) = [item["name"] for item in buckets if "-provision-" in item["name"]]
    return f"storage.googleapis.com/storage/v1/b/{name}/o"


def objects(cloud):
    """The objects of the ledgers' bucket with their generations."""
    found = cloud.google("GET", objects_path(cloud)).get("items", [])
    return {item["name"]: item["generation"] for item in found}
