"""The real entrypoint as a process, between a small stand-in for Google's APIs and a real PostgreSQL behind TLS."""

import base64
import contextlib
import datetime as dt
import json
import os
import queue
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import google_crc32c
import httpx
import psutil
import pytest
import tenacity

from provision.emulator.machines.database import Database
from provision.emulator.machines.loop import LoopThread, free_port
from provision.emulator.machines.programs import Runner

SERVER = Path(__file__).parents[2] / "server"
TOKEN = "ya29.the-token-of-the-server"
SECRET = "projects/42/secrets/mlflow-db/versions/1"
PATIENCE = 240
"""Seconds after which a server that says nothing, does not listen or does not end fails a test: MLflow alone takes ten
to be imported and to make its tables, and several times that where the machine is busy."""


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A PostgreSQL like an instance of Cloud SQL, on a free port of 127.0.0.1 so that it also runs on macOS."""
    sockets, runner = LoopThread("postgres tls"), Runner()
    # PostgreSQL may run as another user than we are, who cannot enter pytest's own temporary folders.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        instance = Database(Path(folder) / "instance", "projects/p/instances/i", runner, sockets)
        spec = {"address": "127.0.0.1", "version": "POSTGRES_18", "tier": "db-f1-micro"}
        instance.start(spec, dt.datetime.now(dt.UTC))
        yield instance
        instance.delete()
    runner.close()
    sockets.close()


@dataclass
class Google:
    """What the metadata server, the Cloud SQL Admin API and Secret Manager answer right now; None is 404."""

    instance: dict[str, Any] | None = None
    password: str | None = None
    crc32c: int | None = None  # another checksum than the right one
    asked: list[str] = field(default_factory=list)
    port: int = 0

    def answer(self, path: str, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        self.asked.append(path)
        if path == "/computeMetadata/v1/instance/service-accounts/default/token":
            assert headers["metadata-flavor"] == "Google"
            return 200, {"access_token": TOKEN, "expires_in": 3000, "token_type": "Bearer"}
        if headers.get("authorization") != f"Bearer {TOKEN}":
            return 401, _error(401, "Request had invalid authentication credentials.")
        if path == "/sqladmin.googleapis.com/v1/projects/p/instances/i":
            if self.instance is None:
                return 404, _error(404, "The Cloud SQL instance does not exist.")
            return 200, self.instance
        if path == f"/secretmanager.googleapis.com/v1/{SECRET}:access":
            if self.password is None:
                return 404, _error(404, f"Secret Version [{SECRET}] not found.")
            return 200, self._payload(self.password.encode())
        return 501, _error(501, path)

    def _payload(self, data: bytes) -> dict[str, Any]:
        crc32c = google_crc32c.value(data) if self.crc32c is None else self.crc32c
        return {"name": SECRET, "payload": {"data": base64.b64encode(data).decode(), "dataCrc32c": str(crc32c)}}


def _error(code: int, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


@contextlib.contextmanager
def _google() -> Iterator[Google]:
    said = Google()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = said.answer(self.path, {name.lower(): value for name, value in self.headers.items()})
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        said.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield said
        server.shutdown()
        thread.join()


@dataclass
class World:
    """An instance, a database and a user, which may or may not be known to Google's APIs yet."""

    google: Google
    postgres: Database
    port: int
    name: str
    user: str
    password: str
    secret: str = SECRET

    def make_instance(self, **changes: Any) -> None:
        self.google.instance = {
            "state": "RUNNABLE",
            "ipAddresses": [
                {"type": "PRIMARY", "ipAddress": "192.0.2.1"},
                {"type": "PRIVATE", "ipAddress": "127.0.0.1"},
            ],
            "serverCaCert": self.postgres.ca(),
        } | changes

    def make_secret(self) -> None:
        self.google.password = self.password

    def make_user(self) -> None:
        self.postgres.set_user(self.user, self.password)

    def make_database(self) -> None:
        self.postgres.create_database(self.name)

    def make_all(self) -> None:
        self.make_instance()
        self.make_secret()
        self.make_user()
        self.make_database()

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask the database as its superuser."""
        cluster = self.postgres._cluster
        assert cluster is not None
        with cluster.admin(self.name) as admin, admin.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


def _world(google: Google, postgres: Database) -> World:
    suffix = secrets.token_hex(4)
    # Shows every mistake in quoting: each of these means something in a URI, in a shell or in an .ini file.
    password = f"p%w/d+1 @:#?&=$(x)'{suffix}"
    return World(google, postgres, postgres.port, f"mlflow_{suffix}", f"mlflow_{suffix}", password)


class Server:
    """The entrypoint as a process, and what it says."""

    def __init__(self, folder: Path, port: int, environment: dict[str, str]) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.log: list[str] = []
        self._new: queue.Queue[str | None] = queue.Queue()
        self.process = subprocess.Popen(
            [sys.executable, str(SERVER / "entrypoint.py")],
            env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.log.append(line)
                self._new.put(line)
        self._new.put(None)

    def says(self, text: str) -> str:
        """Wait for a line with `text` among those not looked at yet, and return it."""
        while (line := self._new.get(timeout=PATIENCE)) is not None:
            if text in line:
                return line
        raise AssertionError(f"It ended without saying {text!r}; it said:\n{''.join(self.log)}")

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Ask it, as soon as it listens."""
        return self._patient(lambda: httpx.get(self.url + path, headers=headers, trust_env=False, timeout=10))

    def wait_until_healthy(self) -> None:
        """Wait until the readiness check is content."""
        self._patient(lambda: httpx.get(f"{self.url}/health", trust_env=False), until=lambda answer: answer.is_success)

    def _patient(
        self, ask: Callable[[], httpx.Response], until: Callable[[httpx.Response], bool] = lambda _: True
    ) -> httpx.Response:
        def attempt() -> httpx.Response:
            assert self.process.poll() is None, "".join(self.log)
            return ask()

        retrying = tenacity.Retrying(
            wait=tenacity.wait_fixed(0.05),
            stop=tenacity.stop_after_delay(PATIENCE),
            retry=tenacity.retry_if_exception_type(httpx.TransportError)
            | tenacity.retry_if_result(lambda answer: not until(answer)),
        )
        return retrying(attempt)

    def family(self) -> list[psutil.Process]:
        """The process and all that it started."""
        process = psutil.Process(self.process.pid)
        return [process, *process.children(recursive=True)]

    def stop(self) -> int:
        """Ask it to leave; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        """Wait until it has left and all was read; its exit code."""
        code = self.process.wait(PATIENCE)
        self._reader.join()
        return code

    def kill(self) -> None:
        """Leave nothing of it."""
        if self.process.poll() is None:
            for process in self.family():
                process.kill()
        self.ended()


Start = Callable[..., Server]


@contextlib.contextmanager
def _starting(world: World, folder: Path) -> Iterator[Start]:
    started: list[Server] = []

    def start(**changes: str | None) -> Server:
        port = free_port()
        base = f"http://127.0.0.1:{world.google.port}"
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "HTTP_PROXY": "http://127.0.0.1:1",  # nobody is there: Google's services are asked directly
            "PORT": str(port),
            "PGPORT": str(world.port),
            "GOOGLE_CLOUD_PROJECT": "p",
            "GCE_METADATA_HOST": f"127.0.0.1:{world.google.port}",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_SQL": f"{base}/sqladmin.googleapis.com/",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER": f"{base}/secretmanager.googleapis.com/",
            "DATABASE_INSTANCE": "p:europe-west1:i",
            "DATABASE_NAME": world.name,
            "DATABASE_USER": world.user,
            "DATABASE_PASSWORD_VERSION": SECRET,
            "ARTIFACT_ROOT": "gs://bucket/artifacts",
            "SERVER_ORIGIN": "https://mlflow-dot-p.ew.r.appspot.com",
            "WORKERS": "1",
        }
        environment = {name: value for name, value in (environment | changes).items() if value is not None}
        started.append(Server(folder, port, environment))
        return started[-1]

    try:
        yield start
    finally:
        for server in started:
            server.kill()


@pytest.fixture
def world(postgres: Database) -> Iterator[World]:
    """Everything has a name, and nothing is there."""
    with _google() as google:
        yield _world(google, postgres)


@pytest.fixture
def start(world: World, tmp_path: Path) -> Iterator[Start]:
    """Start an entrypoint; `start(NAME="value")` changes its environment, None takes a variable out."""
    with _starting(world, tmp_path) as start:
        yield start


@dataclass
class Pair:
    """Two servers on one database, and how to start a third."""

    world: World
    servers: list[Server]
    start: Start


@pytest.fixture(scope="module")
def pair(postgres: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two servers that were started at once on an empty database, and are healthy."""
    with _google() as google:
        world = _world(google, postgres)
        world.make_all()
        with _starting(world, tmp_path_factory.mktemp("pair")) as start:
            servers = [start(), start(SERVER_ORIGIN="https://127.0.0.1:8443")]
            for server in servers:
                server.wait_until_healthy()
            yield Pair(world, servers, start)
