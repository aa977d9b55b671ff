"""Where blobs with a generation lie: the little of Cloud Storage that ledger and lease stand on."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True)
class Blob:
    """What a store had under a name.

    Attributes:
        data: the bytes.
        generation: changes with every write. Compare it for equality only: Cloud Storage does not promise that
            generations grow (https://cloud.google.com/storage/docs/generations-preconditions).
        updated: when these bytes were written, by the store's clock (UTC).
        server_now: what the store's clock showed when it answered (UTC).
    """

    data: bytes
    generation: int
    updated: datetime
    server_now: datetime


class Store(Protocol):
    """Named blobs, each replaced and deleted only by compare-and-set on its generation.

    Writes are tried once. Whether to try again is for the caller, who alone can tell its own lost answer from a
    rival's write (https://docs.cloud.google.com/storage/docs/retry-strategy). A read is safe, and may be tried again
    within.
    """

    def get(self, name: str) -> Blob | None:
        """Read a blob whole, or None when there is none. Raises Unclear."""

    def put(self, name: str, data: bytes, if_generation: int) -> int:
        """Replace the blob of that generation, or make it when that is 0; return the new generation.

        Raises Conflict when another generation is there, TooFast when it was not written because of too many writes,
        and Unclear when it may have been written.
        """

    def delete(self, name: str, if_generation: int) -> None:
        """Delete the blob of that generation. Raises Conflict (also when it is gone already), TooFast and Unclear."""

    def list(self, prefix: str = "") -> list[str]:
        """The names that start with the prefix, sorted. Raises Unclear."""
