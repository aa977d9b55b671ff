"""App Engine: an application that is new, busy, elsewhere or switched off, and deployments that end badly."""

import pytest

from provision.config import check
from provision.deployment import Deployment
from provision.errors import ApplicationDisabled, BadConfig, OperationFailed, WrongRegion
from tests.journey.deploy import BASE

LONGEST_PROJECT = "p" + "0" * 29


def test_06_googles_own_account_of_a_new_application_is_not_found(rehearsal, calm):
    """What needs it is tried again."""
    rehearsal.plays("app-account-unknown", seconds=60)
    waited = rehearsal.up()

    assert waited < calm + 1.6 * 60 + 3
    assert rehearsal.deployment.drift() == []


def test_06_somebody_else_is_at_work_on_the_application(rehearsal, calm):
    """Patience for as long as a deployment may take, not for two minutes."""
    rehearsal.plays("app-busy", seconds=600)
    waited = rehearsal.up()

    assert 600 <= waited < calm + 600 + 20
    assert rehearsal.deployment.drift() == []


def test_06_lists_of_versions_leave_the_environment_out(rehearsal, calm):
    """Then it is not in a list that a version carries our mark, and it is ours all the same, from `up` to `down`."""
    rehearsal.plays("versions-listed-briefly")
    waited = rehearsal.up()
    rehearsal.deployment.config = check({**BASE, "server": {"memory_gb": 4.0}}, "provision.toml")
    again = rehearsal.up()
    (serving,) = [name for name in rehearsal.table("appengine.versions") if "/mlflow/versions/" in name]

    assert max(waited, again) < calm + 3
    assert rehearsal.table("appengine.versions")[serving]["resources"]["memoryGb"] == 4.0
    assert rehearsal.deployment.drift() == []

    rehearsal.down()

    assert [name for name in rehearsal.table("appengine.versions") if "/mlflow/versions/" in name] == []
    assert rehearsal.waits == {}


def test_06_the_application_lies_in_another_region(rehearsal):
    """That is for ever, and said."""
    rehearsal.plays("app-elsewhere", location="us-central")

    with pytest.raises(WrongRegion, match="lies in us-central for ever, not in europe-west"):
        rehearsal.up()


def test_06_the_application_is_switched_off(rehearsal):
    """It is not ours to switch on; the hint says how."""
    rehearsal.plays("app-disabled")

    with pytest.raises(ApplicationDisabled, match="is USER_DISABLED") as told:
        rehearsal.up()

    assert "gcloud app update --serving-status=SERVING" in told.value.hint


HOSTS = [
    pytest.param({"server": {"service": "m" * 28}}, id="63 characters"),
    pytest.param({"server": {"service": "default"}}, id="the default service, which is not in the address"),
    pytest.param({"env": "e" * 12}, id="the longest environment"),
]


@pytest.mark.parametrize("settings", HOSTS)
def test_06_a_host_name_that_there_can_be(settings):
    """No certificate is for more than 63 characters before the first dot."""
    config = check({"project": LONGEST_PROJECT, **settings}, "provision.toml")
    service = Deployment(config, id="abc", salt="abc", project_number="1").service

    assert service == "default" or len(f"{service}-dot-{LONGEST_PROJECT}") <= 63


def test_06_a_host_name_of_64_characters(rehearsal):
    """It is told with the setting, before anything is touched."""
    with pytest.raises(BadConfig, match=f"{'m' * 29}-dot-{LONGEST_PROJECT} is a part of the server's address"):
        check({"project": LONGEST_PROJECT, "server": {"service": "m" * 29}}, "provision.toml")

    assert rehearsal.calls.all() == []


@pytest.mark.parametrize("service", ["mlflow", "default"])
@pytest.mark.parametrize("code", [4, 13])
def test_07_a_deployment_fails_for_no_reason_of_ours(rehearsal, code, service):
    """Once more, as a new version; nothing of the failed one is left."""
    rehearsal.plays("deployment-ends", code=code, service=service)
    rehearsal.up()
    versions = list(rehearsal.place.world.table("appengine.versions"))

    assert len(versions) == 2
    assert rehearsal.deployment.drift() == []


@pytest.mark.parametrize("code", [7, 9])
def test_07_the_image_may_not_be_pulled_yet(rehearsal, code):
    """The right to was granted a moment ago."""
    rehearsal.plays("deployment-ends", code=code, service="mlflow", times=2)
    rehearsal.up()

    assert rehearsal.deployment.drift() == []


def test_07_the_image_may_not_be_pulled_at_all(rehearsal):
    """Patience ends, and the error is Google's, with what the last version has left."""
    rehearsal.plays("deployment-ends", code=7, service="mlflow", times=1000)
    with pytest.raises(OperationFailed, match="must have permissions on the image") as told:
        rehearsal.up()

    assert "The version was rolled back: it is not there any more." in str(told.value)
    assert "The last lines of its log:\n  Listening at: http://0.0.0.0:8080\n  Worker failed" in str(told.value)
    assert rehearsal.place.clock.monotonic() < 900


def test_07_a_deployment_fails_again_and_again(rehearsal):
    """Once more is enough; the version that code 13 leaves behind is told as it is."""
    rehearsal.plays("deployment-ends", code=13, service="mlflow", times=1000)
    with pytest.raises(OperationFailed, match="An internal error occurred during deployment") as told:
        rehearsal.up()

    assert rehearsal.called("appengine.apps.services.versions.create") == [200] * 3  # one of them is the placeholder
    assert "The version is SERVING; its instances: RUNNING, HEALTHY" in str(told.value)
    assert "Worker failed to boot." in str(told.value)
