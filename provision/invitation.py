"""What a colleague gets: what to install, which variables to set and how to check, in every form that something reads.

The variables are the client's; client/README.md tells what each is for.
"""

import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

PACKAGE = "mlflow-iap-auth"
CHECKOUT = Path(__file__).parents[1] / "client"
"""Where the client lies beside a program that runs from its checkout."""

NOT_OURS = (
    f"{PACKAGE} is on no index yet, and the name is not ours there: say with --package where it lies, as"
    " docs/how-to/log-from-your-code.md tells."
)
CHECK = "python -m mlflow_iap_auth"

_APP_ENGINE = re.compile(r"https://(?P<service>[a-z0-9-]+)-dot-(?P<project>[a-z0-9-]+)\.[a-z]{2}\.r\.appspot\.com")
"""The address of a service of App Engine (https://cloud.google.com/appengine/docs/flexible/how-requests-are-routed)."""


@dataclass(frozen=True)
class Invitation:
    """What there is to tell.

    Args:
        variables: What the client has to know, by the name of the environment variable.
        package: What pip installs the client from: a name, a URL, or a file.
        project: The deployed project, where accounts of programs are likely to be.
        region: Where the deployment lies.
    """

    variables: Mapping[str, str]
    package: str
    project: str
    region: str

    @property
    def install(self) -> str:
        """The line that installs the client, and MLflow without its server."""
        return f"pip install {shlex.join([self.package, 'mlflow-skinny'])}"


def variables(
    url: str, account: str, *, client_id: str = "", emulator: str = "", credentials: str = ""
) -> dict[str, str]:
    """What the client has to know of a deployment: two variables, and more only where these do not tell it all.

    Args:
        url: Where the server is reached.
        account: E-mail of the log pusher.
        client_id: The custom OAuth client, if the front door has one.
        emulator: The emulator's base URL, for a deployment on this machine.
        credentials: The file of the emulator's owner.
    """
    said = {
        "MLFLOW_TRACKING_URI": url,
        "MLFLOW_TRACKING_AUTH": "iap",
        "MLFLOW_IAP_ACCOUNT": "" if account == _usual_account(url) else account,
        "MLFLOW_IAP_CLIENT_ID": client_id,
        "MLFLOW_IAP_EMULATOR": emulator,
        "GOOGLE_APPLICATION_CREDENTIALS": credentials,
    }
    return {name: value for name, value in said.items() if value}


def _usual_account(url: str) -> str:
    """The log pusher that the client takes an address to go with; empty where the address leaves it open."""
    found = _APP_ENGINE.fullmatch(url)
    if found is None or url.count("-dot-") > 1:
        return ""
    return f"{found['service']}-log-pusher@{found['project']}.iam.gserviceaccount.com"


def text(told: Invitation) -> str:
    """Three lines to be sent."""
    setting = " ".join(f"{name}={shlex.quote(value)}" for name, value in told.variables.items())
    return f"{told.install}\nexport {setting}\n{CHECK}\n"


def env(told: Invitation) -> str:
    """Lines for a shell to evaluate."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in told.variables.items())


def dotenv(told: Invitation) -> str:
    """A file of variables (https://saurabh-kumar.com/python-dotenv/reference/)."""
    return "".join(f"{name}={_quoted(value)}\n" for name, value in told.variables.items())


def _quoted(value: str) -> str:
    """As it stands where that is safe: what reads such files agrees on nothing else."""
    if shlex.quote(value) == value:
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def notebook(told: Invitation) -> str:
    """A notebook that installs the client, signs in and logs (https://nbformat.readthedocs.io/en/latest/format_description.html)."""
    others = {name: value for name, value in told.variables.items() if not name.startswith("MLFLOW_TRACKING_")}
    setting = f"import os\n\nos.environ.update({json.dumps(others, indent=4)})\n\n" if others else ""
    login = f"import mlflow_iap_auth\n\nmlflow_iap_auth.login({json.dumps(told.variables['MLFLOW_TRACKING_URI'])})"
    log = 'import mlflow\n\nwith mlflow.start_run():\n    mlflow.log_metric("loss", 0.5)'
    words = (
        "# Log to our MLflow\n\n"
        "You sign in to Google as yourself, once: with `gcloud auth application-default login` on your own machine,"
        " or with `from google.colab import auth; auth.authenticate_user()` in Colab."
    )
    cells = [
        {"cell_type": "markdown", "id": "about", "metadata": {}, "source": words},
        _code("install", f"%{told.install}"),
        _code("login", setting + login),
        _code("log", log),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    made = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}, "cells": cells}
    return json.dumps(made, indent=1) + "\n"


def _code(name: str, source: str) -> dict[str, Any]:
    return {
        "cell_type": "code", "id": name, "metadata": {}, "execution_count": None, "outputs": [], "source": source,
    }  # fmt: skip


_GITHUB_ACTIONS = Template("""\
# .github/workflows/train.yml, which signs in without any key: https://github.com/google-github-actions/auth#setup
# What is in capitals is yours; the account must be one of access.users in provision.toml.
name: train
on:
  workflow_dispatch: {}
permissions:
  contents: read
  id-token: write
jobs:
  train:
    runs-on: ubuntu-latest
    env:
$variables
    steps:
      - uses: actions/checkout@v4
      - uses: google-github-actions/auth@v3
        with:
          workload_identity_provider: projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER
          service_account: ACCOUNT@$project.iam.gserviceaccount.com
      - uses: actions/setup-python@v5
        with:
          python-version: "3.12"
      - run: $install
      - run: $check
      - run: python train.py
""")


def github_actions(told: Invitation) -> str:
    """A workflow for GitHub Actions."""
    lines = [f"      {name}: {json.dumps(value)}" for name, value in told.variables.items()]
    return _filled(_GITHUB_ACTIONS, told, lines)


_VERTEX = Template("""\
# gcloud ai custom-jobs create --project=$project --region=$region --display-name=train --config=FILE
# (https://cloud.google.com/sdk/gcloud/reference/ai/custom-jobs/create)
# What is in capitals is yours; the account must be one of access.users in provision.toml.
serviceAccount: ACCOUNT@$project.iam.gserviceaccount.com
workerPoolSpecs:
  - machineSpec:
      machineType: n1-standard-4
    replicaCount: 1
    containerSpec:
      imageUri: IMAGE
      command: [bash, -c]
      args:
        - $train
      env:
$variables
""")


def vertex(told: Invitation) -> str:
    """The description of a custom job for Vertex AI."""
    lines = [f"        - {{name: {name}, value: {json.dumps(value)}}}" for name, value in told.variables.items()]
    return _filled(_VERTEX, told, lines)


def _filled(template: Template, told: Invitation, lines: list[str]) -> str:
    """A template of YAML, in which every text of ours is one of JSON: that is YAML too (https://yaml.org/spec/1.2.2)."""
    return template.substitute(
        variables="\n".join(lines),
        project=told.project,
        region=told.region,
        install=json.dumps(told.install),
        check=json.dumps(CHECK),
        train=json.dumps(f"{told.install} && {CHECK} && python train.py"),
    )


FORMATS: dict[str, Callable[[Invitation], str]] = {
    "text": text,
    "env": env,
    "dotenv": dotenv,
    "notebook": notebook,
    "github-actions": github_actions,
    "vertex": vertex,
}

ELSEWHERE = frozenset({"github-actions", "vertex"})
"""The forms of what never runs on the owner's own machine."""
ONLY_HERE = (
    "These are addresses of this machine, which no job elsewhere reaches: without --local, this tells of what is on"
    " Google Cloud."
)
