"""Policies of the organization, quotas, names and addresses: whether what is to be made can be made where it is wanted."""

import re

import pytest

from provision import session
from provision.bootstrap import Project
from provision.config import Config
from provision.errors import StateBucketTaken
from state.ledger import Deed, Record
from tests.provision.conftest import NUMBER, PROJECT

REGION = "europe-west1"


def forbid(patient, constraint, **rule):
    """Set a policy on the project, which is in effect there then."""
    path = f"orgpolicy.googleapis.com/v2/projects/{PROJECT}/policies"
    name = f"projects/{PROJECT}/policies/{constraint}"
    patient.cloud.google("POST", path, {"name": name, "spec": {"rules": [rule]}})


def test_no_policy_is_in_the_way(patient):
    """As in an organization that forbids nothing."""
    assert patient.told("policies") == [("ok", "None is in the way.")]


def test_a_project_without_an_organization_has_no_policies(patient):
    """So none is asked for."""
    patient.cloud.empty(parent=None)

    assert patient.told("policies") == [
        ("ok", "The project belongs to no organization, so no policies are set for it.")
    ]


@pytest.mark.parametrize(
    ("constraint", "rule", "because"),
    [
        ("iam.disableServiceAccountKeyCreation", {"enforce": True}, "no account ever gets a key"),
        ("iam.automaticIamGrantsForDefaultServiceAccounts", {"enforce": True}, "nothing runs as a default account"),
        ("compute.vmExternalIpAccess", {"denyAll": True}, "no external address"),
        ("sql.restrictPublicIp", {"enforce": True}, "no public address"),
    ],
)
def test_14_policies_that_do_no_harm(patient, constraint, rule, because):
    """They are known, and it is said why they do none."""
    forbid(patient, constraint, **rule)
    ((status, why),) = patient.told("policies")

    assert status == "ok"
    assert why.startswith(f"{constraint} is in effect, and does no harm: ")
    assert because in why


def test_accounts_that_may_not_be_made(patient):
    """Nothing runs without them."""
    forbid(patient, "iam.disableServiceAccountCreation", enforce=True)
    found = next(finding for finding in patient.examined() if finding.check == "policies")

    assert type(found.error).__name__ == "PolicyForbids"
    assert "accounts of server, builder and client" in found.why
    assert found.todo.startswith(
        "No setting of provision.toml keeps clear of it: ask an administrator of the organization"
    )
    assert "an exception from iam.disableServiceAccountCreation for the project." in found.todo


def test_a_region_that_is_forbidden_is_a_setting(patient):
    """The setting is said, and whom to ask for what if it is to stay."""
    forbid(patient, "gcp.resourceLocations", values={"allowedValues": ["in:us-locations"]})
    found = next(finding for finding in patient.examined() if finding.check == "policies")

    assert found.todo.startswith("Set region in provision.toml to one that it allows, or ask an administrator of the ")
    assert "an exception from gcp.resourceLocations for the project." in found.todo


@pytest.mark.parametrize(
    ("values", "status"),
    [
        pytest.param({"allowedValues": ["in:europe-west1-locations"]}, "ok", id="the region"),
        pytest.param({"allowedValues": ["in:europe-locations", "us-east1"]}, "ok", id="the continent"),
        pytest.param({"allowedValues": ["europe-west1"]}, "ok", id="the region by its name"),
        pytest.param({"allowedValues": ["in:us-locations"]}, "blocked", id="another continent"),
        pytest.param({"allowedValues": ["in:europe-west3-locations"]}, "blocked", id="another region"),
        pytest.param({"deniedValues": ["in:europe-locations"]}, "blocked", id="not this continent"),
        pytest.param({"allowedValues": ["in:eu-locations"]}, "unchecked", id="a group of places"),
        pytest.param({"allowedValues": ["in:low-carbon-locations", "us-east1"]}, "unchecked", id="another group"),
    ],
)
def test_14_where_resources_may_lie(patient, values, status):
    """A group of places may hold the region, and cannot be looked into."""
    forbid(patient, "gcp.resourceLocations", values=values)
    ((told, why),) = patient.told("policies")

    assert told == status, why


def test_services_that_may_not_be_used(patient):
    """Those that are needed are named."""
    forbid(patient, "gcp.restrictServiceUsage", values={"deniedValues": ["run.googleapis.com", "x.googleapis.com"]})

    assert patient.told("policies") == [
        ("blocked", "gcp.restrictServiceUsage does not let the project use run.googleapis.com.")
    ]


@pytest.mark.parametrize(
    ("values", "users", "says"),
    [
        pytest.param(["C012abc34"], ["ada@example.com"], "all who may sign in belong to example.com", id="own people"),
        pytest.param(["is:C012abc34"], ["eve@partner.example"], "user:eve@partner.example", id="somebody else"),
        pytest.param(["C0another"], ["ada@example.com"], "user:ada@example.com", id="people of another organization"),
    ],
)
def test_14_who_may_be_in_a_policy(patient, values, users, says):
    """The members that may be refused are named."""
    forbid(patient, "iam.allowedPolicyMemberDomains", values={"allowedValues": values})
    patient.settings |= {"access": {"users": users}}
    ((status, why),) = patient.told("policies")

    assert status == ("ok" if "belong to example.com" in says else "warning")
    assert says in why


OWN = "//cloudresourcemanager.googleapis.com/organizations/{}"


@pytest.mark.parametrize(
    ("organization", "persons", "user", "status"),
    [
        pytest.param("own", [], "ada@example.com", "ok", id="own people"),
        pytest.param("own", [], "eve@partner.example", "warning", id="somebody else"),
        pytest.param("own", ["user:Eve@partner.example"], "eve@partner.example", "ok", id="somebody who is named"),
        pytest.param("1", [], "ada@example.com", "warning", id="people of another organization"),
    ],
)
def test_14_who_may_be_in_a_policy_by_the_newer_constraint(patient, organization, persons, user, status):
    """It names organizations and persons; https://docs.cloud.google.com/organization-policy/reference/org-policy-constraints."""
    if organization == "own":
        organization = patient.facts().organization["name"].rpartition("/")[2]
    parameters = {"allowedPrincipalSets": [OWN.format(organization)], "allowedMemberSubjects": persons}
    forbid(patient, "iam.managed.allowedPolicyMembers", enforce=True, parameters=parameters)
    patient.settings |= {"access": {"users": [user]}}
    ((told, why),) = patient.told("policies")

    assert told == status, why
    assert why.startswith("iam.managed.allowedPolicyMembers ")


ENDS_HALFWAY = [
    ("compute.restrictVpcPeering", {"denyAll": True}, "Google's own, in which the database lies"),
    (
        "compute.restrictVpcPeering",
        {"values": {"allowedValues": ["under:organizations/1"]}},
        "Google's own, in which the database lies",
    ),
    (
        "cloudbuild.allowedWorkerPools",
        {"values": {"allowedValues": ["under:organizations/1"]}},
        "in worker pools of the organization's own only",
    ),
    (
        "gcp.restrictNonCmekServices",
        {"values": {"deniedValues": ["is:sqladmin.googleapis.com", "bigquery.googleapis.com"]}},
        "for what sqladmin.googleapis.com keep",
    ),
    (
        "storage.softDeletePolicySeconds",
        {"values": {"allowedValues": ["604800"]}},
        "keeps what was deleted for 0 seconds",
    ),
]


@pytest.mark.parametrize(("constraint", "rule", "why"), ENDS_HALFWAY)
def test_14_what_would_end_halfway_for_a_policy(patient, constraint, rule, why):
    """The connection, the image, the database and the buckets would be refused after minutes."""
    forbid(patient, constraint, **rule)
    found = next(finding for finding in patient.examined() if finding.check == "policies")

    assert type(found.error).__name__ == "PolicyForbids"
    assert found.why.startswith(f"{constraint} ")
    assert why in found.why
    assert f"an exception from {constraint} for the project" in found.todo


@pytest.mark.parametrize(
    ("constraint", "rule"),
    [
        ("compute.restrictVpcPeering", {"values": {"allowedValues": ["under:organizations/433637338589"]}}),
        ("compute.restrictVpcPeering", {"allowAll": True}),
        ("cloudbuild.allowedWorkerPools", {"allowAll": True}),
        ("gcp.restrictNonCmekServices", {"values": {"deniedValues": ["bigquery.googleapis.com"]}}),
        ("storage.softDeletePolicySeconds", {"values": {"allowedValues": ["604800", "0"]}}),
        ("compute.requireOsConfig", {"enforce": False}),
    ],
)
def test_14_a_policy_that_leaves_room(patient, constraint, rule):
    """It is in effect, and nothing of ours is forbidden."""
    forbid(patient, constraint, **rule)

    assert patient.told("policies") == [("ok", "None is in the way.")]


def test_14_a_policy_under_which_deployments_may_time_out(patient):
    """Google says so of it, and not whether it is true of machines without an external address."""
    forbid(patient, "compute.requireOsConfig", enforce=True)
    ((status, why),) = patient.told("policies")

    assert (status, "may time out" in why) == ("warning", True)


def test_a_policy_with_a_condition_holds_for_nothing_of_ours(patient):
    """Conditions are about tags, and what we make carries none."""
    condition = {"expression": "resource.matchTag('1/env', 'prod')"}
    forbid(patient, "iam.disableServiceAccountCreation", enforce=True, condition=condition)

    assert patient.told("policies") == [("ok", "None is in the way.")]


def test_a_policy_of_which_nobody_knows_whether_app_engine_complies(patient):
    """A warning, with what to do if it does not."""
    forbid(patient, "compute.requireOsLogin", enforce=True)

    assert patient.told("policies")[0][0] == "warning"


def test_policies_that_may_not_be_read(patient):
    """Told once for all of them, with the role that lets one read them."""
    patient.holds("user:grace@example.com", "roles/browser", "roles/serviceusage.serviceUsageConsumer")
    ((status, why),) = patient.told("policies")

    assert status == "unchecked"
    assert why.startswith("iam.disableServiceAccountCreation, iam.managed.disableServiceAccountCreation, iam.allowed")
    assert "roles/orgpolicy.policyViewer" in why


# Quotas


@pytest.mark.parametrize(
    ("quotas", "says"),
    [
        pytest.param({"CPUS": 3.0}, f"The quota CPUS in {REGION} is 3, 0 are used, and 4 more are needed.", id="CPUs"),
        pytest.param(
            {"INSTANCES": 1.0}, f"The quota INSTANCES in {REGION} is 1, 0 are used, and 2 more are needed.", id="instances"
        ),
        pytest.param(
            {"CPUS_ALL_REGIONS": 3.0}, "The quota CPUS_ALL_REGIONS is 3, 0 are used, and 4 more are needed.", id="CPUs in all"
        ),
        pytest.param({"NETWORKS": 0.0}, "The quota NETWORKS is 0, 0 are used, and 1 more are needed.", id="networks"),
    ],
)  # fmt: skip
def test_13_too_small_a_quota(patient, quotas, says):
    """Metric, limit, what is used and what is needed."""
    patient.settings |= {
        "server": {"cpu": 2, "instances": 2, "memory_gb": 4.0}, "database": {"tier": "db-custom-1-3840"},
    }  # fmt: skip
    row = patient.cloud.world.projects[PROJECT]
    patient.cloud.world.projects[PROJECT] = row | {"quotas": quotas}
    found = next(finding for finding in patient.examined() if finding.check == "quotas")

    assert found.why == says
    assert type(found.error).__name__ == "QuotaExceeded"


def test_addresses_are_not_needed(patient):
    """The server's instances have none of their own."""
    row = patient.cloud.world.projects[PROJECT]
    patient.cloud.world.projects[PROJECT] = row | {"quotas": {"IN_USE_ADDRESSES": 0.0}}

    assert patient.told("quotas")[0][0] == "ok"


def test_what_is_to_be_made_is_not_known_while_the_ledger_cannot_be_read(patient):
    """Everything may be there already, and in the usage: no quota stops anybody then."""
    row = patient.cloud.world.projects[PROJECT]
    patient.cloud.world.projects[PROJECT] = row | {"quotas": {"CPUS": 0.0}}

    def taken(project):
        raise StateBucketTaken("gs://b is there and you may not read it.")

    patient.ledger = taken

    assert patient.told("quotas") == [("unchecked", "gs://b is there and you may not read it.")]


def known(patient, *made):
    """A ledger in which some refs, by step, are made."""
    ledger = session.first_ledger(Project(PROJECT, NUMBER), Config.model_validate(patient.settings))
    patient.ledger = lambda project: ledger
    return ledger


def everything_made(patient):
    """A ledger that knows all that can be declared from the beginning as made."""
    ledger = known(patient)
    deed = Deed(run="r", serial=1, verb="create", at="2026-09-01T08:00:00+00:00")
    for row, ref, _ in patient.facts().ahead:
        ledger.records[ref] = Record(ref=ref, step=row.name, done=deed)
    return ledger


def test_what_is_made_already_takes_no_more(patient):
    """So a deployment that stands in a project that is full by now is not told so."""
    everything_made(patient)
    row = patient.cloud.world.projects[PROJECT]
    patient.cloud.world.projects[PROJECT] = row | {"quotas": {"NETWORKS": 0.0}}

    assert "NETWORKS" not in patient.told("quotas")[0][1]


def test_what_a_run_that_died_has_begun_takes_no_more(patient):
    """It may be there already, and would be counted twice: the same command goes on."""
    ledger = everything_made(patient)
    for ref, record in ledger.records.items():
        ledger.records[ref] = record.model_copy(update={"pending": record.done, "done": None})
    row = patient.cloud.world.projects[PROJECT]
    patient.cloud.world.projects[PROJECT] = row | {"quotas": {"NETWORKS": 0.0, "CPUS": 0.0}}
    told = patient.told("quotas") + patient.told("ranges")

    assert [status for status, _ in told] == ["ok", "ok"]


# Names


def test_names_that_cannot_be_asked_are_not_called_free(patient):
    """In a new project most APIs are off: nothing is there by them yet, and nobody can tell."""
    patient.cloud.empty(services=["cloudresourcemanager", "serviceusage", "compute"])
    ((status, why),) = patient.told("names")

    assert status == "unchecked"
    assert re.fullmatch(r"Whether \d+ of \d+ names are free, since APIs are off that up switches on\.", why)


def test_a_strangers_thing_under_one_of_our_names(patient):
    """Not ours; nothing else is made beside it."""
    path = f"compute.googleapis.com/compute/v1/projects/{PROJECT}/global/networks"
    patient.cloud.google("POST", path, {"name": "mlflow", "autoCreateSubnetworks": False})
    found = next(finding for finding in patient.examined() if finding.check == "names")

    assert type(found.error).__name__ == "NotOurs"
    assert found.why.startswith(f"projects/{PROJECT}/global/networks/mlflow exists already and does not carry our mark")


def test_a_strangers_thing_that_is_to_be_taken_over(patient):
    """Then it stands in nobody's way."""
    path = f"compute.googleapis.com/compute/v1/projects/{PROJECT}/global/networks"
    patient.cloud.google("POST", path, {"name": "mlflow", "autoCreateSubnetworks": False})
    adopts = f"projects/{PROJECT}/global/networks/mlflow"

    assert patient.told("names", adopts=lambda ref: ref == adopts)[0][0] == "ok"


def test_a_first_run_that_another_one_has_overtaken(patient):
    """What is there may be of the other one, which has begun after the look into the ledger."""
    path = f"compute.googleapis.com/compute/v1/projects/{PROJECT}/global/networks"
    patient.cloud.google("POST", path, {"name": "mlflow", "autoCreateSubnetworks": False})
    ledgers = [None]
    ledger = session.first_ledger(Project(PROJECT, NUMBER), Config.model_validate(patient.settings))
    patient.ledger = lambda project: ledgers.pop() if ledgers else ledger
    ((status, why),) = patient.told("names")

    assert status == "unchecked"
    assert why.startswith("Another run has begun this deployment meanwhile")


def test_a_name_that_google_may_keep(patient):
    """That cannot be asked, and is said."""
    known(patient)
    told = patient.told("names")

    assert [status for status, _ in told] == ["unchecked", "ok"]
    assert "cannot be asked" in told[0][1]


# Addresses


def existing_network(patient, *ranges):
    """A network that was there before us, with subnets of these ranges."""
    compute = f"compute.googleapis.com/compute/v1/projects/{PROJECT}"
    patient.cloud.google("POST", f"{compute}/global/networks", {"name": "corporate", "autoCreateSubnetworks": False})
    network = f"https://www.googleapis.com/compute/v1/projects/{PROJECT}/global/networks/corporate"
    for number, cidr in enumerate(ranges):
        body = {"name": f"data{number or ''}", "network": network, "ipCidrRange": cidr, "privateIpGoogleAccess": True}
        patient.cloud.google("POST", f"{compute}/regions/{REGION}/subnetworks", body)
    patient.settings |= {"network": {"name": "corporate", "subnet": "data"}}


def test_an_existing_network_with_room(patient):
    """There is a range left for the database."""
    existing_network(patient, "10.0.0.0/9")

    assert patient.told("ranges") == [("ok", "There is a free /16 for Google's services.")]
    assert patient.told("network") == [("ok", "corporate and its subnet are there and can be used.")]


@pytest.mark.source("https://docs.cloud.google.com/endpoints/docs/openapi/troubleshoot-aeflex-deployment.md.txt")
def test_an_existing_network_without_a_way_to_google(patient):
    """A network that is kept from the internet often has no route to it, and Google's own APIs are reached by it."""
    existing_network(patient, "10.0.0.0/9")
    path = f"compute.googleapis.com/compute/v1/projects/{PROJECT}/global/routes"
    routes = patient.cloud.google("GET", path)["items"]
    (way,) = [one["name"] for one in routes if "nextHopGateway" in one and one["network"].endswith("/corporate")]
    patient.cloud.google("DELETE", f"{path}/{way}")
    ((status, why),) = patient.told("ranges")

    assert status == "warning"
    assert why.startswith("Network corporate has no route to the default internet gateway")


def test_an_existing_network_that_is_full(patient):
    """What it uses is said."""
    existing_network(patient, "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/20")
    found = next(finding for finding in patient.examined() if finding.check == "ranges")

    assert type(found.error).__name__ == "NetworkNotUsable"
    assert "it uses 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/20" in found.why


def test_an_existing_network_that_is_not_there(patient):
    """Told together with all the rest."""
    patient.settings |= {"network": {"name": "corporate", "subnet": "data"}}
    ((status, why),) = patient.told("network")

    assert status == "blocked"
    assert why.startswith("network.name = 'corporate'")


def test_a_range_that_containers_use(patient):
    """What lies there may not be reached from a container."""
    patient.settings |= {"network": {"cidr": "172.17.8.0/22"}}
    ((status, why),) = patient.told("ranges")

    assert status == "warning"
    assert "overlaps 172.17.0.0/16" in why
