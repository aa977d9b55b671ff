"""Every death of a run, and every death of the run that goes on after it; then a plain one must reach the end."""

from tests.simulation.faults import Faults
from tests.simulation.story import play

SEED = 7
SIDES = ("before", "after")


def points(first=None, names=None):
    """Where a run can die: its changing calls and saves by number, of the first run or of the one after a first death."""
    numbers = []

    def script(story):
        _furnish(story, names)
        if first is not None:
            _dying(story, first)
        story.run("up", faults=_Noting(numbers))
        story.wait()

    play(SEED, script=script)
    return [(number, side) for number in numbers for side in SIDES]


def broken(first, second, names=None):
    """What is broken after these two deaths and one more `up`; and after the `down` that follows."""

    def script(story):
        _furnish(story, names)
        _dying(story, first)
        _dying(story, second)
        story.recover(0)
        story.take_down()

    return play(SEED, script=script).failures


def _furnish(story, names):
    story.cloud.moody, story.cloud.hasty = False, True
    story.furnish(names, app=False, squatter=False)


def _dying(story, point):
    story.run("up", faults=Faults(death=point))
    story.wait()


class _Noting(Faults):
    """No faults at all: writes down which calls change something."""

    def __init__(self, numbers):
        super().__init__()
        self.numbers = numbers

    def passes(self, number, what, *, changes):
        if changes and "lease.json" not in what:
            self.numbers.append(number)
