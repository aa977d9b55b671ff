"""Secret Manager: what shows late, and what is not asked for twice."""

import base64

import pytest

from provision.emulator.machines import NoMachines

ADD = "secretmanager.projects.secrets.addVersion"
VERSIONS, PAYLOADS = "secretmanager.versions", "secretmanager.payloads"


class Listening(NoMachines):
    """No machines, but for the passwords that users of databases were given."""

    def __init__(self) -> None:
        self.passwords: dict[str, str] = {}

    def database_set_user(self, name: str, user: str, password: str) -> None:
        """Remember it."""
        self.passwords[user] = password


@pytest.fixture
def given(rehearsal):
    """The passwords that users were given."""
    world = rehearsal.place.world
    before, world.machines = world.machines, Listening()
    yield world.machines.passwords
    world.machines = before


def said(rehearsal, number):
    """What a version of the database's password says."""
    (payload,) = (row for name, row in rehearsal.table(PAYLOADS).items() if name.endswith(f"/versions/{number}"))
    return base64.b64decode(payload["data"]).decode()


@pytest.mark.parametrize("lost", [False, True], ids=["all answers come", "the answer to addVersion is lost"])
def test_11_latest_is_stale_for_minutes(rehearsal, given, calm, lost):
    """Only numbers are ever asked for, so there is one version, and the database's user has just its password."""
    rehearsal.plays("latest-stale", seconds=1800)
    if lost:
        rehearsal.place.control.faults.order([{"method": ADD, "when": "after", "drop": True}])
    waited = rehearsal.up()
    (version,) = rehearsal.table(VERSIONS)
    variables = [row.get("envVariables", {}) for row in rehearsal.table("appengine.versions").values()]

    assert waited < calm + 5
    assert version.endswith("/versions/1")
    assert rehearsal.called(ADD) == [0 if lost else 200]
    assert given["mlflow"] == said(rehearsal, 1)
    assert {found["DATABASE_PASSWORD_VERSION"] for found in variables if "DATABASE_PASSWORD_VERSION" in found} == {
        version
    }
    assert not any("latest" in call["path"] for call in rehearsal.calls.all())
    assert rehearsal.bare_retries() == []
    assert rehearsal.deployment.drift() == []


def test_11_an_answer_is_lost_and_nobody_is_there_to_miss_it(rehearsal, given):
    """The next run finds the version that it would have made under its number."""
    rehearsal.plays("latest-stale", seconds=1800)
    rehearsal.place.control.faults.order([{"method": ADD, "when": "after", "drop": True}])
    rehearsal.killed(after=0)
    rehearsal.up()

    assert len(rehearsal.table(VERSIONS)) == 1
    assert rehearsal.called(ADD) == [0]
    assert given["mlflow"] == said(rehearsal, 1)
    assert rehearsal.deployment.drift() == []


def test_11_a_new_password_while_latest_still_means_the_old_one(rehearsal, given, calm):
    """The user, and the server, get the one that was made."""
    rehearsal.up()
    rehearsal.plays("latest-stale", seconds=1800)
    (first,) = rehearsal.table(VERSIONS)
    rehearsal.deployment.gcp.secrets.destroy_secret_version(name=first)
    waited = rehearsal.up()

    assert waited < calm + 5
    assert rehearsal.called(ADD) == [200, 200]
    assert given["mlflow"] == said(rehearsal, 2)
    assert rehearsal.deployment.drift() == []
