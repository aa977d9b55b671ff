"""Going back to what was before a run: over a toy cloud, as far as the ledgers of earlier runs tell the way."""

import json

import pytest

from provision import replacement, rollback, step
from provision.config import Config
from provision.errors import BadUsage, GoogleRefused, NameReserved, NotOurs
from provision.plan import row
from provision.teardown import Teardown
from state import history
from tests.provision.toy import DEPLOYMENT, Death, MemoryStore, ToyCloud, engine, toy_step

CONFIG = Config(project="my-project")


def up(rows, store, replace=(), **asked):
    """One `up`, flushed as a session does it; the engine."""
    run = engine(rows, store)
    try:
        replacement.ask(run, replace, run.rows(()))
        run.up(CONFIG, **asked)
        replacement.settle(run)
    finally:
        run.journal.flush()
    return run


def way(rows, store, to=None):
    """The way back, as a run that has just begun sees it; with that run."""
    run = engine(rows, store)
    return run, rollback.way_back(run.plan, [*history.states(store), run.ledger], to)


def back(rows, store, to=None):
    """One `rollback`; what had to stay."""
    run, found = way(rows, store, to)
    rollback.begin(run, found.goal)
    return rollback.go_back(run)


def table(cloud, *, mtu=1460, buckets=("a",), version=1, **overrides):
    """A network, buckets, and a server of some version."""
    network = toy_step(cloud, "network", {"networks/n": {"mtu": mtu}})
    bucket = toy_step(cloud, "bucket", {f"buckets/{name}": {"class": "STANDARD"} for name in buckets})
    server = toy_step(cloud, "server", {f"versions/{version}": {"image": version}})
    return [row(network), row(bucket), row(server, network, **overrides)]


def test_the_first_run_is_undone():
    """Before it there was nothing."""
    cloud, store = ToyCloud(), MemoryStore()
    up(table(cloud), store)
    back(table(cloud), store)

    assert cloud.resources == {}
    assert engine(table(cloud), store).ledger.records == {}


def test_what_a_run_made_changed_and_removed():
    """Removed again, changed back, made again."""
    cloud, store = ToyCloud(), MemoryStore()
    up(table(cloud, mtu=1460, buckets=("a", "b"), version=1), store)
    before = {ref: dict(body) for ref, body in cloud.resources.items()}
    records = engine(table(cloud), store).ledger.records
    up(table(cloud, mtu=1500, buckets=("a", "c"), version=2), store)
    back(table(cloud), store)
    after = engine(table(cloud), store).ledger

    assert cloud.resources == before
    assert {ref: record.body for ref, record in after.records.items()} == {
        ref: record.body for ref, record in records.items()
    }
    assert after.rollback.by


def test_the_same_command_again():
    """It has arrived, so it does not go forth again; `up` does, and is undone in its turn."""
    cloud, store = ToyCloud(), MemoryStore()
    up(table(cloud), store)
    before = {ref: dict(body) for ref, body in cloud.resources.items()}
    up(table(cloud, mtu=1500, version=2), store)
    back(table(cloud), store)
    changes = len(cloud.changes)
    back(table(cloud), store)
    untouched = cloud.changes[changes:]
    run = engine(table(cloud, mtu=9000), store)
    rollback.give_up(run)
    run.up(CONFIG)
    run.journal.flush()
    forth = cloud.resources["networks/n"]["mtu"]
    back(table(cloud), store)

    assert untouched == []
    assert forth == 9000
    assert cloud.resources == before


def test_back_over_several_runs():
    """Each thing gets the before image of the first of them that touched it."""
    cloud, store = ToyCloud(), MemoryStore()
    up(table(cloud), store)
    before = {ref: dict(body) for ref, body in cloud.resources.items()}
    second = up(table(cloud, mtu=1500), store)
    up(table(cloud, mtu=9000, version=2), store)
    back(table(cloud), store, second.run)

    assert cloud.resources == before


def test_a_repaired_drift_comes_back():
    """What was before is what was there, and not what we had once applied."""
    cloud, store = ToyCloud(), MemoryStore()
    up(table(cloud), store)
    cloud.resources["networks/n"]["mtu"] = 1
    up(table(cloud), store)
    back(table(cloud), store)

    assert cloud.resources["networks/n"]["mtu"] == 1


def test_what_was_adopted_gets_its_before_image_and_is_known_no_more():
    """It was there before us."""
    cloud, store = ToyCloud(), MemoryStore()
    cloud.resources["networks/n"] = {"mtu": 9000, "mark": "somebody"}
    up(table(cloud), store, adopts=lambda ref: True)
    back(table(cloud), store)

    assert cloud.resources == {"networks/n": {"mtu": 9000, "mark": "somebody"}}
    assert engine(table(cloud), store).ledger.records == {}


def test_what_was_found_as_ours_is_let_go_and_not_removed():
    """A run that found it by its mark, after its ledger was lost, has not made it."""
    cloud, store = ToyCloud(), MemoryStore()
    up(table(cloud), store)
    before = {ref: dict(body) for ref, body in cloud.resources.items()}
    store.blobs.clear()
    up(table(cloud), store)
    back(table(cloud), store)

    assert cloud.resources == before
    assert engine(table(cloud), store).ledger.records == {}


def test_what_does_not_carry_our_mark_any_more_is_not_removed():
    """Somebody has put their own thing in its place since."""
    cloud, store = ToyCloud(), MemoryStore()
    up(table(cloud), store)
    cloud.resources["buckets/a"]["mark"] = "somebody"
    with pytest.raises(Exception, match="buckets/a"):
        back(table(cloud), store)

    assert set(cloud.resources) == {"buckets/a"}


def test_what_cannot_come_back_is_told_and_so_is_what_names_it():
    """A database's name cannot be used again: its successor stays, and the server that was made for it."""
    cloud, store = ToyCloud(), MemoryStore()

    def rows(name):
        database = toy_step(cloud, "database", {f"databases/{name}": {"tier": "small"}})
        server = toy_step(cloud, "server", {f"versions/for-{name}": {"database": name}})
        return [row(database, final="its data is gone"), row(server), *table(cloud)[:2]]

    up(rows("db-old"), store)
    up(rows("db-new"), store)
    later = dict(cloud.resources)
    _, found = way(rows("db-new"), store)
    back(rows("db-new"), store)

    assert found.lost == {"databases/db-old": "its data is gone"}
    assert set(found.stays) == {"databases/db-new", "versions/for-db-new"}
    assert cloud.resources == later


def test_guests_bindings_alone_are_taken_out():
    """Of a policy that was there before us, what others have in it stays, also what they put in since."""
    cloud, store = ToyCloud(), MemoryStore()
    cloud.resources["policy"] = {"members": ["somebody"]}
    policy = toy_step(cloud, "policy", {"policy": {"members": ["ours"]}}, owner=step.by_parent)

    def leave(gcp, ref, live, applied):
        kept = [member for member in live["members"] if member not in applied["members"]]
        cloud.change("delete", ref, lambda: cloud.resources.update({ref: {"members": kept}}))

    policy.delete = leave
    rows = [row(policy, at_least=("members",))]
    up(rows, store)
    cloud.resources["policy"]["members"].append("another")
    back(rows, store)

    assert cloud.resources["policy"]["members"] == ["somebody", "another"]


@pytest.mark.parametrize("fault", ["die_before", "die_after"])
def test_a_death_at_any_change_of_a_rollback(fault):
    """The same command again goes on, to the same end."""
    for number in range(6):
        cloud, store = ToyCloud(), MemoryStore()
        up(table(cloud, buckets=("a", "b")), store)
        before = {ref: dict(body) for ref, body in cloud.resources.items()}
        up(table(cloud, mtu=1500, buckets=("a", "c"), version=2), store)
        setattr(cloud, fault, len(cloud.changes) + number)
        try:
            back(table(cloud), store)
        except Death:
            run = engine(table(cloud), store)
            assert run.ledger.rollback.by == ""
            rollback.go_back(run)

        assert cloud.resources == before


def test_a_rollback_can_be_given_up():
    """Then everything stays as it is, and `up` goes forward from there."""
    cloud, store = ToyCloud(), MemoryStore()
    up(table(cloud), store)
    up(table(cloud, mtu=1500, version=2), store)
    cloud.die_before = len(cloud.changes) + 1
    with pytest.raises(Death):
        back(table(cloud), store)
    run = engine(table(cloud, mtu=1500, version=2), store)
    rollback.give_up(run)
    run.up(CONFIG)

    assert run.ledger.rollback is None
    assert cloud.resources["networks/n"]["mtu"] == 1500
    assert "versions/2" in cloud.resources
    assert "versions/1" not in cloud.resources


def test_a_run_that_nobody_knows():
    """The known ones are named, newest first."""
    cloud, store = ToyCloud(), MemoryStore()
    run = up(table(cloud), store)
    with pytest.raises(BadUsage, match="No run run-of-old is known") as told:
        back(table(cloud), store, "run-of-old")

    assert run.run in told.value.hint


def test_only_some_rows_and_what_they_need():
    """`--only`: neither made nor pruned is what is not asked for."""
    cloud, store = ToyCloud(), MemoryStore()
    up(table(cloud), store, only=["server"])
    made = set(cloud.resources)
    up(table(cloud), store)
    up(table(cloud, buckets=(), version=2), store, only=["server"])

    assert made == {"networks/n", "versions/1"}
    assert set(cloud.resources) == {"networks/n", "versions/2", "buckets/a"}


def test_a_failed_run_leaves_its_way_back():
    """What it has made before it failed can be undone; its error is what the user gets."""
    cloud, store = ToyCloud(), MemoryStore()
    up(table(cloud), store)
    before = {ref: dict(body) for ref, body in cloud.resources.items()}

    def refuse(gcp, ref, body):
        raise GoogleRefused("no such image")

    rows = table(cloud, mtu=1500, version=2)
    rows[2].step.create = refuse
    with pytest.raises(GoogleRefused):
        up(rows, store)
    changed = cloud.resources["networks/n"]["mtu"]
    back(table(cloud), store)

    assert changed == 1500
    assert cloud.resources == before


def named_table(cloud, data):
    """A bucket for data and a database, named by salt and counters; `data` says what lies in which bucket."""

    def buckets(deployment, facts):
        return {f"buckets/b-{deployment.salt}": {"class": "STANDARD"}}

    def databases(deployment, facts):
        return {f"databases/{deployment.numbered(f'd-{deployment.salt}', 'database')}": {"tier": "small"}}

    def contents(gcp, ref):
        return step.Contents(data.get(ref, 0), 0)

    bucket = toy_step(cloud, "bucket", {}, declare=buckets, contents=contents)
    database = toy_step(cloud, "database", {}, declare=databases)
    return [row(bucket, data=True), row(database, once=True, final="its data is gone")]


def down(rows, store, salt):
    """One `down`, which draws this salt for the next deployment."""
    run = engine(rows, store)
    rollback.give_up(run)
    Teardown(run, salt, delete_data=False).run()
    run.journal.flush()
    return run


@pytest.mark.parametrize("fault", ["none", "die_before", "die_after"])
def test_what_down_has_spared_is_gone_on_with(fault):
    """After `down` and `rollback` the next `up` works on the old bucket, also when the rollback died and was given up."""
    cloud, store, data = ToyCloud(), MemoryStore(), {"buckets/b-x1y2": 3}

    def rows():
        return [*named_table(cloud, data), row(toy_step(cloud, "network", {"networks/n": {"mtu": 1460}}))]

    up(rows(), store)
    down(rows(), store, "n3w4")
    if fault == "none":
        back(rows(), store)
    else:
        setattr(cloud, fault, len(cloud.changes))
        with pytest.raises(Death):
            back(rows(), store)
        rollback.give_up(engine(rows(), store))
    run = up(rows(), store)

    assert run.ledger.salt == "x1y2"
    assert {ref for ref in cloud.resources if ref.startswith("buckets/")} == {"buckets/b-x1y2"}
    assert ("delete", "buckets/b-x1y2") not in cloud.changes


def test_what_is_gone_behind_our_back_and_cannot_be_named_again():
    """A rollback cannot change it back; it says so, and `up` makes another one."""
    cloud, store = ToyCloud(), MemoryStore()

    def rows(tier):
        def declare(deployment, facts):
            return {deployment.numbered("databases/d", "database"): {"tier": tier}}

        return [row(toy_step(cloud, "database", {}, declare=declare), once=True, final="its data is gone")]

    up(rows("small"), store)
    up(rows("large"), store)
    del cloud.resources["databases/d"]
    with pytest.raises(NameReserved, match="databases/d is gone behind our back") as told:
        back(rows("large"), store)
    rollback.give_up(engine(rows("small"), store))
    up(rows("small"), store)

    assert "python -m provision up makes another one" in told.value.hint
    assert set(cloud.resources) == {"databases/d-2"}


def test_what_would_need_two_salts_stays_as_it_is():
    """The database of a second deployment stays, so its names do too, and the first one's bucket is told as lost."""
    cloud, store, data = ToyCloud(), MemoryStore(), {"buckets/b-x1y2": 3}
    up(named_table(cloud, data), store)
    gone = down(named_table(cloud, data), store, "n3w4")
    up(named_table(cloud, data), store)
    deployed = dict(cloud.resources)
    _, found = way(named_table(cloud, data), store, gone.run)
    back(named_table(cloud, data), store, gone.run)
    changes = len(cloud.changes)
    run = up(named_table(cloud, data), store)

    assert set(found.lost) == {"databases/d-x1y2", "buckets/b-x1y2"}
    assert set(found.stays) == {"databases/d-n3w4", "buckets/b-n3w4"}
    assert run.ledger.salt == "n3w4"
    assert cloud.resources == deployed
    assert cloud.changes[changes:] == []


@pytest.mark.parametrize("number", range(1, 14))
def test_a_death_at_any_save_of_a_rollback_of_a_down(number):
    """The same command again ends where salt and counters are those of then, so that `up` has nothing to do."""
    cloud, store, data = ToyCloud(), MemoryStore(), {"buckets/b-x1y2": 3}

    def declare(deployment, facts):
        return {f"versions/{deployment.counters.get('server', 0)}": {"image": "a"}}

    rows = [named_table(cloud, data)[0], row(toy_step(cloud, "server", {}, declare=declare), renews=True)]
    up(rows, store)
    up(rows, store, replace=["versions/0"])
    down(rows, store, "n3w4")
    store.die_at = store.saves + number
    try:
        back(rows, store)
    except Death:
        store.die_at = None
        run = engine(rows, store)
        if run.ledger.rollback is None:
            back(rows, store)
        else:
            rollback.go_back(run)
    store.die_at = None
    changes = len(cloud.changes)
    run = up(rows, store)

    assert (run.ledger.salt, run.ledger.counters) == ("x1y2", {"server": 1})
    assert set(run.ledger.records) == {"buckets/b-x1y2", "versions/1"}
    assert cloud.changes[changes:] == []


@pytest.mark.parametrize("fault", ["die_before", "die_after"])
def test_a_replacement_that_is_taken_back_is_not_made_after_all(fault):
    """Neither by the next `up`, nor is it taken for begun when somebody asks for it again."""
    cloud, store = ToyCloud(), MemoryStore()
    rows = [named_table(cloud, {})[1]]
    up(rows, store)
    setattr(cloud, fault, len(cloud.changes))
    with pytest.raises(Death):
        up(rows, store, replace=["databases/d-x1y2"])
    back(rows, store)
    changes = len(cloud.changes)
    run = up(rows, store)
    untouched, record = cloud.changes[changes:], run.ledger.records["databases/d-x1y2"]
    up(rows, store, replace=["databases/d-x1y2"])

    assert untouched == []
    assert not record.replaced
    assert list(cloud.resources) == ["databases/d-x1y2-2"]


def test_a_failed_run_undoes_what_google_is_still_at():
    """A server's deployment that waits for a database that failed: its end is waited for all the same, and it goes."""
    cloud, store = ToyCloud(), MemoryStore()
    deploying = "//x/operations/1"

    def refuse(gcp, ref, body):
        raise GoogleRefused("no more databases")

    def deploy(gcp, ref, body):
        cloud.change("create", ref, lambda: cloud.resources.update({ref: {**body, "mark": DEPLOYMENT}}))
        return deploying

    database = row(toy_step(cloud, "database", {"databases/d": {"tier": "small"}}, create=refuse))
    server = toy_step(cloud, "server", {"versions/1": {"image": "a"}}, create=deploy)
    rows = [database, row(server, awaits=(database.step,))]
    run = engine(rows, store)
    over = run.clock.monotonic() + 600
    run.deeds.patience._over = lambda operation: run.clock.monotonic() >= over
    with pytest.raises(GoogleRefused):
        run.up(CONFIG)
    rollback.begin(run, rollback.way_back(run.plan, [*history.states(store), run.ledger], run.run).goal)
    rollback.go_back(run)

    assert cloud.changes == [("create", "versions/1"), ("delete", "versions/1")]
    assert run.clock.monotonic() >= over
    assert run.ledger.records == {}


def test_data_that_arrives_while_a_rollback_works_stays():
    """What was empty when it began is asked again right before it would be removed."""
    cloud, store, data = ToyCloud(), MemoryStore(), {}
    rows = named_table(cloud, data)
    server = toy_step(cloud, "server", {"versions/1": {"image": "a"}})
    stopped = server.delete

    def stop(gcp, ref, live, applied):
        data["buckets/b-x1y2"] = 1
        stopped(gcp, ref, live, applied)

    server.delete = stop
    rows.append(row(server, rows[0].step))
    up(rows, store)
    (left,) = back(rows, store)

    assert (left.ref, left.why) == ("buckets/b-x1y2", "It holds 1 object, 0 bytes.")
    assert set(cloud.resources) == {"buckets/b-x1y2"}


def test_what_was_taken_over_is_taken_over_again():
    """`down` had let go of it; a stranger's thing under another name of ours is still nobody's to take."""
    cloud, store = ToyCloud(), MemoryStore()
    cloud.resources["networks/n"] = {"mtu": 9000, "mark": "somebody"}
    up(table(cloud), store, adopts=lambda ref: ref == "networks/n")
    down(table(cloud), store, "n3w4")
    cloud.resources["networks/n"]["mtu"] = 9000
    back(table(cloud), store)
    after = engine(table(cloud), store).ledger
    down(table(cloud), store, "n3w5")
    cloud.resources["versions/1"] = {"image": 1, "mark": "somebody"}
    with pytest.raises(NotOurs, match="versions/1 exists already"):
        back(table(cloud), store)

    assert after.records["networks/n"].adopted
    assert not after.records["versions/1"].adopted
    assert cloud.resources["networks/n"] == {"mtu": 1460, "mark": "somebody"}


def test_what_a_later_version_has_made_is_told_and_left_alone():
    """Its steps are not in this table: what they made, changed or removed stays so, and all the rest goes back."""
    cloud, store = ToyCloud(), MemoryStore()

    def later(mtu, queues):
        queue = toy_step(cloud, "queue", {f"queues/{name}": {"size": size} for name, size in queues.items()})
        return [*table(cloud, mtu=mtu), row(queue)]

    up(later(1460, {"kept": 1, "changed": 1, "removed": 1}), store)
    up(later(1500, {"kept": 1, "changed": 2, "made": 1}), store)
    _, found = way(table(cloud), store)
    back(table(cloud), store)
    after = engine(table(cloud), store).ledger
    why = "Made by the step queue, which this version of the program does not have."

    assert found.lost == {"queues/removed": why}
    assert found.stays == {"queues/changed": why, "queues/made": why}
    assert cloud.resources["networks/n"]["mtu"] == 1460
    assert cloud.resources["queues/changed"]["size"] == 2
    assert {ref for ref in after.records if ref.startswith("queues/")} == {
        "queues/kept",
        "queues/changed",
        "queues/made",
    }


def test_a_rollback_that_an_earlier_release_began():
    """It had written down neither salt nor counters: they stay, and all the rest is gone on with."""
    cloud, store = ToyCloud(), MemoryStore()
    up(table(cloud), store)
    up(table(cloud, mtu=1500), store)
    cloud.die_before = len(cloud.changes)
    with pytest.raises(Death):
        back(table(cloud), store)
    content = json.loads(store.blobs["ledger.json"][0])
    del content["digest"], content["rollback"]["salt"], content["rollback"]["counters"]
    store.put("ledger.json", json.dumps({**content, "counters": {"server": 2}}).encode(), None)
    run = engine(table(cloud), store)
    rollback.go_back(run)

    assert cloud.resources["networks/n"]["mtu"] == 1460
    assert (run.ledger.salt, run.ledger.counters) == ("x1y2", {"server": 2})
