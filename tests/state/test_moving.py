"""A ledger on the move: dead at any point, the same command finishes, and nothing is lost or written over."""

import contextlib

import pytest

from state import history, moving
from state.errors import Moved, NotSaved
from state.events import EventLog
from state.files import FileStore
from state.journal import Journal, Pace, read_ledger
from state.ledger import dumps, loads, signpost


class Death(BaseException):
    """The process is gone at this very point."""


class Mortal:
    """A store that dies at a chosen write, before or after its effect; several share one count."""

    def __init__(self, inner, life):
        self.inner, self.life = inner, life
        self.get, self.list = inner.get, inner.list

    def __str__(self):
        return str(self.inner)

    def put(self, name, data, if_generation):
        return self._write(lambda: self.inner.put(name, data, if_generation))

    def delete(self, name, if_generation):
        return self._write(lambda: self.inner.delete(name, if_generation))

    def _write(self, act):
        self.life["writes"] += 1
        dies = self.life["writes"] == self.life["dies_at"]
        if dies and not self.life["after"]:
            raise Death
        result = act()
        if dies:
            raise Death
        return result


def lived(store, new_ledger, runs=3):
    """A ledger with a history, and a log of each run."""
    for number in range(runs):
        run = f"run-{number}"
        Journal(store, pace=Pace(10**9)).open(run, new_ledger)
        with EventLog(store, run, background=False) as log:
            log.add(f'{{"event": "{run}"}}')
    return read_ledger(store)


def content(store):
    """All blobs of a store."""
    return {name: store.get(name).data for name in store.list() if name != "lease.json"}


def go(source, target):
    """What `state migrate` does once it holds both leases."""
    journal = Journal(source, pace=Pace(10**9))
    ledger = journal.open("mover", lambda: pytest.fail("there is a ledger"))
    moving.move(source, target, ledger)
    return ledger


@pytest.fixture
def places(tmp_path):
    """Two places."""
    return FileStore(tmp_path / "here"), FileStore(tmp_path / "there.json")


def test_everything_goes_and_a_signpost_stays(store, tmp_path, new_ledger):
    """From every kind of store into a file."""
    lived(store, new_ledger)
    before = content(store)
    target = FileStore(tmp_path / "target" / "ledger.json")
    ledger = go(store, target)
    moved = content(target)

    assert read_ledger(target) == ledger
    assert moved.items() >= {name: data for name, data in before.items() if name != "ledger.json"}.items()
    assert store.get("ledger.json").data == signpost(str(target))
    with pytest.raises(Moved, match=str(target)):
        read_ledger(store)


@pytest.mark.parametrize("after", [False, True], ids=["before its effect", "after its effect"])
def test_dead_at_any_write(tmp_path, new_ledger, after):
    """Until the signpost stands the old place counts, then the new one; typed again, it ends as if undisturbed."""
    died, number = 0, 0
    while died == number:
        number += 1
        source, target = FileStore(tmp_path / f"{number}-here"), FileStore(tmp_path / f"{number}-there")
        lived(source, new_ledger)
        known = set(content(source))
        life = {"writes": 0, "dies_at": number, "after": after}
        try:
            go(Mortal(source, life), Mortal(target, life))
        except Death:
            died += 1
        for place in (source, target):
            assert all(snapshot.ledger for snapshot in history.snapshots(place))
            with contextlib.suppress(Moved):  # and not LostLedger: who looks there is told where the ledger is
                read_ledger(place)
        with contextlib.suppress(Moved):  # it had come to its end
            go(source, target)

        assert set(content(target)) >= known
        assert loads(target.get("ledger.json").data).run == "mover"
        assert source.get("ledger.json").data == signpost(str(target))

    assert died > 8


def test_the_old_place_has_gone_on_since_a_move_that_died(places, new_ledger):
    """What a dead move had copied is older by now, and is replaced."""
    source, target = places
    lived(source, new_ledger)
    moving.bring(target, "ledger.json", source.get("ledger.json").data, may_replace=lambda there: False)
    lived(source, new_ledger)
    ledger = go(source, target)

    assert read_ledger(target) == ledger


@pytest.mark.parametrize(
    "there",
    [
        pytest.param(lambda new: dumps(new(deployment="ffffffff")), id="the ledger of another deployment"),
        pytest.param(lambda new: dumps(new(serial=99)), id="one of ours that has gone on over there"),
        pytest.param(lambda new: b"{", id="a damaged one"),
        pytest.param(lambda new: signpost("gs://elsewhere/"), id="a signpost to elsewhere"),
    ],
)
def test_what_is_there_is_not_written_over(places, new_ledger, there):
    """Neither it nor the old place is touched, and nothing is copied."""
    source, target = places
    lived(source, new_ledger)
    target.put("ledger.json", there(new_ledger), 0)
    before = content(target)

    with pytest.raises(moving.Occupied):
        go(source, target)

    assert content(target) == before
    assert read_ledger(source) is not None


def test_there_and_back_again(places, new_ledger):
    """The signpost that the first move has left is no hindrance."""
    here, there = places
    lived(here, new_ledger)
    go(here, there)
    lived(there, new_ledger)
    ledger = go(there, here)

    assert read_ledger(here) == ledger
    assert len(history.states(here)) >= 6
    with pytest.raises(Moved):
        read_ledger(there)


@pytest.mark.parametrize("outcome", ["lost", "unsent", "fast"])
def test_answers_that_do_not_come(memory, hand, outcome):
    """A write is looked after until a read shows it."""
    memory.plan.append(outcome)
    moving.bring(memory, "runs/a.jsonl", b"a", may_replace=lambda there: False, sleep=hand.sleep)

    assert memory.get("runs/a.jsonl").data == b"a"


def test_a_store_that_never_answers(memory, hand):
    """It is told, and the old place stays as it is."""
    memory.plan.extend(["unsent"] * 8)

    with pytest.raises(NotSaved):
        moving.bring(memory, "ledger.json", b"{}", may_replace=lambda there: False, sleep=hand.sleep)


def test_all_is_removed_and_the_ledger_last(store, new_ledger):
    """Whoever is interrupted can do it again."""
    lived(store, new_ledger)
    removed = []
    delete = store.delete
    store.delete = lambda name, generation: (removed.append(name), delete(name, generation))
    moving.clear(store)
    moving.clear(store)

    assert store.list() == []
    assert removed[-1] == "ledger.json"
    assert len(removed) == 6


def test_no_empty_folder_stays_behind(tmp_path, new_ledger):
    """Beside a ledger that is a file, only the lock stays."""
    store = FileStore(tmp_path / "ledger.json")
    lived(store, new_ledger)
    moving.clear(store)

    assert [path.name for path in tmp_path.iterdir()] == [".ledger.json.lock"]
