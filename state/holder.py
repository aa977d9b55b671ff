"""Who holds the lease, and whether that process still lives.

A process is told apart by host, boot, process-id namespace (two containers may share a host's name and boot), number
and start time (numbers are used again). Where the system does not tell all of these, as on macOS, nobody is taken for
dead, and the lease just runs out.
"""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

LONGEST_TTL = 600.0


@dataclass(frozen=True)
class Process:
    """A process, well enough described for another one on the same machine to see whether it lives.

    Attributes:
        host: the machine's name.
        pid: the process's number.
        started: its start in clock ticks since the boot, "" when unknown.
        machine: boot and process-id namespace, "" when unknown.
    """

    host: str
    pid: int
    started: str
    machine: str

    @classmethod
    def this(cls) -> "Process":
        """The process that calls."""
        pid = os.getpid()
        return cls(host=platform.node(), pid=pid, started=_state_and_start(pid)[1], machine=_machine())


class Holder(BaseModel):
    """The content of a lease.

    Attributes:
        owner: unlike for every lease object, so that a lost answer can be told from a rival's.
        who: the person or account, for people to read.
        host, pid, started, machine: the process; see `Process`.
        run: the run's id.
        ttl: seconds after which a silent holder is given up (a margin comes on top).
        since: when it began (UTC, ISO 8601, by the holder's own clock; for people to read).
        doing: what the run is at, for people to read.
        beats: counts the signs of life, so that no two are equal bytes.
    """

    model_config = ConfigDict(frozen=True)

    owner: str = ""
    who: str = "somebody"
    host: str = "an unknown host"
    pid: int = 0
    started: str = ""
    machine: str = ""
    run: str = "of an unknown id"
    ttl: float = Field(default=60.0, gt=0, le=LONGEST_TTL)
    since: str = ""
    doing: str = ""
    beats: int = 0

    @classmethod
    def read(cls, data: bytes) -> "Holder":
        """The holder that these bytes name; of a torn or damaged lease, an unknown one of the usual length."""
        try:
            return cls.model_validate_json(data)
        except ValidationError:
            return cls()

    def written(self) -> bytes:
        """The bytes of the lease."""
        return self.model_dump_json(indent=1).encode() + b"\n"

    def is_gone(self, here: Process) -> bool:
        """Whether it certainly is a process of this machine, and as certainly no longer runs."""
        if not (self.machine and self.started) or (self.host, self.machine) != (here.host, here.machine):
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # it is there, and another user's
            pass
        state, started = _state_and_start(self.pid)
        return state in {"Z", "X"} or started not in {"", self.started}


def _state_and_start(pid: int) -> tuple[str, str]:
    """A process's state letter and start time, empty where the system does not tell.

    https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html: fields 3 and 22. The name before them may hold anything.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return "", ""
    return fields[0], fields[19]


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return ""
    return f"{boot} {namespace}"
