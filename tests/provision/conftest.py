"""A cloud for the commands, in this process, whose server answers at once; and folders to type commands in."""

import contextlib
import http.server
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import uvicorn

from provision.emulator.machines import NoMachines
from provision.emulator.server import create_app
from provision.emulator.world import World
from tests.provision.terminal import Folder

PROJECT, NUMBER = "local-mlflow", "123456789012"


class Answering(NoMachines):
    """No machines, but for a door behind which something says that it is well."""

    def __init__(self, port: int) -> None:
        self.port = port

    def door(self, app: str, service: str) -> dict[str, Any]:
        """The same for every service."""
        return {"scheme": "http", "host": "127.0.0.1", "port": self.port}


class _Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"OK")

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@dataclass
class Cloud:
    """The emulator of these tests."""

    url: str
    world: World

    def empty(self, **project: Any) -> None:
        """As on its first day: the project is there, every API is on unless `services` says otherwise."""
        self.world.profile = "instant"
        self.world.reset([{"projectId": PROJECT, "projectNumber": NUMBER, **project}])
        for path in ("faults", "calls"):
            requests.delete(f"{self.url}/emulator/{path}", timeout=10)

    def writes(self) -> list[str]:
        """The changing calls since the last look, but for those of the ledger and its lease."""
        calls = requests.get(f"{self.url}/emulator/calls", timeout=10).json()["calls"]
        requests.delete(f"{self.url}/emulator/calls", timeout=10)
        return [call["id"] for call in calls if call["write"] and "-provision-" not in call["path"]]

    def fails(self, **fault: Any) -> None:
        """Order a failure: `method`, and how it fails."""
        requests.post(f"{self.url}/emulator/faults", json=[fault], timeout=10).raise_for_status()

    def later(self, seconds: float) -> None:
        """Let time pass."""
        requests.post(f"{self.url}/emulator/clock", json={"advance": seconds}, timeout=10).raise_for_status()

    def google(self, method: str, path: str, body: object = None, **query: str) -> Any:
        """Ask one of Google's APIs as the owner, behind the commands' back."""
        answer = requests.request(method, f"{self.url}/{path}", json=body, params=query, timeout=10)
        answer.raise_for_status()
        return answer.json() if answer.content else None


@contextlib.contextmanager
def healthy_port() -> Iterator[int]:
    """A port at which something says that it is well, as long as this is entered."""
    health = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Health)
    thread = threading.Thread(target=health.serve_forever)
    thread.start()
    try:
        yield int(health.server_address[1])
    finally:
        health.shutdown()
        thread.join()
        health.server_close()


@contextlib.contextmanager
def running_cloud() -> Iterator[Cloud]:
    """An emulator, as long as this is entered."""
    with healthy_port() as port, socket.create_server(("127.0.0.1", 0)) as listener:
        world = World.memory(machines=Answering(port))
        server = uvicorn.Server(uvicorn.Config(create_app(world), log_level="warning", date_header=False))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield Cloud(f"http://127.0.0.1:{listener.getsockname()[1]}", world)
        finally:
            server.should_exit = True
            thread.join()
            world.close()


@pytest.fixture(scope="session")
def shared_cloud() -> Iterator[Cloud]:
    with running_cloud() as cloud:
        yield cloud


@pytest.fixture
def cloud(shared_cloud: Cloud) -> Cloud:
    """An emulator with one project, in which nothing was ever done."""
    shared_cloud.empty()
    return shared_cloud


def folder_in(path: Path, cloud: Cloud) -> Folder:
    """A folder whose emulator is this one."""
    return Folder(path, cloud.url, cloud.world.token)


@pytest.fixture
def folder(cloud: Cloud, tmp_path: Path) -> Folder:
    """A folder in which nothing was typed yet."""
    return folder_in(tmp_path / "folder", cloud)
