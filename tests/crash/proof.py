"""Plays points: a disturbed run, the same command once more, and what must hold then."""

import contextlib
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from provision import cli
from provision.emulator import snapshots
from provision.errors import ProvisionError
from state.ledger import Ledger
from tests.crash import points, portrait
from tests.crash.cloud import Cloud, cloud
from tests.crash.console import Console
from tests.crash.faults import FAULTS
from tests.crash.points import Point
from tests.crash.portrait import Portrait
from tests.crash.scenarios import SCENARIOS, Scenario, Stage
from tests.crash.wire import Death, Request, Wire
from tests.journey.neighbours import things, unlisted

IDS = (("0d0d0d0d", "s4lt"), ("0e0e0e0e", "t5mu"))
"""Id and salt of a first ledger: of the disturbed run, and of the one after it."""

BACK_AFTER = 80.0
"""Seconds until somebody types the command again after a death: the dead run's lease has not run out yet."""

LEASE = 95.0
"""Seconds that a run waits for a dead one's lease at most: its ttl, its margin, and a look every five seconds."""


@dataclass(frozen=True)
class Undisturbed:
    """A run without any fault.

    Args:
        requests: What it sends.
        ends: What it comes to, and what the same command once more makes of that (it may have learnt more, as which
            versions are there); by the deployment's id.
        waits: Seconds that it waits for operations.
    """

    requests: list[Request]
    ends: dict[str, tuple[Portrait, Portrait]]
    waits: float


@dataclass
class Verdict:
    """What came of a point.

    Args:
        replay: What to type to see it again.
        scenario: Of which it is.
        fault: What has struck.
        method: The API's id of the request that it struck first.
        first: How the disturbed run ended: finished, died, or with which error.
        problems: What does not hold; empty when all is well.
        seconds: How long it took to play.
    """

    replay: str
    scenario: str
    fault: str
    method: str
    first: str = ""
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Proof:
    """Plays the points of all scenarios in one cloud."""

    def __init__(self, place: Cloud, wire: Wire) -> None:
        self._cloud, self._wire = place, wire
        self._console = Console(place)
        self._stage = Stage(self._console)
        self._undisturbed: dict[str, Undisturbed] = {}

    def points(self, scenario: str) -> list[Point]:
        """All points of a scenario, those among them that are merged into others too."""
        return list(points.of_run(scenario, self.undisturbed(scenario).requests))

    def undisturbed(self, name: str) -> Undisturbed:
        """What the scenario comes to when nothing happens; made once."""
        if name not in self._undisturbed:
            scenario, ends, since = SCENARIOS[name], {}, 0.0
            for ids in reversed(IDS):
                self._stage.set(scenario.begins)
                since = self._cloud.clock.monotonic()
                self._wire.record = True
                self._process(scenario, ids)
                self._wire.record = False
                requests, waits, once = self._wire.seen, self._cloud.clock.monotonic() - since, self._sound(scenario)
                project = portrait.of_project(self._cloud)
                self._process(scenario, ids)
                ledger = self._console.ledger()
                assert ledger is not None
                assert portrait.of_project(self._cloud) == project, "the same command again changed something"
                ends[ledger.deployment] = (once, self._end(ledger))
            self._undisturbed[name] = Undisturbed(requests, ends, waits)
        return self._undisturbed[name]

    def _sound(self, scenario: Scenario) -> Portrait:
        """The end of an undisturbed run, which what others come to is measured by: so it has to be right itself."""
        ledger, left = self._console.ledger(), self._console.left
        assert ledger is not None
        problems = [*self._unmatched(scenario, ledger), *self._touched(scenario)]
        if scenario.converges:
            self._console.drift()
            problems += [f"drift after an undisturbed run: {found}" for found in self._console.found]
        else:
            problems += map(str, unlisted(self._stage.at_first(scenario.begins), things(self._cloud), left).items())
        assert not problems, problems
        return self._end(ledger)

    def play(self, point: Point) -> Verdict:
        """Disturb a run at a point, type the same command once more, and look what has come of it."""
        began, verdict = time.perf_counter(), Verdict(str(point), point.scenario, point.fault, point.method)
        scenario = self._begin(point.scenario)
        verdict.first = self._disturbed(scenario, IDS[0], point.number, point.fault, verdict)
        if not self._wire.struck:
            verdict.problems.append("the run never came to this point: it is not the same from run to run")
        return self._ended(scenario, verdict, began)

    def play_pair(self, seed: int) -> Verdict:
        """Disturb a run, then the next one too, which is about to recover, then type the same command once more."""
        chance = random.Random(seed)
        name = chance.choice(list(SCENARIOS))
        first = chance.choice([point for point in self.points(name) if point.same_as is None])
        fault, where = chance.choice(list(FAULTS)), chance.random()
        began, verdict = time.perf_counter(), Verdict(f"--pair {seed}", name, f"{first.fault}, {fault}", first.method)
        scenario = self._begin(name)
        verdict.first = self._disturbed(scenario, IDS[0], first.number, first.fault, verdict)
        between = snapshots.take(self._cloud.world)
        number = int(where * len(self.undisturbed(name).requests))
        verdict.first += f", {self._disturbed(scenario, IDS[0], number, fault, verdict)} at {number}"
        if not self._wire.struck:  # a recovery may be shorter than the run that it completes
            snapshots.restore(self._cloud.world, between)
            number = int(where * self._wire.count)
            verdict.first += f", {self._disturbed(scenario, IDS[0], number, fault, verdict)} at {number}"
        return self._ended(scenario, verdict, began)

    def _begin(self, name: str) -> Scenario:
        self.undisturbed(name)
        self._stage.set(SCENARIOS[name].begins)
        return SCENARIOS[name]

    def _disturbed(self, scenario: Scenario, ids: tuple[str, str], number: int, fault: str, verdict: Verdict) -> str:
        """Run the command with a fault; returns how it ended. After a death somebody comes back a little later."""
        try:
            self._process(scenario, ids, number, fault)
        except Death:
            self._cloud.clock.sleep(BACK_AFTER)
            return "died"
        except Exception as error:  # noqa: BLE001 - what the command line would make of it
            told = error if isinstance(error, ProvisionError) else cli._for_the_user(error)
            if told is None:
                verdict.problems.append(f"the disturbed run ended as a defect: {error!r}")
            return f"{type(told or error).__name__}: {told or error}"
        return "finished"

    def _ended(self, scenario: Scenario, verdict: Verdict, began: float) -> Verdict:
        self._again(scenario, verdict)
        self._judge(scenario, verdict)
        verdict.seconds = round(time.perf_counter() - began, 3)
        return verdict

    def _again(self, scenario: Scenario, verdict: Verdict) -> None:
        since = self._cloud.clock.monotonic()
        try:
            self._process(scenario, IDS[1])
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not be
            verdict.problems.append(f"the same command once more failed: {type(error).__name__}: {error}")
        waited = self._cloud.clock.monotonic() - since
        if waited > LEASE + self.undisturbed(verdict.scenario).waits:
            verdict.problems.append(f"the same command once more waited {waited:.0f} s")

    def _judge(self, scenario: Scenario, verdict: Verdict) -> None:
        self._wire.begin()
        ledger = self._console.ledger()
        if ledger is None:
            verdict.problems.append("there is no ledger")
            return
        end, ends = self._end(ledger), self.undisturbed(verdict.scenario).ends[ledger.deployment]
        verdict.problems += min((portrait.differences(one, end) for one in ends), key=len)
        verdict.problems += self._unmatched(scenario, ledger)
        verdict.problems += self._touched(scenario)
        if self._console.is_locked():
            verdict.problems.append("the lease is still there")

    def _process(
        self, scenario: Scenario, ids: tuple[str, str], number: int | None = None, fault: str | None = None
    ) -> None:
        """Run the command as a process of its own would, disturbed or not."""
        self._console.fresh()
        self._console.ids = ids
        self._wire.begin(number, FAULTS[fault].play if fault else None)
        scenario.types(self._console)

    def _end(self, ledger: Ledger) -> Portrait:
        return portrait.of_project(self._cloud) + portrait.of_ledger(ledger)

    def _unmatched(self, scenario: Scenario, ledger: Ledger) -> Iterator[str]:
        """What carries our mark and is in no record. A record without a thing shows in an end that is not equal."""
        if not scenario.converges:
            return
        known = {ref.removeprefix("projects/_/buckets/") for ref in ledger.records}
        for name in sorted(portrait.marked(self._cloud, ledger.deployment) - known):
            yield f"{name} carries our mark and is not in the ledger"

    def _touched(self, scenario: Scenario) -> Iterator[str]:
        """What others have in the project and is not as it was; a policy may hold other grants besides."""
        now = things(self._cloud)
        for name, theirs in self._stage.at_first(scenario.begins).items():
            found = now.get(name, {})
            if "iam.policies" in theirs:
                granted, audit = found.get("iam.policies", (set(), None))
                found = {"iam.policies": (granted & theirs["iam.policies"][0], audit)}
            if found != theirs:
                yield f"{name} of others was touched: {theirs} became {found}"


@contextlib.contextmanager
def proving() -> Iterator[Proof]:
    """Make a cloud, lay the wire, and hand out what plays points."""
    with cloud() as place, Wire(place.control).laid() as wire:
        yield Proof(place, wire)
