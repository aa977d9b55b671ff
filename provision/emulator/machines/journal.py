"""What a workload wrote to its standard output and error, kept line by line with the time."""

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LONGEST_LINE = 64 * 1024
LARGEST_FILE = 8 * 1024 * 1024


class Journal:
    """A file of JSON lines `{"time", "stream", "text"}`; when it is full, it becomes FILE.old and a new one begins."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._old = path.with_name(path.name + ".old")
        path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, stream: str, text: str) -> None:
        """Append one line that came from `stream` ("stdout", "stderr", or "system" for what the emulator says)."""
        time = dt.datetime.now(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        line = json.dumps({"time": time, "stream": stream, "text": text[:LONGEST_LINE]}) + "\n"
        if self._path.exists() and self._path.stat().st_size > LARGEST_FILE:
            self._path.replace(self._old)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line)

    def entries(self) -> list[dict[str, Any]]:
        """All that is kept, oldest first."""
        return [entry for path in (self._old, self._path) for entry in _read(path)]

    def lines(self) -> list[str]:
        """The texts alone."""
        return [str(entry["text"]) for entry in self.entries()]


def _read(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:  # a line that a crash cut off
            continue
