"""One thread at a time, in virtual time: a seed alone decides who goes on when.

The threads are greenlets. Each runs until it waits (for a cloud call, a save, a sleep, another thread) and then hands
over; time passes only when all wait. What happens at the same moment happens in an order that the seed draws.
"""

import heapq
import random
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from greenlet import getcurrent, greenlet

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
LONGEST_STORY = 40_000.0
"""Virtual seconds after which a story counts as never ending."""


class Death(BaseException):
    """The process is gone at this very point: raised in each of its threads, and again by whatever they still touch."""


class NeverEnds(AssertionError):
    """Threads wait for each other, or a run goes on and on."""


class Task:
    """A thread of a process."""

    def __init__(self, scheduler, process, act, name):
        self.scheduler, self.process, self.name = scheduler, process, name
        self.over = False
        self._waiting = []
        self.greenlet = greenlet(lambda: self._run(act), scheduler.hub)

    def _run(self, act):
        try:
            act()
        except Death:
            pass
        finally:
            self.over = True
            self.process.tasks.remove(self)
            for task in self._waiting:
                self.scheduler.wake(task)

    def join(self):
        """Wait until it is over."""
        while not self.over:
            self._waiting.append(self.scheduler.task)
            self.scheduler.park()


class Process:
    """A process on a machine of its own time: its clocks are off, and it may hang or die.

    Args:
        host: the machine's name.
        pid: its number.
        skew: seconds by which its time of day is wrong.
        rate: how fast its clocks go; 1.0 is right.
    """

    def __init__(self, scheduler, name, host, pid, skew=0.0, rate=1.0):
        self.scheduler, self.name, self.host, self.pid = scheduler, name, host, pid
        self.skew, self.rate = skew, rate
        self.dead = False
        self.frozen_until = 0.0
        self.tasks = []

    # The engine's clock

    def now(self):
        return EPOCH + timedelta(seconds=self.scheduler.now + self.skew)

    def monotonic(self):
        return 1000.0 + self.scheduler.now * self.rate

    def sleep(self, seconds):
        self.scheduler.sleep(seconds / self.rate)


class Scheduler:
    """Who goes on next, and when."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.now = 0.0
        self.task = None  # who runs
        self.hub = getcurrent()
        self.errors = []
        self._due = []
        self._number = 0

    # what the story asks for

    def at(self, seconds, act):
        """Let the world do something after so many seconds."""
        self._push(self.now + seconds, act)

    def spawn(self, process, act, name=""):
        """Begin a thread of a process."""
        task = Task(self, process, act, name)
        process.tasks.append(task)
        self.wake(task)
        return task

    def run(self, done=lambda: False):
        """Let the story go on until nothing is left to do, or as long as it is not done."""
        self.hub = getcurrent()
        while self._due and not done():
            when, _, _, what = heapq.heappop(self._due)
            self.now = max(self.now, when)
            if self.now > LONGEST_STORY:
                raise NeverEnds(f"still at work after {LONGEST_STORY:.0f} s")
            if isinstance(what, Task):
                self._go_on(what)
            else:
                what()
        if not done() and self.errors:
            raise self.errors[0]

    def kill(self, process):
        """End a process where it stands; nothing of it reaches the world any more."""
        process.dead = True
        while process.tasks:
            task = process.tasks[0]
            if task.greenlet:
                self.task = task
                task.greenlet.throw(Death())
                self.task = None
            elif task in process.tasks:  # never began
                process.tasks.remove(task)
                task.over = True

    # what threads ask for

    def sleep(self, seconds):
        """Let time pass for this thread."""
        self._push(self.now + seconds, self.task)
        self.park()

    def park(self):
        """Wait until somebody wakes this thread."""
        task = self.task
        if task.process.dead:
            raise Death
        self.hub.switch()
        if task.process.dead:
            raise Death

    def wake(self, task):
        """Let a thread that is parked go on."""
        self._push(self.now, task)

    def _go_on(self, task):
        process = task.process
        if task.over or process.dead:
            return
        if process.frozen_until > self.now:
            self._push(process.frozen_until, task)
            return
        self.task = task
        task.greenlet.switch()
        self.task = None
        if process.dead:
            self.kill(process)

    def _push(self, when, what):
        self._number += 1
        heapq.heappush(self._due, (when, self.random.random(), self._number, what))


class Condition:
    """What journal and lease use as `threading.Condition`. Nobody hands over inside, so it is always free."""

    def __init__(self, scheduler):
        self._scheduler = scheduler
        self._waiting = deque()
        self._inside = None

    def __enter__(self):
        assert self._inside is None, "somebody handed over while holding a lock"
        self._inside = self._scheduler.task
        return True

    def __exit__(self, *error):
        self._inside = None

    def wait(self):
        self._inside = None
        self._waiting.append(self._scheduler.task)
        self._scheduler.park()
        assert self._inside is None
        self._inside = self._scheduler.task

    def notify_all(self):
        while self._waiting:
            self._scheduler.wake(self._waiting.popleft())


class Event:
    """What the heart of the lease waits on in place of a `threading.Event`."""

    def __init__(self, scheduler, process):
        self._scheduler, self._process = scheduler, process
        self._set = False
        self._sleeper = None

    def set(self):
        self._set = True
        if self._sleeper is not None:
            sleeper, self._sleeper = self._sleeper, None
            self._scheduler.wake(sleeper)

    def clear(self):
        self._set = False

    def wait(self, seconds):
        if not self._set:
            scheduler, task = self._scheduler, self._scheduler.task
            self._sleeper = task
            scheduler.at(seconds / self._process.rate, lambda: self._alarm(task))
            scheduler.park()
        return self._set

    def _alarm(self, task):
        if self._sleeper is task:
            self._sleeper = None
            self._scheduler.wake(task)


class Pool:
    """What `walk` uses as a ThreadPoolExecutor: its threads are ours."""

    scheduler = None  # whose threads, while `threads_of` is entered

    def __init__(self, max_workers, thread_name_prefix):
        self._free = max_workers
        self._queue, self._started = [], []
        self._waiter = None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        while left := [future for future in self._started if not future.done]:
            self.look(left)

    def submit(self, visit, node):
        future = Future(self, visit, node)
        self._queue.append(future)
        self._started.append(future)
        return future

    def look(self, futures):
        """Wait until one of them has ended; returns those that have."""
        # By name: the order in which a walk finds what is ready may depend on the hashes of this process.
        self._queue.sort(key=lambda future: future.node)
        while self._queue and self._free:
            self._free -= 1
            self.scheduler.spawn(self.scheduler.task.process, self._queue.pop(0).run)
        ended = [future for future in futures if future.done]
        if futures and not ended:
            self._waiter = self.scheduler.task
            self.scheduler.park()
            ended = [future for future in futures if future.done]
        return ended

    def ended(self):
        self._free += 1
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            self.scheduler.wake(waiter)


class Future:
    """A visit that is under way."""

    def __init__(self, pool, visit, node):
        self._pool, self._visit, self.node = pool, visit, node
        self.done = False
        self._error = None

    def run(self):
        try:
            self._visit(self.node)
        except BaseException as error:  # noqa: BLE001 - as a pool's thread does; the walk looks what it is
            self._error = error
        finally:
            self.done = True
            self._pool.ended()

    def exception(self):
        return self._error


def _wait(futures, timeout, return_when):
    """What `walk` uses as `concurrent.futures.wait`; nobody is stopped without a running visit noticing it."""
    pools = {future._pool for future in futures}
    return (pools.pop().look(sorted(futures, key=lambda future: future.node)) if pools else []), None


@contextmanager
def threads_of(scheduler: Scheduler) -> Iterator[None]:
    """Let `walk` work with the threads of a scheduler."""
    from provision import walk

    before = walk.ThreadPoolExecutor, walk.wait
    walk.ThreadPoolExecutor, walk.wait, Pool.scheduler = Pool, _wait, scheduler
    try:
        yield
    finally:
        (walk.ThreadPoolExecutor, walk.wait), Pool.scheduler = before, None
