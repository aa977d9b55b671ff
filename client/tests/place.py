"""A deployment on this machine for the client's tests, by the project's own steps and emulator, with a real MLflow.

    PYTHONPATH=.:server python client/tests/place.py FOLDER

It runs in an environment of its own, which has the provisioner: the client's has nothing of it. What tests need to know
is one line of JSON on stdout; it ends when stdin does.
"""

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
from provision import log, session
from provision.config import Config
from provision.emulator.machines.door import Upstream
from provision.emulator.server import create_app
from provision.emulator.world import World
from requests.adapters import HTTPAdapter
from tests.journey.deploy import BASE, NUMBER, PROJECT, Deployment
from tests.scenarios.doors import Doors
from tests.tracking import Tracking
from urllib3.util import Retry

CLIENT = f"{NUMBER}-abc.apps.googleusercontent.com"
PEOPLE = ("ada@example.com", "bob@example.com")


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
        env = mlflow_environment(env, f"sqlite:///{self._folder}/runs.db")
        with (self._folder / "mlflow.log").open("wb") as log:
            self.server = subprocess.Popen([sys.executable, *COMMAND], env=env, stdout=log, stderr=log)

    def wait(self) -> None:
        """Until MLflow answers."""
        patient = HTTPAdapter(max_retries=Retry(total=None, connect=120, backoff_factor=0.1, backoff_max=2))
        with requests.Session() as session:
            session.mount("http://", patient)
            session.get(f"http://127.0.0.1:{self._port}/health", timeout=240).raise_for_status()

    def _upstream(self, app: str, service: str, version: str) -> Upstream:
        del app, service, version
        return Upstream(self._port, ready=True)


def main(folder: Path) -> None:
    """Deploy, tell, and wait to be told to end."""
    log.set_up(log.SILENT + 1, as_json=True)
    world = World.memory()
    world.reset([{"projectId": PROJECT, "projectNumber": NUMBER}])
    listener = socket.create_server(("127.0.0.1", 0))
    world.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    application = uvicorn.Server(uvicorn.Config(create_app(world), log_level="warning", date_header=False))
    thread = threading.Thread(target=application.run, args=([listener],))
    thread.start()
    world.machines = place = Place(world, world.url, folder)
    try:
        facts = deployed(world, folder)
        place.wait()
        sys.stdout.write(json.dumps(facts) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
    finally:
        application.should_exit = True
        thread.join()
        world.close()
        if place.server is not None:
            place.server.terminate()
            place.server.wait()


def deployed(world: World, folder: Path) -> dict[str, Any]:
    """Deploy with an OAuth client of one's own; whatever the tests need to know about it."""
    secret = folder / "client-secret"
    secret.write_text("GOCSPX-of-the-tests")
    config = Config.model_validate({**BASE, "door": {"client_id": CLIENT, "client_secret_file": str(secret)}})
    deployment = Deployment(world, config=config)
    engine = deployment.up()
    origin, account = session.origin_of(engine.ledger), session.log_pusher_of(engine.ledger)
    bucket = next(ref for ref in engine.ledger.records if "artifacts" in ref and "iamPolicy" not in ref)
    deployment.gcp.close()
    with world.transaction():
        for person in PEOPLE:
            world.table("refresh_tokens")[f"1//{person}"] = {"member": f"user:{person}"}
    return {
        "emulator": world.url,
        "origin": origin,
        "account": account,
        "bucket": bucket.rpartition("/")[2],
        "client_id": CLIENT,
        "door": f"projects/{NUMBER}/iap_web/appengine-{PROJECT}/services/{config.server.service or 'mlflow'}",
        "log": str(folder / "mlflow.log"),
    }


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
