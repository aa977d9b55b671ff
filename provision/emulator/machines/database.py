"""A Cloud SQL for PostgreSQL instance that really runs: a server, its certificates, and TLS on its private address."""

import datetime as dt
import re
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import psycopg2
from psycopg2 import errors, sql
from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2 spells this class small
from psycopg2.extensions import encrypt_password

from provision.emulator.machines import records
from provision.emulator.machines.certificates import Certificates
from provision.emulator.machines.cluster import Cluster, Settings
from provision.emulator.machines.failure import MachineError
from provision.emulator.machines.loop import LoopThread, free_port
from provision.emulator.machines.programs import Runner, programs_for
from provision.emulator.machines.tls import TlsProxy

PORT = 5432
READY_SECONDS = 60.0
# Memory in GB up to which so many connections are the default:
# https://cloud.google.com/sql/docs/postgres/flags#postgres-m
CONNECTIONS = ((0.7, 25), (3.0, 50), (6.0, 100), (7.5, 200), (15.0, 400), (30.0, 500), (60.0, 600), (120.0, 800))
SHARED_CORE_MEMORY = {"db-f1-micro": 0.6, "db-g1-small": 1.7}


def max_connections(spec: Mapping[str, Any]) -> int:
    """How many connections the instance takes: its `max_connections` flag, else the default of its tier's memory."""
    for flag in spec.get("databaseFlags") or ():
        if flag.get("name") == "max_connections":
            return int(flag["value"])
    memory = _memory(str(spec.get("tier") or "db-f1-micro"))
    return next((count for up_to, count in CONNECTIONS if memory < up_to), 1000)


def _memory(tier: str) -> float:
    if tier in SHARED_CORE_MEMORY:
        return SHARED_CORE_MEMORY[tier]
    if custom := re.fullmatch(r"db-custom-\d+-(\d+)", tier):
        return int(custom[1]) / 1024
    if optimized := re.fullmatch(r"db-perf-optimized-N-(\d+)", tier):
        return int(optimized[1]) * 8.0
    if standard := re.fullmatch(r"db-n1-(standard|highmem)-(\d+)", tier):
        return int(standard[2]) * (3.75 if standard[1] == "standard" else 6.5)
    return 3.75


class Database:
    """One instance: everything of it lies in `folder`.

    `spec` needs `address`; it may have `version` ("POSTGRES_18"), `tier`, `databaseFlags` and `sslMode`. `port` is 5432
    except on 127.0.0.1.
    """

    def __init__(self, folder: Path, name: str, runner: Runner, sockets: LoopThread) -> None:
        self.name = name
        self.failure: str | None = None
        self.port = PORT
        self._folder = folder
        self._runner = runner
        self._sockets = sockets
        self._spec: dict[str, Any] = {}
        self._cluster: Cluster | None = None
        self._proxy: TlsProxy | None = None
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._stopping = threading.Event()

    @property
    def ready(self) -> bool:
        """Whether it takes connections now. Raises MachineError when it can not be started."""
        if self.failure is not None:
            raise MachineError(self.failure)
        return self._ready.is_set()

    def start(self, spec: Mapping[str, Any], now: dt.datetime) -> None:
        """Begin to start it, and return; a running one with another tier, address or mode is restarted for it."""
        if self._thread is not None and self._thread.is_alive():
            if dict(spec) == self._spec:
                return
            self.pause()
        self._spec = dict(spec)
        self.port = self._choose_port()
        self._note(running=True)
        self._certificates(now)
        self.failure = None
        self._ready.clear()
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name=f"database {self.name}", daemon=True)
        self._thread.start()

    def _choose_port(self) -> int:
        """5432, but where the address is everybody's (macOS has only 127.0.0.1) a port that is free, and stays."""
        if self._spec["address"] != "127.0.0.1":
            return PORT
        kept = records.read(self._folder / "instance.json") or {}
        return int(kept.get("port") or free_port())

    def _note(self, *, running: bool) -> None:
        record = {"name": self.name, "spec": self._spec, "running": running, "port": self.port}
        records.write(self._folder / "instance.json", record)

    def _certificates(self, now: dt.datetime | None = None) -> Certificates:
        name = ":".join(part for part in self.name.split("/") if part not in ("projects", "instances"))
        return Certificates(self._folder / "tls", name, str(self._spec["address"]), now or dt.datetime.now(dt.UTC))

    def _run(self) -> None:
        """Keep the server running until told to stop: Cloud SQL starts a crashed one again, too."""
        pause = 0.1
        try:
            while not self._stopping.is_set():
                cluster = self._begin()
                cluster.wait()
                self._ready.clear()
                self._stopping.wait(pause)
                pause = min(pause * 2, 10.0)
        except (MachineError, OSError, psycopg2.Error) as error:
            self.failure = f"The database {self.name} did not start: {error}"
            if self._cluster is not None:
                self._cluster.stop()

    def _begin(self) -> Cluster:
        spec = self._spec
        settings = Settings(str(spec["address"]), max_connections(spec))
        cluster = self._cluster or Cluster(
            self._folder, programs_for(str(spec.get("version") or "POSTGRES_18")), self._runner
        )
        self._cluster = cluster
        cluster.start(settings)
        with cluster.admin() as admin:
            _roles(admin)
        self._listen((settings.address, cluster.port))
        self._ready.set()
        return cluster

    def _listen(self, target: tuple[str, int]) -> None:
        if self._proxy is not None:  # the server came back on another internal port
            self._proxy.target = target
            return
        address, port = str(self._spec["address"]), self.port
        only_encrypted = self._spec.get("sslMode") != "ALLOW_UNENCRYPTED_AND_ENCRYPTED"
        try:
            proxy = TlsProxy(address, port, self._certificates().server_side(), target, only_encrypted=only_encrypted)
        except OSError as error:
            raise MachineError(
                f"its address {address}:{port} can not be listened on: {error.strerror}. "
                f"Stop the program that listens there (lsof -i :{port} shows it), then start the emulator again."
            ) from error
        self._sockets.run(proxy.start())
        self._proxy = proxy

    def stop(self) -> None:
        """Stop it, and keep its data; it stays stopped when the emulator is started anew."""
        self.pause()
        if self._folder.exists():
            self._note(running=False)

    def pause(self) -> None:
        """As `stop`, for an emulator that ends: the next one on the same data starts it again."""
        self._stopping.set()
        self._ready.clear()
        if self._proxy is not None:
            self._sockets.run(self._proxy.stop())
            self._proxy = None
        if self._thread is not None:
            while self._thread.is_alive():  # it may be just before or just after starting the server
                if self._cluster is not None:
                    self._cluster.stop()
                self._thread.join(0.05)
            self._thread = None
        if self._cluster is not None:
            self._cluster.stop()
        if self._proxy is not None:
            self._sockets.run(self._proxy.stop())
            self._proxy = None

    def delete(self) -> None:
        """Stop it, and remove everything of it."""
        self.pause()
        if self._cluster is not None:
            self._cluster.delete()
        if self._folder.exists():
            shutil.rmtree(self._folder)

    def ca(self) -> dict[str, Any]:
        """The CA that its server certificate can be verified with, as `serverCaCert`."""
        return self._certificates().ca()

    def create_database(self, database: str) -> None:
        """Create `database`, owned as in Cloud SQL by cloudsqlsuperuser, so that every user of the API may use it."""
        with self._admin() as admin, admin.cursor() as cursor:
            cursor.execute(sql.SQL("CREATE DATABASE {} OWNER cloudsqlsuperuser").format(sql.Identifier(database)))

    def drop_database(self, database: str) -> None:
        """Drop `database`; one that is not there is no error. Raises MachineError while somebody is connected to it."""
        with self._admin() as admin, admin.cursor() as cursor:
            cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(database)))

    def set_user(self, user: str, password: str) -> None:
        """Create `user`, or give it a new password. Only a SCRAM verifier of the password reaches the server."""
        with self._admin() as admin, admin.cursor() as cursor:
            verifier = encrypt_password(password, user, admin, "scram-sha-256")
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (user,))
            verb = "ALTER" if cursor.fetchone() else "CREATE"
            role = sql.Identifier(user)
            cursor.execute(
                sql.SQL(verb + " ROLE {} LOGIN CREATEDB CREATEROLE PASSWORD {}").format(role, sql.Literal(verifier))
            )
            cursor.execute(sql.SQL("GRANT cloudsqlsuperuser TO {}").format(role))

    def drop_user(self, user: str) -> None:
        """Drop `user`; one that is not there is no error. Raises MachineError while it owns something."""
        with self._admin() as admin, admin.cursor() as cursor:
            cursor.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(user)))

    def _admin(self) -> "_Statements":
        if not self._ready.wait(READY_SECONDS) or self._cluster is None:
            raise MachineError(self.failure or f"The database {self.name} is not running.")
        return _Statements(self._cluster)


class _Statements:
    """An admin connection in a `with` block, whose PostgreSQL errors come out as MachineError."""

    def __init__(self, cluster: Cluster) -> None:
        self._opened = cluster.admin()

    def __enter__(self) -> Connection:
        try:
            return self._opened.__enter__()
        except psycopg2.Error as error:
            raise MachineError(f"The database does not answer: {error}") from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)
        if isinstance(error, psycopg2.Error):
            # The statement itself is not repeated: it may hold a password's verifier.
            raise MachineError(error.diag.message_primary or type(error).__name__) from None


def _roles(admin: Connection) -> None:
    """The roles that every Cloud SQL instance has from the start."""
    with admin.cursor() as cursor:
        for statement in (
            "CREATE ROLE cloudsqlsuperuser NOLOGIN CREATEDB CREATEROLE",
            "CREATE ROLE postgres LOGIN CREATEDB CREATEROLE IN ROLE cloudsqlsuperuser",
        ):
            try:
                cursor.execute(statement)
            except errors.DuplicateObject:
                continue
