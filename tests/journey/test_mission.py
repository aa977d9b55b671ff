"""The whole mission with everything real: up, use it, drift, down, on this machine.

A real PostgreSQL, a real MLflow started by the real entrypoint, the front door with its signed tokens, and the commands
as a user types them. One deployment serves all tests of this file, in the order in which they stand.
"""

import base64
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psycopg2
import pytest
import requests

pytestmark = pytest.mark.machines
PROJECT = "local-mlflow"
MIB = 1024 * 1024


class Folder:
    """A folder in which a user types commands."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, *words: str, code: int = 0) -> str:
        """Type a command; its standard output."""
        done = self.try_to(*words)
        assert done.returncode == code, f"{words} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def try_to(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Type a command, whatever comes of it."""
        command = [sys.executable, "-m", "provision", *words]
        root = str(Path(__file__).parents[2])
        return subprocess.run(
            command,
            cwd=self.path,
            env={**os.environ, "PYTHONPATH": root},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    @property
    def note(self) -> dict:
        """What the emulator says of itself."""
        return json.loads((self.path / ".provision" / "data" / "emulator.json").read_text())

    @property
    def emulator(self) -> str:
        """Where the emulator listens."""
        return f"http://127.0.0.1:{self.note['port']}"

    def google(self, method: str, path: str, body: dict | None = None) -> dict:
        """Ask one of Google's APIs as the owner, behind the tool's back."""
        answer = requests.request(method, f"{self.emulator}/{path}", json=body, timeout=30)
        answer.raise_for_status()
        return answer.json() if answer.content else {}

    def ledger(self) -> dict:
        """The ledger as it lies in its bucket."""
        (bucket,) = [
            item["name"]
            for item in self.google("GET", f"storage.googleapis.com/storage/v1/b?project={PROJECT}")["items"]
            if "-provision-" in item["name"]
        ]
        path = f"storage.googleapis.com/storage/v1/b/{bucket}/o/default%2Fledger.json?alt=media"
        return self.google("GET", path)

    def writes(self) -> list[str]:
        """The changing calls since the last look, but for those of the ledger and its lease."""
        calls = requests.delete(f"{self.emulator}/emulator/calls", timeout=30).json()["calls"]
        return [call["id"] for call in calls if call["write"] and "-provision-" not in call["path"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory):
    """A folder whose emulator is stopped at the end, whatever happens."""
    made = Folder(tmp_path_factory.mktemp("deployment"))
    yield made
    made.try_to("stop")


@pytest.fixture(scope="module")
def deployed(folder: Folder) -> dict:
    """What the first `up` printed."""
    return json.loads(folder.run("up", "--local", "--json"))


def token_of(folder: Folder) -> str:
    return folder.run("token", "--local").strip()


def test_up_gives_an_address_within_half_a_minute(folder: Folder, deployed: dict):
    """From an empty folder and a project with no API on: a URL, and who may sign in."""
    assert deployed["url"].startswith("http://127.0.0.1:")
    assert deployed["access"] == ["user:owner@example.com"]
    assert deployed["seconds"] < 180  # a sixth of it on a machine that does nothing else; benchmarks/ has the figure


def test_up_has_proved_it_and_left_nothing(folder: Folder, deployed: dict):
    """One run, which is deleted; in the bucket no file, and no older version of one; `verify` does the same once more."""
    first = proofs(folder, deployed)
    told = json.loads(folder.run("verify", "--local", "--json"))

    assert first == (["deleted"], [])
    assert told["proved"] == deployed["proved"]
    assert "a run with a metric is logged and read back" in told["proved"]
    assert "a file is written to the bucket and read back" in told["proved"]
    assert proofs(folder, deployed) == (["deleted", "deleted"], [])


def proofs(folder: Folder, deployed: dict) -> tuple[list[str], list[str]]:
    """What stage of life the runs of proofs are in, and what lies in the bucket in any version."""
    api, signed = f"{deployed['url']}/api/2.0/mlflow", bearer(token_of(folder))
    name = {"experiment_name": "_provision"}
    experiment = requests.get(f"{api}/experiments/get-by-name", params=name, headers=signed, timeout=30).json()
    body = {"experiment_ids": [experiment["experiment"]["experiment_id"]], "run_view_type": "ALL"}
    runs = requests.post(f"{api}/runs/search", json=body, headers=signed, timeout=30).json()["runs"]
    bucket = artifact_bucket(folder)
    objects = folder.google("GET", f"storage.googleapis.com/storage/v1/b/{bucket}/o?versions=true").get("items", [])
    return [run["info"]["lifecycle_stage"] for run in runs], [item["name"] for item in objects]


def artifact_bucket(folder: Folder) -> str:
    records = folder.ledger()["records"]
    return next(ref for ref in records if "/buckets/" in ref and "artifacts" in ref and "iam" not in ref).rpartition(
        "/"
    )[2]


def test_a_second_up_changes_nothing(folder: Folder, deployed: dict):
    """No change, and no changing call."""
    folder.writes()
    again = json.loads(folder.run("up", "--local", "--json"))

    assert again["changes"] == []
    assert again["url"] == deployed["url"]
    assert folder.writes() == []


def test_plan_and_drift_find_nothing(folder: Folder, deployed: dict):
    """Right after `up` there is nothing to do and nothing to report."""
    assert json.loads(folder.run("plan", "--local", "--json"))["findings"] == []
    assert json.loads(folder.run("drift", "--local", "--json"))["findings"] == []


CLIENT = """
import mlflow, os, numpy, sys
from mlflow import MlflowClient
from sklearn.linear_model import LinearRegression
mlflow.set_experiment("journey")
with mlflow.start_run() as run:
    mlflow.log_param("alpha", 0.5)
    mlflow.log_metrics({"rmse": 1.5, "r2": 0.9})
    with open("big.bin", "wb") as f:
        f.write(os.urandom(1024 * 1024) * 50)
    mlflow.log_artifact("big.bin")
    mlflow.sklearn.log_model(LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0]), name="model", registered_model_name="line")
client = MlflowClient()
read = client.get_run(run.info.run_id)
assert read.data.params == {"alpha": "0.5"}, read.data.params
assert read.data.metrics == {"rmse": 1.5, "r2": 0.9}, read.data.metrics
path = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="big.bin", dst_path="back")
assert open(path, "rb").read() == open("big.bin", "rb").read()
model = mlflow.sklearn.load_model("models:/line/1")
assert abs(model.predict([[2.0]])[0] - 4.0) < 1e-6
print(run.info.run_id, run.info.artifact_uri)
"""


@pytest.fixture(scope="module")
def logged(folder: Folder, deployed: dict) -> tuple[str, str]:
    """A run that a data scientist logged: its id, and where its artifacts lie."""
    pusher = f"projects/{PROJECT}/serviceAccounts/mlflow-log-pusher@{PROJECT}.iam.gserviceaccount.com"
    key = folder.google("POST", f"iam.googleapis.com/v1/{pusher}/keys", {})
    # Application Default Credentials of the log pusher; their tokens come from the emulated token endpoint.
    credentials = json.loads(base64.b64decode(key["privateKeyData"]))
    credentials["token_uri"] = f"{folder.emulator}/oauth2.googleapis.com/token"
    startup = folder.path / "client"
    startup.mkdir()
    (startup / "key.json").write_text(json.dumps(credentials))
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": deployed["url"],
        "MLFLOW_TRACKING_TOKEN": token_of(folder),
        "API_ENDPOINT_OVERRIDE": f"{folder.emulator}/storage.googleapis.com",
        "GOOGLE_APPLICATION_CREDENTIALS": str(startup / "key.json"),
        "GIT_PYTHON_REFRESH": "quiet",
    }
    done = subprocess.run(
        [sys.executable, "-c", CLIENT],
        cwd=startup,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    run, uri = done.stdout.split()[-2:]
    return run, uri


def test_a_client_logs_through_the_door_and_reads_back(folder: Folder, logged: tuple[str, str]):
    """Parameters, metrics and a model's metadata through the door; 50 MB and the model's files straight to the bucket."""
    run, uri = logged

    assert len(run) == 32
    assert uri.startswith("gs://local-mlflow-")


def test_the_rows_are_in_the_database(folder: Folder, logged: tuple[str, str]):
    """PostgreSQL itself is asked, over TLS that its own authority vouches for."""
    run, _ = logged
    (instance,) = folder.google("GET", f"sqladmin.googleapis.com/v1/projects/{PROJECT}/instances")["items"]
    authority = folder.path / "ca.pem"
    authority.write_text(instance["serverCaCert"]["cert"])
    secret = next(ref for ref in folder.ledger()["records"] if "/secrets/" in ref and "/versions/" in ref)
    payload = folder.google("GET", f"secretmanager.googleapis.com/v1/{secret}:access")["payload"]["data"]
    connection = psycopg2.connect(
        host=instance["ipAddresses"][0]["ipAddress"],
        dbname="mlflow",
        user="mlflow",
        password=base64.b64decode(payload).decode(),
        sslmode="verify-ca",
        sslrootcert=str(authority),
    )
    with connection, connection.cursor() as cursor:
        cursor.execute("select value from metrics where run_uuid = %s and key = 'rmse'", (run,))
        rows = cursor.fetchall()
    connection.close()

    assert rows == [(1.5,)]


def test_the_bytes_are_in_the_bucket(folder: Folder, logged: tuple[str, str]):
    """The artifact lies in the bucket as it was logged."""
    bucket, _, prefix = logged[1].removeprefix("gs://").partition("/")
    listed = folder.google("GET", f"storage.googleapis.com/storage/v1/b/{bucket}/o?prefix={prefix}")["items"]
    sizes = {item["name"].rpartition("/")[2]: int(item["size"]) for item in listed}

    assert sizes["big.bin"] == 50 * MIB


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_the_door_takes_the_log_pusher_and_nobody_without_a_role(folder: Folder, deployed: dict):
    """No token, a forged one, a wrong audience, an account without the role: each is refused, and how."""
    url = f"{deployed['url']}/api/2.0/mlflow/experiments/search"
    body = {"max_results": 1}
    good = token_of(folder)
    head, claims, signature = good.split(".")
    forged = ".".join((head, claims, signature[::-1]))
    server = f"mlflow-server@{PROJECT}.iam.gserviceaccount.com"

    def signed_by(account: str, audience: str) -> str:
        now = int(time.time())
        payload = {"iss": account, "sub": account, "aud": audience, "iat": now, "exp": now + 600}
        path = f"iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{account}:signJwt"
        return folder.google("POST", path, {"payload": json.dumps(payload)})["signedJwt"]

    pusher = f"mlflow-log-pusher@{PROJECT}.iam.gserviceaccount.com"
    answers = {
        "the log pusher": requests.post(url, json=body, headers=bearer(good), timeout=30).status_code,
        "nobody": requests.post(url, json=body, timeout=30).status_code,
        "a forged signature": requests.post(url, json=body, headers=bearer(forged), timeout=30).status_code,
        "another audience": requests.post(
            url, json=body, headers=bearer(signed_by(pusher, "https://example.com/*")), timeout=30
        ).status_code,
        "no role": requests.post(
            url, json=body, headers=bearer(signed_by(server, f"{deployed['url']}/*")), timeout=30
        ).status_code,
    }

    assert answers == {
        "the log pusher": 200,
        "nobody": 401,
        "a forged signature": 401,
        "another audience": 401,
        "no role": 403,
    }


def test_the_door_refuses_a_body_over_32_mb(folder: Folder, deployed: dict):
    """As App Engine's front end does."""
    answer = requests.post(
        f"{deployed['url']}/api/2.0/mlflow/runs/create",
        data=b" " * (33 * MIB),
        headers=bearer(token_of(folder)),
        timeout=60,
    )

    assert answer.status_code == 413


def test_the_password_is_nowhere_but_in_secret_manager(folder: Folder, deployed: dict):
    """Not in the ledger, not in a log, not in the argument list or the files of any process."""
    secret = next(ref for ref in folder.ledger()["records"] if "/secrets/" in ref and "/versions/" in ref)
    payload = folder.google("GET", f"secretmanager.googleapis.com/v1/{secret}:access")["payload"]["data"]
    password = base64.b64decode(payload)
    logs = [path for path in folder.path.rglob("*.log*") if path.is_file()]
    commands = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            commands.append(path.read_bytes())
        except OSError:
            continue  # it has ended meanwhile

    assert len(password) == 32
    assert password not in json.dumps(folder.ledger()).encode()
    assert logs
    assert not [path for path in logs if password in path.read_bytes()]
    assert not [command for command in commands if password in command]


def changed_bucket(folder: Folder) -> str:
    folder.google(
        "PATCH",
        f"storage.googleapis.com/storage/v1/b/{artifact_bucket(folder)}",
        {"iamConfiguration": {"publicAccessPrevention": "inherited"}},
    )
    return "publicAccessPrevention"


def opened_door(folder: Folder) -> str:
    folder.google("PATCH", f"appengine.googleapis.com/v1/apps/{PROJECT}?updateMask=iap", {"iap": {"enabled": False}})
    return "iap"


def added_member(folder: Folder) -> str:
    ref = next(ref for ref in folder.ledger()["records"] if "/iap_web/" in ref).removesuffix("/iamPolicy")
    policy = folder.google(
        "POST", f"iap.googleapis.com/v1/{ref}:getIamPolicy", {"options": {"requestedPolicyVersion": 3}}
    )
    policy["bindings"][0]["members"].append("user:mallory@example.com")
    folder.google("POST", f"iap.googleapis.com/v1/{ref}:setIamPolicy", {"policy": policy})
    return "roles/iap.httpsResourceAccessor"


def destroyed_secret(folder: Folder) -> str:
    ref = next(ref for ref in folder.ledger()["records"] if "/secrets/" in ref and "/versions/" in ref)
    folder.google("POST", f"secretmanager.googleapis.com/v1/{ref}:destroy", {})
    return "state"


def changed_tier(folder: Folder) -> str:
    ref = next(ref for ref in folder.ledger()["records"] if "/instances/" in ref and ref.count("/") == 3)
    folder.google("PATCH", f"sqladmin.googleapis.com/v1/{ref}", {"settings": {"tier": "db-g1-small"}})
    return "tier"


@pytest.mark.parametrize(
    "meddle",
    [
        pytest.param(changed_bucket, id="the bucket's protection is lowered"),
        pytest.param(opened_door, id="IAP is switched off"),
        pytest.param(added_member, id="a stranger is let in"),
        pytest.param(changed_tier, id="the database gets another tier"),
        pytest.param(destroyed_secret, id="the password is destroyed"),
    ],
)
def test_what_changed_behind_our_back_is_found_and_mended(folder: Folder, deployed: dict, meddle):
    """`drift` names resource and field and exits with 2; `up` mends it; the server answers again."""
    field = meddle(folder)
    found = json.loads(folder.run("drift", "--local", "--json", code=2))["findings"]
    folder.run("up", "--local")

    assert len(found) == 1
    assert field in json.dumps(found[0])
    assert json.loads(folder.run("drift", "--local", "--json"))["findings"] == []
    assert requests.get(f"{deployed['url']}/version", headers=bearer(token_of(folder)), timeout=30).ok


def test_stop_keeps_everything(folder: Folder, logged: tuple[str, str], deployed: dict):
    """`up --local` goes on from where `stop` left it, with the same address and the same data."""
    folder.run("stop")
    again = json.loads(folder.run("up", "--local", "--json"))
    answer = requests.get(
        f"{again['url']}/api/2.0/mlflow/runs/get",
        params={"run_id": logged[0]},
        headers=bearer(token_of(folder)),
        timeout=30,
    )

    assert again["url"] == deployed["url"]
    assert again["changes"] == []
    assert answer.json()["run"]["data"]["metrics"]


def test_down_without_leave_keeps_the_artifacts(folder: Folder, logged: tuple[str, str]):
    """Without --yes nobody can be asked here, so nothing is touched."""
    refused = folder.try_to("down", "--local")

    assert refused.returncode == 3
    assert "Add --yes" in refused.stderr


def test_down_leaves_only_what_it_lists(folder: Folder, deployed: dict):
    """The project is as before `up`, but for the printed list; and that list is what the emulator still holds."""
    printed = json.loads(folder.run("down", "--local", "--yes", "--delete-data", "--json"))
    stays = {item["ref"]: item["why"] for item in printed["stays"]}
    left = what_is_left(folder)

    assert not folder.ledger()["records"]
    assert {ref for ref in stays if not ref.startswith("gs://")} == left["ours"]
    assert left["others"] == set()
    assert any("backup" in why.lower() for why in stays.values())


def test_a_bucket_that_only_a_proof_has_used_is_empty(folder: Folder):
    """Up and down once more, with nothing logged in between: the bucket is not spared, for it holds no data of anybody."""
    again = json.loads(folder.run("up", "--local", "--json"))
    proved = proofs(folder, again)
    printed = json.loads(folder.run("down", "--local", "--yes", "--json"))

    assert proved == (["deleted"], [])
    assert not [item["ref"] for item in printed["stays"] if "/buckets/" in item["ref"]]
    assert what_is_left(folder)["others"] == set()


def what_is_left(folder: Folder) -> dict[str, set[str]]:
    """All that the emulator holds for the project, asked API by API: what `down` may leave, and anything else."""
    number = folder.ledger()["project_number"]
    listed = {
        "networks": folder.google("GET", f"compute.googleapis.com/compute/v1/projects/{PROJECT}/global/networks"),
        "addresses": folder.google("GET", f"compute.googleapis.com/compute/v1/projects/{PROJECT}/global/addresses"),
        "instances": folder.google("GET", f"sqladmin.googleapis.com/v1/projects/{PROJECT}/instances"),
        "secrets": folder.google("GET", f"secretmanager.googleapis.com/v1/projects/{PROJECT}/secrets"),
        "repositories": folder.google(
            "GET", f"artifactregistry.googleapis.com/v1/projects/{PROJECT}/locations/europe-west1/repositories"
        ),
    }
    others = {name for name, answer in listed.items() if any(isinstance(value, list) for value in answer.values())}
    buckets = folder.google("GET", f"storage.googleapis.com/storage/v1/b?project={PROJECT}").get("items", [])
    others |= {item["name"] for item in buckets if "-provision-" not in item["name"]}
    accounts = folder.google("GET", f"iam.googleapis.com/v1/projects/{PROJECT}/serviceAccounts").get("accounts", [])
    others |= {item["email"] for item in accounts if item["email"].startswith("mlflow-")}
    policy = folder.google("POST", f"cloudresourcemanager.googleapis.com/v3/projects/{PROJECT}:getIamPolicy", {})
    others |= {member for item in policy.get("bindings", []) for member in item["members"] if "mlflow-" in member}
    services = folder.google("GET", f"appengine.googleapis.com/v1/apps/{PROJECT}/services")["services"]
    ours = {f"apps/{PROJECT}", f"projects/{number}/services"}
    for service in services:
        versions = folder.google("GET", f"appengine.googleapis.com/v1/{service['name']}/versions")["versions"]
        ours |= {version["name"] for version in versions if version["servingStatus"] == "STOPPED"}
        others |= {version["name"] for version in versions if version["servingStatus"] != "STOPPED"}
    app = folder.google("GET", f"appengine.googleapis.com/v1/apps/{PROJECT}")
    if app.get("iap", {}).get("enabled"):
        others.add("iap")
    backups = folder.google("GET", f"sqladmin.googleapis.com/v1/projects/{PROJECT}/backups").get("backups", [])
    ours |= {f"projects/{PROJECT}/instances/{item['instance']}" for item in backups}
    return {"ours": ours, "others": others}
