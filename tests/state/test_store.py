"""What every store promises: compare-and-set, and nothing by halves."""

import threading
from datetime import UTC

import pytest

from state.errors import Conflict


def test_nothing_is_there_at_first(store):
    """Nor does asking make anything."""
    assert store.get("ledger.json") is None
    assert store.list() == []


def test_what_was_put_is_read_back_with_its_generation(store):
    """With both clocks in UTC, of the same server."""
    generation = store.put("ledger.json", b'{"a": 1}', 0)

    blob = store.get("ledger.json")

    assert (blob.data, blob.generation) == (b'{"a": 1}', generation)
    assert blob.updated.tzinfo == blob.server_now.tzinfo == UTC
    assert abs((blob.server_now - blob.updated).total_seconds()) < 60
    assert generation != 0


def test_a_blob_is_made_only_where_there_is_none(store):
    """Generation 0 says: it must not exist."""
    store.put("ledger.json", b"first", 0)

    with pytest.raises(Conflict):
        store.put("ledger.json", b"second", 0)

    assert store.get("ledger.json").data == b"first"


@pytest.mark.parametrize("rival", [b"other", b"first"], ids=["by other bytes", "by equal bytes"])
def test_only_the_generation_that_was_seen_is_replaced(store, rival):
    """Also when a rival wrote the very same bytes: that is a sign of life, and must count."""
    seen = store.put("lease.json", b"first", 0)
    there = store.put("lease.json", rival, seen)

    with pytest.raises(Conflict):
        store.put("lease.json", b"late", seen)

    assert (store.get("lease.json").data, store.get("lease.json").generation) == (rival, there)


def test_a_blob_that_is_gone_is_not_replaced(store):
    """Somebody deleted it: there is nothing of that generation."""
    seen = store.put("lease.json", b"first", 0)
    store.delete("lease.json", seen)

    with pytest.raises(Conflict):
        store.put("lease.json", b"late", seen)

    assert store.get("lease.json") is None


def test_only_the_generation_that_was_seen_is_deleted(store):
    """A lease that somebody has taken over is not taken from him."""
    seen = store.put("lease.json", b"first", 0)
    there = store.put("lease.json", b"second", seen)

    with pytest.raises(Conflict):
        store.delete("lease.json", seen)
    still = store.get("lease.json")
    store.delete("lease.json", there)

    assert still.data == b"second"
    assert store.get("lease.json") is None


def test_what_is_not_there_cannot_be_deleted(store):
    """So a lost answer to a delete looks like a conflict."""
    with pytest.raises(Conflict):
        store.delete("lease.json", 12345)


def test_the_names_are_listed_sorted_and_by_prefix(store):
    """Ledger, lease and what lies in folders beside them."""
    for name in ("runs/b.jsonl", "ledger.json", "history/1.json", "lease.json", "runs/a.jsonl"):
        store.put(name, b"{}", 0)

    assert store.list() == ["history/1.json", "lease.json", "ledger.json", "runs/a.jsonl", "runs/b.jsonl"]
    assert store.list("runs/") == ["runs/a.jsonl", "runs/b.jsonl"]


def test_no_update_is_lost_between_rivals(store):
    """Four threads count to eight each by compare-and-set; every step is in the sum."""
    store.put("count", b"0", 0)

    def count():
        for _ in range(8):
            while True:
                blob = store.get("count")
                try:
                    store.put("count", str(int(blob.data) + 1).encode(), blob.generation)
                    break
                except Conflict:
                    continue

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert store.get("count").data == b"32"
