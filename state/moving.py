"""Copies what lies in a store to another one, leaves a signpost, and empties a store; each step can be done again.

Every function brings a blob to what it should be and looks whether it is: so a lost answer, or the death of the
process, is mended by calling it once more.
"""

import time
from collections.abc import Callable
from functools import partial

from state import events, history
from state.errors import Conflict, DamagedLedger, Moved, NewerSchema, NotSaved, StateError, TooFast, Unclear
from state.ledger import Ledger, loads, signpost
from state.store import Store

LEDGER = "ledger.json"
_TRIES = 8


class Occupied(StateError):
    """Something else is there already, and must not be written over."""

    def __init__(self, store: Store, name: str) -> None:
        super().__init__(f"{name} at {store} is something else, and is left as it is.")


def move(source: Store, target: Store, ledger: Ledger, sleep: Callable[[float], None] = time.sleep) -> None:
    """Copy ledger, history and logs of runs, read them back, and leave a signpost in the place of the ledger.

    The signpost comes last: until then the source is what counts, and afterwards the target is whole. Meanwhile a
    signpost at the target leads back, so that a copy that was not finished is not taken for a ledger that is lost.
    Call it while nobody else may write to either.

    Args:
        source: where it lies.
        target: where it shall lie.
        ledger: the ledger of the source.
        sleep: waits for seconds, between two tries.

    Raises:
        Occupied: the target holds another ledger, or one that has gone on since, or the history of another one.
        NotSaved: a store gives no clear answer.
        Unclear: a read gets no answer.
    """
    blob = source.get(LEDGER)
    if blob is None:
        raise NotSaved(LEDGER, LookupError("it was deleted meanwhile"))
    there = target.get(LEDGER)
    if there is not None and there.data != blob.data and not _is_a_copy(there.data, source, ledger):
        raise Occupied(target, LEDGER)
    if there is None:
        _must_hold_copies_only(target, source)
        bring(target, LEDGER, signpost(str(source)), may_replace=_never, sleep=sleep)
    for folder, grows in ((history.FOLDER, False), (events.FOLDER, True)):
        for name in source.list(folder):
            found = source.get(name)
            if found is not None:
                bring(target, name, found.data, may_replace=_always if grows else _never, sleep=sleep)
    bring(target, LEDGER, blob.data, may_replace=partial(_is_a_copy, source=source, ledger=ledger), sleep=sleep)
    bring(source, LEDGER, signpost(str(target)), may_replace=lambda there: there == blob.data, sleep=sleep)


def clear(store: Store, sleep: Callable[[float], None] = time.sleep) -> None:
    """Remove logs, history and ledger, the ledger last, so that whoever is interrupted can do it again.

    Raises:
        NotSaved: the store gives no clear answer.
        Unclear: a read gets no answer.
    """
    for name in [*store.list(events.FOLDER), *store.list(history.FOLDER), LEDGER]:
        _remove(store, name, sleep)


def bring(
    store: Store,
    name: str,
    data: bytes,
    *,
    may_replace: Callable[[bytes], bool],
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Make a blob hold these bytes, and return when a read has shown that it does.

    Raises:
        Occupied: it holds others that may not be replaced.
        NotSaved: the store gives no clear answer.
    """
    trouble: Exception = LookupError("it was never tried")
    for attempt in range(_TRIES):
        try:
            blob = store.get(name)
            if blob is not None and blob.data == data:
                return
            if blob is not None and not may_replace(blob.data):
                raise Occupied(store, name)
            store.put(name, data, blob.generation if blob else 0)
        except Conflict as error:
            trouble = error
        except (Unclear, TooFast) as error:
            trouble = error
            sleep(min(2.0**attempt, 32.0))
    raise NotSaved(name, trouble)


def _remove(store: Store, name: str, sleep: Callable[[float], None]) -> None:
    trouble: Exception = LookupError("it was never tried")
    for attempt in range(_TRIES):
        try:
            blob = store.get(name)
            if blob is None:
                return
            store.delete(name, blob.generation)
        except Conflict as error:
            trouble = error
        except (Unclear, TooFast) as error:
            trouble = error
            sleep(min(2.0**attempt, 32.0))
    raise NotSaved(name, trouble)


def _always(there: bytes) -> bool:
    return True


def _never(there: bytes) -> bool:
    return False


def _must_hold_copies_only(target: Store, source: Store) -> None:
    """Raise Occupied where a ledger was lost: what is left of it must not be buried under another one."""
    for name in target.list(history.FOLDER):
        left, ours = target.get(name), source.get(name)
        if left is not None and (ours is None or ours.data != left.data):
            raise Occupied(target, name)


def _is_a_copy(there: bytes, source: Store, ledger: Ledger) -> bool:
    """Whether it is what an earlier try left: a ledger that the source once had, or the signpost that leads here."""
    try:
        found = loads(there)
    except Moved as error:
        return error.to == str(source)
    except (DamagedLedger, NewerSchema):
        return False
    earlier = history.read(source, found.serial)
    return found.deployment == ledger.deployment and earlier is not None and earlier.data == there
