"""A deployment on this machine for the client's tests, by `up --local`, with a real MLflow.

    PYTHONPATH=.:server python client/tests/place.py FOLDER

It runs in an environment of its own, which has the provisioner: the client's has nothing of it. What tests need to know
is one line of JSON on stdout; it ends when stdin does.
"""

import functools
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import requests
import uvicorn
from entrypoint import COMMAND, mlflow_environment
from provision.emulator.machines.door import Upstream
from provision.emulator.machines.loop import Site
from provision.emulator.machines.metadata import Machine, Metadata
from provision.emulator.server import create_app
from provision.emulator.world import World
from tests.provision.terminal import Folder
from tests.scenarios.doors import Doors
from tests.tracking import Tracking

PROJECT, NUMBER = "test-project-1", "123456789012"
PROVISION = (sys.executable, "-m", "provision")
CLIENT = f"{NUMBER}-abc.apps.googleusercontent.com"
PEOPLE = ("ada@example.com", "bob@example.com")
TRAINER = f"trainer@{PROJECT}.iam.gserviceaccount.com"
SETTINGS = f"""
project = "{PROJECT}"
access.users = ["ada@example.com", "{TRAINER}"]
door = {{ client_id = "{CLIENT}", client_secret_file = "client-secret" }}
"""


class Place(Doors):
    """The doors are real, and behind them is one real MLflow, which keeps runs in a file."""

    def __init__(self, world: World, url: str, folder: Path) -> None:
        super().__init__(world, url, Tracking())
        self.server: subprocess.Popen[bytes] | None = None
        self._folder = folder
        self._port = _free_port()

    def version_start(
        self, app: str, service: str, version: str, spec: dict[str, Any], image_dir: Path | None, account: str
    ) -> None:
        """Start MLflow with the version's settings; the placeholder has none."""
        del version, image_dir, account
        told = spec.get("envVariables", {})
        if "ARTIFACT_ROOT" not in told or self.server is not None:
            return
        door = self.door(app, service)
        origin = f"{door['scheme']}://{door['host']}:{door['port']}"
        env = {**os.environ, **told, "SERVER_ORIGIN": origin, "HOST": "127.0.0.1", "PORT": str(self._port)}
        # A session with SQLite takes its connection at once, and MLflow opens another one inside of it: with fewer
        # connections than requests they would wait for each other. One with PostgreSQL takes it when it first asks.
        env = mlflow_environment(env, f"sqlite:///{self._folder}/runs.db") | {"MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "80"}
        with (self._folder / "mlflow.log").open("wb") as log:
            self.server = subprocess.Popen([sys.executable, *COMMAND], env=env, stdout=log, stderr=log)

    def workload(self, account: str) -> Site:
        """The metadata server of a machine of Google's on which something runs as a service account."""
        machine = Machine(PROJECT, NUMBER, "europe-west3-b", "trainer-0", account)
        tokens = lambda: (self.registry.access_token(account), 3600)  # noqa: E731 - it is no name of its own
        return Site(self._loop, Metadata(machine, tokens, functools.partial(self.registry.id_token, account)))

    def _upstream(self, app: str, service: str, version: str) -> Upstream:
        del app, service, version
        return Upstream(self._port, ready=True)


def main(folder: Path) -> None:
    """Deploy, tell, and wait to be told to end."""
    world = World.memory()
    world.reset([{"projectId": PROJECT, "projectNumber": NUMBER}])
    listener = socket.create_server(("127.0.0.1", 0))
    world.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    application = uvicorn.Server(uvicorn.Config(create_app(world), log_level="warning", date_header=False))
    thread = threading.Thread(target=application.run, args=([listener],))
    thread.start()
    world.machines = place = Place(world, world.url, folder)
    site = place.workload(TRAINER)
    try:
        facts = deployed(world, Folder(folder / "owner", world.url, world.token).path)
        sys.stdout.write(json.dumps({**facts, "metadata": f"127.0.0.1:{site.port}", "log": str(folder / "mlflow.log")}))
        sys.stdout.write("\n")
        sys.stdout.flush()
        sys.stdin.read()
    finally:
        site.close()
        application.should_exit = True
        thread.join()
        world.close()
        if place.server is not None:
            place.server.terminate()
            place.server.wait()


def deployed(world: World, folder: Path) -> dict[str, Any]:
    """Deploy by `up --local` with an OAuth client of one's own; whatever the tests need to know about it."""
    (folder / "provision.toml").write_text(SETTINGS)
    (folder / "client-secret").write_text("GOCSPX-of-the-tests")
    with world.transaction():
        for person in PEOPLE:
            world.table("refresh_tokens")[f"1//{person}"] = {"member": f"user:{person}"}
    account = f"iam.googleapis.com/v1/projects/{PROJECT}/serviceAccounts"
    requests.post(f"{world.url}/{account}", json={"accountId": "trainer"}, timeout=30).raise_for_status()
    subprocess.run([*PROVISION, "up", "--local"], cwd=folder, check=True, stdout=sys.stderr)
    told = subprocess.run([*PROVISION, "client", "--local", "--json"], cwd=folder, check=True, stdout=subprocess.PIPE)
    variables = json.loads(told.stdout)["variables"]
    return {
        "owner_folder": str(folder),
        "emulator": world.url,
        "origin": variables["MLFLOW_TRACKING_URI"],
        "account": variables["MLFLOW_IAP_ACCOUNT"],
        "trainer": TRAINER,
        "bucket": next(name for name in world.table("storage.buckets") if "-artifacts-" in name),
        "client_id": CLIENT,
        "door": f"projects/{NUMBER}/iap_web/appengine-{PROJECT}/services/mlflow",
    }


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
