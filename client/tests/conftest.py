"""What the client's tests share: a deployment in a process of its own, people who are signed in, and a guard."""

import base64
import contextlib
import http.server
import importlib.metadata
import json
import os
import socket
import subprocess
import sys
import threading
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import pytest
import requests
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mlflow_iap_auth import artifacts, door, settings, tokens
from mlflow_iap_auth.settings import Settings

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
ADA, BOB = "ada@example.com", "bob@example.com"
DEPLOYMENT = os.environ.get("DEPLOYMENT_PYTHON", sys.executable)
"""The interpreter that has the provisioner; this one if it has it."""

Json = dict[str, Any]


def beside() -> dict[str, str]:
    """The environment of what the owner runs, which has nothing of the colleague's."""
    theirs = ("MLFLOW_", "GOOGLE_", "GCE_", "STORAGE_", "HTTPS_PROXY")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
    return {**kept, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'server'}"}


class ThisTestTriedToReachTheRealCloud(Exception):
    """A test may talk to this machine only."""


@pytest.fixture(autouse=True)
def no_real_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    connect, getaddrinfo = socket.socket.connect, socket.getaddrinfo

    def check(host: Any) -> None:
        if host not in (None, "", "localhost") and not str(host).startswith("127."):
            raise ThisTestTriedToReachTheRealCloud(host)

    def checked_connect(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple):
            check(address[0])
        connect(self, address)

    def checked_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        check(host)
        return getaddrinfo(host, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "connect", checked_connect)
    monkeypatch.setattr(socket, "getaddrinfo", checked_getaddrinfo)


@dataclass
class Place:
    """A deployment, and its owner, who may change it."""

    owner_folder: str
    emulator: str
    origin: str
    account: str
    trainer: str
    bucket: str
    client_id: str
    door: str
    metadata: str
    log: str

    def types(self, *words: str) -> str:
        """What the project's command prints that the owner types."""
        command = [DEPLOYMENT, "-m", "provision", *words, "--local"]
        return subprocess.run(
            command, cwd=self.owner_folder, env=beside(), check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    def owner(self, method: str, url: str, **sent: Any) -> Json:
        answer = requests.request(method, f"{self.emulator}/{url}", timeout=30, **sent)
        assert answer.ok, answer.text
        return dict(answer.json()) if answer.content else {}

    def asked(self, verb: str) -> int:
        """How often the emulated Google was asked for something, as its method ids say it."""
        calls = self.owner("GET", "emulator/calls")["calls"]
        return sum(call["id"].endswith(f".{verb}") and call["status"] == 200 for call in calls)

    def forget(self) -> None:
        self.owner("DELETE", "emulator/calls")
        self.owner("DELETE", "emulator/faults")

    def key(self, folder: Path) -> Path:
        """A key file of the log pusher."""
        made = self.owner("POST", f"{self._account_url}/keys", json={})
        path = folder / "key.json"
        path.write_bytes(base64.b64decode(made["privateKeyData"]))
        return path

    def revoke_keys(self) -> None:
        """All of them."""
        listed = self.owner("GET", f"{self._account_url}/keys", params={"keyTypes": "USER_MANAGED"})
        for key in listed.get("keys", []):
            self.owner("DELETE", f"iam.googleapis.com/v1/{key['name']}")

    def without_role(self) -> contextlib.AbstractContextManager[None]:
        """As long as this is entered, the door's policy is empty."""
        return self.changed(f"iap.googleapis.com/v1/{self.door}")

    def without_signatures(self) -> contextlib.AbstractContextManager[None]:
        """As long as this is entered, nobody may sign for the log pusher."""
        return self.changed(self._account_url)

    @contextlib.contextmanager
    def changed(self, url: str, *bindings: Json) -> Iterator[None]:
        """As long as this is entered, a policy has these bindings and no others."""
        before = self.owner("POST", f"{url}:getIamPolicy", json={})
        self.owner("POST", f"{url}:setIamPolicy", json={"policy": {"bindings": bindings}})
        try:
            yield
        finally:
            kept = {"bindings": before.get("bindings", [])}
            self.owner("POST", f"{url}:setIamPolicy", json={"policy": kept})

    @property
    def _account_url(self) -> str:
        return f"iam.googleapis.com/v1/projects/-/serviceAccounts/{self.account}"

    @property
    def here(self) -> Settings:
        """The settings, as the environment says them."""
        return settings.of(self.origin)


@pytest.fixture(scope="session")
def shared_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Started once; it ends with the tests."""
    command = [DEPLOYMENT, str(Path(__file__).with_name("place.py")), str(tmp_path_factory.mktemp("place"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=beside()) as running:
        assert running.stdin
        assert running.stdout
        line = running.stdout.readline()
        assert line, "the deployment ended; its words are above"
        yield Place(**json.loads(line))
        running.stdin.close()


@pytest.fixture
def place(shared_place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """The deployment, with Ada at this machine: signed in to Google, and three variables more than she would need."""
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "GOOGLE_", "STORAGE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", shared_place.origin)
    monkeypatch.setenv("MLFLOW_TRACKING_AUTH", "iap")
    monkeypatch.setenv("MLFLOW_IAP_ACCOUNT", shared_place.account)
    monkeypatch.setenv("MLFLOW_IAP_EMULATOR", shared_place.emulator)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("NO_GCE_CHECK", "true")  # a library's way to be told that this is no machine of Google's
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # nobody: a process has no guard as the tests have
    monkeypatch.chdir(tmp_path)
    sign_in(monkeypatch, shared_place, tmp_path, ADA)
    shared_place.forget()
    forget_tokens()
    yield shared_place
    mlflow.set_tracking_uri(None)
    shared_place.revoke_keys()


def forget_tokens() -> None:
    """Be as a process that has just begun."""
    door.TOKENS._held.clear()
    tokens.FOR_BUCKETS._held.clear()
    artifacts.is_own.cache_clear()
    artifacts._client.cache_clear()


def sign_in(monkeypatch: pytest.MonkeyPatch, place: Place, folder: Path, person: str) -> None:
    """Application Default Credentials of somebody, in the form that lets a file name another address than Google's."""
    path = folder / f"{person}.json"
    credentials = {
        "type": "external_account_authorized_user",
        "refresh_token": f"1//{person}",
        "token_url": f"{place.emulator}/oauth2.googleapis.com/token",
        "client_id": "client",
        "client_secret": "secret",
    }
    path.write_text(json.dumps(credentials))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))


@dataclass
class Elsewhere:
    """A server of a few lines: it keeps the headers that it is sent, and answers as it is told, in turn."""

    url: str = ""
    answers: list[tuple[int, dict[str, str], str]] = field(default_factory=list)
    seen: list[dict[str, str]] = field(default_factory=list)

    def answers_as_the_door(self, status: int, text: str, **headers: str) -> None:
        self.answers.append((status, {"X-Goog-IAP-Generated-Response": "true", **headers}, text))


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    made = Elsewhere()

    class Requests(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            made.seen.append(dict(self.headers))
            status, headers, text = made.answers.pop(0) if made.answers else (200, {}, "{}")
            self.send_response_only(status)
            for name, value in ({"Date": self.date_time_string()} | headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        do_POST = do_GET  # noqa: N815 - http.server's name

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Requests) as running:
        made.url = f"http://127.0.0.1:{running.server_address[1]}"
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield made
        running.shutdown()
        thread.join()


Program = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Program:
    """Runs a program of the colleague's, in a process that has the variables of this test."""

    def ran(*words: str, python: str = sys.executable) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([python, *words], cwd=tmp_path, capture_output=True, text=True, check=False)

    return ran


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of somebody who has never logged anything."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def shell(place: Place, home: Path, tmp_path: Path) -> Program:
    """Types lines into a shell in which no variable of ours, of MLflow's or of Google's is set."""
    del place  # it is there, and its variables are not: they come with the lines
    env = {
        **{name: value for name, value in beside().items() if name not in ("PYTHONPATH", "NO_GCE_CHECK")},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "PIP_NO_INDEX": "1",  # what is to be installed is here already
    }

    def typed(lines: str) -> "subprocess.CompletedProcess[str]":
        command = ["sh", "-eu", "-c", lines]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    return typed


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A fresh virtual environment with only the client, mlflow-skinny, scikit-learn, pandas, and what these need.

    It is made of links to what is installed here, so that it takes no time.
    """
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, symlinks=True)
    site = next(folder.glob("lib/*/site-packages"))
    for distribution in needed("mlflow-iap-auth", "mlflow-skinny", "scikit-learn", "pandas"):
        for top in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
            if not (site / top).exists():  # google, for one, is shared by several
                (site / top).symlink_to(str(distribution.locate_file(top)))
    return str(folder / "bin" / "python")


def needed(*names: str) -> list[importlib.metadata.Distribution]:
    """Some distributions and all that they require, without extras."""
    found: dict[str, importlib.metadata.Distribution] = {}
    ahead = list(names)
    while ahead:
        name = canonicalize_name(ahead.pop())
        if name not in found:
            found[name] = importlib.metadata.distribution(name)
            wanted = [Requirement(line) for line in found[name].requires or []]
            ahead += [need.name for need in wanted if need.marker is None or need.marker.evaluate({"extra": ""})]
    return list(found.values())
