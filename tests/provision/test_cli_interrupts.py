"""Ends before the end: Ctrl-C, a kill, a defect, a reader that has gone; and the same command once more."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

NETWORK_MADE = "compute.networks.insert"


@pytest.fixture
def slow(cloud):
    """Google takes its time: no operation ends before its clock is moved."""
    cloud.world.profile = "google"
    return cloud


def goes_on(folder, cloud):
    """The same command again finishes, and does nothing twice."""
    begun = cloud.writes()
    cloud.world.profile = "instant"
    cloud.later(3600)
    folder.type("up", "--local")

    assert (begun + cloud.writes()).count(NETWORK_MADE) == 1
    assert folder.type("status", "--local", "--json").json["unfinished"] == 0


def test_stopped_while_google_works(folder, slow):
    """It ends within seconds, with 130; what Google works on is waited for by the next run."""
    running = folder.start("up", "--local")
    running.until("created  service_accounts")
    at_work = folder.type("status", "--local", "--json").json
    begun = time.monotonic()
    running.interrupt()
    told, seconds = running.ended(), time.monotonic() - begun
    after = folder.type("status", "--local", "--json").json

    assert told.code == 130
    assert seconds < 5
    assert "Stopping; what Google is working on goes on there. Once more to stop at once." in told.err
    assert told.err.endswith("Next: Run the same command again to go on.\n")
    assert at_work["held_by"].startswith("user:owner@example.com on ")
    assert at_work["url"] is None
    assert after["unfinished"] > 0
    assert after["held_by"] is None
    goes_on(folder, slow)


def test_stopped_twice_while_google_does_not_answer(folder, slow):
    """The first Ctrl-C has to wait for answers, the second does not; the lease stands in nobody's way."""
    running = folder.start("up", "--local")
    running.until("created  service_accounts")
    with slow.world.lock:  # nothing is answered any more
        running.interrupt()
        running.until("Stopping")
        begun = time.monotonic()
        running.interrupt()
        told, seconds = running.ended(), time.monotonic() - begun

    assert told.code == 130
    assert seconds < 2
    assert "Traceback" not in told.err
    goes_on(folder, slow)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_stopped_before_anything_has_begun(folder, cloud, number):
    """While Google is asked for the project, too."""
    cloud.fails(method="cloudresourcemanager.projects.get", delay=3.0)
    running = folder.start("up", "--local", "--json")
    cloud.until_asked("cloudresourcemanager.projects.get")
    running.interrupt(number)
    told = running.ended()

    assert told.code == 130
    assert json.loads(told.err)["error"] == "Interrupted"
    assert cloud.writes() == []


@pytest.mark.parametrize("command", ["plan", "drift"])
def test_a_look_is_stopped_while_an_answer_does_not_come(folder, cloud, command):
    """What only reads has nothing to wait for: one Ctrl-C ends it at once."""
    folder.type("up", "--local")
    cloud.writes()
    cloud.fails(method="compute.networks.get", delay=10.0)
    running = folder.start(command, "--local")
    cloud.until_asked("compute.networks.get")
    begun = time.monotonic()
    running.interrupt()
    told, seconds = running.ended(), time.monotonic() - begun

    assert told.code == 130
    assert seconds < 5
    assert told.err.endswith("Next: Run the same command again to go on.\n")


def test_down_is_stopped_by_what_ends_a_pipeline(folder, cloud):
    """SIGTERM counts as Ctrl-C; what was begun is finished when `down` is typed again."""
    folder.type("up", "--local")
    cloud.world.profile = "google"
    running = folder.start("down", "--local", "--yes")
    running.until("deleted  ")
    running.interrupt(signal.SIGTERM)
    stopped = running.ended()
    cloud.world.profile = "instant"
    cloud.later(3600)
    folder.type("down", "--local", "--yes")

    assert stopped.code == 130
    assert folder.type("status", "--local", "--json").json["resources"] == {}


CTRL_C = """
import os, runpy, signal, sys

class CtrlC:
    def find_spec(self, name, path=None, target=None):
        if name in moments:
            moments.remove(name)
            os.kill(os.getpid(), signal.SIGINT)

moments = sys.argv[1].split()
sys.meta_path.insert(0, CtrlC())
sys.argv = ["provision", "status"]
runpy.run_module("provision", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    "moments",
    [
        pytest.param("provision.cli", id="at the very first moment"),
        pytest.param("click", id="while it is loading"),
        pytest.param("provision.session", id="in a command"),
        pytest.param("provision.session provision.report", id="and again while that is told"),
        pytest.param("provision.cli click", id="twice at the very first moment"),
    ],
)
def test_ctrl_c_at_any_moment(tmp_path, moments):
    """A person's finger is faster than the imports: one message, 130, and not a line of the program."""
    root = str(Path(__file__).parents[2])
    told = subprocess.run(
        [sys.executable, "-c", CTRL_C, moments],
        env={**os.environ, "PYTHONPATH": root},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert told.returncode == 130
    assert told.stdout == ""
    assert told.stderr.lstrip().startswith("Interrupted: ")  # click ends the line in which ^C stands
    assert told.stderr.count("Run the same command again") == 1
    assert "Traceback" not in told.stderr


def test_a_defect_of_the_program(folder, cloud):
    """What nobody foresaw ends with 1, in one message, and leaves a file to report, without any secret."""
    cloud.fails(method="sql.users.insert", status=200, body={"surprise": True})
    told = folder.type("up", "--local", code=1)
    report = folder.path / "provision-crash.log"
    (payload,) = cloud.world.table("secretmanager.payloads").values()
    password = base64.b64decode(payload["data"]).decode()

    assert "Defect: This is a defect of the program: KeyError: " in told.err
    assert f"Next: Please report it with {report}; then run the same command again, nothing is lost." in told.err
    assert "Traceback" not in told.err
    assert "Traceback" in report.read_text()
    assert report.stat().st_mode & 0o777 == 0o600
    for text in (report.read_text(), told.err, told.out):
        assert password not in text
        assert folder.token not in text
    folder.type("up", "--local")


def test_a_defect_for_machines(folder, cloud):
    """One object on one line, like every other error."""
    cloud.fails(method="cloudresourcemanager.projects.get", status=200, body={"name": ["surprise"]})
    told = folder.type("status", "--local", "--json", code=1)

    assert json.loads(told.err)["error"] == "Defect"


def test_a_reader_that_has_seen_enough():
    """`... | head -1` gets no stack trace."""
    command = [sys.executable, "-m", "provision", "--help"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root) as process:
        process.stdout.close()
        told = process.stderr.read()

    assert told == ""
    assert process.returncode == 1
