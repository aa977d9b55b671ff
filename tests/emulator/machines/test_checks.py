"""Health checks: defaults, thresholds, and the journal that a version's output goes to."""

from pathlib import Path

import pytest

from provision.emulator.machines.checks import Check, Checks, Count
from provision.emulator.machines.journal import Journal


def test_what_is_left_out_has_app_engines_defaults() -> None:
    """Liveness: every 30 s after 300 s, four failures. Readiness: every 5 s, two failures, 300 s to start."""
    checks = Checks.of({})

    assert checks.liveness == Check(path=None, host="", interval=30, timeout=4, failures=4, successes=2)
    assert checks.readiness == Check(path=None, host="", interval=5, timeout=4, failures=2, successes=2)
    assert (checks.initial_delay, checks.start_timeout) == (300, 300)


def test_durations_are_read_as_google_writes_them() -> None:
    """Seconds with an `s`, fractions included."""
    checks = Checks.of(
        {
            "livenessCheck": {"path": "/version", "checkInterval": "1.5s", "initialDelay": "7s", "timeout": "2s"},
            "readinessCheck": {"path": "/health", "appStartTimeout": "1800s", "host": "example.com"},
        }
    )

    assert (checks.liveness.interval, checks.liveness.timeout, checks.initial_delay) == (1.5, 2, 7)
    assert (checks.readiness.path, checks.readiness.host, checks.start_timeout) == ("/health", "example.com", 1800)


@pytest.mark.parametrize(
    ("well", "answers", "verdicts"),
    [
        pytest.param(False, "++", [False, True], id="two successes make it well"),
        pytest.param(False, "+-++", [False, False, False, True], id="a failure between them starts the count again"),
        pytest.param(True, "---", [True, True, False], id="three failures make it ill"),
        pytest.param(True, "--+--", [True, True, True, True, True], id="a success between them forgives"),
        pytest.param(True, "---++", [True, True, False, False, True], id="it gets well again"),
    ],
)
def test_so_many_answers_in_a_row_count(*, well: bool, answers: str, verdicts: list[bool]) -> None:
    """failureThreshold 3, successThreshold 2."""
    count = Count(Check("/", "", 1, 1, failures=3, successes=2), well=well)

    assert [count.add(answer == "+") for answer in answers] == verdicts


def test_the_journal_keeps_lines_with_time_and_stream(tmp_path: Path) -> None:
    """What is written comes back in order; a line that a crash cut off is left out."""
    journal = Journal(tmp_path / "log.jsonl")
    journal.write("stdout", "one")
    journal.write("stderr", "two")
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"time": "20')

    assert journal.lines() == ["one", "two"]
    assert [entry["stream"] for entry in journal.entries()] == ["stdout", "stderr"]
    assert journal.entries()[0]["time"].endswith("Z")


def test_a_full_journal_begins_a_new_file_and_keeps_one_old(tmp_path: Path) -> None:
    """It never grows without end."""
    path = tmp_path / "log.jsonl"
    journal = Journal(path)
    journal.write("stdout", "first")
    path.write_text(path.read_text() + "x" * (8 * 1024 * 1024) + "\n")
    journal.write("stdout", "second")

    assert path.stat().st_size < 1000
    assert journal.lines() == ["first", "second"]
