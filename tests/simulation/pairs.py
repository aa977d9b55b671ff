"""Every death of a run, and every death of the run that goes on after it; then a plain one must reach the end."""

from tests.simulation.faults import Faults
from tests.simulation.story import play
from tests.simulation.table import NEEDS

SEED = 7
SIDES = ("before", "after")


def every(command, part=0, of=1):
    """All pairs of deaths of a command: where the first run dies, and where the one that goes on after it does.

    Args:
        command: `up` or `down`.
        part: which part of them, by the first death.
        of: how many parts there are.
    """
    for first in _points(command)[part::of]:
        for second in _points(command, first):
            yield first, second


def broken(command, first, second):
    """What is broken after these two deaths, one more plain run, and the `down` after that."""

    def script(story):
        _furnish(story, command)
        _run(story, command, Faults(death=first))
        _run(story, command, Faults(death=second))
        story.settle_down()
        if command == "up":
            story.recover(0)
        story.take_down()

    return play(SEED, script=script).failures


def _points(command, first=None):
    """Where a run can die: at its changing calls and saves, by number; of the first run or of the one after a death."""
    numbers = []

    def script(story):
        _furnish(story, command)
        if first is not None:
            _run(story, command, Faults(death=first))
        _run(story, command, _Noting(numbers))

    play(SEED, script=script)
    return [(number, side) for number in numbers for side in SIDES]


def _furnish(story, command):
    story.cloud.moody, story.cloud.hasty = False, True
    story.furnish(NEEDS, app=False, squatter=False)
    if command == "down":
        _run(story, "up", Faults())


def _run(story, command, faults):
    story.run(command, faults=faults)
    story.wait()


class _Noting(Faults):
    """No faults at all: writes down which calls change something."""

    def __init__(self, numbers):
        super().__init__()
        self.numbers = numbers

    def passes(self, number, what, *, changes):
        if changes and "lease.json" not in what:
            self.numbers.append(number)
