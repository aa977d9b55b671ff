"""Rights: what the steps say that they need is what they need, no more and no less, and what is missing is named."""

import re
from pathlib import Path

import pytest
from google.oauth2.credentials import Credentials

from provision import doctor
from provision.doctor import rights, roles
from provision.doctor.table import CHECKS
from provision.emulator import iam, tokens
from provision.gcp import Gcp
from steps import PLAN
from tests.crash.cloud import cloud
from tests.journey import deploy
from tests.journey.recovery import EMPTY_PROJECT

MEMBER = "user:grace@example.com"
ROLE = f"projects/{deploy.PROJECT}/roles/exact"
ALL = sorted(
    {*rights.OF_THE_RUN, *rights.OF_THE_LEDGER, "storage.buckets.create"}.union(*(row.step.RIGHTS for row in PLAN))
)
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "deploy-on-google-cloud.md"
OF_THE_PAGE = sorted(set(re.findall(r"`(roles/[\w.]+)`", PAGE.read_text(encoding="utf-8"))))


@pytest.fixture(scope="module")
def place():
    with cloud() as made:
        yield made


def deployment_of(place, *granted):
    """The deployment of somebody who holds these roles on the project, and nothing else."""
    place.world.reset(EMPTY_PROJECT)
    with place.world.transaction():
        place.world.table("iam.roles")[ROLE] = {"includedPermissions": ALL}
        bindings = [{"role": role, "members": [MEMBER]} for role in granted]
        iam.put_policy(place.world, f"projects/{deploy.PROJECT}", {"version": 1, "bindings": bindings})
        token = tokens.issue(place.world, MEMBER, seconds=10**6)
    gcp = Gcp(deploy.PROJECT, Credentials(token), place.url)
    return deploy.Deployment(place, clock=place.clock, gcp=gcp)


@pytest.mark.parametrize(
    "granted",
    [pytest.param([ROLE], id="exactly the rights that the steps name"),
     pytest.param(OF_THE_PAGE, id="exactly the roles that the page on deploying names")],
)  # fmt: skip
def test_rights_suffice(place, granted):
    """From the first run of an empty project to its end."""
    deployment = deployment_of(place, *granted)
    deployment.up()
    differs = deployment.drift()
    deployment.up()
    left = deployment.down()
    deployment.gcp.close()

    assert differs == []
    assert {item.ref.partition("/")[0] for item in left} <= {"apps", "projects"}
    assert deployment.ledger().records.keys() <= {item.ref for item in left}


@pytest.mark.parametrize("permission", ALL)
def test_one_right_less_is_told_before_anything_is_made(patient, permission):
    """By its name, with what needs it."""
    patient.may(MEMBER, *(one for one in ALL if one != permission))
    patient.cloud.writes()
    facts = patient.facts()
    found = doctor.run([check for check in CHECKS if check.name in {"project", "permissions"}], facts)

    assert any(permission in f"{finding.why} {finding.todo}" for finding in found if finding.error)
    assert doctor.error_of(found) is not None
    assert patient.cloud.writes() == []


def test_all_rights(patient):
    """Then nothing is missing."""
    patient.may(MEMBER, *ALL)

    assert patient.told("permissions") == [("ok", f"You hold all {len(ALL)} permissions that this plan needs.")]


def test_roles_that_would_do_are_ready_to_paste(patient):
    """The fewest, and of those the narrowest; for whoever asks, on this project."""
    lacks = {"iam.serviceAccounts.actAs", "secretmanager.versions.access", "iap.webServices.setIamPolicy"}
    patient.may(MEMBER, *(one for one in ALL if one not in lacks))
    found = next(finding for finding in patient.examined() if finding.check == "permissions")

    assert "iam.serviceAccounts.actAs (default_service, image, server)" in found.why
    assert found.todo.startswith("Let an owner of the project type this. If you know better: python -m provision up ")
    assert found.commands == tuple(
        f"gcloud projects add-iam-policy-binding local-mlflow --member=user:grace@example.com --role=roles/{role}"
        for role in ("iam.serviceAccountUser", "iap.admin", "secretmanager.secretAccessor")
    )


def test_somebody_without_any_right_is_told_the_roles_of_the_page(patient):
    """What the doctor says and what the page says is the same."""
    chosen, others = roles.fewest(ALL)

    assert others == []
    assert set(chosen) <= {*OF_THE_PAGE}


def test_an_owner_of_the_project_is_well(patient):
    """Though the role itself says nothing of objects: each bucket gives that to the project's owners."""
    patient.holds(MEMBER, "roles/owner")

    assert patient.told("permissions")[0][0] == "ok"


def test_somebody_who_may_be_an_owner_through_a_group(patient):
    """Who is in a group is not told, so nobody is stopped."""
    patient.may(MEMBER, *(one for one in ALL if not one.startswith("storage.objects.")))
    policy = iam.policy_of(patient.cloud.world, "projects/local-mlflow")
    policy["bindings"].append({"role": "roles/owner", "members": ["group:admins@example.com"]})
    iam.put_policy(patient.cloud.world, "projects/local-mlflow", policy)
    told = patient.told("permissions")

    assert [status for status, _ in told] == ["unchecked", "ok"]
    assert "group:admins@example.com" in told[0][1]


def test_rights_of_rows_that_make_nothing_are_not_asked_for(patient):
    """Who brings a network of their own need not be allowed to make one."""
    patient.settings |= {"network": {"name": "corporate", "subnet": "data"}}
    patient.may(MEMBER, *(one for one in ALL if one not in {"compute.networks.create", "compute.subnetworks.create"}))

    assert patient.told("permissions")[0][0] == "ok"


@pytest.mark.parametrize(
    ("times", "told"),
    [
        pytest.param(1, ["ok"], id="among many: the halves are asked by themselves"),
        pytest.param(1000, ["unchecked"], id="none of them can"),
    ],
)
def test_permissions_that_cannot_be_asked_of_a_project(patient, times, told):
    """Google refuses the whole question for one of them; the others are asked all the same."""
    patient.cloud.fails(method="cloudresourcemanager.projects.testIamPermissions", status=400, times=times)

    assert [status for status, _ in patient.told("permissions")] == told


def test_a_ledger_in_a_bucket_of_somebody_else(patient):
    """Rights there are asked there, and not at the project."""
    patient.cloud.google(
        "POST", "storage.googleapis.com/storage/v1/b", {"name": "shared-ledgers"}, project=patient.settings["project"]
    )
    patient.may(MEMBER, *(one for one in ALL if not one.startswith("storage.objects.")), "storage.buckets.get")
    facts = patient.facts(state="gs://shared-ledgers/mlflow")
    (found,) = doctor.run([check for check in CHECKS if check.name == "ledger-bucket"], facts)

    assert found.status.value == "blocked"
    assert "where you may not: storage.objects.create" in found.why
    assert found.commands[0].startswith("gcloud storage buckets add-iam-policy-binding gs://shared-ledgers")
