"""A colleague's whole program, in an environment that has only the client, mlflow-skinny, scikit-learn and pandas."""

import importlib.metadata
import importlib.util
import json
import re
from pathlib import Path

import mlflow
import pytest
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from test_artifacts import MB, filled, is_filled

HERE = Path(__file__).parent


def test_nothing_of_the_provisioner_is_here():
    """Neither is MLflow's server."""
    installed = {name.lower() for dist in importlib.metadata.distributions() if (name := dist.metadata["Name"])}
    wanted = importlib.metadata.requires("mlflow-iap-auth")

    assert installed.isdisjoint({"mlflow", "mlflow-on-gcp", "google-api-python-client", "psycopg2-binary"})
    assert [importlib.util.find_spec(name) for name in ("provision", "steps", "state")] == [None] * 3
    assert sorted(re.split(r"[>=]", need)[0] for need in wanted if "extra" not in need) == [
        "google-auth",
        "google-cloud-storage",
        "requests",
    ]


MADE = [
    pytest.param("impersonate", {"signJwt": 1, "generateIdToken": 0, "generateAccessToken": 1}, id="by Google"),
    pytest.param("key", {"signJwt": 0, "generateIdToken": 0, "generateAccessToken": 0}, id="by a key file"),
    pytest.param("oidc", {"signJwt": 0, "generateIdToken": 1, "generateAccessToken": 1}, id="by an ID token"),
]


@pytest.mark.parametrize(("source", "made"), MADE)
def test_everything_that_mlflows_client_does(place, run, bare_python, tmp_path, monkeypatch, source, made):
    """From eight threads and after a fork; one token goes with all of it, and one more reaches the bucket."""
    monkeypatch.setenv("MLFLOW_IAP_SOURCE", source)
    monkeypatch.setenv("MLFLOW_IAP_CLIENT_ID", place.client_id)
    if source == "key":
        monkeypatch.setenv("MLFLOW_IAP_KEY_FILE", str(place.key(tmp_path)))
        monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    ran = run(str(HERE / "colleague.py"), python=bare_python)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])

    assert found == {
        "predicts the same": True,
        "nested": True,
        "trace": "answer",
        "metrics": 40,
        "texts": [str(number) for number in range(8)],
        "child": 0,
    }
    assert {verb: place.asked(verb) for verb in made} == made


@pytest.mark.parametrize("size", [600 * MB, 2048 * MB + 1], ids=["600 MB", "2 GB"])
def test_a_large_model(place, tmp_path, size):
    """In pieces of 16 MB, and back, byte for byte."""
    sent = filled(tmp_path / "model.bin", size)
    with mlflow.start_run() as run:
        mlflow.log_artifact(str(sent))
    sent.unlink()  # there is room for two such files, its own in the bucket and this one
    back = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="model.bin")
    same = is_filled(back, size)
    Path(back).unlink()
    get_artifact_repository(run.info.artifact_uri).delete_artifacts()

    assert same
