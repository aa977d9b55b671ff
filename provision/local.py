"""This machine as a cloud: starts and stops the emulator of a folder, which keeps all its data under .provision/."""

import contextlib
import fcntl
import importlib.util
import json
import os
import signal
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from provision import __version__
from provision.config import Access, Config
from provision.errors import BadUsage, LocalFailed

FOLDER = Path(".provision")
PROJECT = "local-mlflow"
OWNER = "owner@example.com"
START_SECONDS, STOP_SECONDS = 30.0, 20.0


@dataclass(frozen=True)
class Emulator:
    """A running emulator.

    Args:
        url: Its base URL on loopback.
        token: The owner's access token.
        pid: Its process.
        version: The version of this program that it was started by.
    """

    url: str
    token: str
    pid: int
    version: str


def default_config(project: str | None = None, env: str | None = None) -> Config:
    """What `up --local` deploys when there is no provision.toml."""
    return Config(project=project or PROJECT, env=env or "default", access=Access(users=(OWNER,)))


def has_data(folder: Path = FOLDER) -> bool:
    """Whether an emulator has run for the folder before, so that there is something to go on from."""
    return (folder / "data").is_dir()


def credentials_file(folder: Path = FOLDER) -> Path:
    """Where an emulator keeps its owner's Application Default Credentials, for programs that sign in by such."""
    return (folder / "data" / "credentials.json").resolve()


def find(folder: Path = FOLDER) -> Emulator | None:
    """Find the emulator of a folder, if it is running and answers."""
    import requests

    try:
        note = json.loads((folder / "data" / "emulator.json").read_text(encoding="utf-8"))
        url = f"http://127.0.0.1:{note['port']}"
        answer = requests.get(f"{url}/emulator/version", timeout=5).json()
    except (OSError, ValueError, KeyError, requests.RequestException):
        return None
    if answer.get("pid") != note["pid"]:
        return None  # another folder's emulator has got the port since
    return Emulator(url, note["token"], note["pid"], answer["version"])


def start(project: str | None, folder: Path = FOLDER) -> Emulator:
    """Make sure that an emulator of this version runs for the folder and has the project, if one is given.

    Raises:
        LocalFailed: It is not installed, or does not come up.
    """
    folder.mkdir(exist_ok=True)
    (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    with (folder / ".starting").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # two commands at once start one emulator
        running = find(folder)
        if running is not None and running.version != __version__:
            structlog.get_logger().info("emulator.replaced", what=f"the emulator of version {running.version}")
            stop(folder)
            running = None
        if running is None:
            running = _launch(folder)
            structlog.get_logger().info("emulator.started", what=f"the emulator of this folder: {running.url}")
    if project is not None:
        _add_project(running, project)
    return running


def stop(folder: Path = FOLDER) -> bool:
    """Stop the folder's emulator and the machines behind it; all data stays. Returns whether one was running.

    Raises:
        LocalFailed: It does not end.
    """
    running = find(folder)
    if running is None:
        return False
    os.kill(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while _alive(running.pid):
        if time.monotonic() > deadline:
            raise LocalFailed(f"The emulator (process {running.pid}) does not end.", hint=f"kill {running.pid}")
        time.sleep(0.05)
    return True


def plays(emulator: Emulator) -> list[dict[str, Any]]:
    """The habits of Google's that an emulator can show: name, what it says, options, and whether it is on."""
    return list(_scenario(emulator, "GET")["scenarios"])


def play(emulator: Emulator, wanted: Sequence[Mapping[str, Any]]) -> None:
    """Let an emulator show some from now on, each with its ``name`` and its ``options``.

    Raises:
        BadUsage: It knows none of a name, or not with such an option; then it shows none of them.
    """
    _scenario(emulator, "POST", json=list(wanted))


def end_play(emulator: Emulator, names: Collection[str]) -> None:
    """End some, or all when none is named."""
    for name in names or [""]:
        _scenario(emulator, "DELETE", params={"name": name})


def _scenario(emulator: Emulator, method: str, **request: Any) -> dict[str, Any]:
    import requests

    headers = {"X-Emulator-Token": emulator.token}
    answer = requests.request(method, f"{emulator.url}/emulator/scenario", headers=headers, timeout=10, **request)
    if answer.status_code == requests.codes.bad_request:
        raise BadUsage(answer.json()["error"], hint="python -m provision rehearse lists what there is.")
    answer.raise_for_status()
    return dict(answer.json())


def _launch(folder: Path) -> Emulator:
    missing = [
        name for name in ("starlette", "uvicorn", "mlflow", "psycopg2") if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise LocalFailed(
            f"--local needs {', '.join(missing)}, which is not installed.",
            hint="pip install -c constraints.txt -e '.[local]'",
        )
    data, log = folder / "data", folder / "emulator.log"
    command = [sys.executable, "-m", "provision.emulator", "--data", str(data), "--profile", "local"]
    with log.open("ab") as output:
        # No Popen: that is for children to be waited for, and this one outlives us.
        files = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, output.fileno(), 1),
            (os.POSIX_SPAWN_DUP2, output.fileno(), 2),
        ]
        pid = os.posix_spawn(sys.executable, command, os.environ, file_actions=files, setsid=True)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if not _alive(pid):
            raise LocalFailed(f"The emulator ended; its last words:\n{_tail(log)}")
        found = find(folder)
        if found is not None and found.pid == pid:
            return found
        time.sleep(0.05)
    raise LocalFailed(f"The emulator did not come up within {START_SECONDS:.0f} s; its last words:\n{_tail(log)}")


def _add_project(emulator: Emulator, project: str) -> None:
    """Seed the project with billing and no API switched on, as a new one is; nothing happens when it is there."""
    import requests

    requests.post(
        f"{emulator.url}/emulator/projects",
        json={"projectId": project, "services": []},
        headers={"X-Emulator-Token": emulator.token},
        timeout=10,
    ).raise_for_status()


def _alive(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # reap it when it is our own child
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
