"""`down`, ended by every death there is; and a sample of all other faults, of all scenarios.

The whole product is `tox r -e proof`.
"""

import random

import pytest

from tests.crash.faults import FAULTS
from tests.crash.scenarios import SCENARIOS

pytestmark = pytest.mark.timeout(900)  # a hundred deployments, on a machine that may be busy
SAMPLE, PAIRS = 36, 6


def test_every_death(proof):
    """Before and after every changing request, and every save of the ledger."""
    deaths = [point for point in proof.points("down") if FAULTS[point.fault].deadly and not point.same_as]
    failed = [verdict for verdict in map(proof.play, deaths) if verdict.problems]

    assert failed == []
    assert len(deaths) > 50


@pytest.mark.parametrize("name", SCENARIOS)
def test_other_faults(proof, name):
    """Some of each scenario, drawn by lot; the same ones each time."""
    points = [point for point in proof.points(name) if not point.same_as]
    drawn = random.Random(0).sample(points, SAMPLE // len(SCENARIOS))
    failed = [verdict for verdict in map(proof.play, drawn) if verdict.problems]

    assert failed == []


def test_a_second_fault_in_the_run_that_recovers(proof):
    """Drawn by lot as well."""
    failed = [verdict for verdict in map(proof.play_pair, range(PAIRS)) if verdict.problems]

    assert failed == []
