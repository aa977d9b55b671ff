"""An App Engine version as a process: what it is told, how it is watched, and how it ends."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from provision.emulator.machines.image import read_image
from provision.emulator.machines.journal import Journal
from provision.emulator.machines.loop import LoopThread
from provision.emulator.machines.workload import Order, Workload
from tests.emulator.machines.conftest import Json, Running, asked, checks, heard, running
from tests.waiting import until

APP, SERVICE = "test-project-1", "mlflow"
ACCOUNT = "mlflow-server@test-project-1.iam.gserviceaccount.com"


def start(real: Running, version: str, image: Path | None, spec: Json | None = None, **environment: str) -> None:
    real.machines.version_start(
        APP, SERVICE, version, (spec or checks()) | {"envVariables": environment}, image, ACCOUNT
    )


def health(real: Running, version: str) -> str:
    return real.machines.version_health(APP, SERVICE, version)


def healthy(real: Running, version: str) -> None:
    until(lambda: health(real, version) == "healthy")


def log(real: Running, version: str) -> list[str]:
    return real.machines.version_log(APP, SERVICE, version)


def serve(real: Running, version: str) -> Json:
    """Give the service's traffic to the version; the service's door."""
    with real.world.transaction():
        real.world.table("appengine.services")[f"apps/{APP}/services/{SERVICE}"] = {
            "split": {"allocations": {version: 1}}
        }
    return real.machines.door(APP, SERVICE)


def processes(version: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("GAE_VERSION") == version and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_a_version_is_told_what_app_engine_tells(real: Running, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Port, project, service and version, its own variables, where Google's APIs are; and nothing of the user's shell."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the user's own")
    start(real, "told", image, DEPLOYMENT="a1b2c3d4")
    healthy(real, "told")
    told = heard(asked(serve(real, "told")))["environment"]
    real.machines.version_stop(APP, SERVICE, "told")

    assert (told["GOOGLE_CLOUD_PROJECT"], told["GAE_SERVICE"], told["GAE_VERSION"]) == (APP, SERVICE, "told")
    assert told["DEPLOYMENT"] == "a1b2c3d4"
    assert told["API_ENDPOINT_OVERRIDE"] == f"{real.url}/storage.googleapis.com"
    assert told["CLOUDSDK_API_ENDPOINT_OVERRIDES_SQL"] == f"{real.url}/sqladmin.googleapis.com/"
    assert told["CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER"] == f"{real.url}/secretmanager.googleapis.com/"
    assert told["CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS"] == f"{real.url}/iamcredentials.googleapis.com/"
    assert told["GCE_METADATA_HOST"] == told["GCE_METADATA_IP"]
    assert "AWS_SECRET_ACCESS_KEY" not in told


def test_its_temporary_files_end_with_it(real: Running, image: Path) -> None:
    """They lie in a folder of its own, which is empty at each start, as a container's is."""
    start(real, "untidy", image)
    healthy(real, "untidy")
    told = heard(asked(serve(real, "untidy")))["environment"]
    folder = Path(told["TMPDIR"])
    (folder / "left").mkdir()
    psutil.Process(heard(asked(serve(real, "untidy")))["pid"]).kill()
    until(lambda: folder.is_dir() and not (folder / "left").exists())
    healthy(real, "untidy")
    real.machines.version_stop(APP, SERVICE, "untidy")

    assert folder.is_relative_to(Path(told["HOME"]).parent)
    assert until(lambda: not folder.exists())


def test_what_it_writes_is_in_its_log(real: Running, image: Path) -> None:
    """Both streams, line by line, with times."""
    start(real, "talks", image)
    healthy(real, "talks")
    until(lambda: {"echo begins", "a warning"} <= set(log(real, "talks")))
    streams = {entry["text"]: entry["stream"] for entry in real.machines.version_entries(APP, SERVICE, "talks")}
    real.machines.version_stop(APP, SERVICE, "talks")

    assert (streams["echo begins"], streams["a warning"]) == ("stdout", "stderr")


def test_only_200_makes_it_ready(real: Running, image: Path) -> None:
    """503 while it waits, and 204 too, mean that it is starting."""
    (image / "status").write_text("204")
    start(real, "waits", image)
    until(lambda: "echo begins" in log(real, "waits"))
    at_first = health(real, "waits"), asked(serve(real, "waits")).status_code
    (image / "status").write_text("200")
    healthy(real, "waits")
    later = asked(serve(real, "waits")).status_code
    (image / "status").write_text("503")
    until(lambda: health(real, "waits") == "starting")
    at_last = asked(serve(real, "waits")).status_code
    real.machines.version_stop(APP, SERVICE, "waits")

    assert at_first == ("starting", 503)
    assert later == 200
    assert at_last == 503


def test_one_that_is_not_ready_in_time_is_given_up(real: Running, image: Path) -> None:
    """appStartTimeout ends the process, and the log says why."""
    (image / "status").write_text("503")
    start(real, "late", image, checks(appStartTimeout="0.6s"))
    until(lambda: health(real, "late") == "failed")

    assert "not ready within 1 s" in log(real, "late")[-1]
    assert processes("late") == []


def test_one_that_dies_is_started_again(real: Running, image: Path) -> None:
    """kill -9 of the process: another one takes its place."""
    start(real, "dies", image)
    healthy(real, "dies")
    door = serve(real, "dies")
    first = heard(asked(door))["pid"]
    os.kill(first, signal.SIGKILL)
    until(lambda: health(real, "dies") == "starting")
    healthy(real, "dies")
    second = heard(asked(door))["pid"]
    real.machines.version_stop(APP, SERVICE, "dies")

    assert first != second
    assert any("ended by signal 9; it is started again" in line for line in log(real, "dies"))


def test_one_that_never_comes_up_is_tried_until_its_time_is_over(real: Running, image: Path) -> None:
    """A process that exits at once is started again, until appStartTimeout."""
    start(real, "exits", image, checks(appStartTimeout="4s"), DIES="1")
    until(lambda: health(real, "exits") == "failed")

    assert sum("ended with code 7" in line for line in log(real, "exits")) >= 2


def test_one_that_fails_its_liveness_check_is_restarted(real: Running, image: Path) -> None:
    """failureThreshold failures in a row after initialDelay end the process, and a new one begins."""
    live = {"path": "/status-live", "checkInterval": "0.05s", "initialDelay": "2s", "failureThreshold": 2}
    spec = checks() | {"livenessCheck": live}
    start(real, "hangs", image, spec)
    healthy(real, "hangs")
    door = serve(real, "hangs")
    first = heard(asked(door))["pid"]
    (image / "status-live").write_text("500")
    until(lambda: not psutil.pid_exists(first))
    (image / "status-live").write_text("200")
    healthy(real, "hangs")
    real.machines.version_stop(APP, SERVICE, "hangs")

    assert any("liveness check /status-live failed 2 times; it is started again" in line for line in log(real, "hangs"))


def test_stopping_ends_it_and_what_it_started(real: Running, image: Path) -> None:
    """The whole process group goes."""
    start(real, "parent", image, CHILD="1")
    healthy(real, "parent")
    before = len(processes("parent"))
    real.machines.version_stop(APP, SERVICE, "parent")
    until(lambda: processes("parent") == [])

    assert before == 2
    assert asked(serve(real, "parent")).status_code == 503
    assert health(real, "parent") == "failed"


@pytest.mark.parametrize("turns", [pytest.param(n, id=f"{n} turns of the loop after its start") for n in range(8)])
def test_one_that_is_just_being_started_can_be_stopped(image: Path, tmp_path: Path, turns: int) -> None:
    """At whichever moment of its start: nobody waits for it forever, and nothing of it is left."""
    loop, folder, version = LoopThread("servers"), tmp_path / "version", f"begun-{turns}"
    workload = Workload(folder, Journal(folder / "log.jsonl"))

    async def start_and_stop() -> None:
        workload.start(Order(read_image(image), checks(), {"GAE_VERSION": version}))
        for _ in range(turns):
            await asyncio.sleep(0)
        await workload.stop()

    loop.run(start_and_stop())
    loop.close()

    assert processes(version) == []
    assert {path.name for path in folder.iterdir()} <= {"log.jsonl"}


def test_a_stopped_version_starts_again(real: Running, image: Path) -> None:
    """Stop and start right after another: the start waits for the stop."""
    start(real, "again", image)
    healthy(real, "again")
    real.machines.version_stop(APP, SERVICE, "again")
    start(real, "again", image)
    healthy(real, "again")
    count = len(processes("again"))
    real.machines.version_stop(APP, SERVICE, "again")

    assert count == 1


def test_an_image_that_was_not_built_here_says_hello(real: Running) -> None:
    """The public hello image needs no process."""
    start(real, "hello", None)
    answer = asked(serve(real, "hello"))

    assert health(real, "hello") == "healthy"
    assert (answer.status_code, answer.text) == (200, "Hello, world!")


def test_an_image_that_can_not_be_run_fails_with_a_reason(real: Running, tmp_path: Path) -> None:
    """The version fails, and its log says what the image lacks."""
    start(real, "empty", tmp_path)
    until(lambda: health(real, "empty") == "failed")

    assert "has no Dockerfile" in log(real, "empty")[-1]


def test_who_hears_that_it_has_failed_finds_the_reason_in_its_log(
    real: Running, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log is written before the failure shows, however long that takes."""
    write, before = Journal.write, []

    def watched(self: Journal, stream: str, text: str) -> None:
        before.append((health(real, version), text))
        write(self, stream, text)

    monkeypatch.setattr(Journal, "write", watched)
    for version, folder, spec in (("broken", tmp_path, None), ("slow", image, checks(appStartTimeout="0.1s"))):
        (image / "status").write_text("503")
        start(real, version, folder, spec)
        until(lambda version=version: health(real, version) == "failed")

    assert {state for state, _ in before} == {"starting"}
    assert any("has no Dockerfile" in text for _, text in before)
    assert any("is given up" in text for _, text in before)


def test_what_ran_runs_again_after_the_emulator_was_closed(tmp_path: Path, image: Path) -> None:
    """Version, door and port are as they were."""
    with running(tmp_path / "data") as first:
        start(first, "stays", image)
        start(first, "stopped", image)
        healthy(first, "stays")
        first.machines.version_stop(APP, SERVICE, "stopped")
        door = serve(first, "stays")
        until(lambda: asked(door).status_code == 200)
    between = processes("stays")
    with running(tmp_path / "data") as second:
        healthy(second, "stays")
        again = asked(door).status_code

        assert (second.machines.door(APP, SERVICE), again) == (door, 200)
        assert health(second, "stopped") == "failed"
    assert between == []


def test_what_a_killed_emulator_left_is_ended_first(tmp_path: Path, image: Path) -> None:
    """kill -9 of the emulator: its version goes on; the next emulator ends it and starts its own."""
    script = f"""
import json, os, time
from pathlib import Path
from provision.emulator.world import World
from provision.emulator.machines.real import RealMachines
world = World.open(Path({str(tmp_path / "data")!r}))
world.reset([{{"projectId": {APP!r}, "projectNumber": "1"}}])
machines = RealMachines(world, "http://127.0.0.1:1")
machines.version_start({APP!r}, {SERVICE!r}, "left", json.loads({json.dumps(json.dumps(checks()))}), Path({str(image)!r}), {ACCOUNT!r})
while machines.version_health({APP!r}, {SERVICE!r}, "left") != "healthy": time.sleep(0.01)
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    left = processes("left")
    with running(tmp_path / "data") as real:
        healthy(real, "left")
        now = processes("left")

    assert len(left) == 1
    assert len(now) == 1
    assert left != now


def test_a_process_that_ignores_sigterm_is_killed(real: Running, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time to leave is over it is ended, stubborn or not."""
    start(real, "stubborn", image, STUBBORN="1")
    healthy(real, "stubborn")
    (only,) = processes("stubborn")
    version = real.machines._version(APP, SERVICE, "stubborn")
    version.stop(patience=0.2).result(5)

    assert not only.is_running()
