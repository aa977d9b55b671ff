"""A colleague's whole program, in an environment that has only the client, mlflow-skinny, scikit-learn and pandas."""

import filecmp
import importlib.metadata
import importlib.util
import json
import re
from pathlib import Path

import mlflow
import pytest
from test_artifacts import MB, filled

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"


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


def test_everything_that_mlflows_client_does(place, run):
    """From eight threads and after a fork; one token goes with all of it, and one more reaches the bucket."""
    ran = run(str(HERE / "colleague.py"))
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
    assert (place.asked("signJwt"), place.asked("generateAccessToken")) == (1, 1)


@pytest.mark.parametrize(
    "size", [pytest.param(600, id="600 MB"), pytest.param(2048, id="2 GB", marks=pytest.mark.large)]
)
def test_a_large_model(place, tmp_path, size):
    """In pieces of 16 MB, and back, byte for byte."""
    sent = filled(tmp_path / "model.bin", size * MB)
    with mlflow.start_run() as run:
        mlflow.log_artifact(str(sent))
    back = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="model.bin")
    same = filecmp.cmp(sent, back, shallow=False)
    for path in (sent, Path(back)):  # the folders of tests are kept for a while
        path.unlink()

    assert same


def test_the_example_script_logs(place, run):
    """examples/log_a_run.py, after the three lines."""
    ran = run(str(EXAMPLES / "log_a_run.py"))

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1].startswith("Logged run ")


def test_the_example_notebook_logs(place, run, monkeypatch, tmp_path):
    """All its cells, one after the other; login sets what MLflow needs."""
    monkeypatch.delenv("MLFLOW_TRACKING_AUTH")
    cells = json.loads((EXAMPLES / "log_a_run.ipynb").read_text(encoding="utf-8"))["cells"]
    program = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    ran = run("-c", program)

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("You are ada@example.com")
    assert place.asked("signJwt") == 1
