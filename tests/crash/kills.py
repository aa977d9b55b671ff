"""Ends real processes by `kill -9` at random instants: `up --local`, with a real database and a real server behind it."""

import collections
import contextlib
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

from provision import log
from tests.crash import portrait
from tests.crash.proof import Verdict
from tests.journey.neighbours import NO_THINGS

ROUNDS = 10
KILLS = 3
"""Per round: the run that goes on after a kill is killed too."""

ROOT = Path(__file__).parents[2]
PATIENCE = 600.0


class Folder:
    """A folder of its own, with an emulator of its own; the emulator lives on when a command is killed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Type a command."""
        return subprocess.Popen(
            [sys.executable, "-m", "provision", *words, "--local"],
            cwd=self.path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def type(self, *words: str) -> tuple[int, str]:
        """Type a command and wait for its end; its exit code, and what it printed, or why it failed."""
        process = self.start(*words)
        printed, told = process.communicate(timeout=PATIENCE)
        return process.returncode, f"{printed}{told}" if process.returncode else printed

    def census(self) -> collections.Counter[str]:
        """How many things of each kind there are."""
        return collections.Counter(kind for kind, key in self._rows("kind, key") if "-provision-" not in key)

    def marked(self, deployment: str) -> set[str]:
        """What carries a deployment's mark."""
        with self._database() as database:
            return portrait.marked(SimpleNamespace(world=SimpleNamespace(_database=database)), deployment)

    def _rows(self, columns: str) -> list[tuple[str, ...]]:
        with self._database() as database:
            rows = database.execute(f"SELECT {columns} FROM rows").fetchall()
        return [row for row in rows if row[0] not in NO_THINGS]

    def _database(self) -> contextlib.closing[sqlite3.Connection]:
        data = self.path / ".provision" / "data"
        return contextlib.closing(sqlite3.connect(f"file:{data / 'emulator.db'}?mode=ro", uri=True))

    def status(self) -> dict:
        """What the command of this name tells."""
        code, said = self.type("status", "--json")
        assert code == 0, said
        return json.loads(said)


def play(shard: int, of: int, folder: Path) -> None:
    """Play this shard's rounds, and write their verdicts down."""
    rounds = range(ROUNDS)[shard - 1 :: of]
    if rounds:
        with (folder / f"kills-{shard}-of-{of}.jsonl").open("w", encoding="utf-8") as lines:
            usual = measured()
            for seed in rounds:
                line = {"kind": "kill", "kills": KILLS, **asdict(play_round(seed, KILLS, usual))}
                lines.write(json.dumps(line) + "\n")
                lines.flush()


def measured() -> tuple[float, collections.Counter[str]]:
    """How long an undisturbed `up` takes, and what it makes."""
    with tempfile.TemporaryDirectory() as path:
        folder = Folder(Path(path))
        try:
            since = time.monotonic()
            code, said = folder.type("up")
            assert code == 0, said
            return time.monotonic() - since, folder.census()
        finally:
            folder.type("stop")


def play_round(seed: int, kills: int, usual: tuple[float, collections.Counter[str]]) -> Verdict:
    """Kill `up` so many times, let it run once more, and look what has come of it; then take everything away."""
    began, chance = time.monotonic(), random.Random(seed)
    verdict = Verdict(f"--kill {seed}", "up --local", "kill -9", "", "")
    with tempfile.TemporaryDirectory() as path:
        folder = Folder(Path(path))
        try:
            left = usual[0]
            for _ in range(kills):
                instant = chance.uniform(0, left)
                verdict.first += f"{_killed(folder, instant)} after {instant:.2f} s; "
                left = max(left - instant, 2.0)
            verdict.problems += _problems(folder, usual[1])
        finally:
            folder.type("stop")
    verdict.seconds = round(time.monotonic() - began, 1)
    return verdict


def _killed(folder: Folder, instant: float) -> str:
    process = folder.start("up")
    try:
        process.communicate(timeout=instant)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return "killed"
    return "had ended"


def _problems(folder: Folder, expected: collections.Counter[str]) -> list[str]:
    """What does not hold after the plain command."""
    code, said = folder.type("up")
    if code:
        return [f"the same command once more ended with {code}: {said}"]
    problems = []
    if folder.census() != expected:
        problems.append(f"{folder.census() - expected} too much, {expected - folder.census()} missing")
    status = folder.status()
    if status["unfinished"]:
        problems.append(f"unfinished: {status}")
    for words in (("drift",), ("plan",), ("down", "--yes", "--delete-data")):
        code, said = folder.type(*words)
        if code:
            problems.append(f"{' '.join(words)} ended with {code}: {said}")
    left = sorted(name for name in folder.marked(status["deployment"]) if log.short(name) not in said)
    return problems + [f"{name} is still there after down, which does not tell so" for name in left]
