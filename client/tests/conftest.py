"""What the client's tests share: a deployment in a process of its own, people who are signed in, and a guard."""

import base64
import contextlib
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import pytest
import requests

from mlflow_iap_auth import artifacts, door, settings
from mlflow_iap_auth.settings import Settings

ROOT = Path(__file__).parents[2]
ADA, BOB = "ada@example.com", "bob@example.com"
Json = dict[str, Any]


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

    emulator: str
    origin: str
    account: str
    bucket: str
    client_id: str
    door: str
    log: str

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

    @contextlib.contextmanager
    def without_role(self) -> Iterator[None]:
        """As long as this is entered, the door's policy is empty."""
        url = f"iap.googleapis.com/v1/{self.door}"
        before = self.owner("POST", f"{url}:getIamPolicy", json={})
        self.owner("POST", f"{url}:setIamPolicy", json={"policy": {"bindings": []}})
        try:
            yield
        finally:
            self.owner("POST", f"{url}:setIamPolicy", json={"policy": {"bindings": before["bindings"]}})

    @property
    def _account_url(self) -> str:
        return f"iam.googleapis.com/v1/projects/-/serviceAccounts/{self.account}"

    @property
    def here(self) -> Settings:
        """The settings, as the environment says them."""
        return settings.of(self.origin)


@pytest.fixture(scope="session")
def shared_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Started by DEPLOYMENT_PYTHON, the interpreter that has the provisioner; by this one if it has it."""
    python = os.environ.get("DEPLOYMENT_PYTHON", sys.executable)
    command = [python, str(Path(__file__).with_name("place.py")), str(tmp_path_factory.mktemp("place"))]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'server'}"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env) as running:
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
    artifacts.TOKENS._held.clear()
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

    def ran(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, check=False)

    return ran
