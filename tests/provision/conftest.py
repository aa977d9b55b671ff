"""A cloud for the commands, in this process, whose server answers at once; and folders to type commands in."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from provision.emulator.machines import NoMachines
from provision.emulator.server import create_app
from provision.emulator.world import World
from tests.provision.terminal import Folder
from tests.serving import answering
from tests.tracking import Tracking, served
from tests.waiting import until

PROJECT, NUMBER = "local-mlflow", "123456789012"


class Answering(NoMachines):
    """No machines, but for a door behind which something answers as MLflow does."""

    def __init__(self, tracking: Tracking) -> None:
        self.tracking = tracking

    def version_start(  # what names a version, and what it runs
        self, app: str, service: str, version: str, spec: dict[str, Any], image_dir: Path | None, account: str
    ) -> None:
        """Let it know where files go; the placeholder knows nothing."""
        self.tracking.root = spec.get("envVariables", {}).get("ARTIFACT_ROOT", self.tracking.root)

    def door(self, app: str, service: str) -> dict[str, Any]:
        """The same for every service."""
        return {"scheme": "http", "host": "127.0.0.1", "port": self.tracking.port}

    def reset(self) -> None:
        """Forget what was logged."""
        self.tracking.forget()


@dataclass
class Cloud:
    """The emulator of these tests."""

    url: str
    world: World
    tracking: Tracking

    def empty(self, **project: Any) -> None:
        """As on its first day: the project is there, every API is on unless `services` says otherwise."""
        self.world.profile = "instant"
        self.world.reset([{"projectId": PROJECT, "projectNumber": NUMBER, **project}])
        requests.delete(f"{self.url}/emulator/calls", timeout=10)
        self.empty_of_faults()

    def writes(self) -> list[str]:
        """The changing calls since the last look, but for those of the ledger and its lease."""
        calls = requests.delete(f"{self.url}/emulator/calls", timeout=10).json()["calls"]  # and not asked for before
        return [call["id"] for call in calls if call["write"] and "-provision-" not in call["path"]]

    def until_asked(self, method: str) -> None:
        """Wait until somebody calls the method; this has no other sign, since nothing is answered yet."""
        until(lambda: any(call["id"] == method for call in self._calls()))

    def fails(self, **fault: Any) -> None:
        """Order a failure: `method`, and how it fails."""
        requests.post(f"{self.url}/emulator/faults", json=[fault], timeout=10).raise_for_status()

    def empty_of_faults(self) -> None:
        """Let everything answer again."""
        requests.delete(f"{self.url}/emulator/faults", timeout=10)

    def later(self, seconds: float) -> None:
        """Let time pass."""
        requests.post(f"{self.url}/emulator/clock", json={"advance": seconds}, timeout=10).raise_for_status()

    def _calls(self) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = requests.get(f"{self.url}/emulator/calls", timeout=10).json()["calls"]
        return calls

    def google(self, method: str, path: str, body: object = None, **query: str) -> Any:
        """Ask one of Google's APIs as the owner, behind the commands' back."""
        answer = requests.request(method, f"{self.url}/{path}", json=body, params=query, timeout=10)
        answer.raise_for_status()
        return answer.json() if answer.content else None


@contextlib.contextmanager
def running_cloud() -> Iterator[Cloud]:
    """An emulator, as long as this is entered."""
    with (
        served(Tracking()) as tracking,
        contextlib.closing(World.memory(machines=Answering(tracking))) as world,
        answering(create_app(world)) as url,
    ):
        yield Cloud(url, world, tracking)


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
