"""What happened in a run, line by line, as a blob beside the ledger: `runs/RUN.jsonl`.

It is there to be read by people afterwards, and no run depends on it: whatever goes wrong with it is passed over.
"""

import threading
from types import TracebackType
from typing import Self

from state.errors import Conflict
from state.store import Store

FOLDER = "runs/"
EVERY = 10.0
"""Seconds between two saves: Cloud Storage takes about one write a second of one object, and this is no hurry."""


def name_of(run: str) -> str:
    """The blob's name."""
    return f"{FOLDER}{run}.jsonl"


class EventLog:
    """The log of one run, saved every now and then while the `with` block runs, and at its end, however it ends.

    Args:
        store: where it lies.
        run: the run's id.
        every: seconds between two saves.
        background: whether a thread saves; without, call `save`.
    """

    def __init__(self, store: Store, run: str, *, every: float = EVERY, background: bool = True) -> None:
        self._store, self._name = store, name_of(run)
        self._every, self._background = every, background
        self._lines: list[str] = []  # appended to by any thread: appending is atomic
        self._saving = threading.Lock()
        self._saved = 0
        self._generation: int | None = 0  # None: to be read again
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._background:
            self._thread = threading.Thread(target=self._live, name="event log", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self.save()

    def add(self, line: str) -> None:
        """Add an event, without the end of the line; any thread may."""
        self._lines.append(line)

    def save(self) -> None:
        """Save what is new, if anything is. Never raises: what could not be saved goes with the next time."""
        with self._saving:
            lines = self._lines[:]
            if len(lines) == self._saved:
                return
            data = "".join(f"{line}\n" for line in lines).encode()
            for _ in range(2):
                try:
                    if self._generation is None:  # an answer was lost, so it may have been written
                        blob = self._store.get(self._name)
                        self._generation = blob.generation if blob else 0
                    self._generation = self._store.put(self._name, data, self._generation)
                except Conflict:
                    self._generation = None
                except Exception:  # noqa: BLE001 - the run goes on without its log
                    self._generation = None
                    return
                else:
                    self._saved = len(lines)
                    return

    def _live(self) -> None:
        while not self._ended.wait(self._every):
            self.save()
