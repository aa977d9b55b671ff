"""What the settings become: one table of variants, and the rules behind the names."""

import hashlib

import pytest

from provision import errors
from steps import (
    PLAN,
    _appengine,
    app,
    artifact_bucket,
    build_bucket,
    client_rights,
    default_service,
    door,
    door_access,
    image,
    network,
    peering,
    peering_range,
    repository,
    secret_version,
    server,
    signing_rights,
    sql_instance,
    sql_user,
    subnet,
    traffic,
)
from tests.steps.deployments import FULL, ID, deployment, known

EXISTING = {"network": {"name": "corporate", "subnet": "data"}}
MEMBERS = {"users": ["Ada@example.com"], "groups": ["ml@example.com"], "domains": ["example.com"]}


def only(step, *args, **settings):
    """The one body that a step declares."""
    (body,) = step.declare(deployment(**settings), *args or [known()]).values()
    return body


def at(body, path):
    for key in path.split("."):
        body = body[key]
    return body


@pytest.mark.parametrize(
    ("step", "settings", "path", "value"),
    [
        pytest.param(app, {}, "locationId", "europe-west", id="App Engine spells europe-west1 without its 1"),
        pytest.param(app, {"region": "us-east4"}, "locationId", "us-east4", id="other regions keep their number"),
        pytest.param(artifact_bucket, {}, "location", "EUROPE-WEST1", id="Cloud Storage spells regions in capitals"),
        pytest.param(
            artifact_bucket,
            {"artifacts": {"soft_delete_days": 14}},
            "softDeletePolicy.retentionDurationSeconds",
            "1209600",
            id="days of soft delete are seconds",
        ),
        pytest.param(sql_instance, {}, "settings.edition", "ENTERPRISE", id="the edition is said outright"),
        pytest.param(
            sql_instance,
            {"database": {"high_availability": True}},
            "settings.availabilityType",
            "REGIONAL",
            id="high availability is a second zone",
        ),
        pytest.param(
            sql_instance, {"database": {"disk_gb": 50}}, "settings.dataDiskSizeGb", "50", id="int64 is text in JSON"
        ),
        pytest.param(
            sql_instance,
            EXISTING,
            "settings.ipConfiguration.privateNetwork",
            "projects/test-project-1/global/networks/corporate",
            id="the database joins the existing network",
        ),
        pytest.param(peering_range, EXISTING, "network", "projects/test-project-1/global/networks/corporate",
                     id="our range lies in the existing network"),
        pytest.param(server, EXISTING, "network.subnetworkName", "data", id="the server runs in the existing subnet"),
        pytest.param(server, {"server": {"instances": 1}}, "manualScaling.instances", 1, id="scaling is manual"),
        pytest.param(
            server,
            {},
            "envVariables.DATABASE_INSTANCE",
            "test-project-1:europe-west1:mlflow-x7f2",
            id="the server knows the database's name before there is one",
        ),
        pytest.param(
            server, {}, "envVariables.ARTIFACT_ROOT", "gs://test-project-1-mlflow-artifacts-x7f2/artifacts",
            id="artifacts go to the bucket",
        ),
    ],
)  # fmt: skip
def test_declared(step, settings, path, value):
    """The user's words meet the API's words in declare."""
    assert at(only(step, **settings), path) == value


@pytest.mark.parametrize("step", [network, subnet])
def test_an_existing_network_is_not_ours_to_declare(step):
    """With an existing network and subnet in the settings, neither is made."""
    assert step.declare(deployment(**EXISTING), known()) == {}


def test_the_peering_of_a_foreign_network_is_only_our_range():
    """The ref says what is ours: the connection of our network, the one range in another's."""
    (ours,) = peering.declare(deployment(), known())
    (theirs,) = peering.declare(deployment(**EXISTING), known())

    assert ours == "projects/123456789012/global/networks/mlflow/peerings/servicenetworking-googleapis-com"
    assert theirs == (
        "projects/123456789012/global/networks/corporate/peerings/servicenetworking-googleapis-com"
        "/ranges/mlflow-services"
    )


@pytest.mark.parametrize("purpose", [artifact_bucket, build_bucket])
@pytest.mark.parametrize(("project", "env"), [("p" * 30, "e" * 12), ("pr-ject", "default"), ("a" * 25 + "-b", "a-b")])
def test_bucket_names_fit(purpose, project, env):
    """Bucket names are at most 63 characters, end in the salt, and have no doubled hyphens where they were cut."""
    name = purpose.ref(deployment(project=project, env=env)).removeprefix("projects/_/buckets/")

    assert len(name) <= 63
    assert name.endswith("-x7f2")
    assert "--" not in name


@pytest.mark.parametrize(
    ("default_of", "service", "made"),
    [
        pytest.param((), "mlflow", True, id="no default service: a placeholder"),
        pytest.param((ID,), "mlflow", True, id="our own placeholder stays declared"),
        pytest.param(("",), "mlflow", False, id="somebody else's default service will do"),
        pytest.param(("ffffffff",), "mlflow", False, id="another deployment's too"),
        pytest.param((ID, ""), "mlflow", True, id="ours, joined by somebody else's"),
        pytest.param((), "default", False, id="MLflow is the default service itself"),
    ],
)
def test_the_placeholder(default_of, service, made):
    """It is made only where App Engine would otherwise refuse the first service."""
    declared = default_service.declare(deployment(server={"service": service}), known(default_of))

    assert bool(declared) is made


def test_a_version_id_is_stable():
    """The same settings are the same version, on any machine and in any run."""
    (ref,) = server.declare(deployment(), known())

    assert server.declare(deployment(), known()).keys() == {ref}
    assert ref.rpartition("/")[2].startswith("mlflow-")
    assert len(ref.rpartition("/")[2]) == len("mlflow-") + 8


@pytest.mark.parametrize(
    ("settings", "counters", "same"),
    [
        pytest.param({"server": {"memory_gb": 4.0}}, {}, False, id="more memory is another version"),
        pytest.param({"server": {"workers": 1}}, {}, True, id="a default said outright is the same version"),
        pytest.param({}, {"server": 1}, False, id="Google wanted a new id"),
        pytest.param({}, {"secret_version": 1}, False, id="another password is another version"),
        pytest.param({"database": {"tier": "db-g1-small"}, "server": {"instances": 2}}, {}, True, id="scaling is not"),
        pytest.param({"access": {"users": ["bob@example.com"]}}, {}, True, id="who may sign in is not"),
    ],
)
def test_what_makes_another_version(settings, counters, same):
    """The id is made from all that cannot be changed on a version."""
    (one,) = server.declare(deployment(), known())
    (other,) = server.declare(deployment(counters, **settings), known())

    assert (one == other) is same


def test_the_traffic_goes_to_the_declared_version():
    """All of it, and no stopped version of ours is left beside it."""
    (version,) = server.declare(deployment(), known())
    split = {"allocations": {_appengine.path(version)["versionsId"]: 1.0}}

    assert traffic.declare(deployment(), known()) == {
        "apps/test-project-1/services/mlflow": {"split": split, "idle": {ID: []}}
    }


def test_a_destroyed_password_is_counted_on():
    """The next version of the secret, and with it the database user's password."""
    again = deployment({"secret_version": 1})

    assert secret_version.ref(again).endswith("/secrets/mlflow-database-password/versions/2")
    (user,) = sql_user.declare(again, known()).values()
    assert user["passwordVersion"] == secret_version.ref(again)


def test_the_door_opens_for_the_configured_people_and_the_client():
    """Users, groups and domains of the settings, in Google's spelling, and the log pusher."""
    assert only(door_access, access=MEMBERS)["bindings"] == {
        "roles/iap.httpsResourceAccessor": [
            "domain:example.com",
            "group:ml@example.com",
            "serviceAccount:mlflow-log-pusher@test-project-1.iam.gserviceaccount.com",
            "user:ada@example.com",
        ]
    }


def test_people_are_told_as_the_policy_spells_them():
    """However the settings write an address, what `up` prints can be found in Google's console."""
    made = deployment(access={"users": ["Ada@Example.com"], "groups": ["Data@Example.com"]})
    granted = only(door_access, access={"users": ["Ada@Example.com"], "groups": ["Data@Example.com"]})["bindings"]
    (members,) = granted.values()

    assert made.members == ["group:data@example.com", "user:ada@example.com"]
    assert set(made.members) <= set(members)


def test_the_account_of_a_program_is_no_user():
    """Google refuses one that is called so: https://cloud.google.com/iam/docs/principal-identifiers."""
    made = deployment(access={"users": ["trainer@acme.iam.gserviceaccount.com"]})

    assert made.members == ["serviceAccount:trainer@acme.iam.gserviceaccount.com"]


@pytest.mark.parametrize(
    ("runners", "members"),
    [
        pytest.param(("user:ci@example.com",), ["user:ada@example.com", "user:ci@example.com"], id="someone else"),
        pytest.param(("user:ada@example.com",), ["user:ada@example.com"], id="one of them"),
        pytest.param((), ["user:ada@example.com"], id="not known"),
    ],
)
def test_whoever_runs_up_may_act_as_the_client(runners, members):
    """The end of `up` is a run logged as the client, so the runner needs the right too."""
    assert only(client_rights, runners=runners)["bindings"] == {"roles/iam.serviceAccountTokenCreator": members}


def test_a_server_that_signs_links_may_sign_as_itself_and_nobody_else():
    """On its own account only, so the right is of use for nothing else; the version is told in whose name it signs."""
    account = "mlflow-server@test-project-1.iam.gserviceaccount.com"
    (ref,) = signing_rights.declare(deployment(**FULL), known())
    rules = only(artifact_bucket, **FULL)["lifecycle"]["rule"]

    assert ref == f"projects/test-project-1/serviceAccounts/{account}/iamPolicy"
    assert only(signing_rights, **FULL)["bindings"] == {
        "roles/iam.serviceAccountTokenCreator": [f"serviceAccount:{account}"]
    }
    assert only(server, **FULL)["envVariables"]["ARTIFACT_SIGNER"] == account
    assert rules[-1] == {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 7}}


def test_where_clients_write_by_themselves_nobody_signs():
    """No right is granted, and the version is the same that it was before there was a choice."""
    assert signing_rights.declare(deployment(), known()) == {}
    assert "ARTIFACT_SIGNER" not in only(server)["envVariables"]
    assert len(only(artifact_bucket)["lifecycle"]["rule"]) == 1


def test_a_custom_client_is_declared_by_its_hash(tmp_path):
    """The secret itself is in no body, so it comes into no ledger."""
    file = tmp_path / "secret"
    file.write_text("GOCSPX-abc\n")
    body = only(door, door={"client_id": "1-a.apps.googleusercontent.com", "client_secret_file": str(file)})

    assert body == {
        "enabled": True,
        "oauth2ClientId": "1-a.apps.googleusercontent.com",
        "oauth2ClientSecretFile": str(file),
        "oauth2ClientSecretSha256": hashlib.sha256(b"GOCSPX-abc").hexdigest(),
    }
    assert "GOCSPX" not in str(body)


def test_an_unreadable_client_secret_names_the_setting(tmp_path):
    """The error names the key and the file."""
    with pytest.raises(errors.BadConfig, match=r"door\.client_secret_file = '.*nowhere' cannot be read: No such file"):
        only(
            door, door={"client_id": "1-a.apps.googleusercontent.com", "client_secret_file": str(tmp_path / "nowhere")}
        )


def test_the_image_is_named_by_the_source():
    """Tag and digest share the repository's name."""
    (ref,) = image.declare(deployment(), known())
    facts = image.facts({"version": f"{repository.ref(deployment())}/packages/server/versions/sha256:{'cd' * 32}"})

    assert ref.startswith("projects/test-project-1/locations/europe-west1/repositories/mlflow/packages/server/tags/")
    assert facts.uri == f"europe-west1-docker.pkg.dev/test-project-1/mlflow/server@sha256:{'cd' * 32}"


@pytest.mark.parametrize(("service", "kept"), [("mlflow", False), ("default", True)])
def test_images_stay_with_a_default_service(service, kept):
    """The last version of the default service can only be stopped, and would need its image to start again."""
    reasons = [PLAN[name].kept(deployment(server={"service": service})) for name in ("repository", "image")]

    assert [reason is not None for reason in reasons] == [kept, kept]
