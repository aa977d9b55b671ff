"""The lease: at most one run changes a deployment, and a run that died stands in nobody's way.

1. It is taken by writing an object that must not exist, and kept by rewriting it, each time by compare-and-set.
2. It has run out when the *server's* clock says that its last sign of life is older than its ttl and a margin.
   Then it is taken over by compare-and-set on the generation that was seen; never by deleting and making it anew.
3. A holder on this machine whose process is gone is taken over at once.
4. The holder reckons from *before* it sent its last sign of life, on a clock that goes on while the machine sleeps,
   and starts no request that might outlast the lease.
5. The lease alone protects nothing from a holder that is stopped between that check and the request. So whoever takes
   it saves the ledger first (`Journal.open`), and an older holder can at least write nothing down any more.
"""

import contextlib
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from state.errors import Conflict, LeaseLost, Locked, TooFast, Unclear
from state.holder import LONGEST_TTL, Holder, Process
from state.store import Blob, Store

MARGIN = 30.0
_POLL = 5.0  # seconds between two looks at a lease that somebody else holds
_TRIES = 5


def boottime() -> float:
    """Seconds that also count while the machine sleeps. On macOS, the monotonic clock does."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def look(store: Store, name: str = "lease.json", margin: float = MARGIN) -> Locked | None:
    """Who holds the lease and since when it is quiet, None when it is free; writes nothing. Raises Unclear."""
    blob = store.get(name)
    return None if blob is None else _judge(blob, margin)


def unlock(store: Store, holder: Holder, name: str = "lease.json") -> None:
    """Take the lease away from a holder, who can write nothing down any more once another run has begun.

    Raises:
        Locked: somebody else holds it by now.
        Unclear, TooFast: the store gives no clear answer.
    """
    for _ in range(_TRIES):
        blob = store.get(name)
        if blob is None:
            return
        if (now := _judge(blob, MARGIN)).holder.owner != holder.owner:
            raise now
        with contextlib.suppress(Conflict):  # another sign of life; whoever unlocks was asked and means it
            store.delete(name, blob.generation)
            return
    raise TooFast(name, "its holder goes on giving signs of life")


def _judge(blob: Blob, margin: float) -> Locked:
    holder = Holder.read(blob.data)
    quiet = (blob.server_now - blob.updated).total_seconds()
    return Locked(holder, max(quiet, 0.0), max(holder.ttl + margin - quiet, 0.0))


class Lease:
    """The right to change a deployment, held while the `with` block runs.

    Args:
        store: where it lies.
        name: the blob's name.
        run: this run's id, for people to read.
        who: the person or account, for people to read.
        ttl: seconds after which we give ourselves up when no sign of life gets through.
        margin: seconds on top before somebody else's lease is taken over; exceeds `request_timeout`.
        heartbeat: seconds between two signs of life, at least 10.
        request_timeout: the longest that one changing request may take, in seconds.
        lock_timeout: seconds to wait for another holder; by default until a dead one's lease has run out.
        on_wait: told at each look who holds it.
        clock: seconds; must go on while the machine sleeps.
        sleep: waits for seconds.
        now: the time that is written into the lease for people to read.
        here: this process.
        owner: unlike for every lease object.
        background: whether a thread gives the signs of life; without, call `beat`.
        condition: makes the lock on which threads wait for each other.
    """

    def __init__(
        self,
        store: Store,
        name: str = "lease.json",
        *,
        run: str,
        who: str,
        ttl: float = 60.0,
        margin: float = MARGIN,
        heartbeat: float = 15.0,
        request_timeout: float = 25.0,
        lock_timeout: float | None = None,
        on_wait: Callable[[Locked], None] = lambda locked: None,
        clock: Callable[[], float] = boottime,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        here: Process | None = None,
        owner: str | None = None,
        background: bool = True,
        condition: Callable[[], threading.Condition] = threading.Condition,
    ) -> None:
        if heartbeat < 10:
            raise ValueError("a heartbeat is at least 10 s: Cloud Storage takes about one write a second of an object")
        if not 2 * heartbeat + request_timeout < ttl <= LONGEST_TTL:
            raise ValueError(f"a lease outlasts two heartbeats and a request, and lasts at most {LONGEST_TTL:.0f} s")
        if margin <= request_timeout:
            raise ValueError("the margin exceeds the time-out of a request")
        self._store, self._name = store, name
        self._ttl, self._margin, self._heartbeat, self._request_timeout = ttl, margin, heartbeat, request_timeout
        self._patience = ttl + margin + _POLL if lock_timeout is None else lock_timeout
        self._on_wait, self._clock, self._sleep, self._now = on_wait, clock, sleep, now
        self._here = here or Process.this()
        self._holder = Holder(
            owner=owner or uuid.uuid4().hex, who=who, run=run, ttl=ttl, **vars(self._here), since=now().isoformat()
        )
        self._background = background
        self.doing = ""
        """What the run is at: told to whoever waits, with the next heartbeat."""
        self._generation = 0  # 0: not held
        self._deadline = 0.0
        self._why = "it was never taken"  # it cannot be relied on
        self._turn = condition()
        self._beating = False
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        try:
            self.acquire()
        except BaseException:  # interrupted, perhaps just after it was taken
            self.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lease, waiting for another holder if need be.

        Raises:
            Locked: somebody else still holds it after `lock_timeout`.
            Unclear, TooFast: the store gives no clear answer.
        """
        until = self._clock() + self._patience
        while (locked := self._take()) is not None:
            left = until - self._clock()
            if left <= 0:
                raise locked
            self._on_wait(locked)
            self._sleep(min(_POLL, left))
        if self._background:
            self._ended.clear()
            self._thread = threading.Thread(target=self._live, name="lease", daemon=True)
            self._thread.start()

    def release(self) -> None:
        """Give the lease back. When the store does not let us, it just runs out."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        for _ in range(_TRIES):
            if not self._generation:
                return
            try:
                self._store.delete(self._name, self._generation)
                self._lose("it was given back")
            except Conflict:
                self._find_ours()
            except Exception:  # noqa: BLE001 - the work is done, and a lease that stays behind runs out by itself
                self._sleep(1.0)
        self._lose("it was given back")

    def remaining(self) -> float:
        """Seconds for which the lease is certainly ours, 0 when it is not."""
        return max(self._deadline - self._clock(), 0.0) if self._generation else 0.0

    def check(self) -> None:
        """Call it before each changing request. Raises LeaseLost when the lease might end before the request does."""
        if self.remaining() >= self._request_timeout:
            return
        self.beat()  # the machine may have slept, and nobody have come meanwhile
        if self.remaining() < self._request_timeout:
            raise LeaseLost(self._why)

    def beat(self) -> float:
        """Give one sign of life; the seconds until the next is due. Never raises: `check` tells what came of it."""
        with self._turn:
            while self._beating:
                self._turn.wait()
            self._beating = True
        try:
            return self._renew()
        finally:
            with self._turn:
                self._beating = False
                self._turn.notify_all()

    def _renew(self) -> float:
        for _ in range(_TRIES):
            if not self._generation:
                break
            try:
                self._write(self._generation)
                return self._heartbeat
            except Conflict:
                # Rivals take it only when it ran out, so this is most likely an answer of ours that got lost. The next
                # try then starts from the generation that it made, and from a time that we know.
                self._find_ours()
            except Exception as error:  # noqa: BLE001 - whatever it is, another try may help until the time is up
                self._why = f"no sign of life gets through ({error})"
                break
        return self._heartbeat / 3

    def _live(self) -> None:
        due = self._heartbeat
        while not self._ended.wait(due) and self._generation:
            due = self.beat()

    def _take(self) -> Locked | None:
        """Try to take it: who holds it, or None when it is ours."""
        tries = 0
        while True:
            try:
                blob = self._store.get(self._name)
                if blob is not None and not self._may_take(locked := _judge(blob, self._margin)):
                    return locked
                self._write(0 if blob is None else blob.generation)
                return None
            except Conflict:
                continue  # a write has landed: who was faster holds it now, or it was a lost answer of ours; look again
            except (Unclear, TooFast):
                tries += 1
                if tries == _TRIES:
                    raise
                self._sleep(2.0 ** (tries - 1))

    def _may_take(self, locked: Locked) -> bool:
        holder = locked.holder
        return holder.owner == self._holder.owner or locked.expires_in == 0 or holder.is_gone(self._here)

    def _write(self, generation: int) -> None:
        sent = self._clock()
        self._holder = self._holder.model_copy(update={"beats": self._holder.beats + 1, "doing": self.doing})
        self._generation = self._store.put(self._name, self._holder.written(), generation)
        self._deadline = sent + self._ttl
        self._why = "its time is up"

    def _find_ours(self) -> None:
        """After a refusal: go on from the generation that a lost answer of ours made, or know that it is lost."""
        try:
            blob = self._store.get(self._name)
        except Exception as error:  # noqa: BLE001 - as in `_renew`
            self._why = f"no sign of life gets through ({error})"
            return
        if blob is None:
            self._lose("somebody removed it")
        elif (holder := Holder.read(blob.data)).owner != self._holder.owner:
            self._lose(f"{holder.who} on {holder.host} has taken over with run {holder.run}")
        else:
            self._generation = blob.generation

    def _lose(self, why: str) -> None:
        self._generation = 0
        self._why = why
