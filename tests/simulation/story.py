"""A story: who runs what, what goes wrong, and how it must end, all out of one seed."""

import contextlib
import copy
import itertools
import random
from dataclasses import dataclass

import structlog

from provision import patience
from provision.errors import NotOurs, SeveralFailed
from state.lock import MARGIN
from tests.simulation import ending, faults
from tests.simulation.cloud import Cloud, Thing
from tests.simulation.handover import handed_over
from tests.simulation.judge import Judge
from tests.simulation.network import Network
from tests.simulation.runs import ALL_REAL, Run
from tests.simulation.scheduler import NeverEnds, Scheduler, threads_of
from tests.simulation.store import SimulatedStore
from tests.simulation.table import AGENT, NEEDS, closed, plan

LONG_ENOUGH = 60.0
"""Who hangs longer than this is not waited for: the user types the command again."""


class Broken(AssertionError):
    """A promise was broken; the message says which, and how to see it again."""


@dataclass
class Told:
    """What came of a story."""

    failures: list[str]
    trace: list[str]
    calls: int


class Story:
    """One seed.

    Args:
        seed: decides everything.
        classes: what runs are made of.
        traced: whether every event is written down.
    """

    def __init__(self, seed, classes=ALL_REAL, *, traced=False):
        self.seed, self.classes = seed, classes
        self.by_hand = seed % 10 != 0
        self.trace = [] if traced else None
        self.scheduler = Scheduler(seed)
        self.random = self.scheduler.random
        self.judge = Judge(self.scheduler)
        network = Network(self.scheduler, self.tell)
        self.store, self.cloud = SimulatedStore(network, self.judge), Cloud(network, self.judge)
        self.judge.store, self.judge.cloud = self.store, self.cloud
        self.runs = []
        self.error = None
        self.workers = 8
        self.plan = None
        self.names = set()
        self.calm = False
        ids = itertools.count(1)
        self.new_id = lambda: f"w{next(ids)}"

    def tell(self, who, what):
        """Write an event down."""
        if self.trace is not None:
            self.trace.append(f"{self.scheduler.now:9.2f}  {who.name if who else 'the world':<10} {what}")

    # The parts of a story

    def furnish(self, names=None, *, app=None, squatter=None):
        """Put the world in order as it was before us."""
        chance = self.random.random
        names = names or (NEEDS if chance() < 0.5 else self.random.sample(list(NEEDS), self.random.randint(1, 4)))
        self.names = closed(names)
        self.plan = plan(self.cloud, self.names)
        things = self.cloud.things
        things["networks/strangers"] = Thing({"mtu": 9000}, "somebody")
        if app if app is not None else chance() < 0.3:
            things["apps/a"] = Thing({"location": "europe-west", "serving": 1, "theirs": True})
        self.squatter = squatter if squatter is not None else chance() < 0.05
        if self.squatter:
            things["networks/n"] = Thing({"mtu": 1500}, "somebody")
        self.cloud.policy["bindings"] = [
            {"role": "roles/agent", "members": [AGENT]},
            {"role": "roles/viewer", "members": ["user:eve@example.com"]},
            {"role": "roles/viewer", "members": ["user:bob@example.com"], "condition": {"title": "at night"}},
        ]
        self.strangers = ending.pairs(self.cloud.policy)
        self.before = {ref: copy.deepcopy(thing) for ref, thing in things.items()}

    def run(self, command, number=0, **options):
        """Let somebody type a command now; returns the run."""
        run = Run(self, f"{command}-{len(self.runs) + 1}", command, number, **options)
        self.runs.append(run)
        run.begin()
        return run

    def wait(self, *, also_for_sleepers=True):
        """Let time pass until all runs have ended; those that hang for long may be left hanging."""

        def done():
            if self.judge.failures:
                return True
            soon = self.scheduler.now + LONG_ENOUGH
            for run in reversed(self.runs):  # the last is the likeliest to be at work
                if not run.over and (also_for_sleepers or run.frozen_until <= soon):
                    return False
            return True

        self.scheduler.run(done)
        if not self.judge.failures and not done():
            raise NeverEnds("threads wait for each other: " + ", ".join(run.name for run in self.runs if not run.over))

    def storm(self):
        """Rival runs on several machines, and people who meddle; then the same again, which may go wrong as well."""
        draw = self.random
        for _ in range(draw.choice((1, 1, 2, 2, 3))):
            self.scheduler.at(draw.choice((0, 1, 10, 60, 150)) * draw.random(), self._somebody_runs)
        for _ in range(draw.choice((0, 0, 1, 3))):
            self.scheduler.at(draw.uniform(0, 300), self._a_stranger_edits_the_policy)
        if draw.random() < 0.1:
            self.scheduler.at(draw.uniform(0, 400), self._somebody_deletes_a_thing)
        self.scheduler.at(150.0, lambda: None)
        self.scheduler.run(lambda: bool(self.judge.failures) or self.scheduler.now >= 150.0)
        self.wait(also_for_sleepers=False)
        for _ in range(draw.choice((0, 1, 1, 2))):
            self._somebody_runs()
            self.wait(also_for_sleepers=False)
        self.wait()
        self.settle_down()

    def recover(self, number, *, twice=False):
        """Type the command once more, with nothing in its way: it must reach the end."""
        self.cloud.moody, self.calm = False, True
        begun = self.scheduler.now
        run = self.run("up", number)
        self.wait()
        self._must_have_ended_well(run, begun)
        ending.is_as_declared(self, number)
        if twice and not self.judge.failures and not self.squatter:
            changes = len(run.engine.done)
            again = self.run("up", number)
            self.wait()
            if again.engine.done:
                self.judge.fail(f"a second up changed something after {changes} changes: {again.engine.done}")

    def take_down(self):
        """Type `down`, with nothing in its way: nothing of ours must be left."""
        if self.judge.failures:
            return
        run = self.run("down")
        self.wait()
        self._must_have_ended_well(run, None)
        ending.is_empty(self)

    # Inside

    def _must_have_ended_well(self, run, begun):
        if self.judge.failures:
            return
        refused = self.squatter and "network" in self.names and run.command == "up"
        if refused and isinstance(run.outcome, NotOurs | SeveralFailed):
            return
        if run.outcome != "done" or refused:
            self.judge.fail(f"{run.name}, with nothing in its way, ended with {run.outcome!r}")
            self.error = run.outcome if isinstance(run.outcome, Exception) else None
        if not self.cloud.quiet():
            self.judge.fail(f"{run.name} is done, and an operation is still under way")
        if "lease.json" in self.store.blobs:
            self.judge.fail(f"{run.name} is done, and there still is a lease")
        if begun is not None and run.opened - begun > 60.0 + MARGIN + 10.0:
            self.judge.fail(f"{run.name} waited {run.opened - begun:.0f} s for the lease")

    def _somebody_runs(self):
        draw = self.random
        self.run(
            draw.choice(("up", "up", "up", "down")),
            draw.choice((0, 0, 1, 2)),
            faults=faults.draw(draw),
            host=draw.choice(("desk", "desk", "lap", "ci")),
            skew=draw.choice((0.0, 0.0, -3600.0, 7.0, 86400.0)),
            rate=draw.choice((1.0, 1.0, 0.999, 1.001)),
        )

    def _a_stranger_edits_the_policy(self):
        if self.calm:
            return
        policy = self.cloud.policy
        member = f"user:{self.random.choice('fghij')}@example.com"
        held = [
            binding
            for binding in policy["bindings"]
            if binding["role"] == "roles/viewer" and "condition" not in binding
        ]
        if ("roles/viewer", member, "") in self.strangers:
            self.strangers.discard(("roles/viewer", member, ""))
            for binding in held:
                binding["members"] = [other for other in binding["members"] if other != member]
        else:
            self.strangers.add(("roles/viewer", member, ""))
            if not held:
                policy["bindings"].append(held := {"role": "roles/viewer", "members": []})
                held = [held]
            held[0]["members"].append(member)
        policy["etag"] += 1
        self.tell(None, f"a stranger edits the policy: {member}")

    def _somebody_deletes_a_thing(self):
        if self.calm:
            return
        ours = sorted(ref for ref, thing in self.cloud.things.items() if thing.by is not None and not thing.busy)
        if ours:
            ref = self.random.choice(ours)
            self.tell(None, f"somebody deletes {ref}")
            self.cloud.vandalise(ref)

    def settle_down(self):
        """What was under way when its process died lands or does not; operations end of which nobody knows the name."""
        end = self.scheduler.now + faults.REQUEST_TIMEOUT
        self.scheduler.at(faults.REQUEST_TIMEOUT, lambda: None)

        def settled():
            return bool(self.judge.failures) or (self.scheduler.now >= end and not self.judge.unnamed())

        self.scheduler.run(settled)


def play(seed, classes=ALL_REAL, *, traced=False, script=None):
    """Tell the story of a seed to its end.

    Args:
        seed: decides everything.
        classes: what runs are made of.
        traced: whether every event is written down.
        script: what happens, of the story; by default a storm, a recovery, and the end.
    """
    story = Story(seed, classes, traced=traced)
    with _alone_with(story):
        try:
            (script or _whole)(story)
        except NeverEnds as error:
            story.judge.fail(str(error))
        finally:
            for run in story.runs:
                story.scheduler.kill(run)
    return Told(story.judge.failures, story.trace or [], sum(run.calls for run in story.runs))


def _whole(story):
    story.furnish()
    story.storm()
    if not story.judge.failures:
        story.recover(story.random.choice((0, 1, 2)), twice=story.seed % 4 == 0)
        story.take_down()


@contextlib.contextmanager
def _alone_with(story):
    """The randomness of the libraries, the log and the threads are the story's own meanwhile."""
    state, log, nap = random.getstate(), structlog.get_config(), patience.NAP
    patience.NAP = 10.0  # the stop is looked at less often, and a story is told twice as fast
    random.seed(story.seed)

    def write_down(logger, method, event):
        words = " ".join(f"{key}={value}" for key, value in event.items() if key not in {"event", "run"})
        who = story.scheduler.task.process if story.scheduler.task else None
        story.tell(who, f"log: {event['event']} {words}")
        raise structlog.DropEvent

    level = 0 if story.trace is not None else 50
    structlog.configure(
        processors=[write_down],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )
    try:
        with threads_of(story.scheduler), handed_over() if story.by_hand else contextlib.nullcontext():
            yield
    finally:
        random.setstate(state)
        patience.NAP = nap
        structlog.configure(**log)
