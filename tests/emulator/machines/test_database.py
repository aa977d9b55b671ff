"""A database instance: a real PostgreSQL behind TLS, with the users of Cloud SQL."""

import datetime as dt
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest
from cryptography import x509
from google.oauth2.credentials import Credentials
from psycopg2.extensions import connection as Connection  # noqa: N812

from provision.emulator import scenarios
from provision.emulator.machines import cluster
from provision.emulator.machines.database import PORT, Database, max_connections
from provision.emulator.machines.failure import MachineError
from provision.emulator.machines.loop import LoopThread, listening
from provision.emulator.machines.programs import Runner
from provision.gcp import Gcp
from tests.conftest import PROJECT
from tests.emulator.machines.conftest import Running, some_address
from tests.waiting import until

NAME = "projects/p/instances/mlflow-x7f2"
PASSWORD = "p%w/d+1 'quoted' and \"more\""


class Kit:
    """A database with what it needs around it."""

    def __init__(self, folder: Path, runner: Runner | None = None) -> None:
        self.folder = folder
        self.address = some_address()
        self.sockets = LoopThread("tls")
        self.database = Database(folder, NAME, runner or Runner(), self.sockets)

    def start(self, **more: Any) -> Database:
        spec = {"address": self.address, "version": "POSTGRES_18"} | more
        self.database.start(spec, dt.datetime.now(dt.UTC))
        until(lambda: self.database.ready)
        return self.database

    def connect(self, user: str = "mlflow", password: str = PASSWORD, **more: Any) -> Connection:
        ca = self.folder.parent / f"{self.folder.name}-ca.pem"
        ca.write_text(self.database.ca()["cert"])
        options = {"sslmode": "verify-full", "sslrootcert": str(ca), "dbname": "mlflow", "connect_timeout": 5} | more
        return psycopg2.connect(host=self.address, user=user, password=password, **options)

    def close(self) -> None:
        self.database.pause()
        self.sockets.close()


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    made = Kit(tmp_path_factory.mktemp("databases") / "one")
    database = made.start()
    database.set_user("mlflow", PASSWORD)
    database.create_database("mlflow")
    yield made
    made.close()


def asked(connection: Connection, statement: str) -> Any:
    with connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone() if cursor.description else None


def test_a_client_that_verifies_the_ca_reads_and_writes(kit: Kit) -> None:
    """verify-full with the instance's CA works, and the API-made user may make tables in the API-made database."""
    connection = kit.connect()
    asked(connection, "CREATE TABLE runs (id int)")
    asked(connection, "INSERT INTO runs VALUES (42)")
    found = asked(connection, "SELECT id FROM runs"), asked(connection, "SHOW max_connections")
    version = asked(connection, "SHOW server_version")
    connection.close()

    assert found == ((42,), ("25",))
    assert version[0].startswith("18.")


def test_large_rows_pass_the_proxy_both_ways(kit: Kit) -> None:
    """20 MB go in and come out unchanged."""
    connection = kit.connect()
    text = os.urandom(5_000_000).hex()
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT %s", (text * 2,))
        (back,) = cursor.fetchone()
    connection.close()

    assert back == text * 2


def test_a_client_without_tls_is_refused_as_cloud_sql_does(kit: Kit) -> None:
    """ENCRYPTED_ONLY: the refusal is PostgreSQL's own sentence about pg_hba.conf."""
    with pytest.raises(psycopg2.OperationalError, match=r'no pg_hba\.conf entry .* user "mlflow", .* no encryption'):
        kit.connect(sslmode="disable")


def test_another_ca_is_not_accepted(kit: Kit, tmp_path: Path) -> None:
    """A client that trusts the CA of another instance does not connect."""
    other = Kit(tmp_path / "other")
    other.start()
    (tmp_path / "other.pem").write_text(other.database.ca()["cert"])
    other.close()

    with pytest.raises(psycopg2.OperationalError, match="certificate verify failed"):
        kit.connect(sslrootcert=str(tmp_path / "other.pem"))


def test_a_wrong_password_is_refused(kit: Kit) -> None:
    """SCRAM through the proxy lets only the right password in."""
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        kit.connect(password="wrong")


def test_a_running_statement_can_be_cancelled(kit: Kit) -> None:
    """CancelRequest, which libpq sends on a connection of its own without TLS, reaches the server."""
    # In a process of its own: libpq holds Python's lock while it cancels, and the proxy of this process needs it.
    script = f"""
import sys, threading, psycopg2
connection = psycopg2.connect(host={kit.address!r}, user="mlflow", password={PASSWORD!r}, dbname="mlflow", sslmode="require")
threading.Thread(target=lambda: sys.stdin.readline() and connection.cancel()).start()
try:
    connection.cursor().execute("SELECT pg_sleep(60)")
except psycopg2.errors.QueryCanceled:
    print("cancelled")
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as client:
        until(lambda: is_asked(kit, "SELECT pg_sleep(60)"))
        said, _ = client.communicate("now\n", timeout=30)

    assert said == "cancelled\n"


def is_asked(kit: Kit, statement: str) -> bool:
    """Whether the server is at work on a statement: what comes to cancel it before that is in vain."""
    query = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query = %s"
    with kit.database._admin() as admin, admin.cursor() as cursor:
        cursor.execute(query, (statement,))
        return cursor.fetchone() is not None


def test_a_new_password_takes_the_place_of_the_old_one(kit: Kit) -> None:
    """Setting a user again changes the password and keeps the user."""
    kit.database.set_user("rotated", "first")
    kit.database.set_user("rotated", "second")
    kit.connect("rotated", "second").close()

    with pytest.raises(psycopg2.OperationalError):
        kit.connect("rotated", "first")


def test_a_user_who_owns_something_is_not_dropped(kit: Kit) -> None:
    """PostgreSQL's own words come out, and the user stays."""
    kit.database.set_user("owner", PASSWORD)
    connection = kit.connect("owner")
    asked(connection, "CREATE TABLE mine (id int)")
    connection.close()

    with pytest.raises(MachineError, match='role "owner" cannot be dropped'):
        kit.database.drop_user("owner")


def test_no_password_is_in_an_argument_or_a_log(kit: Kit) -> None:
    """Neither the processes' arguments nor the server's log hold the user's or the superuser's password."""
    admin = (kit.folder / "admin.secret").read_text()
    with pytest.raises(MachineError):
        kit.database.set_user("pg_reserved", PASSWORD)
    arguments = " ".join(" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))
    log = (kit.folder / "postgres.log").read_text()

    assert PASSWORD not in arguments + log
    assert admin not in arguments + log
    assert (kit.folder / "admin.secret").stat().st_mode & 0o077 == 0


def test_the_ca_is_described_as_cloud_sql_does(kit: Kit) -> None:
    """`serverCaCert` has the certificate, its names, ten years and the SHA-1 fingerprint."""
    told = kit.database.ca()
    certificate = x509.load_pem_x509_certificate(told["cert"].encode())
    fingerprint = ssl.PEM_cert_to_DER_cert(told["cert"])

    assert told["commonName"].startswith(r"C=US,O=Google\, Inc,CN=Google Cloud SQL Server CA,dnQualifier=")
    assert told["createTime"] < told["expirationTime"]
    assert certificate.not_valid_after_utc.year - certificate.not_valid_before_utc.year == 10
    assert len(told["sha1Fingerprint"]) == 40
    assert fingerprint


def test_a_database_is_dropped_when_nobody_uses_it(kit: Kit) -> None:
    """What is dropped is gone, and dropping it again is no error."""
    kit.database.create_database("scratch")
    kit.database.drop_database("scratch")
    kit.database.drop_database("scratch")

    with pytest.raises(psycopg2.OperationalError, match='database "scratch" does not exist'):
        kit.connect(dbname="scratch")


def test_a_killed_server_comes_back_with_its_data(tmp_path: Path) -> None:
    """The instance starts a crashed server again by itself, as Cloud SQL does."""
    kit = Kit(tmp_path / "one")
    database = kit.start()
    database.create_database("kept")
    postmaster = int((kit.folder / "data" / "postmaster.pid").read_text().splitlines()[0])
    os.kill(postmaster, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(postmaster))
    until(lambda: database.ready and int((kit.folder / "data" / "postmaster.pid").read_text().split()[0]) != postmaster)
    database.set_user("mlflow", PASSWORD)
    connection = kit.connect(dbname="kept")
    connection.close()
    kit.close()


def test_a_killed_server_comes_back_however_slowly_its_helpers_leave(tmp_path: Path) -> None:
    """PostgreSQL does not start beside processes of the one before, which notice its end when they get to run."""
    kit = Kit(tmp_path / "one")
    database = kit.start()
    postmaster = psutil.Process(int((kit.folder / "data" / "postmaster.pid").read_text().splitlines()[0]))
    helper = postmaster.children()[0]
    helper.suspend()
    postmaster.kill()
    until(lambda: not psutil.pid_exists(postmaster.pid))
    until(lambda: not database._ready.is_set())
    until(lambda: database.ready)
    kit.close()

    assert not helper.is_running()


def test_another_tier_restarts_it_with_other_limits(tmp_path: Path) -> None:
    """Starting it with another tier changes max_connections, and keeps the data."""
    kit = Kit(tmp_path / "one")
    kit.start().set_user("mlflow", PASSWORD)
    kit.start(tier="db-g1-small")
    connection = kit.connect(dbname="postgres")
    found = asked(connection, "SHOW max_connections")
    connection.close()
    kit.close()

    assert found == ("50",)


def test_a_server_that_a_killed_emulator_left_is_ended_and_its_data_taken_over(tmp_path: Path) -> None:
    """After kill -9 of the emulator the old PostgreSQL is found by its data folder."""
    address = some_address()
    script = f"""
import datetime as dt, os, pathlib, time
from provision.emulator.machines.database import Database
from provision.emulator.machines.loop import LoopThread
from provision.emulator.machines.programs import Runner
database = Database(pathlib.Path({str(tmp_path / "one")!r}), {NAME!r}, Runner(), LoopThread("tls"))
database.start({{"address": {address!r}}}, dt.datetime.now(dt.UTC))
while not database.ready: time.sleep(0.01)
database.create_database("kept")
os.kill(os.getpid(), 9)
"""
    ended = subprocess.run([sys.executable, "-c", script], check=False)
    left = psutil.Process(int((tmp_path / "one" / "data" / "postmaster.pid").read_text().splitlines()[0]))
    was_running = left.is_running()
    kit = Kit(tmp_path / "one")
    kit.address = address
    kit.start().set_user("mlflow", PASSWORD)
    kit.connect(dbname="kept").close()
    kit.close()

    assert ended.returncode == -signal.SIGKILL
    assert was_running
    assert not left.is_running()


def test_a_pid_file_that_names_a_stranger_harms_nobody(tmp_path: Path) -> None:
    """The number in a stale postmaster.pid may be another program's by now: it is left alone, and the server starts."""
    kit = Kit(tmp_path / "one")
    kit.start()
    kit.database.pause()
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (kit.folder / "data" / "postmaster.pid").write_text(f"{stranger.pid}\n{kit.folder / 'data'}\n")
        kit.start()
        alive = stranger.poll() is None
        stranger.kill()
    kit.close()

    assert alive


def test_a_leftover_that_ends_by_itself_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Right before it is told to."""
    kit = Kit(tmp_path / "one")
    kit.start()
    kit.database.pause()
    with subprocess.Popen(["sleep", "60"]) as leftover:
        ended = psutil.Process(leftover.pid)
        leftover.kill()
    (kit.folder / "data" / "postmaster.pid").write_text(f"{ended.pid}\n{kit.folder / 'data'}\n")
    monkeypatch.setattr(cluster, "_server_on", lambda data, pid: ended if pid == ended.pid else None)
    kit.start()
    kit.close()


def test_a_taken_address_fails_with_what_to_do(tmp_path: Path) -> None:
    """When somebody listens on the instance's address, the failure says where and how to find out who."""
    kit = Kit(tmp_path / "one")
    with (
        listening(kit.address, 5432),
        pytest.raises(MachineError, match=rf"{kit.address}:5432 can not be listened on.*lsof"),
    ):
        kit.start()
    kit.close()


def test_deleting_leaves_nothing(tmp_path: Path) -> None:
    """Process and folder are gone."""
    kit = Kit(tmp_path / "one")
    kit.start()
    postmaster = int((kit.folder / "data" / "postmaster.pid").read_text().splitlines()[0])
    kit.database.delete()
    kit.close()

    assert not psutil.pid_exists(postmaster)
    assert not kit.folder.exists()


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({"tier": "db-f1-micro"}, 25, id="the smallest shared core"),
        pytest.param({"tier": "db-g1-small"}, 50, id="the other shared core"),
        pytest.param({}, 25, id="no tier means the smallest"),
        pytest.param({"tier": "db-custom-1-3840"}, 100, id="one CPU and 3.75 GB"),
        pytest.param({"tier": "db-custom-2-7680"}, 400, id="two CPUs and 7.5 GB"),
        pytest.param({"tier": "db-custom-8-122880"}, 1000, id="120 GB and more"),
        pytest.param(
            {"tier": "db-f1-micro", "databaseFlags": [{"name": "max_connections", "value": "77"}]}, 77, id="a flag"
        ),
    ],
)
def test_the_tier_tells_how_many_connections(spec: dict[str, Any], expected: int) -> None:
    """Cloud SQL's documented defaults by memory, unless a flag says otherwise."""
    assert max_connections(spec) == expected


def test_on_everybodys_address_it_takes_a_free_port_and_keeps_it(tmp_path: Path) -> None:
    """macOS has no loopback address but 127.0.0.1: two folders do not fight for 5432."""
    kit = Kit(tmp_path / "one")
    kit.address = "127.0.0.1"
    first = kit.start().port
    kit.database.set_user("mlflow", PASSWORD)
    kit.database.pause()
    second = kit.start().port
    kit.connect(dbname="postgres", port=second).close()
    kit.close()

    assert first == second != 5432


def test_a_suspended_instance_lets_nobody_in(real: Running) -> None:
    """Its PostgreSQL does not run any more, as little as that of one that its owner has stopped."""
    gcp = Gcp(PROJECT, Credentials("owner"), real.url)
    where = {"project": PROJECT, "instance": "ledgers"}
    settings = {"tier": "db-f1-micro", "edition": "ENTERPRISE"}
    body = {"name": "ledgers", "databaseVersion": "POSTGRES_18", "settings": settings}
    gcp.sql.instances().insert(project=PROJECT, body=body).execute()
    instance = until(lambda: _runnable(gcp.sql.instances().get(**where).execute()), seconds=60.0)
    address = (instance["ipAddresses"][0]["ipAddress"], PORT)
    socket.create_connection(address, 10).close()
    with real.world.transaction():
        scenarios.switch_on(real.world, "database-suspended", {})

    assert gcp.sql.instances().get(**where).execute()["state"] == "SUSPENDED"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 10)
    with real.world.transaction():
        scenarios.switch_off(real.world)
    gcp.close()


def test_a_mysql_instance_is_seen_from_outside_only(real: Running) -> None:
    """No MySQL runs here: its instance, databases and users are answered for, and nothing is started."""
    gcp = Gcp(PROJECT, Credentials("owner"), real.url)
    body = {
        "name": "shop",
        "databaseVersion": "MYSQL_8_0",
        "region": "europe-west1",
        "settings": {"tier": "db-f1-micro"},
    }
    gcp.sql.instances().insert(project=PROJECT, body=body).execute()
    instance = until(lambda: _runnable(gcp.sql.instances().get(project=PROJECT, instance="shop").execute()))
    gcp.sql.databases().insert(project=PROJECT, instance="shop", body={"name": "orders"}).execute()
    databases = gcp.sql.databases().list(project=PROJECT, instance="shop").execute()["items"]
    gcp.sql.instances().restart(project=PROJECT, instance="shop").execute()
    gcp.sql.instances().delete(project=PROJECT, instance="shop").execute()
    gcp.close()

    assert "BEGIN CERTIFICATE" in instance["serverCaCert"]["cert"]
    assert "orders" in {database["name"] for database in databases}
    assert not list((real.world.data / "machines").rglob("*shop"))


def _runnable(instance: dict[str, Any]) -> dict[str, Any] | None:
    return instance if instance["state"] == "RUNNABLE" else None
