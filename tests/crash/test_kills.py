"""`kill -9` of the real program, with a real PostgreSQL and a real MLflow behind the emulator."""

import pytest

from tests.crash import kills

pytestmark = [pytest.mark.machines, pytest.mark.timeout(900)]  # four deployments, on a machine that may be busy


def test_three_kills_in_a_row():
    """At random instants of the first run, of the run that goes on, and of the next; then it is all there, and goes."""
    verdict = kills.play_round(seed=0, kills=3, usual=kills.measured())

    assert verdict.problems == []
