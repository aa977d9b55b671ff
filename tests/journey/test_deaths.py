"""After a death at any save of the ledger, the same command again is all it takes, and `down` empties.

The machines behind the emulator are off; steps, engine, journal and Google's client libraries are the real ones. Rows
are worked on one at a time, so that the points of one run are the points of the next.
"""

import contextlib

import pytest

from tests.journey.deploy import Death, DyingStore
from tests.journey.recovery import empty, recovered

pytestmark = pytest.mark.timeout(900)  # a hundred deployments, on a machine that may be busy


@pytest.mark.parametrize(
    "after_effect",
    [pytest.param(False, id="the save is lost"), pytest.param(True, id="the save is the last that happens")],
)
def test_a_death_at_every_save_of_the_ledger(deployment, undisturbed, after_effect):
    """`kill -9` at each save, before and after its effect: nothing is lost."""
    for number in range(1, undisturbed.saves + 1):
        empty(deployment)
        with contextlib.suppress(Death):
            deployment.up(DyingStore(deployment.store(), die_at=number, after_effect=after_effect))
        deployment.up()

        recovered(deployment, undisturbed)

    assert undisturbed.saves > 30
