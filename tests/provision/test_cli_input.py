"""Bad input: one message that names what, its value and what is allowed; exit code 3; and nothing is touched."""

import json

import pytest

from tests.provision.conftest import folder_in

GOOD = 'project = "local-mlflow"\n'

BAD_SETTINGS = [
    pytest.param(GOOD + "databse = 1", ["databse is not a setting"], id="an unknown key"),
    pytest.param(GOOD + 'database.teir = "x"', ["database.teir is not a setting"], id="an unknown key in a table"),
    pytest.param(GOOD + 'database.disk_gb = "big"', ["database.disk_gb", "'big'", "integer"], id="a wrong type"),
    pytest.param(GOOD + "database.disk_gb = 5", ["database.disk_gb", "5", "10"], id="a number that is too small"),
    pytest.param('project = "My Project"', ["project", "'My Project'", "[a-z]"], id="a bad project id"),
    pytest.param("", ["project is missing"], id="no project"),
    pytest.param(GOOD + 'region = "us-east5"', ["region", "us-east5", "europe-west1"], id="a region without flex"),
    pytest.param(GOOD + 'access.users = ["ada"]', ["access.users.0", "'ada'", "@"], id="a malformed member"),
    pytest.param(GOOD + 'access.users = ["user:ada@example.com"]', ["access.users.0", "user:ada"], id="a member with a prefix"),
    pytest.param(GOOD + 'network.name = "theirs"', ["network.name and network.subnet"], id="half a network"),
    pytest.param(GOOD + "server.instances = 3", ["database.tier", "60", "db-custom"], id="more servers than connections"),
    pytest.param(GOOD + "region = europe", ["not valid TOML", "line 2"], id="no TOML"),
    pytest.param(GOOD + 'network.cidr = "0.0.0.0/0"', ["network.cidr", "'0.0.0.0/0'", "/29"], id="no subnet's range"),
    pytest.param(GOOD + 'database.tier = "db-custom-3-1000"', ["database.tier", "'db-custom-3-1000'", "even number"], id="no machine"),
    pytest.param(GOOD + "server.instances = true", ["server.instances", "true", "integer"], id="a switch for a number"),
    pytest.param("a = " + "[" * 5000, ["not valid TOML", "nested"], id="brackets without end"),
]  # fmt: skip


def untouched(cloud, told):
    """One message, nothing on standard output, and no changing call."""
    assert told.err.count("\nNext: ") == 1
    assert "Traceback" not in told.err
    assert told.out == ""
    assert cloud.writes() == []


@pytest.mark.parametrize(("text", "words"), BAD_SETTINGS)
def test_a_bad_setting(folder, cloud, text, words):
    """The message names the file, the key, the value and what is allowed."""
    folder.write(text)
    told = folder.type("up", "--local", code=3)

    assert told.err.startswith("BadConfig: provision.toml")
    assert [word for word in words if word not in told.err] == []
    untouched(cloud, told)


def test_a_client_secret_that_is_not_there(folder, cloud):
    """Told by `up` before it makes anything; who only looks or takes away needs no secret."""
    folder.write(GOOD + '[door]\nclient_id = "1-a.apps.googleusercontent.com"\nclient_secret_file = "nowhere"\n')
    told = folder.type("up", "--local", code=3)

    assert "door.client_secret_file = 'nowhere' cannot be read: No such file or directory" in told.err
    untouched(cloud, told)
    assert "holds no ledger" in folder.type("status", "--local", code=3).err


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(GOOD + 'region = "\\u001b[31mred\\u001b]0;title\\u0007"', id="a value"),
        pytest.param(GOOD + '"\\u001b[2J" = 1', id="a key"),
        pytest.param(GOOD + '"\\u009b2J\\u202e" = 1', id="a key of other control characters"),
        pytest.param(GOOD + '"\\u001b]0;a".b = 1', id="a table"),
        pytest.param(GOOD + 'region = "' + "a" * 1_000_000 + '"', id="a megabyte"),
    ],
)
def test_a_terminal_obeys_nothing_that_is_in_the_settings(folder, cloud, text):
    """What is wrong is quoted, in short."""
    folder.write(text)
    told = folder.type("up", "--local", code=3)

    assert told.err.replace("\n", "").isprintable()
    assert len(told.err) < 2000
    untouched(cloud, told)


@pytest.mark.parametrize("words", [["--env", "\x1b[2J"], ["--config", "\x1b]0;a\x07.toml"], ["\x1b[2J"]])
def test_a_terminal_obeys_nothing_that_was_typed(folder, words):
    """Nor what a script has put into a command."""
    told = folder.type("plan", "--local", *words, code=3)

    assert told.err.replace("\n", "").isprintable()
    assert "x1b" in told.err


BROKEN = [
    pytest.param(GOOD + 'regoin = "us-east1"', [], 0, "", id="another setting is wrong"),
    pytest.param(GOOD + 'env = "staging"\nregion = 1', [], 3, "NothingDeployed", id="it means another deployment"),
    pytest.param("region = 1", ["--project", "local-mlflow"], 0, "", id="the project is said elsewhere"),
    pytest.param("region = 1", [], 3, "provision.toml: project is missing", id="the project is missing"),
    pytest.param('project = "X"', [], 3, "provision.toml: project = 'X' is not allowed", id="the project is wrong"),
    pytest.param("project = ", [], 3, "provision.toml is not valid TOML", id="no TOML"),
    pytest.param("project = ", ["--project", "local-mlflow"], 0, "", id="no TOML, and the project is said elsewhere"),
    pytest.param(GOOD, ["--project", "another-project"], 3, "contradicts", id="another project is said elsewhere"),
    pytest.param(GOOD, ["--env", "staging"], 3, "contradicts", id="another env is said elsewhere"),
]


@pytest.fixture(scope="module")
def deployed(shared_cloud, tmp_path_factory):
    """A folder in which a deployment was made."""
    shared_cloud.empty()
    made = folder_in(tmp_path_factory.mktemp("broken") / "folder", shared_cloud)
    made.type("up", "--local")
    return made


@pytest.mark.parametrize("command", ["status", "drift", "token", "state list"])
@pytest.mark.parametrize(("text", "words", "code", "says"), BROKEN)
def test_a_broken_file_and_who_only_looks(deployed, command, text, words, code, says):
    """Which deployment is meant is all that they take from it; `up` is told the rest."""
    deployed.write(text)

    assert says in deployed.type(*command.split(), "--local", *words, code=code).err


def test_a_broken_file_and_down(deployed):
    """What is there can be taken away without mending the settings of what will not be there any more."""
    deployed.write(GOOD + "colour = 1\n")
    deployed.type("up", "--local", code=3)
    deployed.type("down", "--local", "--yes")

    assert deployed.type("status", "--local", "--json").json["resources"] == {}


def test_several_bad_settings_are_all_told(folder, cloud):
    """So that nobody has to try again for each."""
    folder.write('project = "X"\nregion = "mars"\nbucket = 1\n')
    told = folder.type("up", "--local", code=3)

    assert told.err.count("provision.toml: ") == 3
    untouched(cloud, told)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(["upp"], "No such command 'upp'", id="an unknown command"),
        pytest.param(["up", "--locl"], "No such option '--locl'", id="an unknown option"),
        pytest.param(["up", "--config"], "'--config' requires an argument", id="a missing value"),
        pytest.param(["up", "now"], "unexpected extra argument (now)", id="a word too many"),
        pytest.param(["up", "--lock-timeout", "soon"], "'soon' is not a valid float", id="a word for a number"),
        pytest.param(["up", "--lock-timeout", "-1"], "-1.0 is not in the range x>=0", id="a negative time"),
        pytest.param(
            ["up", "--config", "missing.toml"],
            "missing.toml cannot be read: No such file or directory\n",
            id="a config that is not there",
        ),
        pytest.param(["up", "--config", ".provision"], "is a directory", id="a folder for a config"),
        pytest.param(["plan", "--config", "bytes.toml"], "bytes.toml cannot be read", id="a config that is no text"),
        pytest.param(["up", "--project", "My Project"], "project = 'My Project' is not allowed", id="a bad --project"),
        pytest.param(["status", "--env", "Prod!"], "env = 'Prod!' is not allowed", id="a bad --env"),
        pytest.param(["up", "--state", "gs://"], "gs:// names no bucket", id="a state without a bucket"),
        pytest.param(["status", "--state", "gs:///ledger"], "gs:///ledger names no bucket", id="only a prefix"),
        pytest.param(["up", "--env", "Prod!"], "\nNext: Type another --project or --env;", id="what to type instead"),
        pytest.param(["up", "--config", "no.toml"], "\nNext: Name a file that can be", id="which file to name instead"),
    ],
)
def test_a_bad_command_line(folder, cloud, words, says):
    """The message quotes what was typed."""
    (folder.path / "bytes.toml").write_bytes(b"\xff\xfe")
    told = folder.type("--local", *words, code=3)

    assert says in told.err
    untouched(cloud, told)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(
            ["--project", "another-project"], "--project another-project contradicts provision.toml", id="project"
        ),
        pytest.param(["--env", "staging"], "--env staging contradicts provision.toml", id="env"),
    ],
)
def test_the_command_line_against_the_file(folder, cloud, words, says):
    """Nobody can tell which of them is meant."""
    folder.write(GOOD)
    told = folder.type("up", "--local", *words, code=3)

    assert says in told.err
    untouched(cloud, told)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(["up"], "must say at least: project", id="up"),
        pytest.param(["plan"], "must say at least: project", id="plan"),
        pytest.param(["status"], "Which project?", id="status"),
        pytest.param(["drift"], "Which project?", id="drift"),
        pytest.param(["down", "--yes"], "Which project?", id="down"),
    ],
)
def test_without_settings_and_without_a_terminal(folder, words, says):
    """What is missing is named; nothing is asked, and no file written."""
    told = folder.type(*words, code=3)

    assert says in told.err
    assert not (folder.path / "provision.toml").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("{", "ledger.json is damaged", id="a ledger that is cut off"),
        pytest.param('{"schema_version": 99}', "schema 99", id="a ledger of a newer release"),
    ],
)
@pytest.mark.parametrize("command", ["up", "plan", "status", "drift", "down"])
def test_a_ledger_that_cannot_be_read(folder, cloud, text, says, command):
    """It is left as it is."""
    folder.write(text, "ledger.json")
    yes = ["--yes"] if command == "down" else []
    told = folder.type(command, "--local", "--state", "./ledger.json", *yes, code=3)

    assert says in told.err
    assert (folder.path / "ledger.json").read_text() == text
    untouched(cloud, told)


def test_a_place_where_nothing_can_be_written(folder, cloud):
    """A file's error is told with the file's name."""
    folder.write("", "file")
    told = folder.type("up", "--local", "--state", "./file/ledger.json", code=1)

    assert told.err.startswith("FileTrouble: ")
    assert "file" in told.err
    untouched(cloud, told)


@pytest.mark.parametrize("words", [["up", "--locl"], ["up", "--config", "missing.toml"]], ids=["usage", "config"])
def test_errors_for_machines(folder, words):
    """One line, one object, on standard error."""
    told = folder.type(*words, "--json", code=3)
    error = json.loads(told.err)

    assert set(error) == {"error", "message", "hint"}
    assert error["error"] in {"BadUsage", "BadConfig"}
    assert told.out == ""
