"""What all tests share: an emulator in this process, and a guard that keeps them off the network."""

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from provision.emulator.server import create_app
from provision.emulator.world import World
from tests.serving import answering

pytest_plugins = ("tests.methods",)

PROJECT, NUMBER = "test-project-1", "123456789012"


class ThisTestTriedToReachTheRealCloud(Exception):
    """A test may talk to this machine only."""


@pytest.fixture(autouse=True)
def no_real_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any connection that leaves this machine, and any look-up of a name, is an error that says so."""
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def check(address: Any) -> None:
        host = address[0] if isinstance(address, tuple) else address
        if isinstance(host, bytes):
            host = host.decode()
        if not isinstance(address, tuple) or host in ("localhost", "::1") or str(host).startswith("127."):
            return
        raise ThisTestTriedToReachTheRealCloud(host)

    def checked_connect(self: socket.socket, address: Any) -> None:
        check(address)
        connect(self, address)

    def checked_connect_ex(self: socket.socket, address: Any) -> int:
        check(address)
        return connect_ex(self, address)

    def checked_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host not in (None, "", "0.0.0.0", "::"):
            check((host, 0))
        return getaddrinfo(host, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "connect", checked_connect)
    monkeypatch.setattr(socket.socket, "connect_ex", checked_connect_ex)
    monkeypatch.setattr(socket, "getaddrinfo", checked_getaddrinfo)


@dataclass
class Emulator:
    """A running emulator without machines."""

    url: str
    world: World

    def reset(self, projects: list[dict[str, Any]] | None = None) -> None:
        """Empty it and seed the project of these tests, with every API on."""
        self.world.reset(projects or [{"projectId": PROJECT, "projectNumber": NUMBER}])


@pytest.fixture(scope="session")
def shared_emulator() -> Iterator[Emulator]:
    with contextlib.closing(World.memory()) as world, answering(create_app(world)) as url:
        yield Emulator(url, world)


@pytest.fixture
def emulator(shared_emulator: Emulator) -> Emulator:
    """An emulator that knows one empty project: `.url`, `.world`, `.reset()`."""
    shared_emulator.world.machines.close()
    shared_emulator.reset()
    with _httpx(shared_emulator) as client:
        client.delete("/emulator/faults")
        client.delete("/emulator/calls")
    return shared_emulator


def _httpx(emulator: Emulator) -> Any:
    import httpx

    return httpx.Client(base_url=emulator.url)
