"""The emulator of a folder: started once, found again, replaced by that of another version, stopped."""

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import requests
from google.oauth2.credentials import Credentials

from provision import __version__, local
from provision.errors import LocalFailed
from provision.gcp import Gcp

ROOT = Path(__file__).parents[2]

OLDER = """
import sys, provision
provision.__version__ = "0.0.1"
from provision.emulator.__main__ import main
sys.exit(main(["--data", sys.argv[1], "--no-machines"]))
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder, in which the test is; what it starts is stopped at the end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    yield tmp_path
    local.stop()


def test_an_emulator_of_another_version_is_replaced(here):
    """Its data is kept: the project that it knew is there."""
    data = here / ".provision" / "data"
    data.mkdir(parents=True)
    with subprocess.Popen([sys.executable, "-c", OLDER, data], stdout=subprocess.PIPE, text=True) as older:
        assert "listens on" in older.stdout.readline()
        old = local.find()
        requests.post(
            f"{old.url}/emulator/projects",
            json={"projectId": "older-project", "projectNumber": "987654321098"},
            headers={"X-Emulator-Token": old.token},
            timeout=10,
        ).raise_for_status()
        new = local.start("newer-project")
    projects = [
        requests.get(f"{new.url}/cloudresourcemanager.googleapis.com/v1/projects/{name}", timeout=10).status_code
        for name in ("older-project", "newer-project")
    ]

    assert old.version == "0.0.1"
    assert new.version == __version__
    assert new.pid != old.pid
    assert new.token == old.token
    assert projects[0] == 200
    assert local.find() == new


def test_two_commands_at_once_start_one_emulator(here):
    """The second finds the first one's; `stop` ends it, once."""
    found = []
    threads = [threading.Thread(target=lambda: found.append(local.start(local.PROJECT))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found[0] == found[1]
    assert (here / ".provision" / ".gitignore").read_text() == "*\n"
    assert local.stop()
    assert not local.stop()
    assert local.find() is None
    assert local.has_data()


def test_it_keeps_its_port_as_long_as_that_is_free(here):
    """STORAGE_EMULATOR_HOST in the user's shell goes on to be right; another program's port is not waited for."""
    first = local.start(local.PROJECT)
    local.stop()
    second = local.start(local.PROJECT)
    local.stop()
    with socket.create_server(("127.0.0.1", int(first.url.rpartition(":")[2]))):
        third = local.start(local.PROJECT)

    assert second.url == first.url
    assert third.url != first.url


@pytest.mark.parametrize("name", ["STORAGE_EMULATOR_HOST", "API_ENDPOINT_OVERRIDE"])
def test_what_is_set_for_mlflows_client_leads_no_command_astray(monkeypatch, name):
    """Without --local the ledger is Google's, and the caller's token goes there, in the same shell too."""
    monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert Gcp("acme-ml-prod", Credentials("token")).storage.api_endpoint == "https://storage.googleapis.com"


@pytest.mark.parametrize(
    "note",
    [
        pytest.param(None, id="no note"),
        pytest.param("", id="an empty note"),
        pytest.param("{}", id="a note of something else"),
        pytest.param(json.dumps({"port": 9, "pid": 1, "token": "x"}), id="a port at which nobody answers"),
    ],
)
def test_no_emulator_is_found(tmp_path, note):
    """Whatever a crash has left behind."""
    data = tmp_path / "data"
    data.mkdir()
    if note is not None:
        (data / "emulator.json").write_text(note)

    assert local.find(tmp_path) is None
    assert local.stop(tmp_path) is False


def test_the_port_has_gone_to_another_folder(tmp_path, cloud):
    """An emulator that is not this folder's is left alone."""
    data = tmp_path / "data"
    data.mkdir()
    port = int(cloud.url.rpartition(":")[2])
    (data / "emulator.json").write_text(json.dumps({"port": port, "pid": os.getpid() + 1, "token": "x"}))

    assert local.find(tmp_path) is None


def test_an_emulator_that_does_not_come_up(here):
    """Its last words are told."""
    data = here / ".provision" / "data"
    data.mkdir(parents=True)
    (data / "emulator.db").mkdir()
    with pytest.raises(LocalFailed, match="ended; its last words:\n") as told:
        local.start(local.PROJECT)

    assert "unable to open database file" in str(told.value)
