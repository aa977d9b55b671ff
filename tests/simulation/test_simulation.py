"""The simulation itself: it can be trusted to tell the same story again, and its soak to be stopped."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation import report
from tests.simulation.scheduler import Condition, Death, NeverEnds, Process, Scheduler
from tests.simulation.story import play

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("seed", [3, 10, 47])
def test_a_seed_tells_the_same_story_in_every_process(seed):
    """Also where strings have other hashes, so that a failure can be seen again anywhere."""
    here = "\n".join(play(seed, traced=True).trace)
    code = f"from tests.simulation.story import play; print(chr(10).join(play({seed}, traced=True).trace))"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    there = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, env=environment
    )

    assert len(here) > 1000
    assert hashlib.sha256(there.stdout.rstrip().encode()).hexdigest() == hashlib.sha256(here.encode()).hexdigest()


def test_a_soak_goes_on_where_it_was_stopped(tmp_path):
    """What is done is not told again; the last line counts both sittings."""
    said, checkpoint = [], tmp_path / "soak.json"
    report.soak(0, 199, checkpoint, processes=1, say=said.append)
    report.soak(0, 219, checkpoint, processes=1, say=said.append)

    assert said[-2].startswith("200 seeds in ")
    assert said[-1].startswith("220 seeds in ")
    assert report.figures(checkpoint) == "A soak has told 220 of the seeds 0 to 219; failures: 0.\n"


def test_the_dead_touch_nothing():
    """Each thread of theirs ends where it stands, and its clean-up is refused as well."""
    scheduler, touched = Scheduler(1), []
    process = Process(scheduler, "p", "desk", 1)

    def work():
        try:
            scheduler.sleep(10)
        finally:
            scheduler.sleep(1)
            touched.append("world")

    scheduler.spawn(process, work)
    scheduler.at(5, lambda: scheduler.kill(process))
    scheduler.run()

    assert touched == []
    assert process.tasks == []


def test_who_hangs_sees_time_go_by_in_one_leap():
    """A process that is frozen goes on late, and not at all meanwhile."""
    scheduler, seen = Scheduler(1), []
    process = Process(scheduler, "p", "desk", 1)

    def work():
        for _ in range(3):
            scheduler.sleep(10)
            seen.append(scheduler.now)

    scheduler.spawn(process, work)
    scheduler.at(15, lambda: setattr(process, "frozen_until", 100.0))
    scheduler.run()

    assert seen == [10.0, 100.0, 110.0]


def test_a_story_that_never_ends_is_an_error():
    """Virtual time is cheap, but not endless."""
    scheduler = Scheduler(1)
    process = Process(scheduler, "p", "desk", 1)

    def work():
        while True:
            scheduler.sleep(1000)

    scheduler.spawn(process, work)

    with pytest.raises(NeverEnds):
        scheduler.run()
    scheduler.kill(process)


def test_threads_that_wait_are_woken_in_an_order_that_the_seed_draws():
    """So that no thread can rely on being first."""
    orders = set()
    for seed in range(20):
        scheduler, order = Scheduler(seed), []
        process, turn = Process(scheduler, "p", "desk", 1), Condition(scheduler)

        def wait(name, order=order, turn=turn):
            with turn:
                turn.wait()
            order.append(name)

        for name in "abc":
            scheduler.spawn(process, lambda name=name, wait=wait: wait(name))

        def wake(turn=turn):
            with turn:
                turn.notify_all()

        scheduler.at(1, wake)
        scheduler.run()
        orders.add("".join(order))

    assert len(orders) > 3


def test_death_is_no_ordinary_error():
    """Nothing in a run that catches errors may catch it."""
    assert not issubclass(Death, Exception)
