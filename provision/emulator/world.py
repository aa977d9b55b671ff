"""Everything the emulator knows: projects, resources and settings in one SQLite file, bytes in a folder beside it."""

import json
import secrets
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from provision.emulator import errors, iam
from provision.emulator.clock import Clock, stamp
from provision.emulator.machines import Machines, NoMachines

Json = dict[str, Any]

OWNER = "user:owner@example.com"
ORGANIZATION = "123456789012"
PROFILES = ("instant", "brief", "local", "google")
_KEPT = "emulator"  # the one table that a reset leaves: the token of the data folder


class Table(MutableMapping[str, Json]):
    """Rows of one kind by key, sorted by key. What is taken out is a copy: assign it to write it."""

    def __init__(self, database: sqlite3.Connection, kind: str) -> None:
        self._database = database
        self.kind = kind

    def __getitem__(self, key: str) -> Json:
        row = self._database.execute("SELECT value FROM rows WHERE kind = ? AND key = ?", (self.kind, key)).fetchone()
        if row is None:
            raise KeyError(key)
        value: Json = json.loads(row[0])
        return value

    def __setitem__(self, key: str, value: Json) -> None:
        text = json.dumps(value, ensure_ascii=False)
        self._database.execute("INSERT OR REPLACE INTO rows VALUES (?, ?, ?)", (self.kind, key, text))

    def __delitem__(self, key: str) -> None:
        if self._database.execute("DELETE FROM rows WHERE kind = ? AND key = ?", (self.kind, key)).rowcount == 0:
            raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        rows = self._database.execute("SELECT key FROM rows WHERE kind = ? ORDER BY key", (self.kind,)).fetchall()
        return iter([row[0] for row in rows])

    def __len__(self) -> int:
        count = self._database.execute("SELECT count(*) FROM rows WHERE kind = ?", (self.kind,)).fetchone()
        return int(count[0])

    def under(self, prefix: str = "") -> list[tuple[str, Json]]:
        """Keys that begin with `prefix`, with their rows, sorted by key."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix else None
        query = "SELECT key, value FROM rows WHERE kind = ? AND key >= ? AND (? IS NULL OR key < ?) ORDER BY key"
        rows = self._database.execute(query, (self.kind, prefix, end, end)).fetchall()
        return [(key, json.loads(value)) for key, value in rows]


class World:
    """All state of one emulator. Use it under `lock`, in a `transaction`."""

    def __init__(self, folder: Path | None, *, machines: Machines | None = None, profile: str = "instant") -> None:
        if profile not in PROFILES:
            message = f"unknown profile {profile!r}: it is one of {', '.join(PROFILES)}"
            raise ValueError(message)
        self.lock = threading.RLock()
        self.profile = profile
        self.owner = OWNER
        self.kept = folder is not None
        self.data = folder or Path(tempfile.mkdtemp(prefix="emulator-"))
        self.spool = self.data / "spool"
        shutil.rmtree(self.spool, ignore_errors=True)  # uploads that a killed process left half-way
        self.spool.mkdir(parents=True)
        self._database = sqlite3.connect(
            self.data / "emulator.db" if folder else ":memory:", isolation_level=None, check_same_thread=False
        )
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")  # what was committed outlives the process
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS rows (kind TEXT, key TEXT, value TEXT, PRIMARY KEY (kind, key)) WITHOUT ROWID"
        )
        self.settings = self.table("settings")
        self.projects = self.table("projects")
        self.token = str(self.table(_KEPT).setdefault("token", {"value": secrets.token_urlsafe(32)})["value"])
        self.clock = Clock(self.settings.get("clock", {"ahead": 0.0})["ahead"])
        self.machines: Machines = machines or NoMachines()

    @classmethod
    def memory(cls, machines: Machines | None = None, profile: str = "instant") -> "World":
        """A world that is gone with its process."""
        return cls(None, machines=machines, profile=profile)

    @classmethod
    def open(cls, folder: Path, machines: Machines | None = None, profile: str = "local") -> "World":
        """The world kept in `folder`, made when it is not there."""
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)  # it holds private keys and passwords
        return cls(folder, machines=machines, profile=profile)

    def close(self) -> None:
        """Stop the machines; remove the folder of a world that lives in memory."""
        with self.lock:
            self.machines.close()
            self._database.close()
        if not self.kept:
            shutil.rmtree(self.data, ignore_errors=True)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes in the block happen, or, when it raises, none. May be nested."""
        name = "t" + secrets.token_hex(4)
        with self.lock:
            self._database.execute(f"SAVEPOINT {name}")
            try:
                yield
            except BaseException:
                self._database.execute(f"ROLLBACK TO {name}")
                self._database.execute(f"RELEASE {name}")
                raise
            self._database.execute(f"RELEASE {name}")

    def copy_rows(self, *, to: sqlite3.Connection | None = None, of: sqlite3.Connection | None = None) -> None:
        """Write all rows to another database, or take all of another's in place of the own."""
        if to is not None:
            self._database.backup(to)
        if of is not None:
            of.backup(self._database)

    def table(self, kind: str) -> Table:
        """The rows of a kind, as in `sql.instances`."""
        return Table(self._database, kind)

    def reset(self, projects: list[Json]) -> None:
        """Empty the world and seed `projects` ({projectId, projectNumber, services?}), each with billing.

        Without `services` every API is on. All machines and all bytes are removed too.
        """
        with self.transaction():
            self.machines.reset()
            self._database.execute("DELETE FROM rows WHERE kind <> ?", (_KEPT,))
            self.clock.ahead = 0.0
            for project in projects:
                self.add_project(project)
        for child in self.data.iterdir():
            if child.is_dir() and child != self.spool:
                shutil.rmtree(child, ignore_errors=True)

    def add_project(self, seed: Json) -> Json:
        """Make a project, with billing, of {projectId, projectNumber?, services?, labels?, parent?, ancestors?, name?}.

        `services` are the APIs that are on; without them all are. It lies in an organization unless `parent` is None
        or empty; `ancestors` are what it lies in, innermost first, when that is more than its parent.
        """
        now, services = self.timestamp(), seed.get("services")
        row: Json = {
            "projectId": seed["projectId"],
            "projectNumber": str(seed.get("projectNumber") or self.number(12)),
            "name": seed.get("name") or seed["projectId"],
            "lifecycleState": "ACTIVE",
            "createTime": now,
            "updateTime": now,
            "services": {"*": services is None} | {full_service(s): True for s in services or ()},
            "billing": "billingAccounts/000000-AAAAAA-BBBBBB",
            "labels": seed.get("labels") or {},
            "parent": seed.get("parent", {"type": "organization", "id": ORGANIZATION}),
            "ancestors": seed.get("ancestors") or [],
        }
        self.projects[row["projectId"]] = row
        return row

    # -- names
    def find_project(self, text: str) -> Json | None:
        """The project with that ID or number, or None."""
        row = self.projects.get(text)
        if row is None and text.isdigit():
            row = next((p for p in self.projects.values() if p["projectNumber"] == text), None)
        return row

    def project(self, text: str) -> Json:
        """The project with that ID or number; raises the 403 with which Google answers for one that is not there."""
        row = self.find_project(text)
        if row is None:
            raise errors.permission_denied()
        return row

    def project_id(self, text: str) -> str:
        """The ID of the project that `text` is ID or number of; `text` itself when there is none."""
        row = self.find_project(text)
        return str(row["projectId"]) if row else text

    def by_id(self, name: str) -> str:
        """A resource name with the project's ID where its number stood, and without the `//host/` of full names."""
        if name.startswith("//"):
            name = name[2:].partition("/")[2]
        parts = name.split("/")
        if len(parts) > 1 and parts[0] == "projects" and parts[1].isdigit():
            parts[1] = self.project_id(parts[1])
        return "/".join(parts)

    def project_of_account(self, email: str) -> str:
        """The ID of the project that a service account (by address or unique ID) belongs to; empty when unknown."""
        if not email.endswith(".iam.gserviceaccount.com"):
            rows = self.table("iam.accounts").values()
            return next((str(a["projectId"]) for a in rows if email in (a["uniqueId"], a["email"])), "")
        return email.partition("@")[2].removesuffix(".iam.gserviceaccount.com")

    # -- facts
    def enabled(self, project: str, service: str) -> bool:
        """Whether the project (by ID) has switched an API on, as in `sqladmin.googleapis.com`."""
        row = self.projects.get(project)
        switched = row["services"] if row else {}
        return bool(switched.get(service, switched.get("*", False)))

    def allowed(self, member: str, permission: str, resource: str) -> bool:
        """Whether an IAM member has a permission on a resource, by its own policy or those above it."""
        return iam.allowed(self, member, permission, resource)

    # -- fresh values
    @staticmethod
    def number(digits: int) -> str:
        """A random number of exactly so many digits."""
        return str(secrets.randbelow(9) + 1) + "".join(str(secrets.randbelow(10)) for _ in range(digits - 1))

    @staticmethod
    def hex(digits: int) -> str:
        """So many random hexadecimal digits."""
        return secrets.token_hex((digits + 1) // 2)[:digits]

    def timestamp(self, digits: int = 3, when: datetime | None = None) -> str:
        """The time now, or `when`, in RFC 3339 with so many digits of a second."""
        return stamp(when or self.clock.now(), digits)

    def counter(self, name: str) -> int:
        """The next number of a series that begins with 1."""
        table = self.table("counters")
        value = int(table.get(name, {"value": 0})["value"]) + 1
        table[name] = {"value": value}
        return value


def full_service(name: str) -> str:
    """`compute` and `compute.googleapis.com` are the same API: the long form."""
    return name if "." in name else f"{name}.googleapis.com"
