"""Parts of the entrypoint that can be looked at by themselves."""

import importlib
import random
import sys
from pathlib import Path

import google_crc32c
import pytest

SERVER = Path(__file__).parents[2] / "server"


@pytest.fixture
def part(monkeypatch):
    """Import one of the container's modules, which are no package."""
    monkeypatch.syspath_prepend(SERVER)
    names = ("database", "schema", "entrypoint")
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)

    yield importlib.import_module
    for name in names:
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"123456789", id="the check value of RFC 3720's polynomial"),
        pytest.param(random.Random(1).randbytes(1000), id="a thousand bytes"),
    ],
)
def test_the_checksum_is_the_one_that_google_uses(part, data):
    """Google's own library is not in the standard library, so the entrypoint has its own."""
    assert part("database").crc32c(data) == google_crc32c.value(data)


def test_the_password_is_not_shown_with_the_database(part, tmp_path):
    """A dataclass shows its fields in every traceback tool."""
    shown = repr(part("database").Database("10.1.2.3", tmp_path / "ca.pem", "mlflow", "mlflow", "geheim"))

    assert "10.1.2.3" in shown
    assert "geheim" not in shown


def test_a_project_of_a_domain_keeps_its_colon(part, monkeypatch):
    """DATABASE_INSTANCE is read from its end: `example.com:p:region:i` is a valid connection name."""
    database = part("database")
    monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_SQL", "http://127.0.0.1:1")
    asked = []
    monkeypatch.setattr(database, "_get", lambda what, url, headers: asked.append(url) or {})
    with pytest.raises(database.NotYet):
        database.read_instance("token", "example.com:p:europe-west1:i")

    assert asked == ["http://127.0.0.1:1/v1/projects/example.com%3Ap/instances/i"]


@pytest.mark.parametrize(
    ("known", "newest"),
    [
        pytest.param({"a": ()}, "a", id="one migration"),
        pytest.param({"b": ("a",), "a": (), "c": ("b",)}, "c", id="a row, in any order"),
        pytest.param({"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}, "d", id="two branches that were merged"),
    ],
)
def test_the_newest_migration_is_the_one_that_no_other_builds_on(part, known, newest):
    """The head is found without importing MLflow."""
    assert part("schema").head(known) == newest


def test_mlflows_own_settings_are_not_inherited(part):
    """A variable of whoever starts the process must not switch off the server's security."""
    env = {
        "PORT": "8080",
        "ARTIFACT_ROOT": "gs://b/artifacts",
        "SERVER_ORIGIN": "https://h",
        "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "true",
        "PATH": "/bin",
    }
    told = part("entrypoint").mlflow_environment(env, "postgresql+psycopg2://...")

    assert "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE" not in told
    assert told["PATH"] == "/bin"


@pytest.mark.parametrize(
    ("variables", "served", "root"),
    [
        pytest.param({}, "false", "gs://b/artifacts", id="clients write to the bucket by themselves"),
        pytest.param({"ARTIFACT_SIGNER": "a@p"}, "true", "mlflow-artifacts:/", id="the server gives out links"),
    ],
)
def test_where_new_experiments_keep_their_files(part, variables, served, root):
    """The plugin that signs is on Python's path only where it is asked for; what was on it stays."""
    env = {"PORT": "8080", "ARTIFACT_ROOT": "gs://b/artifacts", "SERVER_ORIGIN": "https://h", "PYTHONPATH": "/theirs"}
    told = part("entrypoint").mlflow_environment(env | variables, "postgresql+psycopg2://...")
    path = [folder for folder in told["PYTHONPATH"].split(":") if folder != "/theirs"]

    assert (told["MLFLOW_SERVE_ARTIFACTS"], told["MLFLOW_DEFAULT_ARTIFACT_ROOT"]) == (served, root)
    assert path == [str(SERVER / "pages"), *([str(SERVER / "signed")] if variables else [])]
    assert told["PYTHONPATH"].endswith("/theirs")
    assert told.get("MLFLOW_ARTIFACTS_DESTINATION", "gs://b/artifacts") == "gs://b/artifacts"
