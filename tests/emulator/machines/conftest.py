"""What the tests of the machines share: addresses, patience, and an emulator with real machines."""

import contextlib
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from provision.emulator.machines.real import RealMachines
from provision.emulator.server import create_app
from provision.emulator.world import World
from tests.conftest import NUMBER, PROJECT
from tests.serving import answering

Json = dict[str, Any]


def some_address() -> str:
    """A loopback address that no other test uses."""
    return f"127.{secrets.randbelow(200) + 20}.{secrets.randbelow(250) + 1}.{secrets.randbelow(250) + 1}"


@dataclass
class Running:
    """An emulator with real machines, and its world."""

    url: str
    world: World
    machines: RealMachines


@contextlib.contextmanager
def running(data: Path) -> Iterator[Running]:
    """An emulator with real machines on the folder `data`, in this process."""
    with contextlib.closing(World.open(data, profile="instant")) as world:
        if not world.projects:
            world.reset([{"projectId": PROJECT, "projectNumber": NUMBER}])
        with answering(create_app(world)) as url:
            world.machines = machines = RealMachines(world, url)
            yield Running(url, world, machines)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One emulator with real machines for the tests of a module."""
    with running(tmp_path_factory.mktemp("data")) as found:
        yield found


ECHO = """
import json, os, signal, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self):
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        if self.headers.get("transfer-encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size); self.rfile.readline()
            self.rfile.readline()
        name = self.path.strip("/").split("?")[0]
        status = int(Path(name).read_text()) if name.startswith("status") and Path(name).exists() else 200
        said = json.dumps({"path": self.path, "method": self.command, "headers": {k.lower(): v for k, v in self.headers.items()},
                           "length": len(body), "environment": dict(os.environ), "pid": os.getpid()}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(said)))
        self.send_header("X-From", "echo")
        self.send_header("Set-Cookie", "a=1"); self.send_header("Set-Cookie", "b=2")
        self.end_headers()
        if self.command != "HEAD": self.wfile.write(said)
    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer
    def log_message(self, *a): pass

print("echo begins"); print("a warning", file=sys.stderr)
if os.environ.get("STUBBORN"): signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.environ.get("DIES"): sys.exit(7)
if os.environ.get("CHILD"):
    import subprocess; print("child", subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid)
ThreadingHTTPServer.daemon_threads = True
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Echo).serve_forever()
"""


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image whose server tells what it was asked; `status...` files in it hold the answers of those paths."""
    folder = tmp_path / "image"
    folder.mkdir()
    (folder / "Dockerfile").write_text('FROM python:3.11\nWORKDIR /srv\nENTRYPOINT ["python", "/srv/echo.py"]\n')
    (folder / "echo.py").write_text(ECHO)
    return folder


def checks(**more: str | int) -> Json:
    """A Version resource with quick checks."""
    quick: Json = {
        "path": "/status",
        "checkInterval": "0.05s",
        "timeout": "1s",
        "failureThreshold": 2,
        "successThreshold": 1,
    }
    return {"readinessCheck": quick | {"appStartTimeout": "15s"} | more}


def asked(door: Json, path: str = "/", **more: Any) -> httpx.Response:
    """What a door answers."""
    method = more.pop("method", "GET")
    with httpx.Client(trust_env=False) as client:
        return client.request(method, f"{door['scheme']}://{door['host']}:{door['port']}{path}", **more)


def heard(answer: httpx.Response) -> Json:
    """What the echo behind the door heard."""
    found: Json = json.loads(answer.content)
    return found
