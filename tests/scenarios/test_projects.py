"""Projects that are not there, are somebody else's, or are about to go."""

import pytest

from provision import bootstrap
from provision.errors import ProjectNotUsable, QuotaProjectMissing
from tests.journey.deploy import NUMBER, PROJECT

COMMANDS = [pytest.param(True, id="that changes something"), pytest.param(False, id="that only looks")]


def find(rehearsal, may_change):
    """What every command begins with."""
    return bootstrap.find_project(rehearsal.deployment.gcp, rehearsal.place.clock, may_change=may_change)


@pytest.mark.parametrize("may_change", COMMANDS)
@pytest.mark.parametrize("scenario", ["no-such-project", "foreign-project"])
def test_18_a_project_that_may_not_be_seen(rehearsal, scenario, may_change):
    """Nobody can tell whether it is there: both are said, at once, and nothing is switched on in it."""
    rehearsal.plays(scenario)
    with pytest.raises(ProjectNotUsable, match=f"Project {PROJECT} does not exist, or you may not see it") as told:
        find(rehearsal, may_change)

    assert "resourcemanager.projects.get" in told.value.hint
    assert {call["status"] for call in rehearsal.calls.all()} == {403}
    assert rehearsal.waited() < 1


@pytest.mark.parametrize("may_change", COMMANDS)
def test_18_a_project_that_is_about_to_go(rehearsal, may_change):
    """It is said how it comes back."""
    rehearsal.plays("project-pending-deletion")
    with pytest.raises(ProjectNotUsable, match="is in state DELETE_REQUESTED") as told:
        find(rehearsal, may_change)

    assert f"gcloud projects undelete {PROJECT}" in told.value.hint
    assert rehearsal.made() == set()
    assert rehearsal.waited() < 1


@pytest.mark.parametrize("may_change", COMMANDS)
def test_18_a_project_in_which_nothing_is_on(rehearsal, may_change):
    """It is found all the same."""
    found = find(rehearsal, may_change)

    assert (found.id, found.number) == (PROJECT, NUMBER)
    assert rehearsal.made() == ({"serviceusage.services.enable"} if may_change else set())


@pytest.mark.parametrize("may_change", COMMANDS)
def test_02_another_project_of_ours_pays_for_the_calls(rehearsal, may_change):
    """Nothing is switched on in the deployed one, which would not help."""
    rehearsal.plays("foreign-quota-project", consumer="555555555555")
    with pytest.raises(QuotaProjectMissing):
        find(rehearsal, may_change)

    assert rehearsal.made() == set()
    assert rehearsal.waited() < 1
