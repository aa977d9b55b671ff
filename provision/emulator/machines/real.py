"""The machines behind the emulator, for real: databases, servers with their metadata servers, and doors."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from provision.emulator import errors
from provision.emulator.machines import records
from provision.emulator.machines.app_version import AppVersion
from provision.emulator.machines.database import PORT, Database
from provision.emulator.machines.door import Door, Surroundings, Upstream
from provision.emulator.machines.failure import MachineError
from provision.emulator.machines.loop import LoopThread, Site
from provision.emulator.machines.programs import Runner
from provision.emulator.machines.registry import Registry
from provision.emulator.machines.signin import Asked, Codes, Cookies, Sealed
from provision.emulator.world import World

Json = dict[str, Any]


class RealMachines:
    """Everything that runs for one world. It lies in the world's folder, and what ran when that was closed runs again.

    `url` is the emulator's own address, by which workloads find Google's APIs and browsers the sign-in page.
    """

    def __init__(self, world: World, url: str) -> None:
        self.url = url.rstrip("/")
        self.registry = Registry(world)
        self.codes = Codes()
        self._world = world
        self._folder = world.data / "machines"
        self._lock = threading.RLock()
        self._runner = Runner()
        self._tls = LoopThread("machines: databases")
        self._loop = LoopThread("machines: servers and doors")
        self._databases: dict[str, Database] = {}
        self._versions: dict[tuple[str, str, str], AppVersion] = {}
        self._doors: dict[tuple[str, str], tuple[Door, Site]] = {}
        self._resume()

    def _resume(self) -> None:
        for record in _records(self._folder / "databases", "instance.json"):
            if record["running"]:
                self.database_start(record["name"], record["spec"])
        for record in _records(self._folder / "versions", "machine.json"):
            image = Path(record["image"]) if record["image"] else None
            app, service, version = record["name"]
            self.version_start(app, service, version, record["spec"], image, record["account"])
        for name in self._ports():
            app, _, service = name.partition("/")
            self.door(app, service)

    # -- databases
    def _database(self, name: str) -> Database:
        with self._lock:
            if name not in self._databases:
                folder = self._folder / "databases" / quote(name, safe="")
                self._databases[name] = Database(folder, name, self._runner, self._tls)
            return self._databases[name]

    def database_start(self, name: str, spec: Json) -> None:
        """Begin to start the database of an instance, or to restart it with another `spec`."""
        self._database(name).start(spec, self._world.clock.now())

    def database_ready(self, name: str) -> bool:
        """Whether it takes connections; raises MachineError when it can not be started."""
        return self._database(name).ready

    def database_stop(self, name: str) -> None:
        """Stop it, and keep its data."""
        self._database(name).stop()

    def database_delete(self, name: str) -> None:
        """Stop it, and remove its data."""
        self._database(name).delete()
        with self._lock:
            self._databases.pop(name, None)

    def database_create(self, name: str, db: str) -> None:
        """CREATE DATABASE; raises MachineError with PostgreSQL's own words."""
        self._database(name).create_database(db)

    def database_drop(self, name: str, db: str) -> None:
        """DROP DATABASE; raises MachineError while somebody is connected to it."""
        self._database(name).drop_database(db)

    def database_set_user(self, name: str, user: str, password: str) -> None:
        """Create the user, or give it a new password."""
        self._database(name).set_user(user, password)

    def database_drop_user(self, name: str, user: str) -> None:
        """DROP ROLE; raises MachineError while it owns something."""
        self._database(name).drop_user(user)

    def database_ca(self, name: str) -> Json:
        """The instance's CA as Cloud SQL's `serverCaCert`, known from `database_start` on."""
        return self._database(name).ca()

    # -- versions
    def _version(self, app: str, service: str, version: str) -> AppVersion:
        name = app, service, version
        with self._lock:
            if name not in self._versions:
                folder = self._folder / "versions" / quote("/".join(name), safe="")
                self._versions[name] = AppVersion(folder, name, self.url, self.registry, self._loop)
            return self._versions[name]

    def version_start(
        self, app: str, service: str, version: str, spec: Json, image_dir: Path | None, account: str
    ) -> None:
        """Begin to run a version from its image's folder; None is the public hello image."""
        self._version(app, service, version).start(spec, image_dir, account, self._database_port())

    def _database_port(self) -> dict[str, str]:
        # Where 127.0.0.1 is the only loopback address, a database has a port of its own; libpq takes it from here.
        ports = {database.port for database in self._databases.values()} - {PORT}
        return {"PGPORT": str(ports.pop())} if len(ports) == 1 else {}

    def version_health(self, app: str, service: str, version: str) -> str:
        """Either "starting", "healthy" or "failed"; the last also when it is stopped."""
        return self._version(app, service, version).health

    def version_log(self, app: str, service: str, version: str) -> list[str]:
        """What it wrote, oldest line first, with the emulator's own lines about it."""
        return self._version(app, service, version).log.lines()

    def version_entries(self, app: str, service: str, version: str) -> list[Json]:
        """The same with times: {"time": RFC 3339, "stream": "stdout" | "stderr" | "system", "text"}."""
        return self._version(app, service, version).log.entries()

    def version_stop(self, app: str, service: str, version: str) -> None:
        """Begin to stop it; its log stays."""
        self._version(app, service, version).stop()

    # -- doors
    def door(self, app: str, service: str) -> Json:
        """Where the service is reached, also before it has a version; the same as long as its port is free."""
        with self._lock:
            if (app, service) not in self._doors:
                self._open(app, service)
            _, site = self._doors[app, service]
            return {"scheme": "http", "host": site.address, "port": site.port}

    def _open(self, app: str, service: str) -> None:
        cookies = Cookies(Sealed(self._folder / "cookies.key"), app, service)
        around = Surroundings(self.registry, self._upstream, self.codes, cookies, self.url)
        door = Door(app, service, around)
        ports = self._ports()
        try:
            site = Site(self._loop, door, port=ports.get(f"{app}/{service}", 0))
        except MachineError:  # another program has taken the port since; `up` will find the new one
            site = Site(self._loop, door)
        door.origin = f"http://{site.address}:{site.port}"
        self._doors[app, service] = door, site
        records.write(self._folder / "doors.json", ports | {f"{app}/{service}": site.port})

    def _ports(self) -> dict[str, int]:
        return records.read(self._folder / "doors.json") or {}

    def _upstream(self, app: str, service: str, version: str) -> Upstream | None:
        found = self._versions.get((app, service, version))
        return found.upstream if found else None

    def service_at(self, asked: Asked) -> tuple[str, str]:
        """App and service of the door that sends somebody to the sign-in page; raises 400 when it is none of ours."""
        with self._lock:
            for name, (door, _) in self._doors.items():
                if asked.is_of(door.origin):
                    return name
        raise errors.invalid("redirect_uri_mismatch: the redirect_uri is not that of a door of this emulator.")

    # -- all of them
    def reset(self) -> None:
        """Stop everything, and remove all data."""
        with self._lock:
            self._stop(forget=True)
            shutil.rmtree(self._folder, ignore_errors=True)

    def close(self) -> None:
        """Stop everything and keep all data; whoever opens the same world again finds it running."""
        with self._lock:
            self._stop(forget=False)
            self._loop.close()
            self._tls.close()
            self._runner.close()

    def _stop(self, *, forget: bool) -> None:
        for door, site in self._doors.values():
            site.close()
            self._loop.run(door.close())
        ends = [version.stop(0.0) if forget else version.pause() for version in self._versions.values()]
        for end in ends:
            end.result(30)
        for database in self._databases.values():
            database.delete() if forget else database.pause()
        self._doors.clear()
        self._versions.clear()
        self._databases.clear()


def _records(folder: Path, name: str) -> Iterator[Json]:
    for path in sorted(folder.glob(f"*/{name}")):
        if (found := records.read(path)) is not None:
            yield found
