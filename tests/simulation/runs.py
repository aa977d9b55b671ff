"""A run of a command, as a process of the story: the same session, engine, journal and lease as on anybody's machine."""

import functools
from dataclasses import dataclass

from provision import session
from provision.engine import Engine
from provision.errors import NothingDeployed, ProvisionError
from provision.teardown import Teardown
from state.holder import Process as Machine
from state.journal import Journal, Pace
from state.ledger import Ledger
from state.lock import Lease
from tests.simulation.cloud import SimulatedGcp
from tests.simulation.faults import Faults
from tests.simulation.handover import HandedOver
from tests.simulation.scheduler import Condition, Death, Event, Process
from tests.simulation.table import PROJECT, config

NUMBER = "123456789012"


@dataclass(frozen=True)
class Classes:
    """What a run is made of; a sabotage puts a broken one in place of the real one."""

    lease: type[Lease] = Lease
    journal: type[Journal] = Journal
    engine: type[Engine] = Engine


ALL_REAL = Classes()


class Run(Process):
    """One command, typed on some machine.

    Args:
        story: whose.
        name: for the trace.
        command: `up` or `down`.
        number: which settings.
        faults: what becomes of it.
        host: the machine.
        skew: seconds by which its time of day is wrong.
        rate: how fast its clocks go.
    """

    def __init__(self, story, name, command, number=0, faults=None, host="desk", skew=0.0, rate=1.0):
        super().__init__(story.scheduler, name, host, len(story.runs) + 100, skew, rate)
        self.story, self.command, self.number = story, command, number
        self.faults = faults or Faults()
        self.calls = 0
        self.engine = None
        self.opened = 0.0
        self.outcome = None
        """"done", or what it ended with; None while it is at work or when it is dead."""

    @property
    def over(self):
        """Whether it has ended, one way or the other."""
        return self.dead or (self.outcome is not None and not self.tasks)

    def begin(self):
        """Type the command."""
        self.story.tell(self, f"begins on {self.host}: {self.command} {self.number}")
        self.scheduler.spawn(self, self._live, self.name)

    def interrupt(self):
        """Press Ctrl-C."""
        if self.engine is not None:
            self.engine.stop.set()

    def knows_dead(self, holder):
        """Whether the holder of a lease was a process of this machine that is gone: `Holder.is_gone`, simulated."""
        return holder.host == self.host and any(run.dead for run in self.story.runs if run.pid == holder.pid)

    def _live(self):
        try:
            self._work()
            self.outcome = "done"
        except ProvisionError as error:
            self.outcome = error
        except Death:
            raise
        except Exception as error:  # noqa: BLE001 - the very thing to be found out
            self.outcome = error
            self.story.judge.fail(f"{self.name} ended with what nobody foresaw: {error!r}")
            self.story.error = error
        self.story.tell(self, f"ends: {self.outcome if self.outcome == 'done' else repr(self.outcome)}")

    def _work(self):
        story, gcp = self.story, SimulatedGcp(self.story.cloud)
        if self.command == "down":
            with session.reading(gcp, story.store):  # must be there
                pass
        with session.changing(
            story.plan, gcp, story.store, self, initial=self._first_ledger, runner=self.name, parts=self._parts()
        ) as engine:
            if self.command == "up":
                engine.up(config(self.number))
            else:
                Teardown(engine, f"s{self.pid}", delete_data=True).run()

    def _first_ledger(self):
        if self.command == "down":
            raise NothingDeployed("There is no ledger.")
        return (HandedOver if self.story.by_hand else Ledger)(
            deployment=f"{self.pid:08x}",
            salt=f"f{self.pid}",
            project=PROJECT,
            project_number=NUMBER,
            region="europe-west1",
        )

    def _parts(self):
        condition = functools.partial(Condition, self.scheduler)
        story = self.story

        def journal(store, pace=None):
            pace = Pace(clock=self.monotonic, sleep=self.sleep)
            return story.classes.journal(store, pace=pace, sleep=self.sleep, new_id=story.new_id, condition=condition)

        def lease(store, **options):
            here = Machine(host=self.host, pid=self.pid, started="", machine="")
            time = {"clock": self.monotonic, "sleep": self.sleep, "now": self.now, "condition": condition}
            made = beating(story.classes.lease)(store, **options, **time, here=here, owner=self.name, background=False)
            made.process = self
            made._ended = Event(self.scheduler, self)
            return made

        def engine(*args, **options):
            self.opened = self.scheduler.now
            self.engine = story.classes.engine(*args, **options, workers=story.workers)
            return self.engine

        return session.Parts(
            events=_NoEvents, lease=lease, journal=journal, engine=engine, name=lambda clock: self.name
        )


class _NoEvents:
    """In place of the log that is kept beside the ledger: no run depends on it."""

    def __init__(self, store, run):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def add(self, line):
        pass


@functools.cache
def beating(kind):
    """A lease whose heart beats in a thread of the story, and that knows the dead of its machine."""

    class Beating(kind):
        def acquire(self):
            super().acquire()
            self._ended.clear()
            self._thread = self.process.scheduler.spawn(self.process, self._live, "heart")

        def _may_take(self, locked):
            return super()._may_take(locked) or self.process.knows_dead(locked.holder)

    return Beating
