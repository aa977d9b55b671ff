"""Variants of a deployment, each through its whole life: up, nothing left to do, changed, and down without a trace.

The machines behind the emulator are off; steps, engine, journal and Google's client libraries are the real ones.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest
import structlog

from provision.config import check
from provision.errors import BadConfig, NotOurs
from steps import _archive
from tests.journey.deploy import BASE, NUMBER, PROJECT, Death, Deployment, DyingStore
from tests.journey.neighbours import Neighbour, changes, things, unlisted

THEIR_APIS = [
    "appengine", "appengineflex", "bigquery", "cloudresourcemanager", "compute", "iam", "pubsub", "storage",
]  # fmt: skip
CORPORATE = {"network": {"name": "corporate", "subnet": "data"}}


def reconfigured(deployment, **settings):
    """`up` with other settings; returns the changing calls that it made."""
    deployment.config = check({**BASE, **settings}, "provision.toml")
    return changes(deployment.emulator, deployment.up)


def settled(deployment):
    """Nothing is left to do, and nothing differs from what was applied."""
    assert changes(deployment.emulator, deployment.up) == []
    assert deployment.drift() == []


def granted(found):
    """Who has what on the project: roles, members and conditions."""
    return found[f"projects/{PROJECT}/iamPolicy"]["iam.policies"][0]


def why(left, part):
    """What `down` says of the one thing whose name holds this."""
    (found,) = [item.why for item in left if part in item.ref]
    return found


@pytest.mark.parametrize(
    ("ranges", "alone"),
    [
        pytest.param([], True, id="it has no connection"),
        pytest.param(["theirs", "more"], False, id="its connection holds ranges of theirs"),
    ],
)
def test_a_network_that_is_there(deploying, emulator, ranges, alone):
    """It is used as it is; only our range is added, and taken out again unless the connection would be left without."""
    deployment = deploying(**CORPORATE)
    Neighbour(deployment.gcp).has_network(*ranges)

    for _ in range(1 + alone):  # what the first time leaves must not be in the way of the second
        before = things(emulator)
        deployment.up()
        settled(deployment)
        reconfigured(deployment, **CORPORATE, database={"disk_gb": 20})
        left = deployment.down()

        assert unlisted(before, things(emulator), left) == {}
        assert [item.ref for item in left if "mlflow-services" in item.ref] == (
            [
                f"projects/{NUMBER}/global/networks/corporate/peerings/servicenetworking-googleapis-com/ranges/mlflow-services",
                f"projects/{PROJECT}/global/addresses/mlflow-services",
            ]
            if alone
            else []
        )


def test_a_connection_that_holds_our_range_already(deploying, emulator):
    """Left by an earlier deployment, say: it is used as it is, and nothing is taken out that was there before us."""
    deployment = deploying(**CORPORATE)
    Neighbour(deployment.gcp).has_network("theirs", "mlflow-services")
    before = things(emulator)

    with pytest.raises(NotOurs, match="mlflow-services exists already"):
        deployment.up()
    left = deployment.down()

    assert unlisted(before, things(emulator), left) == {}


AS_DEFAULT = {"server": {"service": "default"}}


def versions(deployment, service="mlflow"):
    """Serving status by version; empty when there is no such service."""
    rows = deployment.emulator.world.table("appengine.versions").under(f"apps/{PROJECT}/services/{service}/")
    return {row["id"]: row["servingStatus"] for _, row in rows}


def test_mlflow_as_the_default_service(deploying, emulator):
    """No placeholder; `down` stops its last version and keeps what that needs, the next `up` takes its place."""
    deployment = deploying(**AS_DEFAULT)
    before = things(emulator)
    first = None

    for _ in range(2):
        deployment.up()
        settled(deployment)
        running = versions(deployment, "default")
        reconfigured(deployment, **AS_DEFAULT, artifacts={"noncurrent_days": 5})
        left = deployment.down()

        assert list(running.values()) == ["SERVING"]
        assert running.keys() != first
        assert versions(deployment, "default") == dict.fromkeys(running, "STOPPED")
        assert "keeps its last version, stopped" in why(left, "/repositories/mlflow/packages/")
        assert {
            name: found
            for name, found in unlisted(before, things(emulator), left).items()
            if "backup" not in str(found)
        } == {}
        first = running.keys()


def test_the_default_service_and_back(deploying, emulator):
    """MLflow becomes the default service of an application in which it was another, and the other way round."""
    deployment = deploying()
    before = things(emulator)
    deployment.up()
    reconfigured(deployment, **AS_DEFAULT)
    settled(deployment)
    as_default = versions(deployment, "default"), versions(deployment, "mlflow")
    reconfigured(deployment)
    settled(deployment)
    as_before = versions(deployment, "default"), versions(deployment, "mlflow")
    left = deployment.down()

    assert [list(found.values()) for found in as_default] == [["SERVING"], []]
    assert [list(found.values()) for found in as_before] == [["STOPPED"], ["SERVING"]]
    assert unlisted(before, things(emulator), left) == {}


def test_files_travel_by_links_and_back(deploying, emulator):
    """One right and one rule more, and another version; what clients may in the bucket is the same, for older experiments."""
    deployment = deploying()
    before = things(emulator)
    deployment.up()
    direct = policies(emulator)
    reconfigured(deployment, artifacts={"transfer": "signed"})
    settled(deployment)
    signed = policies(emulator)
    reconfigured(deployment)
    settled(deployment)
    as_before = policies(emulator)
    left = deployment.down()
    (more,) = signed.keys() - direct.keys()

    assert more.endswith(f"/serviceAccounts/mlflow-server@{PROJECT}.iam.gserviceaccount.com")
    assert {name: signed[name] for name in direct} == as_before == direct
    assert list(versions(deployment, "mlflow")) == []
    assert unlisted(before, things(emulator), left) == {}


def policies(emulator):
    """Who has which role, by resource; those without any are left out."""
    rows = emulator.world.table("iam.policies").items()
    granted = {name: {each["role"]: each["members"] for each in row.get("bindings", ())} for name, row in rows}
    return {name: roles for name, roles in granted.items() if roles}


@pytest.mark.parametrize("iap", [pytest.param(True, id="behind IAP"), pytest.param(False, id="open to everybody")])
def test_a_project_in_which_others_are_at_work(deploying, emulator, iap):
    """Their things are the same while we are there and after; IAP is not switched off in front of their services."""
    emulator.reset([{"projectId": PROJECT, "projectNumber": NUMBER, "services": THEIR_APIS}])
    deployment = deploying()
    neighbour = Neighbour(deployment.gcp)
    neighbour.has_network()
    neighbour.has_application(iap=iap)
    neighbour.serves("default")
    neighbour.serves("shop")
    neighbour.has_things()
    before = things(emulator)

    deployment.up()
    settled(deployment)
    during = things(emulator)
    reconfigured(deployment, server={"instances": 2, "memory_gb": 4.0}, database={"tier": "db-g1-small"})
    left = deployment.down()

    assert unlisted(before, things(emulator), left) == {}
    assert {name for name in before if during[name] != before[name]} == {f"projects/{PROJECT}/iamPolicy"}
    assert granted(before) < granted(during)
    assert why(left, f"apps/{PROJECT}/iap") == (
        "was there before us" if iap else "IAP stays switched on: default, shop would be open to everybody without it."
    )
    assert not [item for item in left if "placeholder" in item.ref]


PROD = {"env": "prod"}


def test_two_environments_in_one_project(deploying, emulator):
    """The elder made what they share; it goes and comes back, and the younger does not notice."""
    before = things(emulator)
    elder, younger = deploying(), deploying(**PROD)
    elder.up()
    younger.up()
    settled(elder)
    left = elder.down()
    settled(younger)
    alone = {name: list(versions(younger, name).values()) for name in ("mlflow", "mlflow-prod")}
    elder.up()
    settled(younger)
    together = {name: list(versions(younger, name).values()) for name in ("mlflow", "mlflow-prod")}
    left += younger.down()
    settled(elder)
    left += elder.down()

    assert alone == {"mlflow": [], "mlflow-prod": ["SERVING"]}
    assert together == {"mlflow": ["SERVING"], "mlflow-prod": ["SERVING"]}
    assert unlisted(before, things(emulator), left) == {}


def test_two_environments_at_the_same_time(deploying, emulator):
    """Both make what an empty project lacks, and whoever comes second goes on with it."""
    before = things(emulator)
    pair = [deploying(), deploying(**PROD)]
    with ThreadPoolExecutor() as pool:
        list(pool.map(Deployment.up, pair))
    for deployment in pair:
        deployment.up()
        settled(deployment)
    with ThreadPoolExecutor() as pool:
        left = [item for stays in pool.map(Deployment.down, pair) for item in stays]

    assert unlisted(before, things(emulator), left) == {}


@pytest.mark.parametrize("save", [5, 16, 27, 38])
def test_a_run_that_died_and_is_never_finished(deploying, emulator, save):
    """`down` after a dead `up`: what its last intents have made is ours too, and is not forgotten."""
    deployment = deploying()
    deployment.workers = 1
    before = things(emulator)
    with pytest.raises(Death):
        deployment.up(DyingStore(deployment.store(), die_at=save))
    left = deployment.down()

    assert unlisted(before, things(emulator), left) == {}


class Meddler:
    """Somebody who deletes and breaks what is ours, behind our back."""

    def __init__(self, deployment):
        self.gcp, self.ledger = deployment.gcp, deployment.ledger()
        self.wait = Neighbour(self.gcp).wait

    def ref(self, step):
        (found,) = [ref for ref, record in self.ledger.records.items() if record.step == step]
        return found

    def destroys_the_password(self):
        self.gcp.secrets.destroy_secret_version(name=self.ref("secret_version"))

    def disables_the_password(self):
        self.gcp.secrets.disable_secret_version(name=self.ref("secret_version"))

    def deletes_the_secret(self):
        self.gcp.secrets.delete_secret(name=self.ref("secret"))

    def deletes_the_database(self):
        name = self.ref("sql_instance").rpartition("/")[2]
        self.wait("sqladmin", self.gcp.sql.instances().delete(project=PROJECT, instance=name))

    def deletes_the_bucket(self):
        self.gcp.storage.bucket(self.ref("artifact_bucket").rpartition("/")[2]).delete(force=True)

    def deletes_the_account(self):
        name = f"projects/{PROJECT}/serviceAccounts/mlflow-server@{PROJECT}.iam.gserviceaccount.com"
        self.gcp.iam.projects().serviceAccounts().delete(name=name).execute()

    def replaces_the_account(self):
        name = f"projects/{PROJECT}/serviceAccounts/mlflow-server@{PROJECT}.iam.gserviceaccount.com"
        found = self.gcp.iam.projects().serviceAccounts().get(name=name).execute()
        self.deletes_the_account()
        body = {"accountId": "mlflow-server", "serviceAccount": {"description": found["description"]}}
        self.gcp.iam.projects().serviceAccounts().create(name=f"projects/{PROJECT}", body=body).execute()


@pytest.mark.parametrize(
    ("does", "found", "new_server"),
    [
        pytest.param(
            ["disables_the_password", "deletes_the_bucket"],
            {"secret_version", "artifact_bucket", "artifact_access"},
            False,
            id="the password is disabled, and the bucket is gone",
        ),
        pytest.param(["destroys_the_password"], {"secret_version"}, True, id="the password is destroyed"),
        pytest.param(
            ["deletes_the_secret", "deletes_the_account"],
            {"secret", "secret_version", "secret_access", "service_accounts"},
            True,
            id="the secret is gone, and so is the server's account",
        ),
        pytest.param(
            ["deletes_the_database"], {"sql_instance", "sql_database", "sql_user"}, True, id="the database is gone"
        ),
        pytest.param(
            ["replaces_the_account"], {"service_accounts"}, True, id="the server's account is another of the same name"
        ),
    ],
)
def test_what_is_gone_is_made_again(deploying, emulator, does, found, new_server):
    """`drift` tells it, one `up` heals it, also where Google does not let the old name be used again."""
    deployment = deploying()
    before = things(emulator)
    deployment.up()
    (server,) = versions(deployment)
    for deed in does:
        getattr(Meddler(deployment), deed)()
    told = {finding.step for finding in deployment.drift()}
    deployment.up()
    settled(deployment)
    (healed,) = versions(deployment)
    left = deployment.down()

    assert found <= told
    assert (healed != server) is new_server
    assert unlisted(before, things(emulator), left) == {}


@pytest.fixture(scope="module")
def deployed(shared_emulator, gcp):
    """One deployment that several tests give other settings."""
    shared_emulator.reset()
    deployment = Deployment(shared_emulator, gcp=gcp)
    deployment.up()
    return deployment


SMALL = {"database": {"tier": "db-g1-small"}}


@pytest.mark.parametrize(
    ("first", "then", "calls"),
    [
        pytest.param(
            {}, {"database": {"tier": "db-g1-small", "disk_gb": 20}}, ["sql.instances.patch"], id="a bigger machine"
        ),
        pytest.param(
            {"database": {"tier": "db-g1-small", "disk_gb": 20}}, SMALL, [], id="a smaller disk, which there is not"
        ),
        pytest.param(
            SMALL,
            {"database": {"tier": "db-g1-small", "high_availability": True, "deletion_protection": True}},
            ["sql.instances.patch"],
            id="a safer database",
        ),
        pytest.param(
            SMALL,
            {**SMALL, "server": {"workers": 2}},
            [
                "appengine.apps.services.versions.create",
                "appengine.apps.services.patch",
                "appengine.apps.services.versions.delete",
            ],
            id="more workers in a new version, which serves before the old one goes",
        ),
        pytest.param(
            {**SMALL, "server": {"instances": 1}},
            {**SMALL, "server": {"instances": 2}},
            ["appengine.apps.services.versions.patch"],
            id="more instances of the same version",
        ),
        pytest.param(
            {},
            {"access": {"users": ["ada@example.com", "Bob@example.com"], "groups": ["ml@example.com"]}},
            ["iam.projects.serviceAccounts.setIamPolicy", "iap.setIamPolicy"],
            id="more people",
        ),
        pytest.param(
            {"access": {"users": ["ada@example.com", "bob@example.com"]}},
            {"access": {"domains": ["example.com"]}},
            ["iam.projects.serviceAccounts.setIamPolicy", "iap.setIamPolicy"],
            id="other people",
        ),
        pytest.param(
            {}, {"artifacts": {"noncurrent_days": 5, "soft_delete_days": 14}}, ["storage.buckets.patch"], id="retention"
        ),
        pytest.param(
            {},
            {"server": {"service": "tracking"}},
            [
                "appengine.apps.services.versions.create",
                "iap.setIamPolicy",
                "iap.setIamPolicy",
                "appengine.apps.services.delete",
            ],
            id="another service",
        ),
    ],
)
def test_other_settings(deployed, first, then, calls):
    """Exactly what has to be changed is changed, and a second `up` agrees."""
    reconfigured(deployed, **first)
    made = reconfigured(deployed, **then)
    settled(deployed)

    assert made == calls or sorted(made) == calls


def test_a_name_that_google_keeps_reserved(deploying, emulator):
    """However it came to be, the next one is taken."""
    deployment = deploying()
    deployment.engine(deployment.store())
    name = f"projects/{PROJECT}/instances/mlflow-{deployment.ledger().salt}"
    emulator.world.table("sql.reserved")[name] = {"until": "9999-12-31"}
    deployment.up()
    settled(deployment)

    assert list(emulator.world.table("sql.instances")) == [f"{name}-2"]


def test_other_files_of_the_server(deploying, emulator, tmp_path, monkeypatch):
    """Each change is another image and version; the images of the last three versions stay."""
    deployment = deploying()
    before = things(emulator)
    monkeypatch.setattr(_archive.packed, "__defaults__", (tmp_path,))
    served, images = [], []
    for number in range(4):
        (tmp_path / "Dockerfile").write_text(f"FROM scratch\n# {number}\n")
        deployment.up()
        served += versions(deployment)
        images = list(emulator.world.table("artifactregistry.tags"))
    settled(deployment)
    left = deployment.down()

    assert len(set(served)) == 4
    assert len(images) == 3
    assert unlisted(before, things(emulator), left) == {}


def client(file):
    return {"door": {"client_id": "1-a.apps.googleusercontent.com", "client_secret_file": str(file)}}


def test_an_oauth_client_of_the_users_own(deploying, emulator, tmp_path):
    """It is handed over, again when its secret changes, and taken back; its secret and the password are told nobody."""
    file = tmp_path / "client-secret"
    file.write_text("GOCSPX-first\n")
    deployment = deploying(**client(file))
    before = things(emulator)
    ledgers = []
    with structlog.testing.capture_logs() as logged:
        deployment.up()
        settled(deployment)
        ledgers.append(deployment.store().get("ledger.json").data)
        name = Meddler(deployment).ref("secret_version")
        password = deployment.gcp.secrets.access_secret_version(name=name).payload.data.decode()
        file.write_text("GOCSPX-second\n")
        handed = changes(emulator, deployment.up)
        settled(deployment)
        ledgers.append(deployment.store().get("ledger.json").data)
        file.unlink()
        with pytest.raises(BadConfig, match="client-secret' cannot be read") as refused:
            deployment.up()
        managed = reconfigured(deployment)
        settled(deployment)
        file.write_text("GOCSPX-third\n")
        reconfigured(deployment, **client(file))
        left = deployment.down()
        ledgers.append(deployment.store().get("ledger.json").data)
    told = f"{logged} {ledgers} {refused.value} {left}"

    assert handed == managed == ["appengine.apps.patch"]
    assert [secret for secret in ("GOCSPX-", password) if secret in told] == []
    assert unlisted(before, things(emulator), left) == {}


def test_a_protected_database(deploying, emulator):
    """`down` switches the protection off, then deletes it with a final backup, which it lists."""
    deployment = deploying(database={"deletion_protection": True})
    before = things(emulator)
    deployment.up()
    settled(deployment)
    left = []
    calls = changes(emulator, lambda: left.extend(deployment.down()))

    assert [call for call in calls if call.startswith("sql.")] == ["sql.instances.patch", "sql.instances.delete"]
    assert why(left, "/instances/") == "A final backup of the database, for 30 days."
    assert unlisted(before, things(emulator), left) == {}
