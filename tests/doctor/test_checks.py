"""Each line of the table: what is well, what stands in the way, and what nobody can tell."""

import pytest
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError
from google.oauth2.credentials import Credentials

from provision import doctor, session
from provision.bootstrap import Project
from provision.config import Config
from provision.doctor.table import CHECKS
from provision.emulator import scenarios
from provision.gcp import Gcp
from state.ledger import Record
from tests.provision.conftest import NUMBER, PROJECT


def test_a_project_in_which_all_is_well(patient):
    """Every line of the table says so, in its order, and nothing was changed."""
    patient.cloud.writes()
    found = patient.examined()

    assert {(finding.check, finding.status.value) for finding in found} == {(check.name, "ok") for check in CHECKS}
    assert list(dict.fromkeys(finding.check for finding in found)) == [check.name for check in CHECKS]
    assert patient.cloud.writes() == []


# Who asks, and who pays


def test_credentials_that_google_knows(patient):
    """Whose they are is said."""
    patient.holds("user:grace@example.com", "roles/viewer")

    assert patient.told("credentials") == [("ok", "You are user:grace@example.com.")]


def test_no_credentials(patient, monkeypatch):
    """Nothing else can be asked, and what to type is said."""

    def default(**_):
        raise DefaultCredentialsError("Your default credentials were not found.")

    monkeypatch.setattr("google.auth.default", default)
    facts = patient.facts()
    facts.gcp = Gcp(PROJECT)
    (found,) = next(check for check in CHECKS if check.name == "credentials").look(facts)

    assert found.status.value == "blocked"
    assert type(found.error).__name__ == "NotSignedIn"
    assert "gcloud auth application-default login" in found.todo


def told_of_payers(patient, credentials):
    """What is said of the quota project of some credentials."""
    facts = patient.facts()
    facts.gcp = Gcp(PROJECT, credentials)
    facts.once("project", lambda: Project(PROJECT, NUMBER, "organizations/1"))
    (found,) = next(check for check in CHECKS if check.name == "quota-project").look(facts)
    return found.status.value, found.todo


@pytest.mark.parametrize(
    ("payer", "status"),
    [
        pytest.param(PROJECT, "ok", id="the deployed project"),
        pytest.param(NUMBER, "ok", id="the deployed project by its number"),
        pytest.param("another-project", "warning", id="another project"),
        pytest.param(None, "warning", id="none"),
    ],
)
def test_which_project_pays_for_the_calls_of_a_person(patient, payer, status):
    """Where it is not the deployed one it is said how to make it so."""
    told, todo = told_of_payers(patient, Credentials("token", quota_project_id=payer))

    assert told == status
    assert (f"set-quota-project {PROJECT}" in todo) == (status == "warning")


def test_an_account_pays_by_its_own_project(patient):
    """It needs no quota project."""
    assert told_of_payers(patient, AnonymousCredentials())[0] == "ok"


def test_calls_are_paid_by_a_project_where_an_api_is_off(patient):
    """Which is not the deployed one: waiting would not help, and switching it on here would not either."""
    with patient.cloud.world.transaction():
        scenarios.switch_on(patient.cloud.world, "foreign-quota-project", {})
    (told,) = patient.told("quota-project")

    assert told[0] == "blocked"
    assert "764086051850" in told[1]


# The project


def test_a_project_that_is_not_there(patient):
    """Google does not tell it from one that the caller may not see; what hangs on it is unchecked."""
    patient.cloud.world.reset([])
    found = {finding.check: finding for finding in patient.examined()}

    assert type(found["project"].error).__name__ == "ProjectNotUsable"
    assert found["organization"].status.value == "unchecked"
    assert "does not exist, or you may not see it" in found["project"].why
    assert found["organization"].why == "Not checked until project is well."


def test_a_project_that_is_being_deleted(patient):
    """It takes nothing any more."""
    patient.cloud.google("DELETE", f"cloudresourcemanager.googleapis.com/v3/projects/{PROJECT}")

    (status, why), *others = patient.told("project")

    assert (status, others) == ("blocked", [])
    assert why.startswith(f"Project {PROJECT} is in state DELETE_REQUESTED")


@pytest.mark.parametrize(
    ("place", "says"),
    [
        pytest.param({}, "lies in organizations/123456789012", id="an organization"),
        pytest.param({"parent": {"type": "folder", "id": "7"}}, "lies in folders/7", id="a folder"),
        pytest.param({"parent": None}, "belongs to no organization", id="none"),
    ],
)
def test_what_the_project_lies_in(patient, place, says):
    """An organization or none is no verdict by itself."""
    patient.cloud.empty(**place)
    ((status, why),) = patient.told("organization")

    assert status == "ok"
    assert says in why


def test_a_ledger_of_another_region(patient):
    """What is deployed cannot be moved."""
    known = session.first_ledger(Project(PROJECT, NUMBER), Config.model_validate(patient.settings))
    known.records["r"] = Record(ref="r", step="network")
    patient.ledger = lambda project: known
    patient.settings |= {"region": "us-central1"}
    ((status, why),) = patient.told("ledger")

    assert status == "blocked"
    assert "the deployment lies in europe-west1" in why


# Billing and APIs


@pytest.mark.parametrize(
    ("account", "says"),
    [
        pytest.param("", f"Project {PROJECT} has no billing account.", id="none"),
        pytest.param("billingAccounts/000000-CLOSED-000000", "which is closed", id="one that is closed"),
    ],
)
@pytest.mark.parametrize(
    ("caller", "linked"),
    [
        pytest.param("", "000000-AAAAAA-BBBBBB", id="and you may link one"),
        pytest.param("user:grace@example.com", "ACCOUNT", id="and you may link none"),
    ],
)
def test_nobody_pays(patient, account, says, caller, linked):
    """The line that links an account is said, ready to paste, with one that the caller may use."""
    row = patient.cloud.world.projects[PROJECT]
    patient.cloud.world.projects[PROJECT] = row | {"billing": account}
    if caller:
        patient.holds(caller, "roles/browser")
    (found,) = [finding for finding in patient.examined() if finding.check == "billing"]

    assert says in found.why
    assert type(found.error).__name__ == "NoBilling"
    assert found.commands == (f"gcloud billing projects link {PROJECT} --billing-account={linked}",)


def test_apis_that_are_off(patient):
    """That is no trouble: they are counted."""
    patient.cloud.empty(services=["cloudresourcemanager", "serviceusage", "storage"])
    ((status, why),) = patient.told("apis")

    assert status == "ok"
    assert why.startswith("17 of 20 APIs are off, and up switches them on: appengine, ")


# Regions and the application


def test_a_region_in_which_builds_may_be_refused(patient):
    """Cloud Build does not tell beforehand."""
    patient.settings |= {"region": "europe-west3"}
    told = patient.told("region")

    assert [status for status, _ in told] == ["ok", "ok", "warning"]
    assert "europe-west1" in told[2][1]


@pytest.mark.parametrize(
    ("method", "body", "says"),
    [
        pytest.param(
            "appengine.apps.locations.list",
            {"locations": [{"locationId": "us-central", "metadata": {"flexibleEnvironmentAvailable": True}}]},
            "region: App Engine flexible is not there in europe-west, but in us-central.",
            id="App Engine flexible",
        ),
        pytest.param(
            "sql.tiers.list",
            {"items": [{"tier": "db-f1-micro", "region": ["us-central1"]}]},
            "region: Cloud SQL is not there in europe-west1, but in us-central1.",
            id="Cloud SQL",
        ),
    ],
)
def test_a_region_that_lacks_something(patient, method, body, says):
    """Where it is to be had is said."""
    patient.cloud.fails(method=method, status=200, body=body)

    assert ("blocked", says) in patient.told("region")


def test_an_application_elsewhere(patient):
    """It is there for ever."""
    patient.cloud.google("POST", "appengine.googleapis.com/v1/apps", {"id": PROJECT, "locationId": "us-central"})

    assert patient.told("application") == [
        ("blocked", f"apps/{PROJECT}: the application lies in us-central for ever, not in europe-west")
    ]


def test_an_application_that_is_switched_off(patient):
    """It is not ours to switch on."""
    patient.cloud.google("POST", "appengine.googleapis.com/v1/apps", {"id": PROJECT, "locationId": "europe-west"})
    patient.cloud.google(
        "PATCH", f"appengine.googleapis.com/v1/apps/{PROJECT}", {"servingStatus": "USER_DISABLED"},
        updateMask="servingStatus",
    )  # fmt: skip
    ((status, why),) = patient.told("application")

    assert status == "blocked"
    assert "is USER_DISABLED" in why


# The front door


def test_a_door_without_an_organization(patient):
    """Google's own OAuth client would answer 502 to everybody: told before anything is made, with the way out."""
    patient.cloud.empty(parent=None)
    found = next(finding for finding in patient.examined() if finding.check == "door")

    assert type(found.error).__name__ == "NeedsCustomClient"
    assert "https://iap.googleapis.com/v1/oauth/clientIds/CLIENT_ID:handleRedirect" in found.todo
    assert "door.client_secret_file" in found.todo


def test_a_door_while_nobody_tells_of_an_organization(patient):
    """Resource Manager is off in a new project: what to do is said for the case that there is none."""
    patient.cloud.empty(services=["serviceusage"])
    found = next(finding for finding in patient.examined() if finding.check == "door")

    assert found.status.value == "unchecked"
    assert found.todo.startswith("If it belongs to none, make an OAuth client by hand: ")


def test_a_door_with_an_oauth_client_of_ones_own(patient, tmp_path):
    """It lets in whom it likes."""
    patient.cloud.empty(parent=None)
    (tmp_path / "secret").write_text("GOCSPX-x")
    client = {"client_id": "1-a.apps.googleusercontent.com", "client_secret_file": str(tmp_path / "secret")}
    patient.settings |= {"door": client}

    assert patient.told("door")[0][0] == "ok"


@pytest.mark.parametrize(
    ("access", "names"),
    [
        pytest.param({"users": ["ada@example.com", "eve@partner.example"]}, "user:eve@partner.example", id="a person"),
        pytest.param({"domains": ["partner.example"]}, "domain:partner.example", id="a domain"),
        pytest.param({"groups": ["all@partner.example"]}, "group:all@partner.example", id="a group"),
    ],
)
def test_a_door_for_people_of_another_organization(patient, access, names):
    """They are named; it may be another domain of the same organization, so nobody is stopped."""
    patient.settings |= {"access": access}
    found = next(finding for finding in patient.examined() if finding.check == "door")

    assert found.status.value == "warning"
    assert found.why.startswith(f"{names}: not of example.com")
    assert found.todo.startswith("If somebody does not belong to it, make an OAuth client by hand: ")


def test_who_may_not_look_at_the_organization(patient):
    """Then it is not known who belongs to it."""
    patient.holds("user:grace@example.com", "roles/browser")
    ((status, why),) = patient.told("door")

    assert status == "unchecked"
    assert why.startswith("Whether all who may sign in belong to the organization: ")


def test_gcp_without_a_network(patient):
    """Everything is unchecked in words of its own, and nobody is stopped by it."""
    facts = patient.facts()
    facts.gcp = Gcp(PROJECT, Credentials("owner"), "http://127.0.0.1:9")
    found = doctor.run([check for check in CHECKS if check.name in {"project", "billing", "application"}], facts)

    assert {finding.status.value for finding in found} == {"unchecked"}
    assert all(finding.why for finding in found)
