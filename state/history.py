"""The ledgers that there were before: each run that takes the ledger over leaves the very bytes that it found.

A snapshot is `history/SERIAL.json`, the serial in eight digits, written once and never again. What was damaged is kept
as well, under a serial that comes after all others; it can be read as bytes and not as a ledger.
"""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from state.errors import Conflict, DamagedLedger, Moved, NewerSchema, NotSaved, TooFast, Unclear
from state.ledger import Ledger, loads
from state.store import Store

FOLDER = "history/"
_NAME = re.compile(rf"{FOLDER}(\d{{8,}})\.json")


@dataclass(frozen=True)
class Snapshot:
    """A ledger as it was before a run.

    Attributes:
        serial: what it is called by.
        data: its bytes as they were.
        ledger: what they say, None when they are damaged or of a newer release.
        trouble: why there is no ledger, "" when there is one.
    """

    serial: int
    data: bytes
    ledger: Ledger | None
    trouble: str = ""

    @property
    def run(self) -> str:
        """The run that had saved it; "" when nobody can tell."""
        return self.ledger.run if self.ledger else ""


def name_of(serial: int) -> str:
    """The blob's name of a snapshot."""
    return f"{FOLDER}{serial:08}.json"


def serials(store: Store) -> list[int]:
    """The serials of all snapshots, oldest first. Raises Unclear."""
    found = (_NAME.fullmatch(name) for name in store.list(FOLDER))
    return sorted(int(match[1]) for match in found if match)


def read(store: Store, serial: int) -> Snapshot | None:
    """One snapshot, damaged or not; None when there is none of this serial. Raises Unclear."""
    name = name_of(serial)
    blob = store.get(name)
    if blob is None:
        return None
    try:
        return Snapshot(serial, blob.data, loads(blob.data, name))
    except (DamagedLedger, NewerSchema, Moved) as error:
        return Snapshot(serial, blob.data, None, str(error))


def snapshots(store: Store) -> Iterator[Snapshot]:
    """All snapshots, oldest first, the damaged ones too. Raises Unclear."""
    return (snapshot for serial in serials(store) if (snapshot := read(store, serial)))


def states(store: Store) -> list[Ledger]:
    """All earlier ledgers that can be read, oldest first. Raises Unclear."""
    return [snapshot.ledger for snapshot in snapshots(store) if snapshot.ledger]


def last_good(store: Store) -> Ledger | None:
    """The newest earlier ledger that can be read, None when there is none. Raises Unclear."""
    found = (read(store, serial) for serial in reversed(serials(store)))
    return next((snapshot.ledger for snapshot in found if snapshot and snapshot.ledger), None)


def keep(
    store: Store,
    serial: int,
    data: bytes,
    *,
    attempts: int = 8,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Put the bytes of a ledger into the history; those that are there already stay.

    Args:
        store: where the ledger lies.
        serial: the ledger's.
        data: its bytes.
        attempts: how often it is tried, with pauses of 1, 2, 4 ... seconds in between.
        sleep: waits for seconds.

    Returns:
        The serial under which these bytes are kept: another one where something else has this one, as after a ledger
        was mended or put back by hand.

    Raises:
        NotSaved: the store gives no clear answer.
    """
    for attempt in range(attempts):
        try:
            store.put(name_of(serial), data, 0)
            return serial
        except Conflict:
            there = store.get(name_of(serial))
            if there is not None and there.data == data:  # of an earlier run, or a try of ours whose answer was lost
                return serial
            serial = max(serials(store), default=0) + 1
        except (Unclear, TooFast) as error:
            if attempt == attempts - 1:
                raise NotSaved(name_of(serial), error) from error
            sleep(min(2.0**attempt, 32.0))
    raise NotSaved(name_of(serial), RuntimeError("other runs keep writing it"))
