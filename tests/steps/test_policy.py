"""The arithmetic of IAM policies: ours comes and goes, all else is the very same."""

import copy

import pytest

from provision.step import Change
from steps import _policy

CONDITION = {"title": "until May", "expression": "request.time < timestamp('2027-05-01T00:00:00Z')"}
POLICY = {
    "version": 1,
    "etag": "BwXh",
    "auditConfigs": [{"service": "allServices"}],
    "bindings": [
        {"role": "roles/owner", "members": ["user:ada@example.com"]},
        {"role": "roles/viewer", "members": ["user:ada@example.com", "group:all@example.com"]},
        {"role": "roles/viewer", "members": ["user:bob@example.com"], "condition": CONDITION},
    ],
}


def triples(policy):
    """A policy as the set of what it says."""
    return {
        (binding["role"], member, str(binding.get("condition")))
        for binding in policy["bindings"]
        for member in binding["members"]
    }


@pytest.mark.parametrize(
    ("add", "remove", "gone", "come"),
    [
        pytest.param(set(), set(), set(), set(), id="nothing to do changes nothing"),
        pytest.param(
            {("roles/editor", "user:eve@example.com")},
            set(),
            set(),
            {("roles/editor", "user:eve@example.com", "None")},
            id="a new role gets a binding of its own",
        ),
        pytest.param(
            {("roles/viewer", "user:eve@example.com")},
            set(),
            set(),
            {("roles/viewer", "user:eve@example.com", "None")},
            id="a member joins the unconditional binding",
        ),
        pytest.param(
            {("roles/viewer", "user:bob@example.com")},
            set(),
            set(),
            {("roles/viewer", "user:bob@example.com", "None")},
            id="a conditional grant does not count as the unconditional one",
        ),
        pytest.param(
            set(),
            {("roles/viewer", "user:bob@example.com")},
            set(),
            set(),
            id="a conditional grant is never taken out",
        ),
        pytest.param(
            set(),
            {("roles/viewer", "user:ada@example.com"), ("roles/viewer", "group:all@example.com")},
            {("roles/viewer", "user:ada@example.com", "None"), ("roles/viewer", "group:all@example.com", "None")},
            set(),
            id="a binding without members goes",
        ),
        pytest.param(
            set(),
            {("roles/editor", "user:nobody@example.com")},
            set(),
            set(),
            id="what is not there cannot be taken out",
        ),
    ],
)
def test_edited(add, remove, gone, come):
    """Exactly the asked grants come and go; etag and audit settings stay, and it is written as version 3."""
    before = copy.deepcopy(POLICY)
    after = _policy.edited(POLICY, add, remove)

    assert triples(after) == (triples(POLICY) - gone) | come
    assert {key: after[key] for key in ("etag", "auditConfigs", "version")} == {
        "etag": "BwXh", "auditConfigs": [{"service": "allServices"}], "version": 3
    }  # fmt: skip
    assert before == POLICY


def test_granted_leaves_conditions_out_and_merges():
    """Two bindings of one role are one list, sorted; conditional ones are not shown."""
    twice = {"bindings": [*POLICY["bindings"], {"role": "roles/viewer", "members": ["domain:example.com"]}]}

    assert _policy.granted(twice)["bindings"]["roles/viewer"] == [
        "domain:example.com",
        "group:all@example.com",
        "user:ada@example.com",
    ]


def test_a_fresh_policy_grants_nothing():
    """A resource that nobody was granted anything on has an etag and no bindings."""
    assert _policy.granted({"etag": "ACAB"}) == {"bindings": {}}


def test_members_are_declared_in_googles_spelling():
    """Addresses are lower case, else they would differ for ever; the kinds keep their capital."""
    declared = _policy.bindings(
        {"roles/viewer": ["user:Ada@Example.com", "serviceAccount:A@p.iam.gserviceaccount.com"]}
    )

    assert declared == {
        "bindings": {"roles/viewer": ["serviceAccount:a@p.iam.gserviceaccount.com", "user:ada@example.com"]}
    }


def memory(policy):
    """Policies of one resource, kept here."""
    kept = {"policy": policy}
    verbs = _policy.Policies(
        lambda gcp, resource: copy.deepcopy(kept["policy"]),
        lambda gcp, resource, policy: kept.update(policy=policy),
    )
    return verbs, kept


def test_an_update_moves_only_what_differs():
    """Members that came in between, of the same role, are neither added nor removed by us."""
    verbs, kept = memory(POLICY)
    changes = [
        Change(
            ("bindings", "roles/viewer"), ["group:all@example.com", "user:eve@example.com"], ["user:eve@example.com"]
        ),
        Change(("bindings", "roles/editor"), None, ["user:eve@example.com"]),
        Change(("bindings", "roles/owner"), ["user:zoe@example.com"], None),
    ]
    verbs.update(None, "projects/p/iamPolicy", {}, changes)

    assert _policy.granted(kept["policy"])["bindings"] == {
        "roles/editor": ["user:eve@example.com"],
        "roles/owner": ["user:ada@example.com"],
        "roles/viewer": ["user:ada@example.com"],
    }


def test_delete_takes_out_exactly_what_was_applied():
    """Others' grants of the same role stay."""
    verbs, kept = memory(POLICY)
    verbs.delete(None, "projects/p/iamPolicy", {}, {"bindings": {"roles/viewer": ["group:all@example.com"]}})

    assert triples(kept["policy"]) == triples(POLICY) - {("roles/viewer", "group:all@example.com", "None")}
