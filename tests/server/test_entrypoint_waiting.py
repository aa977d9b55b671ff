"""What the entrypoint does before its database is there."""

import datetime as dt
import json

import psutil
import pytest

from provision.emulator.machines.certificates import Certificates

PROBED = ("/version", "/health", "/", "/api/2.0/mlflow/experiments/search")


def test_a_server_deployed_before_its_database_says_what_it_waits_for_and_then_serves(world, start):
    """Each thing that is made takes it one step further; the probes are answered all the time."""
    steps = {
        "the instance p:europe-west1:i: HTTP 404 The Cloud SQL instance does not exist.": lambda: world.make_instance(
            state="PENDING_CREATE"
        ),
        "the instance p:europe-west1:i is PENDING_CREATE": lambda: world.make_instance(ipAddresses=[]),
        "the instance p:europe-west1:i has no private address or no CA certificate": world.make_instance,
        f"the password {world.secret}: HTTP 404 Secret Version [{world.secret}] not found.": world.make_secret,
        f'password authentication failed for user "{world.user}"': world.make_user,
        f'database "{world.name}" does not exist': world.make_database,
    }

    server = start()
    probes = {path: server.get(path) for path in PROBED}
    for reason, make in steps.items():
        server.says(json.dumps(reason)[1:-1])  # in between it may tell of a busy machine
        make()
    server.says("migrating the schema from nothing")
    while_migrating = server.get("/version"), server.get("/health")
    server.wait_until_healthy()

    assert [answer.status_code for answer in probes.values()] == [200, 503, 503, 503]
    assert int(probes["/health"].headers["retry-after"]) > 0
    assert [answer.status_code for answer in while_migrating] == [200, 503]
    assert server.get("/version").text == "3.17.2"
    assert world.password not in "".join(server.log)
    assert server.stop() == 0


def test_each_line_is_an_object_as_cloud_logging_reads_it(start):
    """Severity, message and time are fields that Cloud Logging knows."""
    line = json.loads(start().says("waiting for"))

    assert line["severity"] == "INFO"
    assert dt.datetime.fromisoformat(line["time"]).utcoffset() == dt.timedelta(0)
    assert line["waited_seconds"] >= 0


def test_a_server_that_is_told_to_stop_leaves_at_once_and_leaves_nothing_behind(start):
    """As the first process of a container it would be deaf to SIGTERM without a handler of its own."""
    server = start()
    server.says("waiting for")
    family = server.family()
    code = server.stop()

    assert code == 0
    assert "SIGTERM while waiting: leaving" in server.log[-1]
    assert not any(map(psutil.Process.is_running, family))


def test_a_database_that_shows_another_ca_gets_no_login(world, start, tmp_path):
    """Whoever sits at the address must have a certificate of the instance's own CA (verify-ca)."""
    world.make_all()
    other = Certificates(tmp_path / "other", "p:i", "127.0.0.1", dt.datetime.now(dt.UTC))
    world.make_instance(serverCaCert=other.ca())
    server = start()

    assert "certificate verify failed" in server.says("waiting for")
    assert server.get("/health").status_code == 503


def test_a_password_that_arrived_damaged_is_not_used(world, start):
    """Secret Manager sends a checksum along; with a wrong password the login would fail in a puzzling way."""
    world.make_all()
    world.google.crc32c = 12345
    server = start()

    assert "arrived damaged" in server.says("waiting for")


def test_a_schema_that_is_newer_than_this_mlflow_is_left_alone(world, start):
    """After a rollback of the server waiting would not help, and migrating would fail in the middle."""
    world.make_all()
    world.query("CREATE TABLE alembic_version AS SELECT 'f00f00f00f00' AS version_num")
    world.query("GRANT SELECT ON alembic_version TO PUBLIC")
    server = start()

    assert server.ended() == 1
    assert "newer" in server.log[-1]
    assert "f00f00f00f00" in server.log[-1]
    assert json.loads(server.log[-1])["severity"] == "ERROR"
    assert world.query("SELECT version_num FROM alembic_version") == [("f00f00f00f00",)]


def test_a_migration_that_fails_ends_the_server_without_telling_the_password(world, start):
    """The platform starts it again; what went wrong is in the log, the password is not."""
    world.make_all()
    world.query("CREATE TABLE experiments (something_else int)")  # in the way of MLflow's first migration
    server = start()

    assert server.ended() == 1
    assert "The migration of the schema to" in server.log[-1]
    assert any("UndefinedTable" in line for line in server.log)
    assert world.password not in "".join(server.log)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param(
            {"DATABASE_NAME": None, "ARTIFACT_ROOT": ""},
            "The environment has no DATABASE_NAME, ARTIFACT_ROOT.",
            id="missing variables are all named at once",
        ),
        pytest.param(
            {"DATABASE_INSTANCE": "i"}, "it must be PROJECT:REGION:INSTANCE", id="an instance without its project"
        ),
        pytest.param(
            {"SERVER_ORIGIN": "mlflow.example.com"}, "it must be https://HOST", id="an origin without a scheme"
        ),
        pytest.param({"WORKERS": "two"}, "WORKERS must be a whole number", id="a number in words"),
    ],
)
def test_an_environment_that_cannot_work_is_refused_at_once(start, changes, message):
    """Waiting for a database would hide the mistake for half an hour."""
    server = start(**changes)

    assert server.ended() == 1
    assert message in server.log[-1]
