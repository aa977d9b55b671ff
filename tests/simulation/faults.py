"""What goes wrong in a story: drawn once for each process, from the seed, out of a random part of all faults."""

from dataclasses import dataclass, field

REQUEST_TIMEOUT = 25.0
"""Seconds after which no request of a client lands any more; `provision.gcp.TIMEOUT`."""

CHANGE_FATES = ("unsent", "lost", "late", "503 before", "503 after", "429")
READ_FATES = ("unsent", "503 before", "429")
"""What may become of a call instead of an answer. Lost, late and 503 after: it has had, or will have, its effect."""

PLACES = ("before the check", "between check and send", "in flight")
"""Where a process may hang."""


@dataclass
class Hang:
    """A process stands still, as a laptop with a closed lid: for so long, at this place of a call."""

    place: str
    seconds: float


@dataclass
class Faults:
    """What becomes of the calls of one process; nothing bad by default.

    Args:
        fates: how likely which fate is, for each call.
        slow: how likely a request is slow.
        death: number of the call at which the process dies, and whether before or after its effect.
        hangs: by number of the call.
        interrupt: number of the call at which the user presses Ctrl-C.
    """

    fates: dict[str, float] = field(default_factory=dict)
    slow: float = 0.0
    death: tuple[int, str] | None = None
    hangs: dict[int, Hang] = field(default_factory=dict)
    interrupt: int | None = None

    def passes(self, number, what, *, changes):
        """Be told of a call before it is sent."""

    def fate(self, random, *, changes):
        """What becomes of one call; None when it goes well."""
        if not self.fates:
            return None
        drawn = random.random()
        for name, rate in self.fates.items():
            drawn -= rate
            if drawn < 0:
                return name if changes or name in READ_FATES else None
        return None

    def there(self, random):
        """Seconds until a request lands."""
        if self.slow and random.random() < self.slow:
            return random.uniform(0.3, REQUEST_TIMEOUT - 1)
        return random.uniform(0.02, 0.3)


def draw(random, *, deadly=True):
    """The faults of one process: a random part of all kinds, each at a random rate."""
    faults = Faults()
    if random.random() < 0.6:
        kinds = [name for name in CHANGE_FATES if random.random() < 0.4]
        faults.fates = {name: random.choice((0.01, 0.03, 0.08)) for name in kinds}
    if random.random() < 0.3:
        faults.slow = random.choice((0.02, 0.1))
    if random.random() < 0.35:
        for _ in range(random.choice((1, 1, 2))):
            seconds = random.choice((5.0, 40.0, 61.0, 80.0, 92.0, 120.0, 400.0)) * random.uniform(0.9, 1.1)
            faults.hangs[_some_call(random)] = Hang(random.choice(PLACES), seconds)
    if random.random() < 0.1:
        faults.interrupt = _some_call(random)
    if deadly and random.random() < 0.6:
        faults.death = (_some_call(random), random.choice(("before", "after")))
    return faults


def _some_call(random):
    """The number of a call: early ones as often as late ones, and the very first ones more often still."""
    return random.randint(2, 6) if random.random() < 0.15 else int(2 ** random.uniform(0, 7.5))
