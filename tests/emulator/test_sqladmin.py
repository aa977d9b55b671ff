"""Cloud SQL instances, databases, users and final backups, through the discovery client."""

import json
from typing import Any

import pytest
from googleapiclient.errors import HttpError

from provision.emulator.machines.failure import MachineError
from tests.conftest import NUMBER, PROJECT
from tests.emulator.test_compute import done, make_network, make_range

SETTINGS = {"tier": "db-f1-micro", "edition": "ENTERPRISE", "dataDiskSizeGb": "10"}
INSTANCE = {"project": PROJECT, "instance": "db"}


@pytest.fixture
def sql(google):
    return google.discovery("sqladmin", "v1")


@pytest.fixture
def patient(emulator):
    """The emulator takes Google's own time, until the test is over."""
    emulator.world.profile = "google"
    yield emulator
    emulator.world.profile = "instant"


def error_of(caught: pytest.ExceptionInfo[HttpError]) -> dict[str, Any]:
    return json.loads(caught.value.content)["error"]


def reason_of(caught: pytest.ExceptionInfo[HttpError]) -> str:
    return error_of(caught)["errors"][0]["reason"]


def body_of(**more: Any) -> dict[str, Any]:
    return {"name": "db", "region": "europe-west1", "databaseVersion": "POSTGRES_18", "settings": SETTINGS} | more


def insert(sql: Any, **more: Any) -> dict[str, Any]:
    return sql.instances().insert(project=PROJECT, body=body_of(**more)).execute()


def wait(sql: Any, operation: dict[str, Any]) -> dict[str, Any]:
    return sql.operations().get(project=PROJECT, operation=operation["name"]).execute()


def get(sql: Any) -> dict[str, Any]:
    return sql.instances().get(**INSTANCE).execute()


def connect(google: Any) -> None:
    """A network with a service connection."""
    compute = google.discovery("compute", "v1")
    make_network(compute)
    make_range(compute)
    body = {"network": f"projects/{NUMBER}/global/networks/vpc", "reservedPeeringRanges": ["range"]}
    networking = google.discovery("servicenetworking", "v1")
    parent = "services/servicenetworking.googleapis.com"
    networking.services().connections().create(parent=parent, body=body).execute()
    networking.services().connections().list(parent=parent, network=body["network"]).execute()


def private(**more: Any) -> dict[str, Any]:
    network = f"https://www.googleapis.com/compute/v1/projects/{PROJECT}/global/networks/vpc"
    return SETTINGS | {"ipConfiguration": {"ipv4Enabled": False, "privateNetwork": network, **more}}


def test_an_instance_is_pending_and_then_runnable(patient, sql):
    """It is seen from the first moment on; its operation has no start before it ends."""
    first = insert(sql)

    assert (first["status"], first["operationType"], first["targetId"]) == ("PENDING", "CREATE", "db")
    assert "startTime" not in first
    assert get(sql)["state"] == "PENDING_CREATE"
    patient.world.clock.ahead += 600
    assert wait(sql, first)["status"] == "DONE"
    assert get(sql)["state"] == "RUNNABLE"


def test_what_is_not_sent_is_filled_in(sql):
    """Backups are off, any client may connect, the disk has 10 GB, and there is a certificate authority."""
    insert(sql)
    instance = get(sql)
    settings = instance["settings"]

    assert instance["connectionName"] == f"{PROJECT}:europe-west1:db"
    assert (settings["settingsVersion"], settings["dataDiskSizeGb"], settings["dataDiskType"]) == ("1", "10", "PD_SSD")
    assert settings["backupConfiguration"]["enabled"] is False
    assert settings["ipConfiguration"]["sslMode"] == "ALLOW_UNENCRYPTED_AND_ENCRYPTED"
    assert [address["type"] for address in instance["ipAddresses"]] == ["PRIMARY", "OUTGOING"]
    assert instance["serverCaCert"]["kind"] == "sql#sslCert"
    assert "rootPassword" not in instance


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(
            {"settings": {"tier": "db-f1-micro"}},
            "Invalid Tier \\(db-f1-micro\\) for \\(ENTERPRISE_PLUS\\) Edition",
            id="no edition on a new PostgreSQL means ENTERPRISE_PLUS, which has no small machines",
        ),
        pytest.param(
            {"settings": SETTINGS | {"tier": "db-perf-optimized-N-2"}},
            "Invalid Tier \\(db-perf-optimized-N-2\\) for \\(ENTERPRISE\\) Edition",
            id="ENTERPRISE has no big machines",
        ),
        pytest.param(
            {"settings": SETTINGS | {"tier": "db-custom-3-3840"}},
            "Invalid custom Tier",
            id="three cores are not even",
        ),
        pytest.param({"settings": SETTINGS | {"dataDiskSizeGb": "5"}}, "smallest disk", id="the disk is too small"),
        pytest.param(
            {"databaseVersion": "SQL_DATABASE_VERSION_UNSPECIFIED"}, "Invalid database version", id="no such database"
        ),
        pytest.param({"region": "atlantis"}, "Invalid region", id="no such region"),
        pytest.param({"name": "Not_A_Name"}, "Invalid full instance name", id="a bad name"),
        pytest.param(
            {"settings": SETTINGS | {"ipConfiguration": {"ipv4Enabled": False}}},
            "At least one of Public IP or Private IP",
            id="no address at all",
        ),
        pytest.param({"settings": private()}, "NETWORK_NOT_FOUND", id="the private network is not there"),
    ],
)
def test_an_insert_that_cannot_work_is_refused_at_once(sql, body, message):
    """400 with reason invalid and no status, and nothing was made."""
    with pytest.raises(HttpError, match=message) as caught:
        insert(sql, **body)

    assert (caught.value.status_code, reason_of(caught)) == (400, "invalid")
    assert "status" not in error_of(caught)
    assert "items" not in sql.instances().list(project=PROJECT).execute()


def test_a_private_address_needs_a_service_connection(google, sql):
    """Without one the insert says that the network is not peered; with one the address comes from the range."""
    compute = google.discovery("compute", "v1")
    make_network(compute)
    with pytest.raises(HttpError, match=f"{PROJECT}:db:NETWORK_NOT_PEERED"):
        insert(sql, settings=private())
    done(compute, compute.networks().delete(project=PROJECT, network="vpc").execute())
    connect(google)
    insert(sql, settings=private(allocatedIpRange="range"))
    instance = get(sql)

    assert [address["type"] for address in instance["ipAddresses"]] == ["PRIVATE"]
    assert instance["ipAddresses"][0]["ipAddress"].startswith("10.0.")
    assert instance["settings"]["ipConfiguration"]["privateNetwork"] == f"projects/{PROJECT}/global/networks/vpc"


def test_a_removed_peering_is_told_from_one_that_never_was(google, sql):
    """NETWORK_PEERING_DELETED asks for the connection to be repaired."""
    connect(google)
    compute = google.discovery("compute", "v1")
    body = {"name": "servicenetworking-googleapis-com"}
    done(compute, compute.networks().removePeering(project=PROJECT, network="vpc", body=body).execute())

    with pytest.raises(HttpError, match="NETWORK_PEERING_DELETED"):
        insert(sql, settings=private())


@pytest.mark.source("https://github.com/hashicorp/terraform-provider-google/issues/3279")
def test_one_operation_at_a_time(patient, sql):
    """While an instance is being made every other order is 409 operationInProgress."""
    insert(sql)
    orders = [
        sql.databases().insert(body={"name": "mlflow"}, **INSTANCE),
        sql.users().insert(body={"name": "mlflow", "password": "secret"}, **INSTANCE),
        sql.instances().patch(body={"settings": {}}, **INSTANCE),
        sql.instances().delete(**INSTANCE),
    ]
    for order in orders:
        with pytest.raises(HttpError) as caught:
            order.execute()

        assert (caught.value.status_code, reason_of(caught)) == (409, "operationInProgress")


def test_a_patch_merges_and_counts_up(sql):
    """Only what is sent changes, nested fields too; settingsVersion rises."""
    insert(sql, settings=SETTINGS | {"userLabels": {"a": "b"}})
    change = {"settings": {"backupConfiguration": {"enabled": True, "pointInTimeRecoveryEnabled": True}}}
    operation = sql.instances().patch(body=change, **INSTANCE).execute()
    settings = get(sql)["settings"]

    assert operation["operationType"] == "UPDATE"
    assert settings["settingsVersion"] == "2"
    assert settings["userLabels"] == {"a": "b"}
    assert settings["backupConfiguration"]["transactionLogRetentionDays"] == 7
    assert settings["backupConfiguration"]["transactionalLogStorageState"] == "CLOUD_STORAGE"


@pytest.mark.source("https://docs.cloud.google.com/sql/docs/postgres/admin-api/rest/v1/instances")
def test_backups_are_counted_unless_told_otherwise(sql):
    """How many are kept may be sent without what is counted, and the other way round."""
    insert(sql, settings=SETTINGS | {"backupConfiguration": {"backupRetentionSettings": {"retainedBackups": 3}}})

    kept = get(sql)["settings"]["backupConfiguration"]["backupRetentionSettings"]

    assert kept == {"retainedBackups": 3, "retentionUnit": "COUNT"}


@pytest.mark.source("https://docs.cloud.google.com/sql/docs/postgres/admin-api/rest/v1/instances")
def test_a_replica_says_whose_it_is_and_what_it_is_for(sql):
    """Its primary knows it, until it is deleted."""
    insert(sql)
    body = body_of(name="copy", masterInstanceName="db", replicaConfiguration={"failoverTarget": False})
    sql.instances().insert(project=PROJECT, body=body).execute()
    sql.operations().list(project=PROJECT).execute()
    copy = sql.instances().get(project=PROJECT, instance="copy").execute()
    named = get(sql)["replicaNames"]
    sql.instances().delete(project=PROJECT, instance="copy").execute()
    sql.operations().list(project=PROJECT).execute()

    assert (copy["instanceType"], copy["masterInstanceName"]) == ("READ_REPLICA_INSTANCE", f"{PROJECT}:db")
    assert copy["replicaConfiguration"] == {"kind": "sql#replicaConfiguration", "failoverTarget": False}
    assert named == ["copy"]
    assert "replicaNames" not in get(sql)


@pytest.mark.source("https://docs.cloud.google.com/sql/docs/postgres/cmek")
def test_an_instance_with_a_key_of_ones_own_says_which(sql):
    """And which version of the key is in use."""
    key = f"projects/{PROJECT}/locations/europe-west1/keyRings/ring/cryptoKeys/key"
    insert(sql, diskEncryptionConfiguration={"kmsKeyName": key})
    instance = get(sql)

    assert instance["diskEncryptionConfiguration"]["kmsKeyName"] == key
    assert instance["diskEncryptionStatus"]["kmsKeyVersionName"] == f"{key}/cryptoKeyVersions/1"


@pytest.mark.source("https://docs.cloud.google.com/sql/docs/sqlserver/upgrade-major-db-version-inplace")
def test_sql_server_is_upgraded_to_no_lower_release_and_to_no_lower_edition(sql):
    """Each release in each edition is a version of its own."""
    tier = {"tier": "db-custom-2-7680", "edition": "ENTERPRISE"}
    insert(sql, databaseVersion="SQLSERVER_2019_STANDARD", settings=tier)

    names = [version["name"].removeprefix("SQLSERVER_") for version in get(sql)["upgradableDatabaseVersions"]]

    assert names == ["2019_ENTERPRISE", "2022_STANDARD", "2022_ENTERPRISE"]


@pytest.mark.source("https://docs.cloud.google.com/sql/docs/postgres/configure-private-service-connect")
def test_an_instance_behind_private_service_connect_has_a_name_and_an_attachment(sql):
    """And no address, as long as it has no public one."""
    ip = {"ipv4Enabled": False, "pscConfig": {"pscEnabled": True, "allowedConsumerProjects": [PROJECT]}}
    insert(sql, settings=SETTINGS | {"ipConfiguration": ip})
    instance = get(sql)

    assert instance["dnsName"].endswith(".europe-west1.sql.goog.")
    assert "/regions/europe-west1/serviceAttachments/" in instance["pscServiceAttachmentLink"]
    assert instance["ipAddresses"] == []


@pytest.mark.source("https://github.com/hashicorp/terraform-provider-google/issues/12324")
def test_stale_settings_are_refused(sql):
    """An update with the settingsVersion of before somebody else's change is 412 staleData."""
    insert(sql)
    read = get(sql)["settings"]
    sql.instances().patch(body={"settings": {"userLabels": {"a": "b"}}}, **INSTANCE).execute()

    for call in (sql.instances().update, sql.instances().patch):
        with pytest.raises(HttpError) as caught:
            call(body={"settings": read}, **INSTANCE).execute()
        assert (caught.value.status_code, reason_of(caught)) == (412, "staleData")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"dataDiskSizeGb": "10"}, "cannot be decreased", id="the disk never shrinks"),
        pytest.param({"tier": "db-none"}, "Invalid Tier", id="no such tier"),
        pytest.param(
            {"ipConfiguration": {"ipv4Enabled": True}},
            "private network of an instance cannot be removed",
            id="the private network stays for ever",
        ),
    ],
)
def test_changes_that_cannot_be_made_are_refused(google, sql, change, message):
    """The instance stays as it was."""
    connect(google)
    insert(sql, settings=private() | {"dataDiskSizeGb": "20"})
    before = get(sql)
    with pytest.raises(HttpError, match=message):
        sql.instances().update(body={"settings": before["settings"] | change}, **INSTANCE).execute()

    assert get(sql) == before


def test_deletion_protection_is_taken_off_first(sql):
    """A protected instance says so; without protection it goes."""
    insert(sql, settings=SETTINGS | {"deletionProtectionEnabled": True})
    with pytest.raises(HttpError, match="The instance is protected"):
        sql.instances().delete(**INSTANCE).execute()
    sql.instances().patch(body={"settings": {"deletionProtectionEnabled": False}}, **INSTANCE).execute()
    wait(sql, sql.instances().delete(**INSTANCE).execute())

    with pytest.raises(HttpError) as caught:
        get(sql)
    assert (caught.value.status_code, reason_of(caught)) == (404, "instanceDoesNotExist")


@pytest.mark.source("https://github.com/terraform-google-modules/terraform-google-gke-gitlab/issues/81")
def test_a_deleted_name_stays_reserved_for_a_week(emulator, sql):
    """Creating it again at once is 409; a week later it is free."""
    insert(sql)
    wait(sql, sql.instances().delete(**INSTANCE).execute())
    with pytest.raises(HttpError, match="until one week from the deletion date") as caught:
        insert(sql)

    assert (caught.value.status_code, reason_of(caught)) == (409, "instanceAlreadyExists")
    emulator.world.clock.ahead += 7 * 86400 + 60
    assert insert(sql)["status"] == "PENDING"


def test_a_final_backup_outlives_its_instance(sql):
    """It is listed with its time of expiry, and can be deleted."""
    insert(sql)
    call = sql.instances().delete(
        enableFinalBackup=True, finalBackupTtlDays="7", finalBackupDescription="bye", **INSTANCE
    )
    wait(sql, call.execute())
    backups = sql.Backups()
    listed = backups.ListBackups(parent=f"projects/{PROJECT}", filter="instance:db").execute()["backups"]

    assert [(row["type"], row["instance"], row["description"], row["ttlDays"]) for row in listed] == [
        ("FINAL", "db", "bye", "7")
    ]
    assert backups.GetBackup(name=listed[0]["name"]).execute() == listed[0]
    wait(sql, backups.DeleteBackup(name=listed[0]["name"]).execute())
    assert backups.ListBackups(parent=f"projects/{PROJECT}").execute() == {}


def test_nothing_is_kept_when_no_final_backup_is_asked_for(sql):
    """The default is none."""
    insert(sql)
    wait(sql, sql.instances().delete(**INSTANCE).execute())

    assert sql.Backups().ListBackups(parent=f"projects/{PROJECT}").execute() == {}


@pytest.mark.source("https://docs.cloud.google.com/sql/docs/postgres/admin-api-error-messages")
def test_databases_come_and_go(sql):
    """PostgreSQL begins with one; a second of the same name is a conflict; what is not there is not found."""
    insert(sql)
    databases = sql.databases()
    created = databases.insert(body={"name": "mlflow"}, **INSTANCE).execute()

    assert (created["status"], created["operationType"]) == ("DONE", "CREATE_DATABASE")
    assert created["targetLink"].endswith("/instances/db/databases/mlflow")
    assert [row["name"] for row in databases.list(**INSTANCE).execute()["items"]] == ["mlflow", "postgres"]
    assert databases.get(database="mlflow", **INSTANCE).execute()["charset"] == "UTF8"
    with pytest.raises(HttpError) as caught:
        databases.insert(body={"name": "mlflow"}, **INSTANCE).execute()
    assert caught.value.status_code == 409
    wait(sql, databases.delete(database="mlflow", **INSTANCE).execute())
    with pytest.raises(HttpError) as caught:
        databases.get(database="mlflow", **INSTANCE).execute()
    assert (caught.value.status_code, error_of(caught)["message"]) == (404, "Not Found")


def test_a_users_password_goes_to_the_database_and_nowhere_else(emulator, sql, monkeypatch):
    """It is in no answer and in no table of the emulator."""
    given = []
    monkeypatch.setattr(emulator.world.machines, "database_set_user", lambda *order: given.append(order))
    insert(sql)
    users = sql.users()
    operation = users.insert(body={"name": "mlflow", "password": "first-secret"}, **INSTANCE).execute()
    users.update(name="mlflow", body={"name": "mlflow", "password": "second-secret"}, **INSTANCE).execute()

    assert (operation["status"], operation["operationType"]) == ("DONE", "CREATE_USER")
    assert [order[1:] for order in given] == [("mlflow", "first-secret"), ("mlflow", "second-secret")]
    listed = users.list(**INSTANCE).execute()
    assert [user["name"] for user in listed["items"]] == ["mlflow", "postgres"]
    assert "secret" not in json.dumps([listed, operation, *emulator.world.table("sql.users").values()])


def test_a_user_that_owns_something_stays(emulator, sql, monkeypatch):
    """PostgreSQL's own refusal comes back as 400."""

    def refuse(_instance: str, _user: str) -> None:
        raise MachineError('role "mlflow" cannot be dropped because some objects depend on it')

    insert(sql)
    sql.users().insert(body={"name": "mlflow", "password": "secret"}, **INSTANCE).execute()
    monkeypatch.setattr(emulator.world.machines, "database_drop_user", refuse)
    with pytest.raises(HttpError, match="some objects depend on it"):
        sql.users().delete(name="mlflow", **INSTANCE).execute()

    assert sql.users().get(name="mlflow", **INSTANCE).execute()["name"] == "mlflow"


def test_a_database_that_cannot_start_fails_its_operation(emulator, sql, monkeypatch):
    """The instance is FAILED, can be deleted, and the operation says why."""

    def fail(_instance: str) -> bool:
        raise MachineError("no PostgreSQL 18 here")

    monkeypatch.setattr(emulator.world.machines, "database_ready", fail)
    ended = wait(sql, insert(sql))

    assert ended["error"]["errors"][0] == {
        "kind": "sql#operationError",
        "code": "INTERNAL_ERROR",
        "message": "no PostgreSQL 18 here",
    }
    assert get(sql)["state"] == "FAILED"
    assert "error" not in wait(sql, sql.instances().delete(**INSTANCE).execute())


def test_an_instance_waits_for_its_machine(emulator, sql, monkeypatch):
    """However long the database takes, the operation is not done before it."""
    ready = False
    monkeypatch.setattr(emulator.world.machines, "database_ready", lambda _instance: ready)
    first = insert(sql)

    assert wait(sql, first)["status"] != "DONE"
    ready = True
    assert wait(sql, first)["status"] == "DONE"


def test_a_stopped_instance_takes_no_orders(sql):
    """It is RUNNABLE all the same, and starts again by the same setting."""
    insert(sql)
    sql.instances().patch(body={"settings": {"activationPolicy": "NEVER"}}, **INSTANCE).execute()
    with pytest.raises(HttpError, match="instance is not running"):
        sql.databases().insert(body={"name": "mlflow"}, **INSTANCE).execute()

    assert get(sql)["state"] == "RUNNABLE"
    sql.instances().patch(body={"settings": {"activationPolicy": "ALWAYS"}}, **INSTANCE).execute()
    assert sql.databases().insert(body={"name": "mlflow"}, **INSTANCE).execute()["status"] == "DONE"


def test_a_regional_instance_has_a_standby(sql):
    """It is in another zone of the region."""
    insert(sql, settings=SETTINGS | {"availabilityType": "REGIONAL"})
    instance = get(sql)

    assert instance["failoverReplica"] == {"available": True}
    assert instance["secondaryGceZone"] != instance["gceZone"]


def test_a_switch_of_query_insights_that_is_off_is_not_told(sql):
    """On or absent; whoever compares must take absence for off."""
    off = {"queryInsightsEnabled": False, "recordClientAddress": True, "queryStringLength": 1024}
    insert(sql, settings={"tier": "db-custom-1-3840", "edition": "ENTERPRISE", "insightsConfig": off})

    assert get(sql)["settings"]["insightsConfig"] == {"recordClientAddress": True, "queryStringLength": 1024}


def test_connectors_are_told_where_to_connect(sql):
    """Addresses and the certificate authority."""
    insert(sql)
    settings = sql.connect().get(**INSTANCE).execute()

    assert settings["ipAddresses"] == get(sql)["ipAddresses"]
    assert settings["serverCaCert"] == get(sql)["serverCaCert"]
