"""Front doors whose OAuth client serves nobody or not everybody, and that learn late who may come in."""

from fnmatch import fnmatchcase
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from provision.config import Config
from provision.emulator.machines.registry import MANAGED_CLIENT
from provision.errors import NeedsCustomClient, NotReachable
from provision.proof import LINKS
from tests.journey.deploy import BASE
from tests.scenarios.conftest import Rehearsal
from tests.scenarios.doors import cloud_with_doors

WALK = (
    "https://iap.googleapis.com/v1/oauth/clientIds/CLIENT_ID:handleRedirect",
    "door.client_id",
    "door.client_secret_file",
)
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture(scope="module")
def place():
    with cloud_with_doors() as made:
        yield made


@pytest.fixture
def own_client(tmp_path):
    """Settings with an OAuth client that somebody has made by hand."""
    secret = tmp_path / "secret"
    secret.write_text("GOCSPX-of-the-tests")
    door = {"client_id": "123456789012-abc.apps.googleusercontent.com", "client_secret_file": str(secret)}
    return Config.model_validate({**BASE, "door": door})


def signs_in(rehearsal: Rehearsal, email: str) -> tuple[httpx.Response, httpx.Response]:
    """Somebody opens MLflow in a browser and chooses an account: what the sign-in page says, and what the door then does."""
    origin = rehearsal.place.world.machines.door(rehearsal.deployment.config.project, "mlflow")
    url = f"{origin['scheme']}://{origin['host']}:{origin['port']}/"
    with httpx.Client(trust_env=False, headers=BROWSER) as browser:
        page = browser.get(url).headers["location"]
        form = {key: values[0] for key, values in parse_qs(urlsplit(page).query).items()} | {"email": email}
        said = browser.post(page.partition("?")[0], data=form)
        if said.has_redirect_location:
            browser.get(said.headers["location"])
        return said, browser.get(url)


def test_05_what_a_proof_may_have_to_wait_for_is_granted_early(rehearsal):
    """The right to sign for the log pusher spreads while all the rest is deployed; and each change that a proof would wait
    for is one that `up` makes."""
    rehearsal.deployment.config = Config.model_validate({**BASE, "artifacts": {"transfer": "signed"}})
    rehearsal.up()
    calls = [(call["id"], call["path"]) for call in rehearsal.calls.all()]
    granted = next(n for n, (what, path) in enumerate(calls) if what.endswith("setIamPolicy") and "log-pusher" in path)
    built = next(n for n, (what, _) in enumerate(calls) if what == "cloudbuild.projects.locations.builds.create")
    refs, waited_for = rehearsal.deployment.ledger().records, {pattern for link in LINKS for pattern in link.after}

    assert granted < built
    assert [pattern for pattern in waited_for if not any(fnmatchcase(ref, pattern) for ref in refs)] == []


def test_15_the_project_has_no_organization(rehearsal):
    """Google's own client serves nobody there: said at once, with all that has to be done by hand."""
    rehearsal.plays("no-organization")
    with pytest.raises(NeedsCustomClient, match="Empty Google Account OAuth client ID") as told:
        rehearsal.up_and_verify()

    assert all(words in told.value.hint for words in WALK)


def test_15_google_takes_its_own_client_for_nobody(rehearsal):
    """The door cannot be switched on without another one: told in the same words, and nothing stands behind it."""
    rehearsal.plays("managed-client-refused")
    with pytest.raises(NeedsCustomClient, match="Request contains an invalid argument") as told:
        rehearsal.up()

    assert all(words in told.value.hint for words in WALK)
    assert rehearsal.called("appengine.apps.patch") == [400]
    assert all("/services/mlflow/" not in name for name in rehearsal.place.world.table("appengine.versions"))


@pytest.mark.parametrize("scenario", ["no-organization", "managed-client-refused"])
def test_15_with_a_client_of_ones_own_it_works(rehearsal, own_client, scenario):
    """Also when it is made after it was asked for: the same command goes on."""
    rehearsal.plays(scenario)
    with pytest.raises(NeedsCustomClient):
        rehearsal.up_and_verify()
    rehearsal.deployment.config = own_client
    waited = rehearsal.up_and_verify()

    assert waited < 1
    assert rehearsal.deployment.drift() == []


@pytest.mark.parametrize("seconds", [60, 240])
def test_16_the_door_learns_late_who_may_come_in(rehearsal, seconds):
    """It is asked until it does, and hardly longer."""
    rehearsal.plays("door-policy-late", seconds=seconds)
    waited = rehearsal.up_and_verify()

    assert 0 < waited < 1.6 * seconds + 3
    assert rehearsal.bare_retries() == []


def test_16_the_door_never_learns_it(rehearsal):
    """Patience ends with the time in which a grant spreads, and the broken link is named."""
    rehearsal.plays("door-policy-late", seconds=3600)
    since = rehearsal.place.clock.monotonic()
    with pytest.raises(NotReachable, match="The front door refuses the log pusher: 403 You don't have access"):
        rehearsal.up_and_verify()

    assert 500 < rehearsal.place.clock.monotonic() - since < 900


def test_16_who_is_from_outside_the_organization_cannot_sign_in(rehearsal):
    """With Google's own client, whatever the policy grants; up and its proof are not touched by that."""
    access = {"users": ["ada@example.com", "auditor@partner.example"]}
    rehearsal.deployment.config = Config.model_validate({**BASE, "access": access})
    rehearsal.plays("outsiders-refused", domain="example.com")
    waited = rehearsal.up_and_verify()
    refused, before = signs_in(rehearsal, "auditor@partner.example")
    _, inside = signs_in(rehearsal, "ada@example.com")

    assert waited < 1
    assert (refused.status_code, before.status_code) == (403, 302)
    assert "org_internal" in refused.text
    assert (inside.status_code, inside.text) == (200, "OK")
    assert parse_qs(urlsplit(before.headers["location"]).query)["client_id"] == [MANAGED_CLIENT]


def test_16_with_a_client_of_ones_own_they_can(rehearsal, own_client):
    """Which is what the page for them says."""
    access = {"users": ["auditor@partner.example"]}
    rehearsal.deployment.config = own_client.model_copy(update={"access": own_client.access.model_copy(update=access)})
    rehearsal.plays("outsiders-refused", domain="example.com")
    rehearsal.up_and_verify()
    _, inside = signs_in(rehearsal, "auditor@partner.example")

    assert inside.status_code == 200
