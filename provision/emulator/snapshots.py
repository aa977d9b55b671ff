"""A picture of a world, taken once and gone back to often: for tests that make many runs from one beginning."""

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from provision.emulator.world import World


@dataclass(frozen=True)
class Snapshot:
    """Everything that a world held at one moment.

    Args:
        rows: The database.
        files: Bytes by path in the data folder.
        ahead: How far the clock was ahead.
    """

    rows: bytes
    files: dict[str, bytes]
    ahead: float


def take(world: World) -> Snapshot:
    """What the world holds now. Machines are no part of it."""
    with world.lock, contextlib.closing(sqlite3.connect(":memory:")) as copy:
        world.copy_rows(to=copy)
        files = {path: (world.data / path).read_bytes() for path in _paths(world)}
        return Snapshot(copy.serialize(), files, world.clock.ahead)


def restore(world: World, snapshot: Snapshot) -> None:
    """Bring the world back to what it held then; what it holds now is gone, without a trace of the way back."""
    with world.lock, contextlib.closing(sqlite3.connect(":memory:")) as copy:
        copy.deserialize(snapshot.rows)
        world.copy_rows(of=copy)
        world.clock.ahead = snapshot.ahead
        for path in set(_paths(world)) - snapshot.files.keys():
            (world.data / path).unlink()
        for path, content in snapshot.files.items():
            file = world.data / path
            # Compared, not only looked for: time was turned back, so later bytes may lie under a name of earlier ones.
            if not file.is_file() or file.read_bytes() != content:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)


def _paths(world: World) -> list[str]:
    """Files of objects and images, by their path in the data folder."""
    return [
        path.relative_to(world.data).as_posix()
        for folder in _folders(world)
        for path in folder.rglob("*")
        if path.is_file()
    ]


def _folders(world: World) -> list[Path]:
    return [child for child in world.data.iterdir() if child.is_dir() and child != world.spool]
