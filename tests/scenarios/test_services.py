"""APIs that are on and do not answer, or that somebody else is switching on."""

import pytest

from provision.errors import QuotaProjectMissing


def test_02_an_api_that_was_switched_on_sleeps_for_a_while(rehearsal, calm):
    """It is probed until it answers."""
    rehearsal.plays("apis-wake-late", seconds=60)
    waited = rehearsal.up()

    assert (
        waited < calm + 1.6 * 3 * 60
    )  # Storage, Resource Manager and all the others are switched on one after the other
    assert rehearsal.called("serviceusage.services.batchEnable") == [200]
    assert rehearsal.bare_retries() == []


@pytest.mark.parametrize("consumer", ["764086051850", "618104708054"])
def test_02_another_project_pays_for_the_calls(rehearsal, consumer):
    """Waiting would not help, nor would switching anything on: it is said at once what to type."""
    rehearsal.plays("foreign-quota-project", consumer=consumer)
    with pytest.raises(QuotaProjectMissing) as told:
        rehearsal.up()

    assert rehearsal.place.clock.monotonic() < 1
    assert "set-quota-project" in told.value.hint
    assert [call for call in rehearsal.calls.all() if call["write"]] == []


def test_03_somebody_else_is_switching_apis_on(rehearsal, calm):
    """It is waited for, and then only what is still off is switched on."""
    rehearsal.plays("activation-in-progress", seconds=40)
    waited = rehearsal.up()

    assert 40 <= waited < calm + 1.6 * 40 + 3
    assert rehearsal.bare_retries() == []


def test_03_switching_on_ends_with_failed_services(rehearsal, calm):
    """Once more, after a look at what is on."""
    rehearsal.plays("activation-in-progress", failed_services=1)
    rehearsal.up()

    assert rehearsal.deployment.drift() == []
    assert rehearsal.bare_retries() == []
