"""`client key`: a key is made only if it is asked for twice and allowed, lies well, is reminded of, and is taken away."""

import contextlib
import json
import resource
import signal
import stat
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from google.auth import jwt
from google.oauth2.credentials import Credentials

from provision import keys
from provision.gcp import Gcp
from tests.provision.conftest import PROJECT, folder_in

STATE = ("--state", "./ledger.json")
PUSHER = f"mlflow-log-pusher@{PROJECT}.iam.gserviceaccount.com"
MAKE = ("client", "key", "--local", *STATE, "--out")
REVOKE = ("client", "key", "revoke", "--local", *STATE)
TWICE = ("--yes", "--yes")


@pytest.fixture(scope="module")
def standing(shared_cloud, tmp_path_factory):
    """A deployment."""
    shared_cloud.empty()
    made = folder_in(tmp_path_factory.mktemp("key") / "folder", shared_cloud)
    made.type("up", "--local", *STATE)
    return made


@pytest.fixture
def deployed(standing, shared_cloud):
    """The same, without a key and without a policy against keys."""
    left = held(shared_cloud)
    with shared_cloud.world.transaction():
        for key in left:
            del shared_cloud.world.table("iam.keys")[f"{PUSHER}/{key}"]
        for name in list(shared_cloud.world.table("orgpolicy.policies")):
            del shared_cloud.world.table("orgpolicy.policies")[name]
    shared_cloud.empty_of_faults()
    shared_cloud.writes()
    return standing


@pytest.fixture
def out(tmp_path):
    """A file that is not there yet."""
    return tmp_path / "key.json"


def held(cloud):
    """The ids of the keys that somebody holds, oldest first."""
    path = f"iam.googleapis.com/v1/projects/{PROJECT}/serviceAccounts/{PUSHER}/keys"
    found = cloud.google("GET", path, keyTypes="USER_MANAGED").get("keys", [])
    return [key["name"].rpartition("/")[2] for key in found]


def aged(cloud, key, days):
    """Let a key be so many days old."""
    made = datetime.now(UTC) - timedelta(days=days)
    with cloud.world.transaction():
        row = cloud.world.table("iam.keys")[f"{PUSHER}/{key}"]
        cloud.world.table("iam.keys")[f"{PUSHER}/{key}"] = row | {"validAfterTime": f"{made:%Y-%m-%dT%H:%M:%SZ}"}
    return made


def test_a_key_that_is_asked_for_twice(deployed, shared_cloud, out):
    """It signs as the log pusher, nobody else may read it, and what to do with it and about it is told."""
    told = deployed.type(*MAKE, str(out), *TWICE)
    info = json.loads(out.read_text())
    (key,) = held(shared_cloud)
    signed = jwt.Credentials.from_service_account_info(info, audience="https://mlflow.example/*")

    assert info["client_email"] == signed.signer_email == PUSHER
    assert info["private_key_id"] == key
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert f"export MLFLOW_IAP_KEY_FILE={out}\n" in told.out
    assert f"python -m provision client key revoke {key} --local --state ./ledger.json\n" in told.out
    assert f"Replace it by {datetime.now(UTC) + timedelta(days=90):%Y-%m-%d}; status reminds you." in told.out


def test_a_key_is_in_no_log_and_no_ledger(deployed, shared_cloud, out):
    """Its id is, so that who looks later knows when it was made."""
    told = deployed.type(*MAKE, str(out), *TWICE, "--json", "--verbose")
    secret = json.loads(out.read_text())["private_key"].splitlines()[5]
    (key,) = held(shared_cloud)
    files = [path for path in deployed.path.rglob("*") if path.is_file()]

    assert set(told.json) == {"key", "file", "due"}
    assert secret not in told.out + told.err
    assert [path for path in files if secret in path.read_text(errors="replace")] == []
    assert [path.parent.name for path in files if key in path.read_text() and path.suffix == ".jsonl"] == [
        "ledger.json.runs"
    ]


def test_at_a_terminal_it_is_asked_for_twice(deployed, shared_cloud, out):
    """First whether a key is needed at all, then for a word."""
    screen = deployed.at_a_terminal(*MAKE, str(out))
    screen.until("Most programs need no key: python -m provision client --local --state ./ledger.json says what")
    screen.until("Make one all the same? [y/N]: ")
    screen.type("y")
    screen.until(f"Whoever has the file is {PUSHER}. Type key to make it: ")
    screen.type("key")
    told = screen.ended()

    assert told.code == 0
    assert json.loads(out.read_text())["private_key_id"] == held(shared_cloud)[0]


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param([("Make one all the same? [y/N]: ", "n")], id="not needed after all"),
        pytest.param(
            [("Make one all the same? [y/N]: ", "y"), ("Type key to make it: ", "y")], id="not meant that seriously"
        ),
    ],
)
def test_whoever_thinks_better_of_it(deployed, shared_cloud, out, answers):
    """Gets no key, and no file."""
    screen = deployed.at_a_terminal(*MAKE, str(out))
    for question, answer in answers:
        screen.until(question)
        screen.type(answer)
    told = screen.ended()

    assert told.code == 3
    assert "Not confirmed; nothing was touched." in told.out
    assert shared_cloud.writes() == []
    assert not out.exists()


@pytest.mark.parametrize("words", [(), ("--yes",)], ids=["unasked", "asked once"])
def test_where_nobody_can_be_asked(deployed, shared_cloud, out, words):
    """It must have been asked for twice beforehand."""
    told = deployed.type(*MAKE, str(out), *words, code=3)

    assert "This asks before it makes a key, twice, and nobody is there to answer." in told.err
    assert "Add --yes --yes if a key is really what you want." in told.err
    assert shared_cloud.writes() == []
    assert not out.exists()


@pytest.mark.parametrize("constraint", keys.FORBIDDING)
def test_where_the_organization_forbids_keys(deployed, shared_cloud, out, constraint):
    """Said before anything is asked, with what to do instead."""
    rule(shared_cloud, constraint, {"enforce": True})
    told = deployed.type(*MAKE, str(out), *TWICE, code=5)

    assert told.err.startswith(f"PolicyForbids: {constraint} is in effect: nobody may make keys in project {PROJECT}.")
    assert "python -m provision client --local --state ./ledger.json says what it needs." in told.err
    assert shared_cloud.writes() == []
    assert not out.exists()


def test_where_policies_cannot_be_read(deployed, shared_cloud, out):
    """Google itself refuses the key then, and says why; no file is left."""
    rule(shared_cloud, keys.FORBIDDING[0], {"enforce": True})
    shared_cloud.fails(method="orgpolicy.projects.policies.getEffectivePolicy", status=403, times=2)
    told = deployed.type(*MAKE, str(out), *TWICE, code=5)

    assert told.err.startswith("PolicyForbids: making a key of ")
    assert "Key creation is not allowed on this service account." in told.err
    assert not out.exists()


def test_a_policy_that_is_not_enforced_forbids_nothing(deployed, shared_cloud, out):
    """Nor one that holds for what carries a tag only."""
    rule(shared_cloud, keys.FORBIDDING[0], {"enforce": False})
    told = deployed.type(*MAKE, str(out), *TWICE, "--json").json

    assert told["key"] == held(shared_cloud)[0]


def rule(cloud, constraint, what):
    """Let the organization say something about the project."""
    name = f"projects/{PROJECT}/policies/{constraint}"
    with cloud.world.transaction():
        row = {"name": name, "spec": {"rules": [what]}, "etag": "e"}
        cloud.world.table("orgpolicy.policies")[name] = row


@pytest.mark.parametrize("inside", ["key.json", "notebooks/deep/key.json", "link/key.json"])
def test_a_key_never_lies_in_a_git_work_tree(deployed, shared_cloud, tmp_path, inside):
    """However deep, also by way of a link, ignored or not."""
    tree = tmp_path / "models"
    subprocess.run(["git", "init", "-q", str(tree)], check=True)
    (tree / "notebooks" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tree / "notebooks")
    (tree / ".gitignore").write_text("*.json\n")
    place = tmp_path / inside if inside.startswith("link") else tree / inside
    told = deployed.type(*MAKE, str(place), *TWICE, code=3)

    assert f"BadUsage: {place} lies in {tree}, a git work tree" in told.err
    assert shared_cloud.writes() == []
    assert not place.exists()


def test_a_work_tree_of_another_repository_is_one_too(deployed, tmp_path):
    """Where .git is a file, as in a submodule."""
    (tmp_path / ".git").write_text("gitdir: /somewhere/else\n")
    told = deployed.type(*MAKE, str(tmp_path / "key.json"), *TWICE, code=3)

    assert "a git work tree" in told.err


def test_a_file_is_never_overwritten(deployed, shared_cloud, out):
    """It may be a key that is in use, or a link to something else."""
    out.write_text("mine")
    told = deployed.type(*MAKE, str(out), *TWICE, code=3)

    assert "is there already" in told.err
    assert out.read_text() == "mine"
    assert shared_cloud.writes() == []


def test_a_folder_that_is_not_there(deployed, shared_cloud, tmp_path):
    """It is named, and nothing is asked of Google."""
    told = deployed.type(*MAKE, str(tmp_path / "nowhere" / "key.json"), *TWICE, code=3)

    assert told.err.startswith(f"BadUsage: There is no folder {tmp_path / 'nowhere'}.")
    assert held(shared_cloud) == []


def test_a_file_that_cannot_be_made(deployed, shared_cloud, tmp_path):
    """It is made first, so no key is made that nobody has."""
    told = deployed.type(*MAKE, str(tmp_path / ("k" * 300)), *TWICE, code=1)

    assert told.err.startswith("FileTrouble: ")
    assert held(shared_cloud) == []


def test_it_must_be_said_where_the_key_goes(deployed):
    """There is no usual place for one."""
    told = deployed.type("client", "key", "--local", *STATE, *TWICE, code=3)

    assert "Name a new file with --out FILE, outside of any git work tree." in told.err


def test_a_key_that_cannot_be_written_is_deleted_again(deployed, shared_cloud, out):
    """As on a disk that is full: here no file may be longer than some letters."""
    gcp = Gcp(PROJECT, Credentials(shared_cloud.world.token), shared_cloud.url)
    with files_of_at_most(100), pytest.raises(OSError, match="File too large"):
        keys.make(gcp, f"projects/{PROJECT}/serviceAccounts/{PUSHER}", out)
    gcp.close()

    assert held(shared_cloud) == []
    assert not out.exists()


@contextlib.contextmanager
def files_of_at_most(letters):
    """Let this process write no longer ones: https://man7.org/linux/man-pages/man2/getrlimit.2.html."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (letters, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_an_answer_that_is_lost(deployed, shared_cloud, out):
    """The key is there and nobody has it: it is said how to see it, and how to take it away."""
    shared_cloud.fails(method="iam.projects.serviceAccounts.keys.create", drop=True, when="after")
    told = deployed.type(*MAKE, str(out), *TWICE, code=1)
    (key,) = held(shared_cloud)

    assert told.err.startswith("NoAnswer: making a key of ")
    assert "It may have been made all the same, and nobody has it" in told.err
    assert not out.exists()
    assert key in deployed.type("status", "--local", *STATE).out
    assert "python -m provision client --local --state ./ledger.json key revoke KEY takes one away." in told.err
    assert key in deployed.type("client", "--local", *STATE, "key", "revoke", key, "--yes").out


def test_an_account_has_ten_keys_at_the_most(deployed, shared_cloud, out):
    """The eleventh is refused, and the oldest is named."""
    path = f"iam.googleapis.com/v1/projects/{PROJECT}/serviceAccounts/{PUSHER}/keys"
    for _ in range(keys.MOST):
        shared_cloud.google("POST", path, {})
    oldest = held(shared_cloud)[4]
    aged(shared_cloud, oldest, 10)
    told = deployed.type(*MAKE, str(out), *TWICE, code=5)

    assert told.err.startswith(f"QuotaExceeded: {PUSHER} has 10 keys, and none may have more than 10.")
    assert f"key revoke {oldest}" in told.err


@pytest.mark.parametrize(
    ("days", "says"),
    [
        pytest.param(1, "{key} of {made:%Y-%m-%d}, to be replaced by {due:%Y-%m-%d}", id="a new one"),
        pytest.param(91, "{key} of {made:%Y-%m-%d} is to be replaced, for it is 91 days old", id="an old one"),
    ],
)
def test_status_reminds_of_a_key(deployed, shared_cloud, out, days, says):
    """Google lets it live forever; https://cloud.google.com/iam/docs/key-rotation says 90 days."""
    key = deployed.type(*MAKE, str(out), *TWICE, "--json").json["key"]
    made = aged(shared_cloud, key, days)
    told = deployed.type("status", "--local", *STATE, "--json").json["keys"]

    assert told == says.format(key=key, made=made, due=made + timedelta(days=90))
    assert told in deployed.type("status", "--local", *STATE).out


def test_status_where_keys_cannot_be_listed(deployed, shared_cloud):
    """Everything else is told all the same."""
    shared_cloud.fails(method="iam.projects.serviceAccounts.keys.list", status=403)
    told = deployed.type("status", "--local", *STATE, "--json").json

    assert told["keys"].startswith("cannot be listed: Google does not tell: ")
    assert told["project"] == PROJECT


def test_status_says_nothing_of_keys_where_there_are_none(deployed):
    """As it should be."""
    assert deployed.type("status", "--local", *STATE, "--json").json["keys"] is None
    assert "keys" not in deployed.type("status", "--local", *STATE).out


def test_a_key_is_taken_away_by_its_id_or_its_file(deployed, shared_cloud, tmp_path):
    """Only that one; the others go on."""
    files = [tmp_path / f"{number}.json" for number in range(3)]
    made = [deployed.type(*MAKE, str(file), *TWICE, "--json").json["key"] for file in files]
    by_id = deployed.type(*REVOKE, "--yes", made[0])
    by_file = deployed.type(*REVOKE, "--yes", str(files[1]))

    assert by_id.out == f"Key {made[0]} is good for nothing any more.\n"
    assert by_file.out == f"Key {made[1]} is good for nothing any more.\n"
    assert held(shared_cloud) == [made[2]]


def test_all_keys_are_taken_away(deployed, shared_cloud, tmp_path):
    """Those too that somebody else has made; and once more is no mistake."""
    path = f"iam.googleapis.com/v1/projects/{PROJECT}/serviceAccounts/{PUSHER}/keys"
    shared_cloud.google("POST", path, {})
    mine = deployed.type(*MAKE, str(tmp_path / "key.json"), *TWICE, "--json").json["key"]
    screen = deployed.at_a_terminal(*REVOKE)
    screen.until(mine)
    screen.until("Take them away? [y/N]: ")
    screen.type("y")
    told = screen.ended()
    again = deployed.type("client", "key", *TWICE, "revoke", "--local", *STATE)

    assert told.code == 0
    assert held(shared_cloud) == []
    assert again.out == "There is no key to be taken away.\n"


def test_a_key_that_is_none(deployed, shared_cloud):
    """Nothing is touched, and those that there are are named."""
    shared_cloud.google("POST", f"iam.googleapis.com/v1/projects/{PROJECT}/serviceAccounts/{PUSHER}/keys", {})
    shared_cloud.writes()
    told = deployed.type(*REVOKE, "--yes", "0123", code=3)

    assert told.err.startswith("BadUsage: 0123 is no key of the log pusher.")
    assert f"Its keys: {held(shared_cloud)[0]}." in told.err
    assert shared_cloud.writes() == []


def test_taking_keys_away_is_asked_before(deployed, shared_cloud):
    """Without a terminal it must be told --yes."""
    shared_cloud.google("POST", f"iam.googleapis.com/v1/projects/{PROJECT}/serviceAccounts/{PUSHER}/keys", {})
    told = deployed.type(*REVOKE, code=3)

    assert "This asks before it takes keys away, and nobody is there to answer." in told.err
    assert len(held(shared_cloud)) == 1
