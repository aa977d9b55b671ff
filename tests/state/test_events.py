"""The log of a run that lies beside the ledger: whole, or of an earlier moment, and never in the run's way."""

import threading

import pytest

from state.events import EventLog

NAME = "runs/20261123T091500Z-abcd.jsonl"
RUN = "20261123T091500Z-abcd"


def log_of(store, **given):
    return EventLog(store, RUN, background=False, **given)


def read(store):
    blob = store.get(NAME)
    return None if blob is None else blob.data.decode().splitlines()


def test_it_grows_with_every_save(store):
    """In every kind of store; the blob is replaced as a whole."""
    with log_of(store) as log:
        log.add("one")
        log.save()
        first = read(store)
        log.add("two")
        log.add("three")

    assert first == ["one"]
    assert read(store) == ["one", "two", "three"]
    assert store.list("runs/") == [NAME]


def test_nothing_new_is_not_saved_again(memory):
    """Nor is a run without events."""
    with log_of(memory) as log:
        log.save()
        log.add("one")
        log.save()
        log.save()

    assert memory.writes == [(NAME, "ok")]


def test_it_is_saved_when_the_run_fails(memory):
    """That is when it is wanted most."""

    def run():
        with log_of(memory) as log:
            log.add("the last words")
            raise LookupError

    with pytest.raises(LookupError):
        run()

    assert read(memory) == ["the last words"]


@pytest.mark.parametrize("outcome", ["lost", "unsent", "fast"])
def test_what_was_not_saved_goes_with_the_next_time(memory, outcome):
    """Whether it had arrived or not."""
    log = log_of(memory)
    log.add("one")
    memory.plan.append(outcome)
    log.save()
    log.add("two")
    log.save()

    assert read(memory) == ["one", "two"]


def test_a_store_that_refuses_does_not_stop_the_run(memory):
    """The right to write may be missing, or the bucket be gone."""
    memory.refusal = PermissionError("403")
    with log_of(memory) as log:
        log.add("one")
        log.save()

    assert read(memory) is None


def test_it_is_saved_while_the_run_goes_on(memory):
    """Without anybody asking, so that a run that is killed leaves its log too."""
    memory.gate = threading.Event()
    with EventLog(memory, RUN, every=0.01) as log:
        log.add("one")
        seen = memory.entered.acquire(timeout=30)
        memory.gate.set()

    assert seen
    assert read(memory) == ["one"]
