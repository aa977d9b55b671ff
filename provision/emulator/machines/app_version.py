"""A version of an App Engine service and what it needs around it: a metadata server, an environment, a log."""

import asyncio
import functools
import os
import shutil
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from provision.emulator.machines import records
from provision.emulator.machines.door import Upstream
from provision.emulator.machines.failure import MachineError
from provision.emulator.machines.image import read_image
from provision.emulator.machines.journal import Journal
from provision.emulator.machines.loop import LoopThread, Site
from provision.emulator.machines.metadata import Machine, Metadata
from provision.emulator.machines.registry import TOKEN_SECONDS, Registry
from provision.emulator.machines.workload import FAILED, HEALTHY, STARTING, STOP_SECONDS, Order, Workload, end_leftover

RENEW_SECONDS = 300  # the metadata server gives the same token until so long before its end
INHERITED = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TZ")

Json = dict[str, Any]
Name = tuple[str, str, str]


class AppVersion:
    """One version; everything of it lies in `folder`. `name` is (app, service, version).

    `start`, `stop` and the properties belong to the emulator's threads; what really happens, happens in `loop`.
    """

    def __init__(self, folder: Path, name: Name, url: str, registry: Registry, loop: LoopThread) -> None:
        self.name = name
        self.log = Journal(folder / "log.jsonl")
        self._folder = folder
        self._url = url
        self._registry = registry
        self._loop = loop
        self._wanted: Json | None = None
        self._running: tuple[Json, Workload] | None = None  # what was wanted, and what came of it
        self._site: Site | None = None
        self._problem = ""
        self._turn = asyncio.Lock()  # a start waits until the stop before it is through

    @property
    def health(self) -> str:
        """Either "starting", "healthy" or "failed"."""
        wanted = self._wanted
        if wanted is None or self._problem:
            return FAILED
        if wanted["image"] is None:
            return HEALTHY
        workload = self._workload_of(wanted)
        return workload.health if workload else STARTING

    @property
    def upstream(self) -> Upstream | None:
        """Where its requests go; None while it is stopped."""
        wanted = self._wanted
        if wanted is None:
            return None
        if wanted["image"] is None:
            return Upstream(0, ready=True)
        workload = self._workload_of(wanted)
        return Upstream(workload.port, workload.ready) if workload else Upstream(0, ready=False)

    def _workload_of(self, wanted: Json) -> Workload | None:
        # After a stop and a start the process of before may still be leaving: it answers for nobody any more.
        running = self._running
        return running[1] if running is not None and running[0] is wanted else None

    def start(self, spec: Mapping[str, Any], image: Path | None, account: str, extra: Mapping[str, str]) -> None:
        """Begin to run it, with `extra` in its environment; one that already runs just so goes on."""
        wanted = {"name": self.name, "spec": dict(spec), "image": str(image) if image else None, "account": account}
        if wanted == self._wanted:
            return
        self._wanted = wanted
        self._problem = ""
        records.write(self._folder / "machine.json", wanted)
        app, service, version = self.name
        # Asked here, by the thread that may hold the world: the loop must not wait for the world while that is closed.
        machine = self._registry.machine(app, f"aef-{service}-{version}", account)
        self._loop.spawn(self._begin(wanted, machine, extra))

    def stop(self, patience: float = STOP_SECONDS) -> Future[None]:
        """Begin to stop it; the answer is a future that is done when it is stopped. Its log stays."""
        self._wanted = None
        (self._folder / "machine.json").unlink(missing_ok=True)
        return self._loop.spawn(self._halt(patience))

    def pause(self) -> Future[None]:
        """As `stop`, for an emulator that ends: the next one on the same data starts it again."""
        return self._loop.spawn(self._halt(STOP_SECONDS))

    async def _begin(self, wanted: Json, machine: Machine, extra: Mapping[str, str]) -> None:
        async with self._turn:
            await self._end(STOP_SECONDS)
            await asyncio.to_thread(end_leftover, self._folder)
            if wanted is not self._wanted or wanted["image"] is None:
                return
            try:
                image = read_image(Path(wanted["image"]))
                site = self._metadata(machine)
            except MachineError as problem:
                self.log.write("system", str(problem))
                self._problem = str(problem)
                return
            self._site = site
            workload = Workload(self._folder, self.log)
            workload.start(Order(image, wanted["spec"], self._environment(site.port) | dict(extra)))
            self._running = wanted, workload

    async def _halt(self, patience: float) -> None:
        async with self._turn:
            await self._end(patience)

    async def _end(self, patience: float) -> None:
        running, self._running = self._running, None
        if running is not None:
            await running[1].stop(patience)
        site, self._site = self._site, None
        if site is not None:
            await site.stop()

    def _metadata(self, machine: Machine) -> Site:
        tokens = _Tokens(self._registry, machine.account)
        identity = functools.partial(self._registry.id_token, machine.account)
        return Site(self._loop, Metadata(machine, tokens.current, identity))

    def _environment(self, metadata_port: int) -> dict[str, str]:
        """The environment of App Engine flexible, and where this machine has what is elsewhere at Google.

        Nothing else is inherited: what the user has in their shell is not in a container either.
        """
        app, service, version = self.name
        home = self._folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        return {name: os.environ[name] for name in INHERITED if name in os.environ} | {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.defpath]),
            "HOME": str(home),
            "PYTHONUNBUFFERED": "1",  # what it says is in the log when it is said
            "HOST": "127.0.0.1",  # a container's port is its own; here it would be open to the whole network
            "GOOGLE_CLOUD_PROJECT": app,
            "GAE_SERVICE": service,
            "GAE_VERSION": version,
            "GCE_METADATA_HOST": f"127.0.0.1:{metadata_port}",
            "GCE_METADATA_IP": f"127.0.0.1:{metadata_port}",
            "GCE_METADATA_ROOT": f"127.0.0.1:{metadata_port}",
            "API_ENDPOINT_OVERRIDE": f"{self._url}/storage.googleapis.com",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS": f"{self._url}/iamcredentials.googleapis.com/",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_SQL": f"{self._url}/sqladmin.googleapis.com/",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER": f"{self._url}/secretmanager.googleapis.com/",
        }

    def remove(self) -> None:
        """Forget everything of it, its log too."""
        shutil.rmtree(self._folder, ignore_errors=True)


class _Tokens:
    """The access token of one account, kept until shortly before its end, as the metadata server does."""

    def __init__(self, registry: Registry, account: str) -> None:
        self._registry = registry
        self._account = account
        self._lock = threading.Lock()
        self._token = ""
        self._ends = 0.0

    def current(self) -> tuple[str, int]:
        """The token and the seconds that are left of it, on the emulator's clock."""
        with self._lock:
            now = self._registry.now()
            if self._ends - now < RENEW_SECONDS:
                self._token = self._registry.access_token(self._account)
                self._ends = now + TOKEN_SECONDS
            return self._token, int(self._ends - now)
