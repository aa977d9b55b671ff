"""What a colleague types: login in a notebook, the check in a terminal, and the name from before."""

import os
import pickle

import mlflow
import pytest
from conftest import ADA, BOB, sign_in

import mlflow_iap_auth
from mlflow_iap_auth.errors import NotAllowed


@pytest.mark.parametrize(
    "enter",
    [mlflow_iap_auth.login, mlflow_iap_auth.OAuthMLflow.set_tracking_uri],
    ids=["login", "the name from before"],
)
def test_one_call_in_a_notebook(place, monkeypatch, capsys, enter):
    """No variable is set but those of the emulator; it says who you are and where, and MLflow logs there."""
    monkeypatch.delenv("MLFLOW_TRACKING_AUTH")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    enter(place.origin)
    said = capsys.readouterr().out

    assert said == f"You are {ADA}, and log as {place.account}.\n{place.origin}\n"
    assert mlflow.search_experiments()
    assert place.asked("signJwt") == 1


def test_it_tells_at_once_who_gets_in_no_more(place, tmp_path, monkeypatch):
    """Though a token is still good; and leaves MLflow as it was."""
    mlflow_iap_auth.login(place.origin)
    sign_in(monkeypatch, place, tmp_path, BOB)
    with pytest.raises(NotAllowed):
        mlflow_iap_auth.login(place.origin)


def test_a_failed_login_changes_nothing(place, tmp_path, monkeypatch):
    """MLflow goes on to log where it did."""
    monkeypatch.delenv("MLFLOW_TRACKING_AUTH")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/runs.db")
    sign_in(monkeypatch, place, tmp_path, BOB)
    with pytest.raises(NotAllowed):
        mlflow_iap_auth.login(place.origin)

    assert mlflow.get_tracking_uri().startswith("sqlite:")
    assert "MLFLOW_TRACKING_AUTH" not in os.environ


def test_the_third_line_checks(place, run):
    """python -m mlflow_iap_auth, after the two variables."""
    ran = run("-m", "mlflow_iap_auth")

    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == f"You are {ADA}, and log as {place.account}.\n{place.origin}\n"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("MLFLOW_TRACKING_AUTH", "", "export MLFLOW_TRACKING_AUTH=iap"),
        ("MLFLOW_TRACKING_URI", "", "export MLFLOW_TRACKING_URI=https://"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "none.json", "gcloud auth application-default login"),
    ],
    ids=["the provider is not named", "the address is missing", "nobody is signed in"],
)
def test_the_check_tells_what_to_type(place, run, monkeypatch, name, value, says):
    """In a few lines, without a traceback, and with exit code 1."""
    monkeypatch.setenv(name, value)
    ran = run("-m", "mlflow_iap_auth")

    assert (ran.returncode, ran.stdout) == (1, "")
    assert says in ran.stderr
    assert "Traceback" not in ran.stderr


def test_mlflow_is_not_installed(place, run):
    """It does not come with the client: some want the whole of it, most the small one."""
    program = (
        "import sys; sys.modules['mlflow'] = None; from mlflow_iap_auth import __main__; sys.exit(__main__.main())"
    )
    ran = run("-c", program)

    assert (ran.returncode, "Traceback" in ran.stderr) == (1, False)
    assert "pip install mlflow-skinny" in ran.stderr


def test_importing_it_is_cheap(run):
    """Neither MLflow nor a library of Google's is loaded before it is needed."""
    program = (
        "import sys, mlflow_iap_auth; print([name for name in sys.modules if name.startswith(('mlflow.', 'requests'))])"
    )

    assert run("-c", program).stdout == "[]\n"


def test_mlflow_finds_the_plugins_without_a_word(place, run):
    """And loads no library of Cloud Storage for them."""
    program = (
        "import sys, mlflow; import mlflow.tracking.request_auth.registry; print('google.cloud.storage' in sys.modules)"
    )
    ran = run("-W", "error", "-c", program)

    assert (ran.stdout, ran.returncode) == ("False\n", 0), ran.stderr


def test_an_error_goes_from_process_to_process():
    """As pools of processes send them."""
    error = pickle.loads(pickle.dumps(NotAllowed("You may not.", "Ask.")))

    assert (type(error), str(error)) == (NotAllowed, "You may not.\nAsk.")
