"""What differs between two ledgers."""

from state.difference import Field, between
from state.ledger import Deed, Record

REF, OTHER = "projects/p/instances/i", "projects/p/secrets/s"


def record(ref=REF, **fields):
    return Record(ref=ref, step="sql_instance", **fields)


def test_equal_ledgers_do_not_differ(new_ledger):
    """Nor do stamps count that every save makes anew."""
    one = new_ledger(records={REF: record()}, serial=3, run="a", write_id="1")

    assert not between(one, one)
    assert not between(one, new_ledger(records={REF: record()}, serial=9, run="b", write_id="2"))


def test_what_came_and_went(new_ledger):
    """By name."""
    found = between(new_ledger(records={REF: record()}), new_ledger(records={OTHER: record(OTHER)}))

    assert (found.added, found.removed, found.changed) == ([OTHER], [REF], {})
    assert found


def test_what_changed_field_by_field(new_ledger):
    """However deep; a whole part that comes is told by its leaves."""
    done = Deed(verb="create", run="r", serial=1, at="2026-11-23T00:00:00+00:00")
    before = record(body={"settings": {"tier": "small", "labels": {}}, "region": "r"}, pending=done)
    after = record(body={"settings": {"tier": "large", "labels": {"a": "b"}}, "region": "r"}, adopted=True)
    found = between(new_ledger(records={REF: before}), new_ledger(records={REF: after}))
    told = {field.path: (field.before, field.after) for field in found.changed[REF]}

    assert told.items() >= {
        "adopted": (False, True),
        "body.settings.tier": ("small", "large"),
        "body.settings.labels": ({}, None),
        "body.settings.labels.a": (None, "b"),
        "pending.verb": ("create", None),
    }.items()  # fmt: skip
    assert "body.region" not in told


def test_what_changed_beside_the_records(new_ledger):
    """Ids that were counted on, say."""
    found = between(new_ledger(counters={"secret": 1}), new_ledger(counters={"secret": 2}))

    assert found.general == [Field("counters.secret", 1, 2)]
