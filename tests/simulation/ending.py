"""How a story must end: what is declared is there, once; what is not ours is as it was; the ledger knows all of it."""

from provision.engine import deployment_of
from provision.step import FactBook
from state import journal
from tests.simulation.table import POLICY, Account, config


def pairs(policy):
    """A policy as a set of role, member and condition."""
    return {
        (binding["role"], member, binding.get("condition", {}).get("title", ""))
        for binding in policy["bindings"]
        for member in binding["members"]
    }


def is_as_declared(story, number):
    """Everything that these settings declare is there, in the cloud and in the ledger, and nothing else of ours."""
    if story.judge.failures:
        return
    fail, ledger, cloud = story.judge.fail, journal.loads(story.store.blobs["ledger.json"][0]), story.cloud
    declared = _declared(story, ledger, number)
    for ref, body in declared.items():
        record = ledger.records.get(ref)
        if record is None or record.done is None or record.pending is not None:
            fail(f"{ref} is not done in the ledger: {record}")
        if ref != POLICY:
            _is_there(story, ref, body)
    ours = _ours(cloud)
    known = {ref for ref in ledger.records if ref != POLICY}
    adopted = {ref for ref, record in ledger.records.items() if record.adopted}
    if orphans := _not_strayed(story, ours - known):
        fail(f"the ledger does not know of {sorted(orphans)}")
    ghosts = known - ours - adopted
    if ghosts and not story.squatter:  # where a row fails, nothing is pruned
        fail(f"the ledger knows of what is not there: {sorted(ghosts)}")
    unfinished = [ref for ref, record in ledger.records.items() if record.pending is not None]
    if unfinished and not story.squatter:
        fail(f"intents are left unfinished: {unfinished}")
    wanted = {(role, who, "") for role, whose in declared.get(POLICY, {}).get("bindings", {}).items() for who in whose}
    _is_the_policy(story, story.strangers | wanted)
    _strangers_are_as_they_were(story)


def is_empty(story):
    """Nothing of ours is left, in the cloud and in the ledger."""
    if story.judge.failures:
        return
    fail, ledger = story.judge.fail, journal.loads(story.store.blobs["ledger.json"][0])
    if left := _not_strayed(story, _ours(story.cloud)):
        fail(f"down left {sorted(left)}")
    if ledger.records:
        fail(f"after down the ledger still knows of {sorted(ledger.records)}")
    _is_the_policy(story, story.strangers)
    _strangers_are_as_they_were(story)


def _declared(story, ledger, number):
    """What the rows declare; but for those that a stranger stands in the way of."""
    deployment, facts = deployment_of(config(number), ledger), FactBook([Account(unique_id="account")])
    blocked = {"network"} if story.squatter else set()
    declared = {}
    for row in story.plan:
        if row.name in blocked or blocked & story.plan.above(row.name):
            blocked.add(row.name)
        else:
            declared |= row.step.declare(deployment, facts)
    return declared


def _is_there(story, ref, body):
    thing = story.cloud.things.get(ref)
    if thing is None:
        story.judge.fail(f"{ref} is not there")
        return
    live = {**thing.body, **({"mark": thing.mark} if "mark" in body else {})}
    if "disk" in live and live["disk"] > body["disk"]:
        live["disk"] = body["disk"]  # it may hold more
    if ref == "apps/a":
        live.pop("theirs", None)
    if live != body:
        story.judge.fail(f"{ref} is {live}, and declared is {body}")


def _ours(cloud):
    """What we have made; of a number that was destroyed a trace remains for ever, and is nobody's."""
    return {
        ref for ref, thing in cloud.things.items() if thing.by is not None and thing.body.get("state") != "DESTROYED"
    }


def _is_the_policy(story, wanted):
    there = pairs(story.cloud.policy)
    if there != wanted:
        story.judge.fail(f"the policy lacks {sorted(wanted - there)}, and has {sorted(there - wanted)} too much")


def _not_strayed(story, refs):
    """Without what only is there because a request landed outside of its run's lease: see the fault model."""
    strays = {ref for verb, ref in story.judge.strays if verb == "create"}
    above = tuple(f"{stray}/" for stray in strays) + tuple(f"{parent}/versions/" for parent in story.cloud.doubled)
    return {ref for ref in refs if ref not in strays and not ref.startswith(above)}


def _strangers_are_as_they_were(story):
    for ref, before in story.before.items():
        thing = story.cloud.things.get(ref)
        if thing is None or (ref != "apps/a" and (thing.body, thing.mark) != (before.body, before.mark)):
            story.judge.fail(f"a stranger's {ref} was touched: {before} -> {thing}")
