"""Links that the server signs, with everything real: a stock client with a token for the front door, and nothing else.

One deployment serves all tests of this file; its client runs where no library of Google's can be imported.
"""

import json
import os
import subprocess
import sys

import pytest
import requests

from tests.journey.test_mission import MIB, Folder, artifact_bucket, bearer, token_of

pytestmark = pytest.mark.machines

SETTINGS = """
project = "local-mlflow"
access.users = ["owner@example.com"]
artifacts.transfer = "signed"
"""

# What a data scientist may not have is not there: an import of it fails.
WITHOUT_GOOGLE = """
import sys
for name in ("google.auth", "google.cloud", "google.cloud.storage", "google.oauth2", "google.resumable_media"):
    sys.modules[name] = None
"""

CLIENT = """
import hashlib, json, os, mlflow

def made(name, size):
    block = os.urandom(min(size, 1024 * 1024)) or b""
    with open(name, "wb") as file:
        for _ in range(size // (1024 * 1024)):
            file.write(block)
        file.write(block[: size % (1024 * 1024)])
    return name

def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

mlflow.set_experiment("links")
files = json.loads(os.environ["FILES"])
with mlflow.start_run() as run:
    for name, size in files.items():
        mlflow.log_artifact(made(name, size), "files")
for name in files:
    back = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path=f"files/{name}", dst_path="back")
    assert digest(back) == digest(name), name
print(run.info.run_id, run.info.artifact_uri)
"""

MODEL = """
import mlflow
from mlflow import MlflowClient
from sklearn.linear_model import LinearRegression

mlflow.set_experiment("links")
with mlflow.start_run():
    mlflow.sklearn.log_model(LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0]), name="model", registered_model_name="line")
MlflowClient().set_registered_model_alias("line", "best", 1)
assert abs(mlflow.sklearn.load_model("models:/line@best").predict([[2.0]])[0] - 4.0) < 1e-6

@mlflow.trace
def traced(x):
    return x + 1

traced(1)
mlflow.flush_trace_async_logging()
(trace,) = mlflow.search_traces(return_type="list")
assert [span.outputs for span in trace.data.spans] == [2]
print("done")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory):
    """A folder with settings, whose emulator is stopped at the end, whatever happens."""
    made = Folder(tmp_path_factory.mktemp("signed"))
    (made.path / "provision.toml").write_text(SETTINGS)
    yield made
    made.try_to("stop")


@pytest.fixture(scope="module")
def told(folder: Folder) -> dict[str, str]:
    """The variables that the first `up` told to export."""
    line = next(line for line in folder.run("up", "--local").splitlines() if "log from here" in line)
    variables = dict(word.split("=", 1) for word in line.partition("export ")[2].split() if "=" in word)
    return variables | {"MLFLOW_TRACKING_TOKEN": token_of(folder)}


def client(folder: Folder, program: str, told: dict[str, str], **more: str) -> subprocess.CompletedProcess[str]:
    """Run a program of a data scientist's, who has a token for the front door and no credentials of Google's."""
    place = folder.path / "client"
    place.mkdir(exist_ok=True)
    names = ("PATH", "LANG", "LD_LIBRARY_PATH")
    environment = {name: os.environ[name] for name in names if name in os.environ} | {"HOME": str(place), **more}
    mlflows = {name: value for name, value in told.items() if name.startswith("MLFLOW_")}
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_GOOGLE + program],
        cwd=place,
        env={**environment, **mlflows, "GIT_PYTHON_REFRESH": "quiet"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def calls(folder: Folder) -> list[str]:
    """What the emulator was asked since the last look, by anybody."""
    found = requests.delete(f"{folder.emulator}/emulator/calls", timeout=30).json()["calls"]
    return [call["id"] for call in found]


def test_up_tells_what_the_client_is_to_set(folder: Folder, told: dict[str, str]):
    """And has proved it: one run with a file, which came by a link, is gone with all its versions."""
    listed = folder.google("GET", f"storage.googleapis.com/storage/v1/b/{artifact_bucket(folder)}/o?versions=true")

    assert told["MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE"] == str(16 * MIB)
    assert listed.get("items", []) == []
    assert json.loads(folder.run("drift", "--local", "--json"))["findings"] == []


def test_files_of_any_size_come_and_go(folder: Folder, told: dict[str, str]):
    """Nothing, one byte, what is just below and above the 16 MB, 50 MB and 600 MB: all is read back as it was written."""
    sizes = {"empty": 0, "byte": 1, "below": 16 * MIB - 1, "above": 16 * MIB, "a b.bin": 50 * MIB, "huge": 600 * MIB}
    calls(folder)
    done = client(folder, CLIENT, told, FILES=json.dumps(sizes))
    asked = calls(folder)
    bucket = artifact_bucket(folder)
    listed = folder.google("GET", f"storage.googleapis.com/storage/v1/b/{bucket}/o?prefix=artifacts/")["items"]

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split()[-1].startswith("mlflow-artifacts:/")
    assert {item["name"].rpartition("/")[2]: int(item["size"]) for item in listed} == sizes
    assert asked.count("storage.xml.put") == 2 + 5 + 60  # parts of 10 MB
    assert asked.count("storage.objects.insert") >= 3  # those that the server took
    assert {"storage.xml.get", "iamcredentials.projects.serviceAccounts.signBlob"} <= set(asked)


def test_models_and_traces_need_nothing_else(folder: Folder, told: dict[str, str]):
    """A registered model by its alias, and a trace with its spans."""
    done = client(folder, MODEL, told)

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_client_that_was_not_told_meets_the_limit_of_the_door(folder: Folder, told: dict[str, str]):
    """MLflow's own limit is 500 MB: a file of 40 MB goes in one request, which is too large."""
    untold = {name: value for name, value in told.items() if "MINIMUM" not in name}
    done = client(folder, CLIENT, untold, FILES=json.dumps({"large": 40 * MIB}))

    assert done.returncode != 0
    assert "413" in done.stderr


def test_the_page_shows_files(folder: Folder, told: dict[str, str]):
    """As MLflow's own page asks for them, through the front door."""
    url, headers = told["MLFLOW_TRACKING_URI"], bearer(told["MLFLOW_TRACKING_TOKEN"])
    body = {"experiment_ids": ["1", "2", "3"], "max_results": 10}
    runs = requests.post(f"{url}/api/2.0/mlflow/runs/search", json=body, headers=headers, timeout=30).json()["runs"]
    shown = [
        requests.get(
            f"{url}/get-artifact", params={"path": "files/byte", "run_uuid": run["info"]["run_id"]},
            headers=headers, timeout=30,
        )
        for run in runs
    ]  # fmt: skip

    assert [len(answer.content) for answer in shown if answer.ok] == [1]


def test_no_link_is_in_any_log(folder: Folder, told: dict[str, str]):
    """Whoever reads a log could use it."""
    logs = [path for path in folder.path.rglob("*.log*") if path.is_file()]

    assert logs
    assert [path for path in logs if b"X-Goog-Signature" in path.read_bytes()] == []
