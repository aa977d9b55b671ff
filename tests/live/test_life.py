"""A life on a real project: what it needs, what it does when something goes wrong, and how it is rehearsed."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from provision.cli import cli
from tests.live.life import LIFE, Act, Ended, played
from tests.live.scrub import Scrubber

ROOT = Path(__file__).parents[2]


def live(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tests.live", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def lived(endings: dict[str, int], life: tuple[Act, ...] = LIFE) -> tuple[list[str], list[str]]:
    """What is typed when commands end with these codes, 0 unless said; and what is found wrong."""
    typed: list[str] = []

    def run(act: Act) -> Ended:
        typed.append(act.command)
        return Ended(endings.get(act.command, 0), 1.0, {}, "")

    wrong = list(played(life, run, lambda *_: None))
    return typed, wrong


def test_without_a_project_it_says_what_it_needs_and_costs(tmp_path: Path) -> None:
    """And does nothing."""
    ran = live(folder=tmp_path)

    assert ran.returncode == 3
    assert "a project of yours with billing" in ran.stderr
    assert "US dollars an hour" in ran.stderr
    assert "tox r -e live -- --project ID" in ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_all_goes_well() -> None:
    """Each command once, in this order; `down` may leave something that Google holds on to for hours."""
    assert lived({"down": 6}) == (["doctor", "up", "verify", "drift", "up", "down"], [])


def test_what_was_begun_is_taken_away() -> None:
    """Nothing that costs money is left running because something failed."""
    typed, wrong = lived({"verify": 1})

    assert typed == ["doctor", "up", "verify", "down"]
    assert wrong == ["verify: exit code 1, and 0 was expected"]


def test_where_nothing_was_begun_nothing_is_taken_away() -> None:
    """What the check finds before anything is made is for the user to mend."""
    typed, wrong = lived({"doctor": 5})

    assert typed == ["doctor"]
    assert wrong == ["doctor: exit code 5, and 0 was expected"]


def test_a_second_up_that_changes_something_is_told() -> None:
    """It should have nothing to do."""
    changed = Ended(0, 1.0, {"changes": [{"step": "server"}]}, "")

    assert LIFE[4].wrong(0, changed.answer) == "1 changes, and none was expected"


@pytest.mark.machines
@pytest.mark.timeout(900)
def test_a_rehearsal_leaves_a_transcript_without_secrets(tmp_path: Path) -> None:
    """It plays every command that there is against the emulator; scrubbing once more finds nothing."""
    ran = live("--local", "--to", "transcript.md", folder=tmp_path)
    text = (tmp_path / "transcript.md").read_text(encoding="utf-8")

    assert ran.returncode == 0, ran.stderr[-3000:]
    assert [act.command for act in LIFE if act.command in cli.commands and f"\n## {act.command}\n" not in text] == []
    assert Scrubber("local-mlflow", hidden=(socket.gethostname(),)).scrub(text) == text
    assert "rehearsed: managed-client: yes" in text
    assert "resource.created" in text
