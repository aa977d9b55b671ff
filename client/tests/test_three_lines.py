"""What an owner prints is typed as it stands, and a colleague's programs log: nothing else is set, and nothing edited."""

import json
import shlex
from pathlib import Path

import pytest
from conftest import EXAMPLES

HERE = Path(__file__).parent
CHECK = "python -m mlflow_iap_auth\n"
INSTALLED = ("--package", "mlflow-iap-auth")
"""By its name pip finds it installed; out of a folder it would be built, by what an index has."""


@pytest.fixture
def lines(place):
    """Lines for a shell that set what is to be set."""
    return place.types("client", "--format", "env")


def told(place) -> str:
    """What the check says to the owner, who is signed in by the file that the emulator keeps for this."""
    return f"You are owner@example.com, and log as {place.account}.\n{place.origin}\n"


def test_the_three_lines(place, shell):
    """Install, set, check; then the example script logs."""
    ran = shell(place.types("client", *INSTALLED) + f"python {shlex.quote(str(EXAMPLES / 'log_a_run.py'))}\n")
    assert ran.returncode == 0, ran.stdout + ran.stderr

    assert told(place) in ran.stdout
    assert ran.stdout.splitlines()[-1].startswith("Logged run ")


def test_lines_for_a_shell(place, shell, lines):
    """The same, with one variable a line."""
    ran = shell(lines + CHECK)

    assert (ran.returncode, ran.stdout) == (0, told(place)), ran.stderr


def test_without_the_owners_sign_in_the_lines_let_nobody_in(shell, lines):
    """It is the file that says who it is."""
    ran = shell(lines + "unset GOOGLE_APPLICATION_CREDENTIALS\nexport NO_GCE_CHECK=true\n" + CHECK)

    assert (ran.returncode, ran.stdout) == (1, "")
    assert "gcloud auth application-default login" in ran.stderr


AUTOLOGGED = [
    pytest.param(
        "scikit-learn",
        {"tries": 4, "best_C": "1"},
        {"best_cv_score", "training_score"},
        {"cv_results.csv", "training_confusion_matrix.png"},
        id="scikit-learn",
    ),
    pytest.param(
        "xgboost",
        {"steps": 5, "eta": "0.3"},
        {"accuracy", "train-mlogloss"},
        {"feature_importance_weight.json", "feature_importance_weight.png"},
        id="XGBoost",
    ),
]


@pytest.mark.parametrize(("library", "said", "metrics", "files"), AUTOLOGGED)
def test_a_program_of_mlflows_own_examples_runs_unchanged(shell, lines, library, said, metrics, files):
    """Autolog logs parameters, metrics, pictures and a model, which loads back."""
    ran = shell(lines + f"python -W ignore {shlex.quote(str(HERE / 'autologged.py'))} {library}\n")
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])

    assert found["predicts the same"]
    assert said.items() <= (found["params"] | found).items()
    assert metrics <= set(found["metrics"])
    assert files <= set(found["files"])


def played(shell, lines: str, notebook: Path) -> list[str]:
    """What the cells of a notebook have printed, when Jupyter has executed all of them."""
    out = notebook.with_name("played")
    ran = shell(f"{lines}jupyter execute --output={shlex.quote(str(out))} {shlex.quote(str(notebook))}\n")
    assert ran.returncode == 0, ran.stderr
    cells = json.loads(out.with_suffix(".ipynb").read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return ["".join(output["text"]) for output in outputs if output.get("name") == "stdout"]


def test_the_example_notebook(place, shell, lines, tmp_path):
    """After the three lines."""
    notebook = tmp_path / "log_a_run.ipynb"
    notebook.write_bytes((EXAMPLES / notebook.name).read_bytes())

    assert told(place) in played(shell, lines, notebook)


def test_the_notebook_that_an_owner_sends(place, shell, tmp_path):
    """Without any line before it: it installs, sets what is to be set, signs in and logs."""
    notebook = tmp_path / "sent.ipynb"
    notebook.write_text(place.types("client", "--format", "notebook", *INSTALLED))

    assert told(place) in played(shell, "", notebook)
