"""After a lost answer to any change, the run itself finds out what happened, and `down` empties."""

import collections

import pytest
import requests

from tests.journey.recovery import empty, recovered

pytestmark = pytest.mark.timeout(900)  # a hundred deployments, on a machine that may be busy


def test_a_lost_answer_at_every_change(deployment, undisturbed):
    """The connection breaks after each change has had its effect: the run itself finds out and goes on."""
    before: collections.Counter[str] = collections.Counter()

    for method in undisturbed.changes:
        empty(deployment)
        deployment.store()
        requests.delete(f"{deployment.emulator.url}/emulator/faults", timeout=10)
        fault = {"method": method, "when": "after", "drop": True, "skip": before[method]}
        requests.post(f"{deployment.emulator.url}/emulator/faults", json=[fault], timeout=10).raise_for_status()
        before[method] += 1
        deployment.up()

        recovered(deployment, undisturbed)

    assert len(undisturbed.changes) > 30
