"""The password, the database and the bucket: what must not leak, and what must not be lost by accident."""

import dataclasses
import json
import string

import pytest

from provision.errors import CannotChangeInPlace
from provision.step import Contents
from steps import PLAN, artifact_bucket, build_bucket, sql_instance
from tests.conftest import PROJECT

DATABASE = ("apis", "service_accounts", "project_roles", "network", "subnet", "peering_range", "peering",
            "sql_instance", "sql_database", "secret", "secret_version", "sql_user")  # fmt: skip


def password(bench, number):
    name = f"projects/123456789012/secrets/mlflow-database-password/versions/{number}"
    return bench.gcp.secrets.access_secret_version(name=name).payload.data.decode()


def test_the_password_is_random_and_in_no_body(bench_for):
    """32 letters and digits, in Secret Manager and nowhere that the engine could write down."""
    bench = bench_for()
    bench.up(PLAN, *DATABASE)
    secret = password(bench, 1)
    written = json.dumps([[ref, body, row.step.read(bench.gcp, ref)] for ref, (row, body) in bench.applied.items()])

    assert len(secret) == 32
    assert set(secret) <= set(string.ascii_letters + string.digits)
    assert secret not in written


def test_a_destroyed_version_asks_for_the_next(bench_for):
    """It cannot be mended; counted on, another password is made and the user gets it."""
    bench = bench_for()
    bench.up(PLAN, *DATABASE)
    first = password(bench, 1)
    (ref,) = bench.refs("secret_version")
    bench.gcp.secrets.destroy_secret_version(name=ref)
    with pytest.raises(CannotChangeInPlace, match="DESTROYED"):
        bench.up(PLAN, "secret_version")
    bench.deployment = dataclasses.replace(bench.deployment, counters={"secret_version": 1})
    bench.up(PLAN, "secret_version", "sql_user")
    bench.remove(ref)

    assert password(bench, 2) != first
    assert bench.applied[bench.refs("sql_user")[0]][1]["passwordVersion"] == bench.refs("secret_version")[0]
    assert list(bench.drift()) == []


def test_a_protected_database_is_unprotected_and_backed_up_before_it_goes(bench_for):
    """Two calls; the backup is what stays, as the row says."""
    bench = bench_for(database={"deletion_protection": True})
    bench.up(PLAN, *DATABASE)
    bench.remove(bench.refs("sql_instance")[0])
    backups = bench.gcp.sql.Backups().ListBackups(parent=f"projects/{PROJECT}").execute()["backups"]

    assert [backup["type"] for backup in backups] == ["FINAL"]
    assert "final backup" in sql_instance.LEAVES


def test_a_disk_that_grew_is_no_drift(bench_for):
    """Cloud SQL makes disks larger by itself, and never smaller."""
    bench = bench_for()
    bench.up(PLAN, *DATABASE)
    body = {"settings": {"dataDiskSizeGb": "40"}}
    bench.gcp.sql.instances().patch(project=PROJECT, instance="mlflow-x7f2", body=body).execute()

    assert list(bench.drift()) == []


@pytest.mark.parametrize(
    ("change", "settings"),
    [
        pytest.param("region", {"region": "europe-west3"}, id="its region"),
        pytest.param(
            "privateNetwork", {"network": {"name": "corporate", "subnet": "data"}}, id="the network that it lies in"
        ),
    ],
)
def test_what_is_fixed_on_an_instance_is_refused(bench_for, change, settings):
    """The error names the field."""
    bench = bench_for()
    bench.up(PLAN, *DATABASE)
    (ref,) = bench.refs("sql_instance")
    (other,) = sql_instance.declare(bench_for(**settings).deployment, bench.facts).values()
    changes = bench.differences(PLAN["sql_instance"], ref, other, sql_instance.read(bench.gcp, ref))

    with pytest.raises(CannotChangeInPlace, match=change):
        sql_instance.update(bench.gcp, ref, other, changes)


def test_artifacts_are_counted_before_they_would_go(bench_for):
    """Overwritten and deleted ones too, for the bucket's deletion takes them along."""
    bench = bench_for()
    bench.up(PLAN, "artifact_bucket")
    (ref,) = bench.refs("artifact_bucket")
    empty = artifact_bucket.contents(bench.gcp, ref)
    bucket = bench.gcp.storage.bucket("test-project-1-mlflow-artifacts-x7f2")
    for text in ("12345", "123"):
        bucket.blob("artifacts/1/model").upload_from_string(text)
    full = artifact_bucket.contents(bench.gcp, ref)
    bench.remove(ref)

    assert empty == Contents(objects=0, bytes=0)
    assert full == Contents(objects=2, bytes=8)


def test_what_lies_in_the_build_bucket_is_nobodys_data(bench_for):
    """It goes with the bucket without a question."""
    bench = bench_for()
    bench.up(PLAN, "build_bucket")
    (ref,) = bench.refs("build_bucket")
    bench.gcp.storage.bucket("test-project-1-mlflow-builds-x7f2").blob("source/a.tar.gz").upload_from_string("a")

    assert build_bucket.contents(bench.gcp, ref) is None
    bench.remove(ref)


def test_the_door_takes_the_secret_of_a_custom_client_from_its_file(bench_for, tmp_path):
    """Google tells only its hash, by which another secret is seen."""
    file = tmp_path / "secret"
    file.write_text("GOCSPX-abc")
    bench = bench_for(door={"client_id": "1-a.apps.googleusercontent.com", "client_secret_file": str(file)})
    bench.up(PLAN, "app", "door")
    drift = list(bench.drift())
    file.write_text("GOCSPX-other")
    (body,) = PLAN["door"].step.declare(bench.deployment, bench.facts).values()
    ref = f"apps/{PROJECT}/iap"
    seen = bench.differences(PLAN["door"], ref, body, PLAN["door"].step.read(bench.gcp, ref))
    bench.up(PLAN, "door")

    assert drift == []
    assert [change.path for change in seen] == [("oauth2ClientSecretSha256",)]
    assert list(bench.drift()) == []


def test_apis_of_a_bare_project_are_switched_on_in_one_batch(bench_for, emulator):
    """And a single one later, which a batch would refuse."""
    emulator.reset(
        [{"projectId": PROJECT, "projectNumber": "123456789012", "services": ["serviceusage.googleapis.com"]}]
    )
    bench = bench_for()
    bench.up(PLAN, "apis")
    name = "projects/123456789012/services/run.googleapis.com"
    bench.gcp.serviceusage.services().disable(name=name, body={}).execute()
    seen = list(bench.drift())
    bench.up(PLAN, "apis")

    assert [change.path for _, change in seen] == [("services", "run")]
    assert list(bench.drift()) == []


def test_conditional_and_foreign_bindings_of_the_project_survive(bench_for):
    """The same set of role, member and condition before and after."""
    bench = bench_for()
    policy = bench.gcp.projects.get_iam_policy(request={"resource": f"projects/{PROJECT}"})
    policy.version = 3
    policy.bindings.add(role="roles/viewer", members=["user:ada@example.com"])
    until = policy.bindings.add(role="roles/logging.logWriter", members=["user:bob@example.com"])
    until.condition.title, until.condition.expression = "soon", "request.time < timestamp('2027-05-01T00:00:00Z')"
    bench.gcp.projects.set_iam_policy(request={"resource": f"projects/{PROJECT}", "policy": policy})

    def said():
        asked = {"resource": f"projects/{PROJECT}", "options": {"requested_policy_version": 3}}
        bindings = bench.gcp.projects.get_iam_policy(request=asked).bindings
        return {(b.role, member, b.condition.expression) for b in bindings for member in b.members}

    before = said()
    bench.up(PLAN, "apis", "service_accounts", "project_roles")
    during = said()
    bench.down(PLAN)

    assert before < during
    assert said() == before
