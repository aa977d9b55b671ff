"""What counts as a difference between declared, live and applied bodies."""

import pytest

from provision.compare import differences, managed, merged, remains
from provision.step import Change

SAME = [
    pytest.param({"diskSizeGb": 10}, {"diskSizeGb": "10"}, id="int64 comes back as text"),
    pytest.param({"enabled": False}, {}, id="a default that the API leaves out"),
    pytest.param({"labels": {}}, {}, id="an empty object declares nothing"),
    pytest.param({"a": {"b": False}}, {}, id="a default inside an object that the API leaves out"),
    pytest.param({"network": "projects/p/global/networks/n"},
                 {"network": "https://www.googleapis.com/compute/v1/projects/p/global/networks/n"},
                 id="a link in full"),
    pytest.param({"members": ["a", "b"]}, {"members": ["b", "a"]}, id="names in another order"),
    pytest.param({"name": "x"}, {"name": "x", "etag": "y"}, id="fields that we do not manage"),
    pytest.param({"rules": [{"age": 1}]}, {"rules": [{"age": 1, "isLive": False, "suffixes": []}]},
                 id="defaults that the API adds to an item of a list"),
    pytest.param({"rules": [{"age": 1, "isLive": False}]}, {"rules": [{"age": 1}]},
                 id="a default that the API leaves out of an item of a list"),
    pytest.param({"memory": 3.0}, {"memory": 3}, id="a whole number as float"),
]  # fmt: skip

DIFFERENT = [
    pytest.param({"tier": "a"}, {"tier": "b"}, [Change(("tier",), "b", "a")], id="another value"),
    pytest.param({"tier": "a"}, {}, [Change(("tier",), None, "a")], id="a field that vanished"),
    pytest.param({"a": {"b": 1}}, {"a": {"b": 2}}, [Change(("a", "b"), 2, 1)], id="a field inside an object"),
    pytest.param({"on": True}, {"on": False}, [Change(("on",), False, True)], id="a switch"),
    pytest.param({"members": ["a"]}, {"members": ["a", "x"]}, [Change(("members",), ["a", "x"], ["a"])],
                 id="an extra member where we are alone"),
    pytest.param({"rules": [{"age": 1}]}, {"rules": []}, [Change(("rules",), [], [{"age": 1}])], id="a rule that is gone"),
    pytest.param({"rules": [{"if": {"age": 1}}]}, {"rules": [{"if": {"age": 1, "prefixes": ["x/"]}}]},
                 [Change(("rules",), [{"if": {"age": 1, "prefixes": ["x/"]}}], [{"if": {"age": 1}}])],
                 id="a condition more in a rule"),
    pytest.param({"rules": [{"age": 1}]}, {"rules": [{"age": 1, "isLive": True}]},
                 [Change(("rules",), [{"age": 1, "isLive": True}], [{"age": 1}])], id="a field more in a rule"),
]  # fmt: skip


@pytest.mark.parametrize(("declared", "live"), SAME)
def test_spellings_of_the_same_are_no_difference(declared, live):
    """A second run must find nothing to do, whatever form Google gives the same value."""
    assert differences(declared, live) == []


@pytest.mark.parametrize(("declared", "live", "changes"), DIFFERENT)
def test_a_difference_names_its_field(declared, live, changes):
    """Each differing field is one change with its path, what is live and what it should be."""
    assert differences(declared, live) == changes


def test_a_disk_that_grew_is_no_difference():
    """Of an at_least number the cloud may have more, and not less."""
    assert differences({"disk": 10}, {"disk": "20"}, at_least=("disk",)) == []
    assert differences({"disk": 10}, {"disk": "5"}, at_least=("disk",)) == [Change(("disk",), "5", 10)]


@pytest.mark.parametrize("digit", ["²", "٣"])
def test_a_digit_of_another_script_is_no_number(digit):
    """Google writes none, and it is told as what it is instead of ending the run."""
    assert differences({"disk": 1}, {"disk": digit}, at_least=("disk",)) == [Change(("disk",), digit, 1)]


def test_foreign_members_stay_where_we_are_guests():
    """An additive policy: ours are added, what we gave before and give no more is taken, others are not touched."""
    changes = differences(
        {"bindings": {"roles/x": ["user:new"]}},
        {"bindings": {"roles/x": ["user:old", "user:stranger"], "roles/y": ["user:other"]}},
        {"bindings": {"roles/x": ["user:old"]}},
        at_least=("bindings",),
    )

    assert changes == [Change(("bindings", "roles/x"), ["user:old", "user:stranger"], ["user:new", "user:stranger"])]


def test_what_we_applied_and_declare_no_more_is_to_go():
    """A label or a binding that the config dropped becomes a change whose goal is nothing."""
    changes = differences({"labels": {}}, {"labels": {"team": "a", "theirs": "b"}}, {"labels": {"team": "a"}})

    assert changes == [Change(("labels", "team"), "a", None)]


def test_a_write_only_field_is_compared_with_what_was_applied():
    """The API never returns it, so the ledger is the only witness."""
    declared = {"name": "u", "passwordVersion": "versions/2"}

    assert differences(declared, {"name": "u"}, declared, write_only=("passwordVersion",)) == []
    assert differences(declared, {"name": "u"}, {"passwordVersion": "versions/1"}, write_only=("passwordVersion",)) == [
        Change(("passwordVersion",), "versions/1", "versions/2")
    ]


def test_the_before_image_holds_only_what_we_manage():
    """What an update replaces is kept without the fields of others."""
    live = {"name": "x", "etag": "e", "settings": {"tier": "a", "kind": "k"}}

    assert managed(live, {"settings": {"tier": "b"}, "labels": {}}) == {"settings": {"tier": "a"}}


def test_applied_bodies_add_up():
    """What was applied and is no longer declared is remembered until it is gone."""
    assert merged({"a": {"x": 1}, "b": 2}, {"a": {"y": 3}}) == {"a": {"x": 1, "y": 3}, "b": 2}


@pytest.mark.parametrize(
    ("live", "still"),
    [
        pytest.param({"bindings": {"r": ["user:theirs"]}}, False, id="only others are left"),
        pytest.param({"bindings": {"r": ["user:theirs", "user:ours"]}}, True, id="ours is still in it"),
        pytest.param({}, False, id="nothing is left"),
    ],
)
def test_ours_is_gone_when_no_binding_of_ours_is_left(live, still):
    """A policy never disappears; our part of it does."""
    assert remains({"bindings": {"r": ["user:ours"]}}, live) is still
