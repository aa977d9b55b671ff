"""`up` in an empty project, ended by every death there is, or with an answer lost: the same command again is all it takes.

The whole product, all scenarios with all faults, is `tox r -e proof`.
"""

import pytest

from tests.crash.faults import FAULTS

pytestmark = pytest.mark.timeout(900)  # a hundred deployments, on a machine that may be busy


def test_every_death(proof):
    """Before and after every changing request, and every save of the ledger."""
    deaths = [point for point in proof.points("up") if FAULTS[point.fault].deadly and not point.same_as]
    failed = [verdict for verdict in map(proof.play, deaths) if verdict.problems]

    assert failed == []
    assert len(deaths) > 90


def test_every_lost_answer(proof):
    """The connection breaks after the effect of a change; of what only saves ledger or lease, a sample stands in test_down."""
    lost = [
        point
        for point in proof.points("up")
        if point.fault == "lost" and point.changes and not point.method.startswith("storage.objects.")
    ]
    failed = [verdict for verdict in map(proof.play, lost) if verdict.problems]

    assert failed == []
    assert len(lost) > 30
