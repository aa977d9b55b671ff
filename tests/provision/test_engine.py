"""The engine over a toy cloud: one path for first runs, re-runs, crashes, adoption and removal."""

import contextlib
import json

import pytest

from provision import rollback, step
from provision.config import Config
from provision.errors import CannotChangeInPlace, DidNotSettle, NotOurs, OperationFailed, StillInUse
from provision.plan import row
from provision.teardown import Teardown
from state import history
from tests.provision.toy import DEPLOYMENT, Death, MemoryStore, ToyCloud, engine, toy_step

CONFIG = Config(project="my-project")


def three(cloud):
    """A network, a database on it, and a bucket that stands alone."""
    network = toy_step(cloud, "network", {"networks/n": {"mtu": 1460}})
    database = toy_step(cloud, "database", {"databases/d": {"tier": "small"}})
    bucket = toy_step(cloud, "bucket", {"buckets/b": {"class": "STANDARD"}, "buckets/c": {"class": "STANDARD"}})
    return [row(network), row(database, network), row(bucket)]


def up(rows, store):
    """One `up`, flushed as a session does it."""
    run = engine(rows, store)
    run.up(CONFIG)
    run.journal.flush()
    return run


def records(store):
    return json.loads(store.blobs["ledger.json"][0])["records"]


def test_a_second_up_changes_nothing():
    """What is as declared is not touched."""
    cloud, store = ToyCloud(), MemoryStore()
    up(three(cloud), store)
    made = len(cloud.changes)
    up(three(cloud), store)

    assert made == 4
    assert len(cloud.changes) == made


def test_the_intent_is_durable_before_the_call():
    """When the call is made, the stored ledger already says what is about to be done."""
    cloud, store = ToyCloud(), MemoryStore()
    seen = []

    def create(gcp, ref, body):
        seen.append(records(store)[ref]["pending"]["verb"])
        cloud.resources[ref] = {**body, "mark": DEPLOYMENT}

    up([row(toy_step(cloud, "network", {"networks/n": {"mtu": 1}}, create=create))], store)

    assert seen == ["create"]


def test_a_kill_at_every_save_and_a_plain_re_run():
    """Whichever save the process dies at, before or after its effect, the same command again is all it takes."""
    saves = up(three(ToyCloud()), store := MemoryStore()) and store.saves

    for death in range(1, saves + 1):
        for after_effect in (False, True):
            cloud, store = ToyCloud(), MemoryStore()
            store.die_at, store.die_after_effect = death, after_effect
            with contextlib.suppress(Death):
                up(three(cloud), store)
            up(three(cloud), store)

            assert set(cloud.resources) == {"networks/n", "databases/d", "buckets/b", "buckets/c"}
            assert [what for what, _ in cloud.changes].count("create") == 4
            assert all(record["pending"] is None for record in records(store).values())
            assert set(records(store)) == set(cloud.resources)


@pytest.mark.parametrize("fault", ["die_before", "die_after", "lose_answer"])
def test_a_fault_at_every_change_and_a_plain_re_run(fault):
    """A change that had its effect is not made twice; one that had none is made."""
    for number in range(4):
        cloud, store = ToyCloud(), MemoryStore()
        setattr(cloud, fault, number)
        try:
            up(three(cloud), store)
        except Death:
            up(three(cloud), store)

        assert set(cloud.resources) == {"networks/n", "databases/d", "buckets/b", "buckets/c"}
        assert set(records(store)) == set(cloud.resources)
        assert len(cloud.changes) == (5 if fault == "die_before" else 4)


@pytest.mark.parametrize("fault", ["die_before", "die_after", "lose_answer"])
def test_a_fault_at_every_deletion_and_a_plain_re_run(fault):
    """`down` goes on where it died, and leaves nothing of ours."""
    for number in range(4):
        cloud, store = ToyCloud(), MemoryStore()
        up(three(cloud), store)
        setattr(cloud, fault, number + len(cloud.changes))
        try:
            Teardown(engine(three(cloud), store), "n3w4", delete_data=True).run()
        except Death:
            Teardown(engine(three(cloud), store), "n3w4", delete_data=True).run()

        assert cloud.resources == {}
        assert records(store) == {}


def test_what_does_not_carry_our_mark_is_refused_and_not_touched():
    """A stranger's resource under our name ends that row, and the row alone."""
    cloud, store = ToyCloud(), MemoryStore()
    cloud.resources["networks/n"] = {"mtu": 9000, "mark": "somebody"}

    with pytest.raises(NotOurs, match="networks/n"):
        up(three(cloud), store)

    assert cloud.resources["networks/n"] == {"mtu": 9000, "mark": "somebody"}
    assert "buckets/b" in cloud.resources
    assert "databases/d" not in cloud.resources


def test_a_stranger_who_was_faster_is_not_taken_for_ours():
    """Our create was lost and somebody else made the name meanwhile: an intent alone proves nothing."""
    cloud, store = ToyCloud(die_before=0), MemoryStore()
    with pytest.raises(Death):
        up(three(cloud), store)
    cloud.resources["networks/n"] = {"mtu": 1460, "mark": "somebody"}

    with pytest.raises(NotOurs):
        up(three(cloud), store)


def test_what_a_stranger_has_put_in_place_of_ours_is_not_taken_over():
    """Neither by `up` nor by `down`, though the ledger knows the name."""
    cloud, store = ToyCloud(), MemoryStore()
    up(three(cloud), store)
    cloud.resources["databases/d"] = {"tier": "small", "disk": 10, "mark": "somebody"}
    with pytest.raises(NotOurs, match="databases/d does not carry our mark any more"):
        up(three(cloud), store)
    with pytest.raises(NotOurs, match="databases/d"):
        Teardown(engine(three(cloud), store), "n3w4", delete_data=True).run()

    assert cloud.resources["databases/d"] == {"tier": "small", "disk": 10, "mark": "somebody"}


def test_what_is_there_may_be_adopted():
    """With every difference named before; `down` then leaves it."""
    cloud, store = ToyCloud(), MemoryStore()
    cloud.resources["networks/n"] = {"mtu": 9000, "mark": "somebody"}
    with pytest.raises(NotOurs, match="What differs: mtu: 9000 -> 1460"):
        up(three(cloud), store)
    engine(three(cloud), store).up(CONFIG, adopts=lambda ref: ref == "networks/n")
    adopted = dict(cloud.resources["networks/n"])
    left = Teardown(engine(three(cloud), store), "n3w4", delete_data=True).run()

    assert adopted == {"mtu": 1460, "mark": "somebody"}
    assert cloud.resources == {"networks/n": adopted}
    assert [(item.ref, item.why) for item in left] == [("networks/n", "was there before us")]


def test_what_lies_in_a_strangers_resource_is_not_deleted():
    """A child carries no mark of its own: whose it is, is said by what it lies in."""
    cloud, store = ToyCloud(), MemoryStore()
    instance = row(toy_step(cloud, "instance", {"instances/i": {"tier": "small"}}))
    child = toy_step(cloud, "database", {"instances/i/databases/d": {"charset": "UTF8"}}, owner=step.by_parent)
    rows = [instance, row(child, dies_with=instance.step)]
    up(rows, store)
    cloud.resources["instances/i"]["mark"] = "somebody"
    with pytest.raises(NotOurs):
        Teardown(engine(rows, store), "n3w4", delete_data=True).run()

    assert set(cloud.resources) == {"instances/i", "instances/i/databases/d"}


def test_what_waits_at_run_time_for_something_that_failed_is_not_waited_for():
    """Its deployment goes on at Google, under the name in the ledger; the error tells of the cause alone."""
    cloud, store = ToyCloud(), MemoryStore()

    def refuse(gcp, ref, body):
        raise OperationFailed("no such tier")

    database = row(toy_step(cloud, "database", {"databases/d": {"tier": "odd"}}, create=refuse))
    server = toy_step(cloud, "server", {"versions/1": {"image": "a"}}, create=lambda gcp, ref, body: "//x/operations/1")
    rows = [database, row(server, awaits=(database.step,))]
    run = engine(rows, store)
    run.deeds.patience._over = lambda operation: False
    with pytest.raises(OperationFailed, match="no such tier"):
        run.up(CONFIG)
    run.journal.flush()

    assert records(store)["versions/1"]["pending"]["operation"] == "//x/operations/1"


def test_a_changed_field_is_mended():
    """Drift is repaired by the same path that makes."""
    cloud, store = ToyCloud(), MemoryStore()
    up(three(cloud), store)
    cloud.resources["networks/n"]["mtu"] = 1
    up(three(cloud), store)

    assert cloud.resources["networks/n"]["mtu"] == 1460
    assert records(store)["networks/n"]["done"]["before"] == {"mtu": 1}


def test_what_is_no_longer_declared_goes_after_the_rest():
    """An old version is removed when the new one stands."""
    cloud, store = ToyCloud(), MemoryStore()
    up([row(toy_step(cloud, "server", {"versions/1": {"image": "a"}}))], store)
    up([row(toy_step(cloud, "server", {"versions/2": {"image": "b"}}))], store)

    assert set(cloud.resources) == {"versions/2"}
    assert cloud.changes[-2:] == [("create", "versions/2"), ("delete", "versions/1")]


def test_what_a_row_needs_no_more_goes_though_nothing_takes_its_place():
    """Its neighbours stay."""
    cloud, store = ToyCloud(), MemoryStore()
    server = row(toy_step(cloud, "server", {"versions/1": {"image": "a"}}))
    up([row(toy_step(cloud, "placeholder", {"placeholders/1": {"image": "z"}})), server], store)
    up([row(toy_step(cloud, "placeholder", {})), server], store)

    assert set(cloud.resources) == {"versions/1"}


def test_the_newest_of_a_row_may_be_kept():
    """keep_older counts those beside the declared one."""
    cloud, store = ToyCloud(), MemoryStore()
    for number in range(1, 6):
        up([row(toy_step(cloud, "image", {f"images/{number}": {"tag": number}}), keep_older=2)], store)

    assert set(cloud.resources) == {"images/3", "images/4", "images/5"}


def test_what_cannot_change_in_place_is_made_anew_under_the_next_id():
    """The counter in the ledger gives the next name, and the old one is removed after."""
    cloud, store = ToyCloud(), MemoryStore()
    image = "a"

    def declare(deployment, facts):
        return {f"versions/{deployment.counters.get('server', 0)}": {"image": image}}

    def run():
        up([row(toy_step(cloud, "server", {}, declare=declare, update=step.immutable), renews=True)], store)

    run()
    image = "b"
    run()

    assert cloud.resources == {"versions/1": {"image": "b", "mark": DEPLOYMENT}}


def test_what_cannot_change_in_place_is_otherwise_an_error():
    """A row that does not renew says which field differs."""
    cloud, store = ToyCloud(), MemoryStore()
    up([row(toy_step(cloud, "network", {"networks/n": {"mode": "a"}}, update=step.immutable))], store)

    with pytest.raises(CannotChangeInPlace, match="mode"):
        up([row(toy_step(cloud, "network", {"networks/n": {"mode": "b"}}, update=step.immutable))], store)


def test_a_deployment_that_timed_out_is_tried_once_more_when_the_rest_stands():
    """Code 4 or 13: a new id, after everything else is done, since the database may have been what it waited for."""
    cloud, store = ToyCloud(), MemoryStore()
    tries = []

    def declare(deployment, facts):
        return {f"versions/{deployment.counters.get('server', 0)}": {"image": "a"}}

    def create(gcp, ref, body):
        tries.append((ref, "databases/d" in cloud.resources))
        if len(tries) == 1:
            raise OperationFailed("Timed out waiting for the app infrastructure to become healthy", code=4)
        cloud.resources[ref] = {**body, "mark": DEPLOYMENT}

    server = toy_step(cloud, "server", {}, declare=declare, create=create)
    traffic = toy_step(cloud, "traffic", {"services/s": {"split": 1}})
    database = toy_step(cloud, "database", {"databases/d": {"tier": "small"}})
    up([row(server, renews=True), row(traffic, server), row(database)], store)

    assert tries == [("versions/0", False), ("versions/1", True)]
    assert {"versions/1", "services/s", "databases/d"} == set(cloud.resources)


def test_a_field_that_shows_late_is_read_again_not_written_again():
    """Within the row's documented time the change is waited for."""
    cloud, store = ToyCloud(), MemoryStore()
    cloud.resources["networks/n"] = {"mtu": 1, "mark": DEPLOYMENT}
    reads = []

    def read(gcp, ref):
        reads.append(ref)
        return {"mtu": 1460 if len(reads) > 4 else 1, "mark": DEPLOYMENT}

    up([row(toy_step(cloud, "network", {"networks/n": {"mtu": 1460}}, read=read), settles=60)], store)

    assert [what for what, _ in cloud.changes] == ["update"]


@pytest.mark.parametrize(
    "bodies",
    [
        pytest.param({"networks/n": {"mtu": 9000}}, id="what it was before is declared again"),
        pytest.param({}, id="it was about to be deleted, and is declared again"),
    ],
)
def test_what_a_dead_run_has_begun_is_not_taken_for_undone_before_it_can_show(bodies):
    """A read may be older than the change: one that shows just what is declared proves nothing for a while."""
    cloud, store, declared = ToyCloud(), MemoryStore(), {"mtu": 1460}
    up([row(toy_step(cloud, "network", {"networks/n": declared}))], store)
    cloud.die_after = len(cloud.changes)
    with pytest.raises(Death):
        up([row(toy_step(cloud, "network", bodies))], store)
    old, reads = {**declared, "mark": DEPLOYMENT}, []

    def read(gcp, ref):
        reads.append(ref)
        return old if len(reads) < 5 else cloud.resources.get(ref)

    up([row(toy_step(cloud, "network", {"networks/n": declared}, read=read), settles=20)], store)

    assert cloud.resources["networks/n"] == old
    assert records(store)["networks/n"]["pending"] is None


def test_what_was_asked_before_the_machine_slept_is_asked_again():
    """An answer from before a sleep tells nothing of what has shown since; or `down` would leave it behind for ever."""
    cloud, store = ToyCloud(), MemoryStore()
    cloud.die_after = 0
    with pytest.raises(Death):
        up([row(toy_step(cloud, "network", {"networks/n": {"mtu": 1}}))], store)
    reads = []

    def read(gcp, ref):
        reads.append(ref)
        if len(reads) == 1:
            run.clock.sleep(3600)  # the answer came before, and is looked at after
            return None
        return cloud.resources.get(ref)

    run = engine([row(toy_step(cloud, "network", {"networks/n": {"mtu": 1}}, read=read))], store)
    Teardown(run, "b7k2", delete_data=False).run()

    assert cloud.resources == {}


def test_a_field_that_never_shows_is_an_error():
    """Five calls, then the field is named."""
    cloud, store = ToyCloud(), MemoryStore()

    cloud.resources["networks/n"] = {"mtu": 1, "mark": DEPLOYMENT}
    network = toy_step(
        cloud, "network", {"networks/n": {"mtu": 1460}}, read=lambda gcp, ref: {"mtu": 1, "mark": DEPLOYMENT}
    )

    with pytest.raises(DidNotSettle, match="mtu"):
        up([row(network)], store)

    assert len(cloud.changes) == 5


def test_down_spares_data_unless_told_otherwise():
    """A bucket with objects stays, with the reason, and is released from the ledger."""
    cloud, store = ToyCloud(), MemoryStore()
    bucket = toy_step(cloud, "bucket", {"buckets/b": {"class": "A"}}, contents=lambda gcp, ref: step.Contents(2, 30))
    access = toy_step(cloud, "access", {"buckets/b/iamPolicy": {"role": "x"}})
    rows = [row(bucket, data=True), row(access, bucket, dies_with=bucket)]
    up(rows, store)
    stays = Teardown(engine(rows, store), "n3w4", delete_data=False).run()

    assert [item.ref for item in stays] == ["buckets/b"]
    assert "2 objects" in stays[0].why
    assert set(cloud.resources) == {"buckets/b"}
    assert records(store) == {}


@pytest.mark.parametrize("wait", [0, 3600])
def test_down_spares_data_that_arrives_while_it_works(wait):
    """A server that still writes at the end, or a bucket that waited its turn: it is asked again right before."""
    cloud, store, data = ToyCloud(), MemoryStore(), {"buckets/b": 0}
    bucket = toy_step(
        cloud, "bucket", {"buckets/b": {"class": "A"}}, contents=lambda gcp, ref: step.Contents(data[ref], 30)
    )
    server = toy_step(cloud, "server", {"versions/1": {"image": "a"}})
    stopped, refusals = server.delete, iter([StillInUse("the last run is not over")] if wait else [])

    def stop(gcp, ref, live, applied):
        data["buckets/b"] += 1
        for refusal in refusals:
            raise refusal
        stopped(gcp, ref, live, applied)

    server.delete = stop
    rows = [row(bucket, data=True), row(server, bucket)]
    up(rows, store)
    (left,) = Teardown(engine(rows, store), "n3w4", delete_data=False).run(wait)

    assert (left.ref, left.why.partition(";")[0]) == (
        "buckets/b",
        f"It holds {step.Contents(1 + bool(wait), 30)}",
    )
    assert set(cloud.resources) == {"buckets/b"}
    assert records(store) == {}


def held_network(cloud):
    """A server on a network that Google does not let go of until `holds` is empty."""
    holds = ["in use by something at Google"]
    network = toy_step(cloud, "network", {"networks/n": {"mtu": 1460}})
    go = network.delete

    def delete(gcp, ref, live, applied):
        if holds:
            raise StillInUse(holds[0])
        go(gcp, ref, live, applied)

    network.delete = delete
    server = toy_step(cloud, "server", {"versions/1": {"image": "a"}})
    return [row(network), row(server, network)], holds


@pytest.mark.parametrize("way_on", ["up", "rollback"])
def test_what_is_used_again_waits_for_no_deletion_any_more(way_on):
    """After a `down` that Google let do a part only, `up` or `rollback` makes it whole, and nothing is told to wait."""
    cloud, store = ToyCloud(), MemoryStore()
    rows, _ = held_network(cloud)
    up(rows, store)
    teardown = Teardown(engine(rows, store), "n3w4", delete_data=False)
    teardown.run()
    if way_on == "up":
        up(rows, store)
    else:
        run = engine(rows, store)
        rollback.begin(run, rollback.way_back(run.plan, [*history.states(store), run.ledger]).goal)
        rollback.go_back(run)
        run.journal.flush()

    assert list(teardown.waiting) == ["networks/n"]
    assert set(cloud.resources) == {"networks/n", "versions/1"}
    assert [record["waits"] for record in records(store).values()] == [None, None]


def test_a_part_of_down_waits_for_nothing_else():
    """`--only server --wait 2h`: what another `down` could not remove is not its business."""
    cloud, store = ToyCloud(), MemoryStore()
    rows, holds = held_network(cloud)
    up(rows, store)
    Teardown(engine(rows, store), "n3w4", delete_data=False).run()
    again = engine(rows, store)
    teardown = Teardown(again, "n3w4", delete_data=False, only=["server"])
    teardown.run(wait=7200)

    assert holds
    assert teardown.waiting == {}
    assert again.clock.monotonic() == 0


def test_down_needs_no_call_for_what_dies_with_its_parent():
    """A policy on a bucket goes with the bucket."""
    cloud, store = ToyCloud(), MemoryStore()
    bucket = toy_step(cloud, "bucket", {"buckets/b": {"class": "A"}})
    access = toy_step(cloud, "access", {"buckets/b/iamPolicy": {"role": "x"}})
    rows = [row(bucket), row(access, bucket, dies_with=bucket)]
    up(rows, store)
    Teardown(engine(rows, store), "n3w4", delete_data=False).run()

    assert [ref for what, ref in cloud.changes if what == "delete"] == ["buckets/b"]
    assert records(store) == {}


def test_down_leaves_what_lost_our_mark():
    """Destroying needs proof that it is ours."""
    cloud, store = ToyCloud(), MemoryStore()
    up(three(cloud), store)
    cloud.resources["databases/d"]["mark"] = "somebody"

    with pytest.raises(NotOurs, match="databases/d"):
        Teardown(engine(three(cloud), store), "n3w4", delete_data=False).run()

    assert "databases/d" in cloud.resources
    assert "buckets/b" not in cloud.resources


def test_a_refused_deletion_goes_the_other_way():
    """A step may name another call for when Google goes on refusing the first."""
    cloud, store = ToyCloud(), MemoryStore()

    def refuse(gcp, ref, live, applied):
        cloud.change("delete", ref, lambda: None)
        raise OperationFailed("Producer services are still using it.", code=9, service="servicenetworking")

    def delete_refused(gcp, ref, live, applied):
        cloud.change("removePeering", ref, lambda: cloud.resources.pop(ref))

    rows = [row(toy_step(cloud, "peering", {"peerings/x": {"a": 1}}, delete=refuse), refused=delete_refused)]
    up(rows, store)
    it = engine(rows, store)
    Teardown(it, "n3w4", delete_data=False).run()
    made, *refused, gone = [what for what, _ in cloud.changes]

    assert (made, set(refused), gone) == ("create", {"delete"}, "removePeering")
    assert 120 <= it.clock.monotonic() < 140


def test_the_next_deployment_gets_fresh_names():
    """Deleted names stay reserved at Google for a while, so the salt moves on."""
    cloud, store = ToyCloud(), MemoryStore()
    up(three(cloud), store)
    Teardown(engine(three(cloud), store), "n3w4", delete_data=False).run()

    assert json.loads(store.blobs["ledger.json"][0])["salt"] == "n3w4"


def test_what_was_granted_before_us_is_left_when_we_go():
    """Where we are guests, `down` takes out only what we have put in."""
    cloud, store = ToyCloud(), MemoryStore()
    cloud.resources["projects/p/iamPolicy"] = {"members": ["agent", "stranger"], "mark": DEPLOYMENT}

    def delete(gcp, ref, live, applied):
        left = [member for member in live["members"] if member not in applied["members"]]
        cloud.change("delete", ref, lambda: cloud.resources[ref].update(members=left))

    rows = [
        row(
            toy_step(cloud, "roles", {"projects/p/iamPolicy": {"members": ["agent", "ours"]}}, delete=delete),
            at_least=("members",),
        )
    ]
    up(rows, store)
    up(rows, store)
    Teardown(engine(rows, store), "n3w4", delete_data=False).run()

    assert cloud.resources["projects/p/iamPolicy"]["members"] == ["agent", "stranger"]


def test_a_step_may_say_that_something_stays():
    """It is released, and listed with the step's own reason."""
    cloud, store = ToyCloud(), MemoryStore()

    def delete(gcp, ref, live, applied):
        raise step.Stays("Others are served behind it.")

    rows = [row(toy_step(cloud, "door", {"apps/a/iap": {"enabled": True}}, delete=delete))]
    up(rows, store)
    left = Teardown(engine(rows, store), "n3w4", delete_data=False).run()

    assert [(item.ref, item.why) for item in left] == [("apps/a/iap", "Others are served behind it.")]
    assert records(store) == {}


def test_the_config_may_say_that_something_stays():
    """`down` does not know the config, so the reason is written into the ledger when it is applied."""
    cloud, store = ToyCloud(), MemoryStore()
    rows = [
        row(toy_step(cloud, "image", {"images/1": {"tag": 1}}), kept=lambda deployment: f"{deployment.name} needs it")
    ]
    up(rows, store)
    left = Teardown(engine(rows, store), "n3w4", delete_data=False).run()

    assert [(item.ref, item.why) for item in left] == [("images/1", "mlflow needs it")]
    assert "images/1" in cloud.resources
