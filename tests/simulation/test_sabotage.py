"""The simulation finds what it is there to find: each promise is broken on purpose, once."""

import contextlib

import pytest

from tests.simulation.sabotages import TABLE, altered
from tests.simulation.story import play

ENOUGH = 1500
"""Seeds within which a sabotage must be found."""


@pytest.mark.parametrize("name", TABLE)
def test_a_sabotage_is_found(name):
    """Within a part of the seeds that every run of the tests tells, and in words that say what is wrong."""
    classes, alteration, words = TABLE[name]
    with altered(*alteration) if alteration else contextlib.nullcontext():
        found = next((seed for seed in range(ENOUGH) if words in "".join(play(seed, classes).failures)), None)

    assert found is not None
