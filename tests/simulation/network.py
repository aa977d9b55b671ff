"""Between the processes and the servers: requests take time, land once or not at all, and answers get lost."""

from dataclasses import dataclass

from tests.simulation.faults import REQUEST_TIMEOUT
from tests.simulation.scheduler import Death


@dataclass
class Flight:
    """A request under way.

    Args:
        what: for the trace.
        process: whose it is.
        checked: when the process was last sure of its lease.
        sent: when it went out.
        fate: what becomes of it.
        thread: which thread waits for it.
    """

    what: str
    process: object
    checked: float
    sent: float
    fate: str | None = None
    thread: object = None

    @property
    def stalled(self):
        """Whether the process hung between the check of its lease and the sending."""
        return self.sent > self.checked

    @property
    def may_stray(self):
        """Whether it may land outside of its run's lease, as the fault model allows."""
        return self.stalled or self.fate == "late" or self.process.dead


class Refused(Exception):
    """A fate that is an answer; each server says it in its own words."""

    def __init__(self, fate):
        super().__init__(fate)
        self.fate = fate


class Network:
    """Carries calls."""

    def __init__(self, scheduler, tell):
        self.scheduler, self.tell = scheduler, tell

    def call(self, what, effect, *, changes, gate=None):
        """Make one call of the running process.

        Args:
            what: for the trace.
            effect: what the server does when the request lands; gets the flight, returns the answer or raises it.
            changes: whether it is a changing request.
            gate: what the request has to pass before it is sent.

        Raises:
            Refused: the fate that it met.
            Death: the process is dead.
        """
        scheduler = self.scheduler
        process = scheduler.task.process
        if process.dead:
            raise Death
        process.calls += 1
        number, faults = process.calls, process.faults
        if faults.interrupt == number:
            self.tell(process, "is interrupted")
            process.interrupt()
        hang = faults.hangs.get(number)
        if hang and hang.place == "before the check":
            self._hang(process, hang, what)
        if gate is not None:
            gate()
        checked = scheduler.now
        if hang and hang.place == "between check and send":
            self._hang(process, hang, what)
        faults.passes(number, what, changes=changes)
        dies = faults.death[1] if faults.death and faults.death[0] == number else None
        if dies == "before":
            self.tell(process, f"dies before: {what}")
            process.dead = True
            raise Death
        fate = faults.fate(scheduler.random, changes=changes)
        flight = Flight(what, process, checked, scheduler.now, fate, scheduler.task)
        answer = self._travel(flight, effect, fate, dies, hang)
        if answer.error is not None:
            raise answer.error
        return answer.value

    def _travel(self, flight, effect, fate, dies, hang):
        scheduler, process, faults = self.scheduler, flight.process, flight.process.faults
        task, random = scheduler.task, scheduler.random
        answer = _Answer()
        there = faults.there(random)
        if fate in {"unsent", "503 before", "429"}:
            self.tell(process, f"{flight.what}: {fate}")
            answer.error = Refused(fate)
            scheduler.sleep(there)
            return answer
        back = there + random.uniform(0.02, 0.3)
        if fate == "late":  # the connection breaks at once, and the request goes on to the server by itself
            there, back = random.uniform(0.5, REQUEST_TIMEOUT), random.uniform(0.02, 0.5)

        def land():
            if process.dead and random.random() < 0.5:
                self.tell(process, f"{flight.what}: went down with its process")
                return
            try:
                answer.value = effect(flight)
                self.tell(process, f"{flight.what}: {'done' if fate is None else fate}")
            except Exception as error:  # noqa: BLE001 - it is the answer
                answer.error = error
                self.tell(process, f"{flight.what}: {error}")
            if fate is not None:
                answer.error = Refused(fate)
            if dies == "after" and not process.dead:
                self.tell(process, f"dies after: {flight.what}")
                scheduler.kill(process)

        if fate == "late":
            answer.error = Refused(fate)
        scheduler.at(there, land)
        scheduler.at(back, lambda: None if process.dead else scheduler.wake(task))
        if hang and hang.place == "in flight":
            self._freeze(process, hang, flight.what)
        scheduler.park()
        return answer

    def _hang(self, process, hang, what):
        self._freeze(process, hang, what)
        self.scheduler.sleep(0.0)

    def _freeze(self, process, hang, what):
        self.tell(process, f"hangs for {hang.seconds:.0f} s {hang.place}: {what}")
        process.frozen_until = self.scheduler.now + hang.seconds


@dataclass
class _Answer:
    value: object = None
    error: Exception | None = None
