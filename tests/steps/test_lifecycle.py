"""Every row through its life on the emulator: made, read back, mended, taken away without the settings."""

import pytest

from provision import step
from steps import PLAN, sql_instance
from tests.steps.deployments import FULL, ID

SERVER = "mlflow-server@test-project-1.iam.gserviceaccount.com"
PUSHER = "mlflow-log-pusher@test-project-1.iam.gserviceaccount.com"
STRANGER = "user:stranger@example.com"


@pytest.fixture
def bench(bench_for):
    """Everything deployed: the default settings, and what else makes a row's work."""
    bench = bench_for(**FULL)
    bench.up(PLAN)
    return bench


def test_every_row_reads_back_what_it_declares(bench):
    """Nothing differs after the first run, and what is there is ours or nobody's."""
    assert {row.name for row, _ in bench.applied.values()} == {row.name for row in PLAN}
    assert list(bench.drift()) == []
    for ref, (row, _) in bench.applied.items():
        assert row.step.owner(row.step.read(bench.gcp, ref), ID) is not step.Owner.FOREIGN, row.name


def disable_api(gcp):
    gcp.serviceusage.services().disable(
        name="projects/123456789012/services/run.googleapis.com", body={"disableDependentServices": True}
    ).execute()


def disable_account(gcp):
    gcp.iam.projects().serviceAccounts().disable(
        name=f"projects/test-project-1/serviceAccounts/{SERVER}", body={}
    ).execute()


def rename_account(gcp):
    gcp.iam.projects().serviceAccounts().patch(
        name=f"projects/test-project-1/serviceAccounts/{SERVER}",
        body={"serviceAccount": {"displayName": "x"}, "updateMask": "displayName"},
    ).execute()


def empty_project_policy(gcp):
    gcp.projects.set_iam_policy(request={"resource": "projects/test-project-1", "policy": {}})


def route_globally(gcp):
    body = {"routingConfig": {"routingMode": "GLOBAL"}}
    gcp.compute.networks().patch(project="test-project-1", network="mlflow", body=body).execute()


def cut_off_google(gcp):
    gcp.compute.subnetworks().setPrivateIpGoogleAccess(
        project="test-project-1", region="europe-west1", subnetwork="mlflow", body={"privateIpGoogleAccess": False}
    ).execute()


def remove_peering(gcp):
    body = {"name": "servicenetworking-googleapis-com"}
    gcp.compute.networks().removePeering(project="test-project-1", network="mlflow", body=body).execute()


def patch_sql(settings):
    def patch(gcp):
        gcp.sql.instances().patch(
            project="test-project-1", instance="mlflow-x7f2", body={"settings": settings}
        ).execute()

    return patch


def drop_database(gcp):
    gcp.sql.databases().delete(project="test-project-1", instance="mlflow-x7f2", database="mlflow").execute()


def drop_user(gcp):
    gcp.sql.users().delete(project="test-project-1", instance="mlflow-x7f2", name="mlflow").execute()


def unlabel_secret(gcp):
    secret = {"name": "projects/123456789012/secrets/mlflow-database-password", "labels": {"deployment": "x"}}
    gcp.secrets.update_secret(request={"secret": secret, "update_mask": "labels"})


def disable_version(gcp):
    gcp.secrets.disable_secret_version(name="projects/123456789012/secrets/mlflow-database-password/versions/1")


def delete_version(gcp):
    """Nobody can delete one alone; the whole secret goes."""
    gcp.secrets.delete_secret(name="projects/123456789012/secrets/mlflow-database-password")


def admit_to_secret(gcp):
    resource = "projects/123456789012/secrets/mlflow-database-password"
    policy = gcp.secrets.get_iam_policy(request={"resource": resource})
    policy.bindings[0].members.append(STRANGER)
    gcp.secrets.set_iam_policy(request={"resource": resource, "policy": policy})


def open_bucket(gcp):
    body = {"iamConfiguration": {"publicAccessPrevention": "inherited"}, "versioning": {"enabled": False}}
    gcp.buckets.buckets().patch(bucket="test-project-1-mlflow-artifacts-x7f2", body=body).execute()


def spare_most_objects(gcp):
    bucket = "test-project-1-mlflow-artifacts-x7f2"
    rules = gcp.buckets.buckets().get(bucket=bucket).execute()["lifecycle"]["rule"]
    rules[0]["condition"]["matchesPrefix"] = ["nothing-at-all/"]
    gcp.buckets.buckets().patch(bucket=bucket, body={"lifecycle": {"rule": rules}}).execute()


def admit_to_bucket(purpose):
    def admit(gcp):
        bucket = f"test-project-1-mlflow-{purpose}-x7f2"
        policy = gcp.buckets.buckets().getIamPolicy(bucket=bucket, optionsRequestedPolicyVersion=3).execute()
        next(b for b in policy["bindings"] if "legacy" not in b["role"])["members"].append(STRANGER)
        gcp.buckets.buckets().setIamPolicy(bucket=bucket, body=policy).execute()

    return admit


def keep_builds(gcp):
    gcp.buckets.buckets().patch(bucket="test-project-1-mlflow-builds-x7f2", body={"lifecycle": None}).execute()


def unlabel_repository(gcp):
    name = "projects/test-project-1/locations/europe-west1/repositories/mlflow"
    calls = gcp.artifactregistry.projects().locations().repositories()
    calls.patch(name=name, updateMask="labels", body={"labels": {}}).execute()


def shut_out_puller(gcp):
    name = "projects/test-project-1/locations/europe-west1/repositories/mlflow"
    calls = gcp.artifactregistry.projects().locations().repositories()
    calls.setIamPolicy(resource=name, body={"policy": {}}).execute()


def start_placeholder(gcp):
    gcp.appengine.apps().services().versions().patch(
        appsId="test-project-1",
        servicesId="default",
        versionsId=f"placeholder-{ID}",
        updateMask="servingStatus",
        body={"servingStatus": "SERVING"},
    ).execute()


def switch_door_off(gcp):
    gcp.appengine.apps().patch(appsId="test-project-1", updateMask="iap", body={"iap": {"enabled": False}}).execute()


def the_version(gcp):
    versions = gcp.appengine.apps().services().versions()
    return versions.list(appsId="test-project-1", servicesId="mlflow").execute()["versions"][0]["id"]


def patch_server(mask, body):
    def patch(gcp):
        gcp.appengine.apps().services().versions().patch(
            appsId="test-project-1", servicesId="mlflow", versionsId=the_version(gcp), updateMask=mask, body=body
        ).execute()

    return patch


def admit_to_door(gcp):
    resource = "projects/123456789012/iap_web/appengine-test-project-1/services/mlflow"
    policy = gcp.iap.v1().getIamPolicy(resource=resource, body={"options": {"requestedPolicyVersion": 3}}).execute()
    policy["bindings"][0]["members"].append(STRANGER)
    gcp.iap.v1().setIamPolicy(resource=resource, body={"policy": policy}).execute()


def admit_to_account(email):
    def admit(gcp):
        resource = f"projects/test-project-1/serviceAccounts/{email}"
        accounts = gcp.iam.projects().serviceAccounts()
        policy = accounts.getIamPolicy(resource=resource, options_requestedPolicyVersion=3).execute()
        policy["bindings"][0]["members"].append(STRANGER)
        accounts.setIamPolicy(resource=resource, body={"policy": policy}).execute()

    return admit


DAMAGE = {
    "apis": disable_api,
    "service_accounts, disabled": disable_account,
    "service_accounts, renamed": rename_account,
    "project_roles": empty_project_policy,
    "network": route_globally,
    "subnet": cut_off_google,
    "peering": remove_peering,
    "sql_instance, tier": patch_sql({"tier": "db-g1-small"}),
    "sql_instance, backups": patch_sql(
        {"backupConfiguration": {"enabled": False, "pointInTimeRecoveryEnabled": False}}
    ),
    "sql_instance, stopped": patch_sql({"activationPolicy": "NEVER"}),
    "sql_instance, labels": patch_sql({"userLabels": {"deployment": "x"}}),
    "sql_database": drop_database,
    "sql_user": drop_user,
    "secret": unlabel_secret,
    "secret_version": disable_version,
    "secret_access": admit_to_secret,
    "artifact_bucket, opened": open_bucket,
    "artifact_bucket, its rule narrowed": spare_most_objects,
    "artifact_access": admit_to_bucket("artifacts"),
    "build_bucket": keep_builds,
    "build_access": admit_to_bucket("builds"),
    "repository": unlabel_repository,
    "repository_access": shut_out_puller,
    "default_service": start_placeholder,
    "door": switch_door_off,
    "server, stopped": patch_server("servingStatus", {"servingStatus": "STOPPED"}),
    "server, scaled": patch_server("manualScaling.instances", {"manualScaling": {"instances": 3}}),
    "door_access": admit_to_door,
    "client_rights": admit_to_account(PUSHER),
    "signing_rights": admit_to_account(SERVER),
}


def test_damage_is_seen_and_mended(bench):
    """What is changed behind our back is drift of that very row, and the row puts it right; no other is touched."""
    for damage, do in DAMAGE.items():
        name = damage.partition(",")[0]
        do(bench.gcp)
        seen = {row for row, _ in bench.drift()}
        bench.settle(PLAN[name])

        assert seen == {name}, damage
        assert list(bench.drift()) == [], damage


def test_everything_goes_without_the_settings(bench, emulator):
    """From refs and what was applied alone, in reverse order, every row by itself; what stays is what its row says."""
    bench.deployment = None
    bench.facts = None
    for row in reversed(list(PLAN)):
        if row.step.delete is not step.keep:
            for ref in bench.refs(row.name):
                bench.remove(ref)

    assert {row.name for row, _ in bench.applied.values()} == {"apis", "app"}
    assert all(row.step.LEAVES for row, _ in bench.applied.values())
    assert sql_instance.LEAVES
