"""The container's first process: it waits for the database, brings its schema up to date, and becomes `mlflow server`.

While it waits it answers the platform's probes on $PORT: alive, not ready. It knows no local mode: README.md has its
environment variables.
"""

import contextlib
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from types import FrameType
from typing import NoReturn
from urllib.parse import urlsplit

import database
import psycopg2
import schema
from database import Database, NotYet
from psycopg2 import extensions

REQUIRED = (
    "PORT",
    "DATABASE_INSTANCE",
    "DATABASE_NAME",
    "DATABASE_USER",
    "DATABASE_PASSWORD_VERSION",
    "ARTIFACT_ROOT",
    "SERVER_ORIGIN",
)
COMMAND = ("-m", "mlflow", "server", "--app-name", "own-pages")
"""MLflow's own server, with the plugin in `pages/`: its environment says all the rest."""

REMIND_AFTER = 60.0  # seconds between two log lines about the same wait


class Fatal(Exception):
    """Waiting does not help; the text says what does."""


def main() -> int:
    """Run until MLflow takes this process over; return an exit code when it cannot."""
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    try:
        check(os.environ)
        ca = Path(tempfile.mkdtemp(prefix="mlflow-server-")) / "database-ca.pem"  # MLflow reads it at each connection
        with probes(address(os.environ), int(os.environ["PORT"])), schema.Migration() as migration:
            found = wait(lambda: ready(os.environ, ca, migration), migration.prepare)
        become_mlflow(os.environ, found.uri)
    except Fatal as error:
        log("ERROR", str(error))
        return 1


def check(env: Mapping[str, str]) -> None:
    """Refuse an environment with which the server could never start.

    Raises:
        Fatal: it names every variable that is missing or wrong.
    """
    if missing := [name for name in REQUIRED if not env.get(name)]:
        raise Fatal(f"The environment has no {', '.join(missing)}. `python -m provision up` sets them on the version.")
    if wrong := [name for name in ("PORT", "WORKERS") if not env.get(name, "1").isdecimal()]:
        raise Fatal(f"{' and '.join(wrong)} must be a whole number.")
    if env["DATABASE_INSTANCE"].count(":") < 2:
        raise Fatal(f"DATABASE_INSTANCE is {env['DATABASE_INSTANCE']!r}; it must be PROJECT:REGION:INSTANCE.")
    if urlsplit(env["SERVER_ORIGIN"]).scheme not in {"http", "https"} or not urlsplit(env["SERVER_ORIGIN"]).hostname:
        raise Fatal(f"SERVER_ORIGIN is {env['SERVER_ORIGIN']!r}; it must be https://HOST or https://HOST:PORT.")


class Probe(BaseHTTPRequestHandler):
    """Answers while there is no MLflow: alive, not ready, and everything else later."""

    timeout = 10  # of a connection that says nothing

    def answer(self) -> None:
        """200 for the liveness check, 503 for all else."""
        alive = self.path.partition("?")[0] == "/version"
        body = b"" if self.command == "HEAD" else b"Waiting for the database.\n"
        self.send_response(200 if alive else 503)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        if not alive:
            self.send_header("Retry-After", "5")
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer  # noqa: N815 - http.server's names

    def log_message(self, *_: object) -> None:
        """Nothing: a probe comes every few seconds."""


class ProbeServer(ThreadingHTTPServer):
    """A thread for each probe."""

    def server_bind(self) -> None:
        """Bind, without asking DNS for this machine's name as HTTPServer does."""
        TCPServer.server_bind(self)


def address(env: Mapping[str, str]) -> str:
    """Where to listen: on all addresses, as a container does whose platform names none."""
    return env.get("HOST", "0.0.0.0")  # noqa: S104 - a container's port


@contextlib.contextmanager
def probes(host: str, port: int) -> Iterator[None]:
    """Answer the platform's probes until the block ends."""
    with ProbeServer((host, port), Probe) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


def wait(attempt: Callable[[], Database], meanwhile: Callable[[], None]) -> Database:
    """Try until it works; the platform ends a start that takes too long. Call `meanwhile` at the first wait."""
    began = time.monotonic()
    told, told_at = "", began
    while True:
        try:
            return attempt()
        except NotYet as reason:
            meanwhile()
            now = time.monotonic()
            if str(reason) != told or now - told_at >= REMIND_AFTER:
                log("INFO", f"waiting for {reason}", waited_seconds=round(now - began, 1))
                told, told_at = str(reason), now
        # A tenth of the time waited so far: a quick database is seen at once, a slow one is asked every five seconds.
        time.sleep(min(max((time.monotonic() - began) / 10, 0.1), 5.0))


def ready(env: Mapping[str, str], ca: Path, migration: schema.Migration) -> Database:
    """The database, once it takes our login and has the schema that this MLflow wants.

    Raises:
        NotYet: something is missing, or another server is at work on the schema.
        Fatal: the schema cannot be brought to where this MLflow wants it.
    """
    found = database.find(env, ca)
    try:
        with contextlib.closing(found.connect()) as connection, connection.cursor() as cursor:
            bring_up_to_date(cursor, found, migration)
    except psycopg2.Error as error:
        raise NotYet(f"the database {found.name}: {' '.join(str(error).split())}") from None
    return found


def bring_up_to_date(cursor: extensions.cursor, found: Database, migration: schema.Migration) -> None:
    """Migrate the schema if it is behind, and let only one server do so: MLflow itself does not look for others.

    Raises:
        NotYet: another server is at it.
        Fatal: the schema is newer than this MLflow, or the migration failed.
    """
    known = schema.migrations()
    wanted = schema.head(known)
    if schema.version(cursor) == wanted:
        return
    if not schema.lock(cursor):
        raise NotYet("another server, which is bringing the schema up to date")
    current = schema.version(cursor)  # the other server may have finished just before we got the lock
    if current == wanted:
        return
    if current is not None and current not in known:
        raise Fatal(
            f"The database is at schema {current}, which this MLflow does not know: a newer one has migrated it. "
            "Deploy that newer version again, or restore the backup from before the migration."
        )
    log("INFO", f"migrating the schema from {current or 'nothing'} to {wanted}")
    if not migration.run(found.uri):
        raise Fatal(f"The migration of the schema to {wanted} failed; its last lines above say why.")


def become_mlflow(env: Mapping[str, str], uri: str) -> NoReturn:
    """Replace this process by MLflow's own server."""
    log("INFO", "the database is ready: starting mlflow server")
    os.execve(sys.executable, [sys.executable, *COMMAND], mlflow_environment(env, uri))  # noqa: S606 - no shell on purpose


def mlflow_environment(env: Mapping[str, str], uri: str) -> dict[str, str]:
    """The environment of `mlflow server`: all its settings are here, and none is inherited.

    https://mlflow.org/docs/latest/self-hosting/security/network
    """
    origin = urlsplit(env["SERVER_ORIGIN"])
    hosts = [origin.hostname or ""]
    if origin.port is not None:
        hosts.append(f"{origin.hostname}:{origin.port}")  # compared with the Host header as a text
    plugins = ["pages", *(["signed"] if env.get("ARTIFACT_SIGNER") else [])]
    path = [str(Path(__file__).with_name(folder)) for folder in plugins]
    inherited = {name: value for name, value in env.items() if not name.startswith("MLFLOW_")}
    return inherited | {
        "MLFLOW_BACKEND_STORE_URI": uri,
        **artifact_environment(env),
        # MLflow finds its plugins by what lies beside them there
        "PYTHONPATH": os.pathsep.join([*path, *filter(None, [env.get("PYTHONPATH")])]),
        "MLFLOW_HOST": address(env),
        "MLFLOW_PORT": env["PORT"],
        "MLFLOW_WORKERS": env.get("WORKERS", "1"),
        # asyncio's own loop costs 45 ms a request as soon as there are two workers (uvicorn #3149)
        "MLFLOW_UVICORN_OPTS": "--loop uvloop --http httptools --no-access-log",
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(hosts),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": env["SERVER_ORIGIN"],
        "MLFLOW_SERVER_X_FRAME_OPTIONS": "DENY",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # eight more processes and 2 GB, for judges and scorers only
        "MLFLOW_ENABLE_AI_GATEWAY": "false",
        # Each worker has two pools. An overflow of 0 would be read as "not set", which is 10.
        "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "3",
        "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": "1",
        "MLFLOW_SQLALCHEMYSTORE_POOL_RECYCLE": "1800",
    }


def artifact_environment(env: Mapping[str, str]) -> dict[str, str]:
    """The part of it that says how files come to the bucket: no size limit and no load here, by one of two ways.

    Clients have rights on the bucket; or, where ARTIFACT_SIGNER is set, they ask the server, which gives out a link to
    each large file. An experiment keeps the way that it was made with.
    """
    if not env.get("ARTIFACT_SIGNER"):
        return {"MLFLOW_SERVE_ARTIFACTS": "false", "MLFLOW_DEFAULT_ARTIFACT_ROOT": env["ARTIFACT_ROOT"]}
    return {
        "MLFLOW_SERVE_ARTIFACTS": "true",
        "MLFLOW_ARTIFACTS_DESTINATION": env["ARTIFACT_ROOT"],
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "MLFLOW_PRESIGNED_DOWNLOAD_URL_TTL_SECONDS": "3600",  # a file of some GB is fetched in many pieces
    }


def log(severity: str, message: str, **fields: object) -> None:
    """One JSON object per line, as Cloud Logging reads it: https://docs.cloud.google.com/logging/docs/structured-logging."""
    entry = {"severity": severity, "message": message, "time": datetime.now(UTC).isoformat(), **fields}
    sys.stdout.write(json.dumps(entry) + "\n")
    sys.stdout.flush()


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    log("INFO", f"{signal.Signals(number).name} while waiting: leaving")
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
