"""From one deployment to the next: `down` after an unfinished `up`, names that are used once, and what `down` keeps."""

import contextlib

import pytest

from provision import compare
from provision.config import Config
from provision.errors import BeyondRepair, NameTaken, OperationFailed
from provision.plan import row
from provision.teardown import Teardown
from tests.provision.toy import DEPLOYMENT, Death, MemoryStore, ToyCloud, engine, toy_step

CONFIG = Config(project="my-project")


def run(rows, store):
    """One `up`, flushed as a session does it."""
    it = engine(rows, store)
    it.up(CONFIG)
    it.journal.flush()


def take_down(rows, store):
    it = engine(rows, store)
    Teardown(it, "z9y8", delete_data=True).run()
    it.journal.flush()


@pytest.mark.parametrize("after_effect", [pytest.param(False, id="before it"), pytest.param(True, id="after it")])
def test_down_takes_what_a_dead_run_has_made(after_effect):
    """Killed at any save, and never run again: what an unfinished intent has made is not forgotten."""
    for number in range(2, 9):
        cloud, store = ToyCloud(), MemoryStore()
        network = toy_step(cloud, "network", {"networks/n": {"mtu": 1460}})
        rows = [row(network), row(toy_step(cloud, "database", {"databases/d": {"tier": "small"}}), network)]
        store.die_at, store.die_after_effect = number, after_effect
        with contextlib.suppress(Death):
            run(rows, store)
        store.die_at = None
        take_down(rows, store)

        assert cloud.resources == {}, number


@pytest.fixture
def database():
    """A database whose name is used once, with a user in it, and a server that knows its name but does not wait for it."""
    cloud = ToyCloud()

    def named(deployment):
        return deployment.numbered(f"databases/{deployment.salt}", "database")

    def user_of(deployment, facts):
        return {f"{named(deployment)}/users/{deployment.counters.get('user', 0)}": {"name": "u"}}

    step = toy_step(cloud, "database", {}, declare=lambda deployment, facts: {named(deployment): {"tier": "small"}})
    user = toy_step(cloud, "user", {}, declare=user_of)
    server = toy_step(cloud, "server", {}, declare=lambda deployment, facts: {"server": {"uses": named(deployment)}})
    return cloud, [row(server), row(step, once=True), row(user, step, dies_with=step)]


def test_what_is_gone_is_made_anew_under_the_next_name(database):
    """Also who stands above it in the table, and so looked too early, is told the new name in the same run."""
    cloud, rows = database
    store = MemoryStore()
    run(rows, store)
    del cloud.resources["databases/x1y2"], cloud.resources["databases/x1y2/users/0"]
    run(rows, store)
    calls = len(cloud.changes)
    run(rows, store)

    assert set(cloud.resources) == {"databases/x1y2-2", "databases/x1y2-2/users/0", "server"}
    assert cloud.resources["server"]["uses"] == "databases/x1y2-2"
    assert len(cloud.changes) == calls


def test_what_is_said_to_be_gone_is_never_deleted(database):
    """Should Google's answer have been wrong, then somebody's data is still in it."""
    cloud, rows = database
    store = MemoryStore()
    run(rows, store)
    lost = {ref: cloud.resources.pop(ref) for ref in ("databases/x1y2", "databases/x1y2/users/0")}
    run(rows, store)
    cloud.resources |= lost
    run(rows, store)

    assert set(lost) < set(cloud.resources)


@pytest.mark.parametrize("after_effect", [pytest.param(False, id="before it"), pytest.param(True, id="after it")])
@pytest.mark.parametrize("saves", range(1, 6))
def test_an_up_after_half_a_down_does_not_use_a_name_again(database, saves, after_effect):
    """`down` is killed at any save: what it has deleted comes back under another name, what it has not stays."""
    cloud, rows = database
    store = MemoryStore()
    run(rows, store)
    store.die_at, store.die_after_effect = store.saves + saves, after_effect
    with contextlib.suppress(Death):
        take_down(rows, store)
    store.die_at = None
    run(rows, store)
    made = [ref for verb, ref in cloud.changes if verb == "create" and ref.count("/") == 1]

    assert len(made) == len(set(made))
    assert [ref for ref in cloud.resources if ref.count("/") == 1] == made[-1:]


@pytest.fixture
def frail():
    """A database that Google can fail to make, and that can fail later; nothing but another one mends that."""
    cloud = ToyCloud()
    fate = {"fails": True}

    def named(deployment, facts):
        return {deployment.numbered("databases/d", "database"): {"tier": "small", "state": "RUNS"}}

    def create(gcp, ref, body):
        state = "FAILED" if fate.pop("fails", False) else "RUNS"
        cloud.change("create", ref, lambda: cloud.resources.update({ref: {**body, "state": state, "mark": DEPLOYMENT}}))
        if state == "FAILED":
            raise OperationFailed("Failed to create it.", code="INTERNAL_ERROR", service="sqladmin")

    def update(gcp, ref, body, changes):
        raise BeyondRepair(f"{ref} has failed", never_was=True)

    step = toy_step(cloud, "database", {}, declare=named, create=create, update=update)
    return cloud, [row(step, once=True)]


def test_what_never_came_to_be_gives_way_to_another_one(frail):
    """The run that made it fails; the next one makes another, and takes the first away."""
    cloud, rows = frail
    store = MemoryStore()
    with pytest.raises(OperationFailed, match="Failed to create it"):
        run(rows, store)
    run(rows, store)
    run(rows, store)

    assert cloud.changes == [("create", "databases/d"), ("create", "databases/d-2"), ("delete", "databases/d")]


def test_what_was_once_good_is_not_taken_away_when_it_fails(frail):
    """It may hold data: it is told, as often as one asks."""
    cloud, rows = frail
    store = MemoryStore()
    with pytest.raises(OperationFailed, match="Failed to create it"):
        run(rows, store)
    run(rows, store)
    calls = len(cloud.changes)
    cloud.resources["databases/d-2"]["state"] = "FAILED"
    for _ in range(2):
        with pytest.raises(BeyondRepair, match="databases/d-2 has failed"):
            run(rows, store)

    assert len(cloud.changes) == calls


def test_a_name_that_somebody_else_has_is_passed_over():
    """Unless it was ours: whoever knows it would ask the stranger."""
    cloud, store = ToyCloud(), MemoryStore()
    theirs = {"buckets/b"}

    def named(deployment, facts):
        return {deployment.numbered("buckets/b", "bucket"): {"class": "STANDARD"}}

    def create(gcp, ref, body):
        if ref in theirs:
            raise NameTaken(f"{ref} is not available")
        cloud.change("create", ref, lambda: cloud.resources.update({ref: {**body, "mark": DEPLOYMENT}}))

    rows = [row(toy_step(cloud, "bucket", {}, declare=named, create=create))]
    run(rows, store)
    made = set(cloud.resources)
    theirs.add(*made)
    cloud.resources.clear()
    with pytest.raises(NameTaken, match="buckets/b-2 is not available"):
        run(rows, store)

    assert made == {"buckets/b-2"}
    assert cloud.resources == {}


def test_what_the_config_keeps_is_still_known_to_the_next_up():
    """So images of a service that can never be deleted do not pile up, however often it is taken down."""
    cloud, store = ToyCloud(), MemoryStore()
    repository = toy_step(cloud, "repository", {"repositories/r": {"format": "DOCKER"}})
    for number in range(5):
        image = toy_step(cloud, "image", {f"repositories/r/images/{number}": {"tag": number + 1}})
        kept = {"kept": lambda deployment: "its last version stays"}
        rows = [row(repository, **kept), row(image, repository, keep_older=1, dies_with=repository, **kept)]
        run(rows, store)
        take_down(rows, store)
    it = engine(rows, store)
    again = Teardown(it, "z9y8", delete_data=True).run()

    assert sorted(cloud.resources) == ["repositories/r", "repositories/r/images/3", "repositories/r/images/4"]
    assert [item.ref for item in again] == sorted(cloud.resources)


def test_bodies_of_which_either_may_be_applied_are_united():
    """What was applied counts where both cannot."""
    applied = {"bindings": {"r": ["a"]}, "tier": "small"}

    assert compare.united(applied, {"bindings": {"r": ["b"], "s": ["c"]}, "tier": "big", "disk": 1}) == {
        "bindings": {"r": ["a", "b"], "s": ["c"]},
        "tier": "small",
        "disk": 1,
    }


def test_what_a_dead_run_has_granted_is_taken_back_by_a_run_that_does_not_want_it():
    """A grant of which nobody could say any more that it was made: it is in the intent."""
    cloud, store = ToyCloud(), MemoryStore()
    cloud.resources["projects/p/iamPolicy"] = {"members": ["stranger"], "mark": DEPLOYMENT}

    def roles(*members):
        return [row(toy_step(cloud, "roles", {"projects/p/iamPolicy": {"members": [*members]}}), at_least=("members",))]

    cloud.die_after = 0
    with contextlib.suppress(Death):
        run(roles("ada", "bob"), store)
    run(roles("ada"), store)

    assert sorted(cloud.resources["projects/p/iamPolicy"]["members"]) == ["ada", "stranger"]


def test_down_waits_until_what_a_dead_run_has_made_shows():
    """Reads of some things lag behind, and nobody else would ever take them away."""
    cloud, store = ToyCloud(die_after=0), MemoryStore()
    lag = iter([None, None, None])

    def read(gcp, ref):
        return next(lag, cloud.resources.get(ref))

    rows = [row(toy_step(cloud, "account", {"accounts/a": {"title": "t"}}, read=read), settles=30)]
    with contextlib.suppress(Death):
        run(rows, store)
    take_down(rows, store)

    assert cloud.resources == {}
