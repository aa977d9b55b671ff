"""Keeps the ledger as the run goes on: nothing is done in the cloud before its intent is durable.

1. Opening saves the ledger once in the name of this run, and only then shows it: every older holder is fenced. Before
   that save the bytes that were found go into the history.
2. A commit returns when a save that holds it is durable. Who commits while a save is under way shares the next one.
3. A save names the generation that it replaces and carries a fresh `write_id`. When it is refused, the ledger is read:
   an own `write_id` means that only an answer was lost, anything else that another run has taken over.
4. Who was fenced once never saves again.

Cloud Storage takes about one write a second of one object, and bears bursts: https://docs.cloud.google.com/storage/quotas
"""

import threading
import time
import uuid
from collections.abc import Callable

from state import history
from state.errors import (
    Conflict,
    DamagedLedger,
    Fenced,
    LostLedger,
    Moved,
    NewerSchema,
    NotSaved,
    StateError,
    TooFast,
    Unclear,
)
from state.ledger import Ledger, dumps, loads
from state.store import Blob, Store

Change = Callable[[Ledger], None]
Instead = Callable[[Ledger | None], Ledger]
LONGEST_PAUSE = 32.0


def read_ledger(store: Store, name: str = "ledger.json") -> Ledger | None:
    """The ledger as it is saved, None when there never was one; takes no lease and writes nothing.

    Raises:
        NewerSchema, DamagedLedger, LostLedger, Moved: it cannot be read.
        Unclear: a read gets no answer.
    """
    blob = _blob_of(store, name)
    return None if blob is None else loads(blob.data, name)


def _blob_of(store: Store, name: str) -> Blob | None:
    """The ledger's bytes, None when there never was one; who took a lost one for that would begin a second deployment.

    Raises:
        LostLedger: there was one.
    """
    if (blob := store.get(name)) is not None:
        return blob
    known = history.serials(store)
    # A first run may have made it since, and a second one begun the history: so there must be none after that either.
    if known and (blob := store.get(name)) is None:
        raise LostLedger(name, max(known))
    return blob


class Pace:
    """A token bucket: so many saves at once, then so many a second.

    Args:
        burst: saves that need not wait.
        per_second: how fast they come back.
        clock: seconds.
        sleep: waits for seconds.
    """

    def __init__(
        self,
        burst: int = 20,
        per_second: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._burst, self._per_second = float(burst), per_second
        self._clock, self._sleep = clock, sleep
        self._tokens, self._counted = self._burst, clock()

    def wait(self) -> None:
        """Return when the next save may be sent. Call it from one thread at a time."""
        self._count()
        while self._tokens < 1:
            self._sleep(max((1 - self._tokens) / self._per_second, 0.001))
            self._count()
        self._tokens -= 1

    def _count(self) -> None:
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._counted) * self._per_second)
        self._counted = now


class _Ticket:
    """Somebody waits until the first `number` changes are durable, or for the error that kept them from it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.error: Exception | None = None


class Journal:
    """The open ledger of a run; any thread may commit.

    Args:
        store: where it lies.
        name: the blob's name.
        pace: how saves are spaced, for all saves of this ledger.
        sleep: waits for seconds, between two tries of a save.
        attempts: how often a save is tried, with pauses of 1, 2, 4 ... 32 seconds in between.
        new_id: makes write ids.
        condition: makes the lock on which threads wait for each other.
    """

    def __init__(
        self,
        store: Store,
        name: str = "ledger.json",
        *,
        pace: Pace | None = None,
        sleep: Callable[[float], None] = time.sleep,
        attempts: int = 8,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
        condition: Callable[[], threading.Condition] = threading.Condition,
    ) -> None:
        self._store, self._name = store, name
        self._pace = pace or Pace(sleep=sleep)
        self._sleep, self._attempts, self._new_id = sleep, attempts, new_id
        self._turn = condition()
        # Guarded by the turn. A snapshot is never edited: changes make a new one.
        self._snapshot: Ledger | None = None
        self._applied = self._saved = 0  # changes, counted
        self._saving = False
        self._tickets: list[_Ticket] = []
        self._fenced_by: str | None = None
        # Touched only by the thread that saves.
        self._run = ""
        self._generation = self._serial = 0
        self._unanswered: dict[str, Ledger] = {}  # by write id, what may yet turn out to have been saved

    @property
    def ledger(self) -> Ledger:
        """The ledger as it is now. What you get never changes any more, and must not be edited."""
        if self._snapshot is None:
            raise RuntimeError("the journal has not been opened")
        return self._snapshot

    def open(
        self,
        run: str,
        initial: Callable[[], Ledger],
        instead: Instead | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> Ledger:
        """Take the ledger over for a run.

        Args:
            run: this run's id.
            initial: makes a ledger when there is none yet; what it raises comes out.
            instead: makes the ledger to save in the place of the one that is there, which it is given; of a damaged
                or lost one, and where there never was one, it is given None. What it raises comes out.
            check: raises when the lease is lost. Asked after the ledger was read and before it is saved, so that a
                run that hung meanwhile takes nothing away from the one that has taken over.

        Returns:
            The ledger, durable in this run's name.

        Raises:
            NewerSchema, DamagedLedger, LostLedger, Moved: it cannot be taken over; nothing was written.
            NotSaved: others kept saving it, or the store gave no clear answer.
        """
        self._run = run
        made: Ledger | None = None
        for _ in range(self._attempts):
            found = self._found(spoilt_too=instead is not None)
            if instead is not None:
                opened = instead(found)
            elif found is not None:
                opened = found
            else:
                opened = made = made or initial()
            self._pace.wait()
            check()
            try:
                self._snapshot = self._save(opened)
            except Fenced:
                continue  # an older holder was still at it: what it saved counts
            except (Unclear, TooFast) as error:
                raise NotSaved(self._name, error) from error
            return self._snapshot
        raise NotSaved(self._name, RuntimeError("other runs keep writing it"))

    def _found(self, *, spoilt_too: bool) -> Ledger | None:
        """Look what is there and put it into the history; serials go on even where a ledger was lost."""
        self._generation = self._serial = 0
        try:
            blob = _blob_of(self._store, self._name)
        except LostLedger as error:
            if not spoilt_too:
                raise
            self._serial = error.newest
            return None
        if blob is None:
            return None
        self._generation = blob.generation
        try:
            found = loads(blob.data, self._name)
            self._serial = found.serial
        except DamagedLedger:
            if not spoilt_too:
                raise
            found = None
            self._serial = max(history.serials(self._store), default=0) + 1
        self._serial = history.keep(self._store, self._serial, blob.data, attempts=self._attempts, sleep=self._sleep)
        return found

    def commit(self, change: Change) -> None:
        """Change the ledger, and return when that is durable.

        Args:
            change: edits the ledger that it is given, in no time and without calling the journal. When it raises,
                nothing was changed and the error comes out.

        Raises:
            Fenced: another run has taken over.
            NotSaved: the store does not answer or refuses. The change stays and goes with the next save.
        """
        with self._turn:
            ticket = self._apply(change)
            self._tickets.append(ticket)
        self._settle(ticket)

    def note(self, change: Change) -> None:
        """Change the ledger without waiting: it is saved with whatever is saved next. Raises Fenced."""
        with self._turn:
            self._apply(change)

    def flush(self) -> None:
        """Return when everything so far is durable; nothing is written when it is already. Raises like `commit`."""
        with self._turn:
            ticket = _Ticket(self._applied)
            self._tickets.append(ticket)
        self._settle(ticket)

    def _apply(self, change: Change) -> _Ticket:
        self._refuse_when_fenced()
        draft = self.ledger.model_copy(deep=True)
        change(draft)
        self._snapshot = draft
        self._applied += 1
        return _Ticket(self._applied)

    def _settle(self, ticket: _Ticket) -> None:
        try:
            while self._must_save(ticket):
                self._save_for_all()
        finally:
            with self._turn:
                self._tickets.remove(ticket)

    def _must_save(self, ticket: _Ticket) -> bool:
        """Wait until the ticket is settled (False), or nobody else is saving (True: the caller has to)."""
        with self._turn:
            while self._saved < ticket.number:
                self._refuse_when_fenced()
                if ticket.error is not None:
                    raise NotSaved(self._name, ticket.error) from ticket.error
                if not self._saving:
                    self._saving = True
                    return True
                self._turn.wait()
            return False

    def _save_for_all(self) -> None:
        saved: Ledger | None = None
        error: Exception | None = None
        included = 0
        try:
            self._pace.wait()  # who commits meanwhile comes along
            with self._turn:
                included, snapshot = self._applied, self.ledger
            saved = self._save(snapshot)
        except Exception as failure:  # noqa: BLE001 - it is raised by each thread that waits for this save
            error = failure
        finally:  # also when this thread is interrupted: the others must go on
            with self._turn:
                self._saving = False
                if saved is not None:
                    self._saved = included
                    stamp = {"run": saved.run, "serial": saved.serial, "write_id": saved.write_id}
                    self._snapshot = self.ledger.model_copy(update=stamp)
                elif isinstance(error, Fenced):
                    self._fenced_by = error.by
                elif error is not None:
                    for ticket in self._tickets:
                        if ticket.number <= included:
                            ticket.error = error
                self._turn.notify_all()

    def _save(self, ledger: Ledger) -> Ledger:
        """Save, trying again until it is certain what came of it; the ledger as it is saved then."""
        trouble: StateError | None = None
        for attempt in range(self._attempts):
            if trouble is not None:
                self._sleep(min(2.0 ** (attempt - 1), LONGEST_PAUSE))
            try:
                return self._try_to_save(ledger)
            except (Unclear, TooFast) as error:
                trouble = error
        if (saved := self._arrived(ledger)) is not None:
            return saved
        raise trouble or ValueError("a journal needs at least one attempt")

    def _try_to_save(self, ledger: Ledger) -> Ledger:
        stamp = {"run": self._run, "serial": self._serial + 1, "write_id": self._new_id()}
        stamped = ledger.model_copy(update=stamp)
        self._unanswered[stamped.write_id] = ledger
        try:
            generation = self._store.put(self._name, dumps(stamped), self._generation)
        except Conflict:
            saved = self._arrived(ledger)
            if saved is None:
                raise Unclear(self._name, "an earlier save of this run arrived late") from None
            return saved
        self._generation, self._serial = generation, stamped.serial
        self._unanswered.clear()  # they named the generation before: they can arrive no more
        return stamped

    def _arrived(self, ledger: Ledger) -> Ledger | None:
        """Look what is there: this ledger, saved; nothing new or an earlier save of ours (None); a rival's (Fenced)."""
        blob = self._store.get(self._name)
        if (blob.generation if blob else 0) == self._generation:
            return None
        if blob is None:
            raise Fenced(self._run, "somebody who deleted it")
        try:
            found = loads(blob.data, self._name)
        except (DamagedLedger, NewerSchema, Moved) as error:
            raise Fenced(self._run, f"somebody unknown ({error})") from error
        if found.write_id not in self._unanswered:
            raise Fenced(self._run, f"run {found.run}")
        self._generation, self._serial = blob.generation, found.serial
        return found if self._unanswered[found.write_id] is ledger else None

    def _refuse_when_fenced(self) -> None:
        if self._fenced_by is not None:
            raise Fenced(self._run, self._fenced_by)
