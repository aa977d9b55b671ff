"""Blobs in a folder of this machine: for `--state ./file.json` and for tests."""

import contextlib
import fcntl
import glob
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from state.errors import Conflict, TooFast
from state.store import Blob

_LEDGER, _LEASE = "ledger.json", "lease.json"


def _utc_now() -> datetime:
    return datetime.now(UTC)


class FileStore:
    """Files as a store, safe against other processes and against a crash at any instant.

    A blob is replaced by renaming a finished, synced file over it, so a reader sees the old one or the new one, whole.
    Its generation is made of its bytes, its inode and its modification time, which every write moves on: it changes
    with the bytes in one step, and also when somebody edits the file by hand. Writers take turns by `flock` on a
    hidden file, which stays.

    Args:
        path: a folder, or a file ending in `.json`. Then the ledger is that file, the lease lies beside it as
            `NAME.json.lease`, and any other blob as `NAME.json.BLOB`.
        now: the clock that stands for the server's.
        patience: seconds to wait for another writer's turn to end.
    """

    def __init__(self, path: Path, now: Callable[[], datetime] = _utc_now, patience: float = 20.0) -> None:
        self._path = path.expanduser().absolute()
        self._alone = path.suffix == ".json"  # one ledger as a file, in a folder with things that are not ours
        self._now = now
        self._patience = patience

    def __str__(self) -> str:
        return str(self._path)

    def get(self, name: str) -> Blob | None:
        """See `Store`."""
        try:
            with self._file(name).open("rb") as file:  # what is open stays as it is, whoever renames another over it
                data, stat = file.read(), os.fstat(file.fileno())
        except FileNotFoundError:
            return None
        updated = datetime.fromtimestamp(stat.st_mtime_ns / 1e9, UTC)
        return Blob(data, _generation(data, stat), updated, self._now())

    def put(self, name: str, data: bytes, if_generation: int) -> int:
        """See `Store`."""
        file = self._file(name)
        (self._path.parent if self._alone else self._path).mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f".{file.name}.new")  # only the one whose turn it is writes it
        with self._turn(name):
            file.parent.mkdir(parents=True, exist_ok=True)
            before = self._expect(name, if_generation)
            with draft.open("wb") as out:
                out.write(data)
                out.flush()
                modified = max(int(self._now().timestamp() * 1e9), before + 1)
                os.utime(out.fileno(), ns=(modified, modified))
                os.fsync(out.fileno())
                generation = _generation(data, os.fstat(out.fileno()))
            draft.replace(file)
            _sync(file.parent)
        return generation

    def delete(self, name: str, if_generation: int) -> None:
        """See `Store`."""
        file = self._file(name)
        if not file.parent.is_dir():
            raise Conflict(name, if_generation)
        with self._turn(name):
            self._expect(name, if_generation)
            file.unlink(missing_ok=True)
            _sync(file.parent)
            if "/" in name:
                with contextlib.suppress(OSError):  # others lie in it
                    file.parent.rmdir()

    def list(self, prefix: str = "") -> list[str]:
        """See `Store`."""
        folder = self._path.parent if self._alone else self._path
        ours = glob.escape(self._path.name)
        patterns = (ours, f"{ours}.*", f"{ours}.*/**/*") if self._alone else ("**/*",)
        found = {file.relative_to(folder) for pattern in patterns for file in folder.glob(pattern) if file.is_file()}
        names = [self._name(file.as_posix()) for file in found if not any(part.startswith(".") for part in file.parts)]
        return sorted(name for name in names if name.startswith(prefix))

    def _file(self, name: str) -> Path:
        if not self._alone:
            return self._path / name
        if name == _LEDGER:
            return self._path
        return self._path.parent / f"{self._path.name}.{'lease' if name == _LEASE else name}"

    def _name(self, file: str) -> str:
        """The name of the blob that lies in a file: the other way round."""
        if not self._alone:
            return file
        if file == self._path.name:
            return _LEDGER
        name = file.removeprefix(f"{self._path.name}.")
        return _LEASE if name == "lease" else name

    def _expect(self, name: str, generation: int) -> int:
        """See that this generation is there; its modification time in nanoseconds, 0 for none."""
        try:
            with self._file(name).open("rb") as file:
                data, stat = file.read(), os.fstat(file.fileno())
        except FileNotFoundError:
            if generation != 0:
                raise Conflict(name, generation) from None
            return 0
        if _generation(data, stat) != generation:
            raise Conflict(name, generation)
        return stat.st_mtime_ns

    @contextmanager
    def _turn(self, name: str) -> Iterator[None]:
        """Only one writer at a time, among threads as well: each opens the file for itself."""
        folder, hidden = (self._path.parent, f".{self._path.name}.lock") if self._alone else (self._path, ".lock")
        with (folder / hidden).open("ab") as lock:
            until = time.monotonic() + self._patience
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    if time.monotonic() > until:  # a stopped process must not stop all others
                        raise TooFast(name, f"another process is writing, and holds {folder / hidden}") from error
                    time.sleep(0.005)
            yield


def _generation(data: bytes, stat: os.stat_result) -> int:
    seal = hashlib.sha256(data)
    seal.update(f"{stat.st_ino} {stat.st_mtime_ns}".encode())
    return int.from_bytes(seal.digest()[:7]) + 1  # 0 means that there is none


def _sync(folder: Path) -> None:
    """Make a rename durable (https://man7.org/linux/man-pages/man2/fsync.2.html)."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
