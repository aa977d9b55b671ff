"""Builds that may not run where they should, or fail."""

import pytest

from provision.config import Config
from provision.errors import GoogleRefused, OperationFailed
from tests.journey.deploy import BASE, PROJECT

BUILDING = "cloudbuild.projects.locations.builds.create"
NEAREST = {"europe-west1": "us-central1", "europe-west2": "europe-west1", "us-east1": "us-central1"}


@pytest.mark.parametrize(("region", "allowed"), NEAREST.items(), ids=NEAREST)
def test_17_the_project_may_not_build_in_the_region(rehearsal, calm, region, allowed):
    """It builds in the nearest one in which every project may, and the image comes into the same repository."""
    rehearsal.plays("build-region-forbidden", region=region)
    rehearsal.deployment.config = Config.model_validate({**BASE, "region": region})
    waited = rehearsal.up()
    parents = [
        call["path"].partition("/locations/")[2].partition("/")[0]
        for call in rehearsal.calls.all()
        if call["id"] == BUILDING
    ]
    (version,) = rehearsal.place.world.table("artifactregistry.tags")

    assert parents == [region, allowed]
    assert rehearsal.called(BUILDING) == [400, 200]
    assert version.startswith(f"projects/{PROJECT}/locations/{region}/repositories/mlflow/")
    assert waited < calm + 3
    assert rehearsal.deployment.drift() == []


def test_17_the_project_may_build_nowhere(rehearsal, calm):
    """Then Google's words are told."""
    rehearsal.plays("build-region-forbidden", region="*")
    with pytest.raises(GoogleRefused, match="cannot run builds in this region"):
        rehearsal.up()

    assert rehearsal.called(BUILDING) == [400, 400]
    assert rehearsal.waited() < calm + 3


def test_17_a_step_of_the_build_fails(rehearsal, calm):
    """It would fail again: its last lines are told, not those of the build around it, and what was done is kept."""
    rehearsal.plays("build-fails", says="ERROR: No matching distribution found for mlflow==99")
    with pytest.raises(OperationFailed) as told:
        rehearsal.up()
    words = str(told.value)
    spent = rehearsal.waited()
    rehearsal.over()
    rehearsal.up()

    assert "the build ended with FAILURE: build step 0" in words
    assert "Step #0: ERROR: No matching distribution found for mlflow==99" in words
    assert "starting build" not in words
    assert told.value.hint.startswith("The same build would fail again. Mend what the last lines of its log name")
    assert spent < calm + 3
    assert rehearsal.called(BUILDING) == [200, 200]
    assert rehearsal.bare_retries() == []
    assert rehearsal.deployment.drift() == []


def test_17_a_build_fails_inside_of_google(rehearsal, calm):
    """Once more, after a look at whether the image is there."""
    rehearsal.plays("build-internal-error")
    waited = rehearsal.up()

    assert waited < calm + 5
    assert rehearsal.called(BUILDING) == [200, 200]
    assert rehearsal.bare_retries() == []
    assert rehearsal.deployment.drift() == []


def test_17_builds_fail_inside_of_google_again_and_again(rehearsal, calm):
    """Twice is enough."""
    rehearsal.plays("build-internal-error", times=1000)
    with pytest.raises(OperationFailed, match="the build ended with INTERNAL_ERROR") as told:
        rehearsal.up()

    assert told.value.hint.startswith("Run the same command again")
    assert rehearsal.called(BUILDING) == [200, 200]
    assert rehearsal.waited() < calm + 5
