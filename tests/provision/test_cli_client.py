"""`client` as it is typed: what a colleague is sent, in every form, each read by what it is meant for."""

import ast
import json
import os
import select
import shlex
import socket
import subprocess
import sys

import dotenv
import nbformat
import pytest
import yaml
from google.auth import jwt
from googleapiclient import discovery_cache

from provision import invitation
from tests.provision.conftest import PROJECT, folder_in

STATE = ("--state", "./ledger.json")
APP = "https://mlflow-dot-acme-ml-prod.ey.r.appspot.com"
USUAL = "mlflow-log-pusher@acme-ml-prod.iam.gserviceaccount.com"

SIGNS = """
import json, os, threading
import google.auth, google.auth.transport.requests
credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
session = google.auth.transport.requests.AuthorizedSession(credentials)
emulator, account = os.environ["MLFLOW_IAP_EMULATOR"], os.environ["MLFLOW_IAP_ACCOUNT"]
url = f"{emulator}/iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{account}:signJwt"
claims = {"iss": account, "sub": account, "aud": os.environ["MLFLOW_TRACKING_URI"] + "/*"}
print(session.post(url, json={"payload": json.dumps(claims)}).json()["signedJwt"])
for thread in set(threading.enumerate()) - {threading.current_thread()}:
    thread.join()
"""


@pytest.fixture(scope="module")
def deployed(shared_cloud, tmp_path_factory):
    """A deployment, in a folder whose name gives programs that read variables something to do."""
    shared_cloud.empty()
    made = folder_in(tmp_path_factory.mktemp("client") / "Ada's first # folder", shared_cloud)
    made.type("up", "--local", *STATE)
    return made


@pytest.fixture(scope="module")
def told(deployed):
    """What there is to say of it."""
    return deployed.type("client", "--local", *STATE, "--json").json


def printed(folder, form):
    """One of the forms, as it is printed."""
    return folder.type("client", "--local", *STATE, "--format", form).out


def test_what_a_colleague_is_sent_is_three_lines(deployed, told):
    """To install, to set, to check; nothing else is printed, so that it can be piped to where it goes."""
    install, setting, check = printed(deployed, "text").splitlines()

    assert shlex.split(install) == ["pip", "install", str(invitation.CHECKOUT), "mlflow-skinny"]
    assert (invitation.CHECKOUT / "mlflow_iap_auth").is_dir()
    assert shlex.split(setting)[:2] == ["export", f"MLFLOW_TRACKING_URI={told['variables']['MLFLOW_TRACKING_URI']}"]
    assert set(shlex.split(setting)[1:]) == {f"{name}={value}" for name, value in told["variables"].items()}
    assert check == "python -m mlflow_iap_auth"
    assert deployed.type("client", "--local", *STATE).out == printed(deployed, "text")


@pytest.mark.parametrize(
    ("url", "account", "more"),
    [
        pytest.param(APP, USUAL, {}, id="on App Engine two are enough"),
        pytest.param(
            "https://mlflow-blue-dot-acme-ml-prod.uc.r.appspot.com",
            "mlflow-blue-log-pusher@acme-ml-prod.iam.gserviceaccount.com",
            {},
            id="in an environment of its own too",
        ),
        pytest.param(
            "https://tracking-dot-acme-ml-prod.ey.r.appspot.com",
            USUAL,
            {"MLFLOW_IAP_ACCOUNT": USUAL},
            id="a service of another name does not tell the account",
        ),
        pytest.param(
            "https://acme-ml-prod.ey.r.appspot.com",
            USUAL,
            {"MLFLOW_IAP_ACCOUNT": USUAL},
            id="nor does the default service",
        ),
        pytest.param(
            "https://mlflow-dot-blue-dot-acme-ml-prod.ey.r.appspot.com",
            "mlflow-dot-blue-log-pusher@acme-ml-prod.iam.gserviceaccount.com",
            {"MLFLOW_IAP_ACCOUNT": "mlflow-dot-blue-log-pusher@acme-ml-prod.iam.gserviceaccount.com"},
            id="nor an address that can be read in two ways",
        ),
    ],
)
def test_no_more_variables_than_it_takes(url, account, more):
    """What the address tells is not told again."""
    expected = {"MLFLOW_TRACKING_URI": url, "MLFLOW_TRACKING_AUTH": "iap", **more}

    assert invitation.variables(url, account) == expected


def test_a_client_of_the_doors_own_is_told():
    """Who signs in with an ID token needs its id: https://cloud.google.com/iap/docs/authentication-howto."""
    found = invitation.variables(APP, USUAL, client_id="12-ab.apps.googleusercontent.com")

    assert found["MLFLOW_IAP_CLIENT_ID"] == "12-ab.apps.googleusercontent.com"


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_shell_takes_the_variables(deployed, told, shell):
    """Letter by letter, whatever is in them; by `eval "$(python -m provision client --format env)"`."""
    program = f'eval "$1"; exec {shlex.quote(sys.executable)} -c "import json, os; print(json.dumps(dict(os.environ)))"'
    command = [shell, "-eu", "-c", program, shell, printed(deployed, "env")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)

    assert told["variables"].items() <= json.loads(ran.stdout).items()


def test_a_file_of_variables_is_read_as_it_was_meant(deployed, told, tmp_path):
    """By the library that most programs use."""
    (tmp_path / ".env").write_text(printed(deployed, "dotenv"))

    assert dotenv.dotenv_values(tmp_path / ".env", interpolate=False) == told["variables"]


def test_a_notebook_is_one_and_its_cells_are_python(deployed, told):
    """It installs, sets what the address does not tell, and signs in."""
    found = nbformat.reads(printed(deployed, "notebook"), as_version=nbformat.NO_CONVERT)
    nbformat.validate(found)
    install, *code = [cell.source for cell in found.cells if cell.cell_type == "code"]
    (setting,) = [node for node in ast.walk(ast.parse(code[0])) if isinstance(node, ast.Dict)]

    assert install == f"%{told['install']}"
    assert f"mlflow_iap_auth.login({json.dumps(told['variables']['MLFLOW_TRACKING_URI'])})" in code[0]
    assert ast.literal_eval(setting).items() <= told["variables"].items()
    assert all(ast.parse(source) for source in code)


def test_a_workflow_for_github_actions(deployed, told):
    """YAML whose job has the variables, asks for the token that it signs in with, and checks before it trains."""
    found = yaml.safe_load(printed(deployed, "github-actions"))
    job = found["jobs"]["train"]

    assert job["env"] == told["variables"]
    assert found["permissions"] == {"contents": "read", "id-token": "write"}
    assert job["steps"][1]["with"]["service_account"] == f"ACCOUNT@{PROJECT}.iam.gserviceaccount.com"
    assert [step["run"] for step in job["steps"] if "run" in step][:2] == [told["install"], invitation.CHECK]


def test_a_job_for_vertex_ai(deployed, told):
    """YAML of no fields but those of Google's own description of such a job."""
    found = yaml.safe_load(printed(deployed, "vertex"))
    (pool,) = found["workerPoolSpecs"]
    known = json.loads(discovery_cache.get_static_doc("aiplatform", "v1"))["schemas"]

    assert unknown(found, known, "GoogleCloudAiplatformV1CustomJobSpec") == []
    assert {item["name"]: item["value"] for item in pool["containerSpec"]["env"]} == told["variables"]
    assert pool["containerSpec"]["args"] == [f"{told['install']} && {invitation.CHECK} && python train.py"]


def unknown(value, schemas, name):
    """The fields of an object, and of what is in it, that its schema does not have."""
    fields, found = schemas[name]["properties"], []
    for key, inner in value.items():
        field = fields.get(key)
        if field is None:
            found.append(f"{name}.{key}")
            continue
        kind = field.get("$ref") or field.get("items", {}).get("$ref")
        for item in (inner if isinstance(inner, list) else [inner]) if kind else []:
            found += unknown(item, schemas, kind)
    return found


@pytest.mark.parametrize("form", list(invitation.FORMATS))
def test_where_the_client_is_installed_from_can_be_said(deployed, form):
    """In no index yet: a colleague is sent where it really lies."""
    place = "mlflow-iap-auth @ https://example.com/wheels/mlflow_iap_auth-0.1-py3-none-any.whl"
    told = deployed.type("client", "--local", *STATE, "--package", place, "--format", form, "--json").json

    assert shlex.split(told["install"]) == ["pip", "install", place, "mlflow-skinny"]
    assert ("mlflow_iap_auth-0.1-py3-none-any.whl" in told["text"]) == (form not in {"env", "dotenv"})


def test_a_name_that_is_not_ours_in_any_index_is_not_sent_silently(deployed):
    """Whoever takes it there would run at every colleague's; the note does not go where the lines are piped to."""
    bare, placed = (
        deployed.type("client", "--local", *STATE, "--package", "mlflow-iap-auth"),
        deployed.type("client", "--local", *STATE, "--package", "./client"),
    )

    assert bare.err.startswith("mlflow-iap-auth is on no index yet, and the name is not ours there")
    assert (placed.err, deployed.type("client", "--local", *STATE).err) == ("", "")


def test_what_runs_elsewhere_is_rehearsed_only(deployed):
    """No job of GitHub's or Vertex AI's reaches this machine; what is piped into its file stays as it is."""
    said = {form: deployed.type("client", "--local", *STATE, "--format", form).err for form in invitation.FORMATS}

    assert {form for form, err in said.items() if err} == {"github-actions", "vertex"}
    assert said["vertex"].startswith("These are addresses of this machine, which no job elsewhere reaches")


def test_options_may_stand_before_or_behind_what_is_asked_for(deployed):
    """None is lost on the way."""
    before = deployed.type("client", "--local", *STATE, "--json", "check", "--as", "owner@example.com")
    behind = deployed.type("client", "check", "--as", "owner@example.com", "--json", "--local", *STATE)

    assert before.json == behind.json


def test_a_programs_own_sign_in_works_on_this_machine(deployed, told):
    """By these variables and no others, as Application Default Credentials; and the real Google hears nothing of it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GOOGLE_", "MLFLOW_"))}
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        kept["HTTPS_PROXY"] = f"http://127.0.0.1:{elsewhere.getsockname()[1]}"
        command = [sys.executable, "-c", SIGNS]
        ran = subprocess.run(
            command, env=kept | told["variables"], capture_output=True, text=True, check=True, timeout=60
        )
        asked_elsewhere, _, _ = select.select([elsewhere], [], [], 0)
    claims = jwt.decode(ran.stdout.strip(), verify=False)

    assert claims["sub"] == f"mlflow-log-pusher@{PROJECT}.iam.gserviceaccount.com"
    assert claims["aud"] == f"{told['variables']['MLFLOW_TRACKING_URI']}/*"
    assert asked_elsewhere == []


def test_nothing_is_sent_of_what_is_not_deployed(folder):
    """What to type first is said."""
    ended = folder.type("client", "--local", *STATE, code=3)

    assert ended.err.startswith("NothingDeployed: There is no ledger at ")
    assert ended.out == ""
