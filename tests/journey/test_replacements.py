"""`up --replace` of each thing that there is, by the real steps: made anew once, or refused and as it was."""

from provision import replacement
from provision.emulator import snapshots
from provision.errors import BadUsage, StillInUse, WouldLoseData
from tests.crash.cloud import cloud
from tests.journey.deploy import Deployment
from tests.journey.recovery import EMPTY_PROJECT

STAYS = {
    "apis": "BadUsage", "app": "BadUsage",  # never deleted by us
    "sql_database": "BadUsage",  # would leave no backup
    "door": "StillInUse",  # what is behind it would be open to everybody
    "network": "StillInUse", "subnet": "StillInUse", "peering_range": "StillInUse", "peering": "StillInUse",
    "project_roles": "StillInUse",  # Google's own agent needs its role as long as the connection is there
}  # fmt: skip


def replaced(deployment, ref):
    """One `up --replace`; the verbs and steps of its changes, or why it is refused."""
    engine = deployment.engine(deployment.store())
    try:
        replacement.ask(engine, [ref] if ref else [], engine.rows(()))
        replacement.clear_the_way(engine, engine.rows(()))
        engine.up(deployment.config)
        replacement.settle(engine)
    except (BadUsage, StillInUse, WouldLoseData) as error:
        return type(error).__name__
    finally:
        engine.journal.flush()
    return [(done.verb, done.step) for done in engine.done]


def test_everything_that_there_is():
    """The next `up` has nothing to do, also after a refusal, unless that came in the middle."""
    came_to, then = {}, {}
    with cloud() as place:
        place.world.reset(EMPTY_PROJECT)
        deployment = Deployment(place, clock=place.clock, workers=1)
        deployment.up()
        begin = snapshots.take(place.world)
        records = list(deployment.ledger().records.values())
        for record in records:
            snapshots.restore(place.world, begin)
            came_to[record.ref] = replaced(deployment, record.ref)
            then[record.ref] = replaced(deployment, None)
            then[record.ref] += replaced(deployment, None)

    steps = {record.ref: record.step for record in records}
    assert {steps[ref]: why for ref, why in came_to.items() if isinstance(why, str)} == STAYS
    for ref, changes in came_to.items():
        assert isinstance(changes, str) or changes.count(("delete", steps[ref])) == 1
    assert {steps[ref]: changes for ref, changes in then.items() if changes} == {
        "project_roles": [("update", "project_roles")]  # the roles that were taken before the refusal come back
    }
