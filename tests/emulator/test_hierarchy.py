"""What a project lies in, who may ask what of it, and what its quotas are, as Google tells them."""

import pytest

from provision.emulator import iam, tokens
from tests.conftest import NUMBER, PROJECT, Emulator

MANAGER = "cloudresourcemanager.googleapis.com"
GRACE = "user:grace@example.com"


def asked(emulator: Emulator, method: str, path: str, body=None, *, caller: str = ""):
    """Status and body of an answer to the owner, or to somebody else."""
    import httpx

    token = tokens.issue(emulator.world, caller) if caller else emulator.world.token
    with httpx.Client(base_url=emulator.url, headers={"Authorization": f"Bearer {token}"}) as client:
        answer = client.request(method, f"/{path}", json=body)
    return answer.status_code, answer.json()


def place(emulator: Emulator, **where):
    """The project, lying somewhere."""
    emulator.reset([{"projectId": PROJECT, "projectNumber": NUMBER, **where}])


@pytest.mark.parametrize(
    ("where", "parent", "above"),
    [
        pytest.param({}, "organizations/123456789012", ["organization"], id="right in an organization"),
        pytest.param({"parent": None}, None, [], id="in none"),
        pytest.param(
            {
                "parent": {"type": "folder", "id": "7"},
                "ancestors": [{"type": "folder", "id": "7"}, {"type": "organization", "id": "123456789012"}],
            },
            "folders/7",
            ["folder", "organization"],
            id="in a folder of an organization",
        ),
    ],
)
def test_what_a_project_lies_in(emulator, where, parent, above):
    """Its parent is told with it (v3), all that is above it by getAncestry (v1), innermost first.

    https://cloud.google.com/resource-manager/reference/rest/v1/projects/getAncestry
    """
    place(emulator, **where)
    _, project = asked(emulator, "GET", f"{MANAGER}/v3/projects/{PROJECT}")
    _, chain = asked(emulator, "POST", f"{MANAGER}/v1/projects/{PROJECT}:getAncestry", {})

    assert project.get("parent") == parent
    assert [item["resourceId"]["type"] for item in chain["ancestor"]] == ["project", *above]


def test_an_organization_describes_itself(emulator):
    """By its domain and its customer id, to who may see it; to others it says no more than one that is not there.

    https://cloud.google.com/resource-manager/reference/rest/v1/organizations/get
    """
    status, found = asked(emulator, "GET", f"{MANAGER}/v1/organizations/123456789012")
    hidden = asked(emulator, "GET", f"{MANAGER}/v1/organizations/123456789012", caller=GRACE)
    missing = asked(emulator, "GET", f"{MANAGER}/v1/organizations/1")

    assert (status, found["displayName"], found["owner"]) == (200, "example.com", {"directoryCustomerId": "C012abc34"})
    assert hidden[0] == missing[0] == 403


def test_whoever_has_signed_in_may_ask_what_they_may(emulator):
    """It needs no permission, and tells those that are held.

    https://docs.cloud.google.com/resource-manager/reference/rest/v1/projects/testIamPermissions
    """
    iam.put_policy(
        emulator.world,
        f"projects/{PROJECT}",
        {"version": 1, "bindings": [{"role": "roles/cloudsql.viewer", "members": [GRACE]}]},
    )
    body = {"permissions": ["cloudsql.instances.get", "cloudsql.instances.delete"]}
    answer = asked(emulator, "POST", f"{MANAGER}/v3/projects/{PROJECT}:testIamPermissions", body, caller=GRACE)

    assert answer == (200, {"permissions": ["cloudsql.instances.get"]})


def test_a_custom_role_gives_what_it_includes(emulator):
    """No more and no less. https://cloud.google.com/iam/docs/creating-custom-roles"""
    role = f"projects/{PROJECT}/roles/watcher"
    emulator.world.table("iam.roles")[role] = {"includedPermissions": ["resourcemanager.projects.get"]}
    iam.put_policy(
        emulator.world, f"projects/{PROJECT}", {"version": 1, "bindings": [{"role": role, "members": [GRACE]}]}
    )

    assert asked(emulator, "GET", f"{MANAGER}/v3/projects/{PROJECT}", caller=GRACE)[0] == 200
    assert asked(emulator, "POST", f"{MANAGER}/v3/projects/{PROJECT}:getIamPolicy", {}, caller=GRACE)[0] == 403


def test_a_bucket_that_is_not_there_is_not_there_for_anybody(emulator):
    """It lies in no project, so nobody could have a right to it: 404 and not 403."""
    path = "storage.googleapis.com/storage/v1/b/no-such-bucket-anywhere"

    assert asked(emulator, "GET", path, caller=GRACE)[0] == 404


def test_quotas_count_what_instances_take_and_may_be_of_the_projects_own(emulator):
    """CPUs, instances and disks of versions that serve, in the region of the application; no address of internal ones.

    https://cloud.google.com/compute/resource-usage
    """
    emulator.world.projects[PROJECT] = emulator.world.projects[PROJECT] | {"quotas": {"CPUS": 8.0}}
    asked(emulator, "POST", "appengine.googleapis.com/v1/apps", {"id": PROJECT, "locationId": "europe-west"})
    rows = emulator.world.table("appengine.versions")
    size = {"resources": {"cpu": 2, "diskGb": 20}, "manualScaling": {"instances": 3}}
    internal = {"network": {"instanceIpMode": "INTERNAL"}}
    rows[f"apps/{PROJECT}/services/default/versions/a"] = {**size, **internal, "servingStatus": "SERVING"}
    rows[f"apps/{PROJECT}/services/default/versions/b"] = {**size, **internal, "servingStatus": "STOPPED"}
    path = f"compute.googleapis.com/compute/v1/projects/{PROJECT}/regions"
    quotas = {name: asked(emulator, "GET", f"{path}/{name}")[1]["quotas"] for name in ("europe-west1", "us-central1")}
    here, there = ({quota["metric"]: quota for quota in found} for found in quotas.values())

    assert (here["CPUS"]["usage"], here["CPUS"]["limit"]) == (6, 8)
    assert (here["INSTANCES"]["usage"], here["DISKS_TOTAL_GB"]["usage"], here["IN_USE_ADDRESSES"]["usage"]) == (
        3,
        60,
        0,
    )
    assert there["CPUS"]["usage"] == 0
