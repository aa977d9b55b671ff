"""What a run has under way, for somebody who waits."""

import threading
from datetime import timedelta

import pytest
import structlog

from provision import progress
from provision.engine import Engine
from provision.gcp import Gcp
from provision.plan import Plan, row
from state.journal import Journal, Pace
from state.ledger import Deed, Record
from tests.provision.toy import HandMovedClock, MemoryStore, ToyCloud, first_ledger, toy_step

RUN = "run-1"


@pytest.fixture
def engine():
    """A run that has begun three things: long ago, just now, and one of a dead run's that Google works on."""
    clock, store = HandMovedClock(), MemoryStore()
    journal = Journal(store, pace=Pace(burst=1000))
    journal.open(RUN, first_ledger)
    steps = [toy_step(ToyCloud(), name, {}) for name in ("database", "bucket", "server")]
    steps[0].__doc__ = "A database: where everything is."

    def deed(seconds_ago, **fields):
        at = (clock.now() - timedelta(seconds=seconds_ago)).isoformat()
        return Deed.model_validate({"verb": "create", "run": RUN, "serial": 1, "at": at, **fields})

    pending = {
        "database": deed(195),
        "bucket": deed(1),
        "server": deed(400, run="run-0", verb="delete", operation="//appengine.googleapis.com/apps/p/operations/1"),
    }
    for name, intent in pending.items():
        record = Record(ref=name, step=name, pending=intent)
        journal.note(lambda ledger, record=record: ledger.records.update({record.ref: record}))
    return Engine(Plan(tuple(row(step) for step in steps)), Gcp("p"), journal, RUN, clock)


def test_what_takes_long_is_told_with_its_time(engine):
    """The longest first; what has just begun not yet."""
    assert progress.under_way(engine) == [
        "removing server (The toy server), 6:40",
        "creating database (A database), 3:15",
    ]


def test_where_nobody_looks_a_line_a_minute_is_told(engine, monkeypatch):
    """So that a pipeline sees that it lives."""
    monkeypatch.setattr(progress, "EVERY", 0.01)
    enough = threading.Event()

    def count(logger, method, event):
        count.lines.append(event["what"])
        if len(count.lines) == 4:
            enough.set()
        raise structlog.DropEvent

    count.lines = []
    before = structlog.get_config()
    structlog.configure(processors=[count], wrapper_class=structlog.BoundLogger)
    try:
        with progress.shown(engine, live=False):
            assert enough.wait(10)
    finally:
        structlog.configure(**before)

    assert count.lines[:2] == progress.under_way(engine)
    assert not [thread for thread in threading.enumerate() if thread.name == "progress"]
