"""Stories of many seeds: half of them; the others are in a file of their own, so that both run side by side."""

import pytest

from tests.simulation import report

SEEDS, PART = range(1, 12_000, 2), 500


@pytest.mark.parametrize("start", range(0, len(SEEDS), PART), ids=lambda start: f"from {SEEDS[start]}")
def test_every_promise_is_kept(start):
    """Whatever dies, hangs, is lost or comes late; see the package's docstring for what is promised."""
    found = report.broken(SEEDS[start : start + PART])

    assert not found, "\n".join(found)
