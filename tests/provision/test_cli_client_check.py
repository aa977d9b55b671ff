"""`client check --as USER`: whether somebody will get in, and why not, from the policies and nothing else."""

import json

import pytest

from provision.emulator import iam, tokens
from tests.provision.conftest import NUMBER, PROJECT, folder_in

STATE = ("--state", "./ledger.json")
ADA = "ada@example.com"
SERVICE = f"projects/{PROJECT}/iap_web/appengine-{PROJECT}/services/mlflow"
APPLICATION = f"projects/{PROJECT}/iap_web/appengine-{PROJECT}"
DOORS = f"projects/{PROJECT}/iap_web"
WHOLE = f"projects/{PROJECT}"
PUSHER = f"mlflow-log-pusher@{PROJECT}.iam.gserviceaccount.com"
ACCOUNT = f"projects/{PROJECT}/serviceAccounts/{PUSHER}"
ENTER, SIGN = "roles/iap.httpsResourceAccessor", "roles/iam.serviceAccountTokenCreator"
SETTINGS = f'project = "{PROJECT}"\naccess.users = ["owner@example.com"]\n'
LET_IN = "user:{} gets in, and so do their programs, as far as can be told.\n"
NIGHTS = {"title": "only at night", "expression": "request.time.getHours('UTC') > 20"}


@pytest.fixture(scope="module")
def standing(shared_cloud, tmp_path_factory):
    """A deployment into which nobody but its owner is let."""
    shared_cloud.empty()
    made = folder_in(tmp_path_factory.mktemp("check") / "folder", shared_cloud)
    made.write(SETTINGS)
    made.type("up", "--local", *STATE)
    return made


@pytest.fixture
def deployed(standing, shared_cloud):
    """The same for each test, whatever the one before has changed."""
    kinds = ("iam.policies", "iam.accounts", "appengine.apps", "projects")
    world = shared_cloud.world
    before = {kind: dict(world.table(kind)) for kind in kinds}
    shared_cloud.writes()
    yield standing
    with world.transaction():
        for kind, rows in before.items():
            for key in set(world.table(kind)) - set(rows):
                del world.table(kind)[key]
            world.table(kind).update(rows)


def grant(cloud, resource, role, *members, **binding):
    """Add a binding to a policy, behind the commands' back."""
    with cloud.world.transaction():
        policy = iam.policy_of(cloud.world, resource)
        more = {"role": role, "members": list(members), **binding}
        iam.put_policy(cloud.world, resource, policy | {"bindings": [*policy.get("bindings", []), more]})


def take(cloud, resource, role):
    """Take all bindings of a role out of a policy."""
    with cloud.world.transaction():
        policy = iam.policy_of(cloud.world, resource)
        kept = [binding for binding in policy["bindings"] if binding["role"] != role]
        iam.put_policy(cloud.world, resource, policy | {"bindings": kept})


def asked(folder, who=ADA, *, code=0):
    """What is found about somebody, by what was looked at."""
    found = folder.type("client", "check", "--local", *STATE, "--as", who, "--json", code=code).json["findings"]
    return {item["check"]: item for item in found}


def test_whom_the_settings_name_gets_in(deployed, shared_cloud):
    """All that is on the way is told; nothing is changed, and nothing is tried in their name."""
    told = deployed.type("client", "check", "--local", *STATE, "--as", "Owner@example.com")

    assert told.out.endswith("\n6 ok, 1 unchecked.\n" + LET_IN.format("owner@example.com"))
    assert "user:owner@example.com may pass the front door: named on the service mlflow." in told.out
    assert "user:owner@example.com may sign as the log pusher: named on the log pusher." in told.out
    assert shared_cloud.writes() == []


def test_what_is_not_looked_at_is_said(deployed):
    """A deny policy counts before all grants, and can be attached above the project."""
    found = asked(deployed, "owner@example.com")["denials"]

    assert found["status"] == "unchecked"
    assert "deny policy" in found["why"]
    assert f"--attachment-point=cloudresourcemanager.googleapis.com/projects/{PROJECT} " in found["todo"]


def test_a_stranger_does_not(deployed):
    """Neither on the page nor with a program; said is what an owner does about it."""
    told = deployed.type("client", "check", "--local", *STATE, "--as", ADA, code=5)
    found = asked(deployed, code=5)
    typed = "python -m provision up --local --state ./ledger.json"

    assert {name for name, item in found.items() if item["status"] == "blocked"} == {"door", "signature"}
    assert found["door"]["error"] == "NotLetIn"
    assert f"user:{ADA} may not pass the front door: no policy of the service mlflow, the application," in told.out
    assert f"Name them under access in provision.toml (users, groups or domains), then type {typed}." in told.out
    assert told.out.endswith(f"Something is in the way of user:{ADA}, or of their programs.\n")


@pytest.mark.parametrize(
    ("check", "resource", "role", "says"),
    [
        pytest.param("door", SERVICE, ENTER, "named on the service mlflow", id="on the service"),
        pytest.param("door", APPLICATION, ENTER, "named on the application", id="on the application"),
        pytest.param("door", DOORS, ENTER, "named on all doors", id="on all that is behind Identity-Aware Proxy"),
        pytest.param("door", WHOLE, ENTER, "named on the project", id="on the project"),
        pytest.param("signature", ACCOUNT, SIGN, "named on the log pusher", id="to sign, on the account"),
        pytest.param("signature", WHOLE, SIGN, "named on the project", id="to sign, as every account of the project"),
    ],
)
def test_where_somebody_may_be_let_in(deployed, shared_cloud, check, resource, role, says):
    """Wherever it is, it is found: https://cloud.google.com/iap/docs/managing-access."""
    grant(shared_cloud, resource, role, f"user:{ADA}")
    found = asked(deployed, code=5)[check]

    assert found["status"] == "ok"
    assert found["why"].endswith(f": {says}.")


@pytest.mark.parametrize(
    ("listed", "role", "binding", "status", "says"),
    [
        pytest.param("group:ds@example.com", ENTER, {}, "unchecked", "is one of them is not told here", id="a group"),
        pytest.param(
            "principalSet://iam.googleapis.com/locations/global/workforcePools/staff/*",
            ENTER,
            {},
            "unchecked",
            "is one of them is not told here",
            id="a set of outside identities",
        ),
        pytest.param("domain:example.com", ENTER, {}, "ok", "and no private ones", id="their domain"),
        pytest.param("domain:example.org", ENTER, {}, "blocked", "names them", id="another domain"),
        pytest.param("allAuthenticatedUsers", ENTER, {}, "ok", "allAuthenticatedUsers is named", id="everybody"),
        pytest.param(f"user:{ADA}", ENTER, {"condition": NIGHTS}, "unchecked", "only at night", id="under a condition"),
        pytest.param(
            f"deleted:user:{ADA}?uid=123456789012345678901",
            ENTER,
            {},
            "blocked",
            "an earlier account of this address, which was deleted",
            id="somebody of the same address who was deleted",
        ),
        pytest.param(
            f"user:{ADA}", f"projects/{PROJECT}/roles/visitor", {}, "unchecked", "is not looked at", id="a role of ours"
        ),
        pytest.param(f"projectOwner:{PROJECT}", ENTER, {}, "ok", "named on the service", id="as an owner, if so said"),
        pytest.param(
            "projectOwner:another-one", ENTER, {}, "blocked", "names them", id="as an owner of another project"
        ),
        pytest.param(f"user:{ADA}", "roles/owner", {}, "blocked", "names them", id="no basic role opens a door"),
        pytest.param(f"user:{ADA}", SIGN, {}, "blocked", "names them", id="a role for something else"),
    ],
)
def test_what_a_binding_says(deployed, shared_cloud, listed, role, binding, status, says):
    """What it surely means is told, and what only Google can know is said to be unchecked."""
    grant(shared_cloud, WHOLE, "roles/owner", f"user:{ADA}")
    grant(shared_cloud, SERVICE, role, listed, **binding)
    found = asked(deployed, code=5)["door"]

    assert found["status"] == status
    assert says in found["why"]


def test_who_may_be_in_a_group_is_not_turned_away(deployed, shared_cloud):
    """Exit code 0, and the group is named, with what to do about it."""
    for resource, role in ((SERVICE, ENTER), (ACCOUNT, SIGN)):
        grant(shared_cloud, resource, role, "group:ds@example.com")
    told = deployed.type("client", "check", "--local", *STATE, "--as", ADA)

    assert (
        f"group:ds@example.com is named on the log pusher and may sign as the log pusher; whether user:{ADA}"
        in told.out
    )
    assert told.out.endswith(f"\n4 ok, 3 unchecked.\n{LET_IN.format(ADA)}")


@pytest.mark.parametrize(
    ("check", "break_it", "says"),
    [
        pytest.param(
            "programs",
            lambda cloud, bucket: take(cloud, SERVICE, ENTER),
            f"serviceAccount:{PUSHER} may not pass the front door",
            id="the log pusher may not pass the door",
        ),
        pytest.param(
            "files",
            lambda cloud, bucket: take(cloud, bucket, "roles/storage.objectUser"),
            f"serviceAccount:{PUSHER} may not write files",
            id="the log pusher may not write to the bucket",
        ),
        pytest.param(
            "account",
            lambda cloud, bucket: cloud.google("POST", f"iam.googleapis.com/v1/{ACCOUNT}:disable", {}),
            "The log pusher, as which programs log, is disabled.",
            id="the log pusher is disabled",
        ),
        pytest.param(
            "account",
            lambda cloud, bucket: cloud.google("DELETE", f"iam.googleapis.com/v1/{ACCOUNT}"),
            "The log pusher, as which programs log, was deleted.",
            id="the log pusher is gone",
        ),
    ],
)
def test_what_is_in_the_way_of_everybodys_programs(deployed, shared_cloud, check, break_it, says):
    """It is not about this one person, and `up` mends it."""
    bucket = next(name for name in shared_cloud.world.table("storage.buckets") if "-artifacts-" in name)
    break_it(shared_cloud, f"projects/_/buckets/{bucket}")
    found = asked(deployed, "owner@example.com", code=5)[check]

    assert found["status"] == "blocked"
    assert found["why"].startswith(says)
    assert found["todo"] == "Type python -m provision up --local --state ./ledger.json, which puts it back."


def switched(cloud, **iap):
    """Set the front door behind the commands' back."""
    cloud.google("PATCH", f"appengine.googleapis.com/v1/apps/{PROJECT}", {"iap": iap}, updateMask="iap")


def without_organization(cloud):
    """Let the project belong to nobody."""
    cloud.world.projects[PROJECT] = cloud.world.projects[PROJECT] | {"parent": None}


@pytest.mark.parametrize(
    ("prepare", "who", "status", "says"),
    [
        pytest.param(lambda cloud: None, ADA, "ok", "belong to example.com", id="Google's own, of the organization"),
        pytest.param(
            lambda cloud: None,
            "eve@partner.example",
            "warning",
            "user:eve@partner.example: not of example.com",
            id="Google's own, of another domain",
        ),
        pytest.param(without_organization, ADA, "blocked", "belongs to no organization", id="Google's own, for nobody"),
        pytest.param(
            lambda cloud: switched(
                cloud, enabled=True, oauth2ClientId="1-a.apps.googleusercontent.com", oauth2ClientSecret="x"
            ),
            "eve@partner.example",
            "unchecked",
            "whom its audience lets in cannot be looked into here",
            id="one of ours",
        ),
        pytest.param(
            lambda cloud: switched(cloud, enabled=False),
            ADA,
            "warning",
            "The front door is switched off: whoever knows the address gets in.",
            id="none, for the door is off",
        ),
    ],
)
def test_whom_the_client_of_the_front_door_serves(deployed, shared_cloud, prepare, who, status, says):
    """https://docs.cloud.google.com/iap/docs/custom-oauth-configuration."""
    prepare(shared_cloud)
    found = asked(deployed, who, code=5)["sign-in"]

    assert found["status"] == status
    assert says in found["why"]


def test_the_account_of_a_program_opens_no_page(deployed, shared_cloud):
    """It is asked only whether it may sign; so a pipeline that has run `up` is well."""
    account = f"ci@{PROJECT}.iam.gserviceaccount.com"
    grant(shared_cloud, ACCOUNT, SIGN, f"serviceAccount:{account}")
    found = asked(deployed, account)

    assert {name for name, item in found.items() if item["status"] != "ok"} == {"denials"}
    assert found["door"]["why"] == "Only people open the page."


def test_the_account_of_a_program_is_let_in_by_the_settings(deployed, shared_cloud):
    """Like a person, by its address."""
    account = f"trainer@{PROJECT}.iam.gserviceaccount.com"
    made = {"accountId": "trainer"}
    shared_cloud.google("POST", f"iam.googleapis.com/v1/projects/{PROJECT}/serviceAccounts", made)
    deployed.write(f'project = "{PROJECT}"\naccess.users = ["owner@example.com", "{account}"]\n', "more.toml")
    deployed.type("up", "--local", *STATE, "--config", "more.toml")
    found = asked(deployed, account)
    deployed.type("up", "--local", *STATE)

    assert found["signature"]["why"] == f"serviceAccount:{account} may sign as the log pusher: named on the log pusher."


def test_who_may_not_read_a_policy_is_told_so(deployed, shared_cloud):
    """The other policies are asked all the same."""
    with shared_cloud.world.transaction():
        viewer = f"projects/{PROJECT}/roles/half"
        shared_cloud.world.table("iam.roles")[viewer] = {
            "includedPermissions": ["appengine.applications.get", "iam.serviceAccounts.get", "iap.webServices.getIamPolicy",
                            "resourcemanager.projects.get", "storage.buckets.getIamPolicy"]
        }  # fmt: skip
        token = tokens.issue(shared_cloud.world, "user:bob@example.com")
    grant(shared_cloud, WHOLE, viewer, "user:bob@example.com")
    note = deployed.path / ".provision" / "data" / "emulator.json"
    before = note.read_text()
    note.write_text(json.dumps({**json.loads(before), "token": token}))
    found = asked(deployed)
    note.write_text(before)

    assert found["door"]["status"] == found["signature"]["status"] == "unchecked"
    assert "What the project grants cannot be looked at: Google does not tell: " in found["door"]["why"]
    assert found["programs"]["status"] == "ok"


@pytest.mark.parametrize(
    "who",
    ["ada", "@", "user:", "user:ada", "users:ada@example.com", "domain:", "principal:ada", "Ada <ada@example.com>"],
)
def test_somebody_who_is_nobody(deployed, who):
    """An address is asked for, before anything is looked at."""
    told = deployed.type("client", "check", "--local", *STATE, "--as", who, code=3)

    assert told.err.startswith(f"BadUsage: --as '{who}' is neither an e-mail address nor an IAM member.")


def test_where_nothing_is_deployed(folder):
    """What to type first is said."""
    told = folder.type("client", "check", "--local", *STATE, "--as", ADA, code=3)

    assert told.err.startswith("NothingDeployed: ")
    assert NUMBER not in told.out
