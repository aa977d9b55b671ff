"""The history: every run leaves the ledger as it was before it, to the byte, and nothing ever changes there."""

import pytest

from state import history
from state.errors import DamagedLedger, NotSaved
from state.journal import Journal, Pace
from state.ledger import SCHEMA_VERSION, dumps, loads

OLD = b'{\n "deployment": "0a1b2c3d", "salt": "x7f2", "project": "acme-ml", "project_number": "1", "region": "r",'
FIRST_SCHEMA = OLD + b' "schema_version": 1, "serial": 4, "run": "run-0", "records": {}}'


@pytest.fixture
def runs(memory, hand):
    """Lets one run after the other take the ledger over, each with one change."""

    def run(name, initial, **given):
        journal = Journal(memory, pace=Pace(10**9, clock=hand, sleep=hand.sleep), sleep=hand.sleep)
        journal.open(name, initial, **given)
        journal.commit(lambda ledger: ledger.counters.update({name: 1}))
        return memory.get("ledger.json").data

    return run


def test_each_run_leaves_what_it_found(memory, runs, new_ledger):
    """The first found nothing; of the others there is a snapshot, to the byte, called by its serial."""
    first, second = runs("run-1", new_ledger), runs("run-2", new_ledger)
    runs("run-3", new_ledger)

    assert [(found.serial, found.run, found.data) for found in history.snapshots(memory)] == [
        (2, "run-1", first),
        (4, "run-2", second),
    ]
    assert memory.list("history/") == ["history/00000002.json", "history/00000004.json"]
    assert [ledger.counters for ledger in history.states(memory)] == [{"run-1": 1}, {"run-1": 1, "run-2": 1}]


def test_an_old_ledger_is_kept_as_it_was_and_written_as_new(memory, runs, new_ledger):
    """So an upgrade can be undone with the release that wrote it."""
    memory.put("ledger.json", FIRST_SCHEMA, 0)
    new = loads(runs("run-1", new_ledger))
    (kept,) = history.snapshots(memory)

    assert new.schema_version == SCHEMA_VERSION
    assert (kept.serial, kept.data) == (4, FIRST_SCHEMA)
    assert new.serial == 6


@pytest.mark.parametrize("outcome", ["lost", "unsent", "fast"])
def test_a_snapshot_without_an_answer_is_tried_again(memory, runs, new_ledger, outcome):
    """The ledger is not saved before what was there is safe."""
    first = runs("run-1", new_ledger)
    memory.plan.append(outcome)
    runs("run-2", new_ledger)

    assert [found.data for found in history.snapshots(memory)] == [first]
    assert loads(memory.get("ledger.json").data).serial == 4


def test_a_run_that_can_leave_no_snapshot_does_not_begin(memory, runs, new_ledger):
    """Nothing is replaced that is not kept."""
    first = runs("run-1", new_ledger)
    memory.plan.extend(["unsent"] * 8)

    with pytest.raises(NotSaved, match="history/00000002"):
        runs("run-2", new_ledger)

    assert memory.get("ledger.json").data == first


def test_a_run_that_died_between_the_snapshot_and_its_save(memory, runs, new_ledger):
    """The next one finds the same ledger, and the snapshot of it."""
    first = runs("run-1", new_ledger)
    memory.plan.extend(["ok", *["unsent"] * 8])
    with pytest.raises(NotSaved, match="ledger"):
        runs("run-2", new_ledger)
    memory.plan.clear()
    runs("run-3", new_ledger)

    assert [found.data for found in history.snapshots(memory)] == [first]


def test_a_ledger_that_was_put_back_by_hand_is_kept_beside_the_one_of_its_serial(memory, runs, new_ledger):
    """Two files may call themselves the second; none is lost, and serials go on after both."""
    first = runs("run-1", new_ledger)
    runs("run-2", new_ledger)
    by_hand = dumps(new_ledger(serial=2, run="by-hand"))
    memory.put("ledger.json", by_hand, memory.get("ledger.json").generation)
    runs("run-3", new_ledger)

    assert [(found.serial, found.data) for found in history.snapshots(memory)] == [(2, first), (3, by_hand)]
    assert loads(memory.get("ledger.json").data).serial == 5


def test_serials_go_on_where_a_ledger_was_deleted(memory, runs, new_ledger):
    """What is left of its history stays the history of the one that is put in its place."""
    runs("run-1", new_ledger)
    runs("run-2", new_ledger)
    memory.delete("ledger.json", memory.get("ledger.json").generation)
    runs("run-3", new_ledger, instead=lambda found: found or new_ledger())

    assert loads(memory.get("ledger.json").data).serial == 4


def test_another_ledger_can_be_put_in_the_place_of_a_damaged_one(memory, runs, new_ledger):
    """The damaged bytes are kept too, under a serial of their own, and told apart from ledgers."""
    first = runs("run-1", new_ledger)
    runs("run-2", new_ledger)
    memory.put("ledger.json", first[:100], memory.get("ledger.json").generation)
    with pytest.raises(DamagedLedger):
        runs("run-3", new_ledger)
    runs("run-4", new_ledger, instead=lambda found: pytest.fail("found") if found else history.last_good(memory))
    good, damaged = history.snapshots(memory)

    assert (damaged.serial, damaged.data, damaged.ledger, damaged.run) == (3, first[:100], None, "")
    assert "is damaged: it is no JSON" in damaged.trouble
    assert history.states(memory) == [good.ledger]
    assert loads(memory.get("ledger.json").data).serial == 5


def test_what_is_no_snapshot_is_passed_over(memory):
    """Somebody's notes, say; and there may be none at all."""
    memory.put("history/README.json", b"{}", 0)
    memory.put("history/00000007.json", b'{"schema_version": 99}', 0)

    assert history.serials(memory) == [7]
    assert history.last_good(memory) is None
    assert history.read(memory, 8) is None
    assert "this release knows" in history.read(memory, 7).trouble


def test_it_lies_beside_the_ledger_in_every_kind_of_store(store, new_ledger):
    """In a folder, beside a file, in a bucket."""
    for run in ("run-1", "run-2", "run-3"):
        Journal(store, pace=Pace(10**9)).open(run, new_ledger)

    assert [ledger.run for ledger in history.states(store)] == ["run-1", "run-2"]
    assert store.list("history/") == ["history/00000001.json", "history/00000002.json"]
