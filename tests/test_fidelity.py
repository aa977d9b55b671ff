"""The measuring of the emulator against recordings: what is asked for, what is under its bar, how it ends.

The recordings are not part of the project, so a program of a few lines stands in for the one that replays them.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[1] / "benchmarks" / "fidelity.py"

REPLAYS = """
import http.client, json, pathlib, sys
told = dict(zip(sys.argv[1::2], sys.argv[2::2]))
emulator = http.client.HTTPConnection("127.0.0.1", int(told["--port"]))
emulator.request("GET", "/emulator/version")
assert emulator.getresponse().status == 200
figures = (pathlib.Path(__file__).parent / "figures.json").read_text()
pathlib.Path(told["--json"]).write_text(figures)
print("replayed", told.get("--grade", "all"))
"""

FIGURES = ("status", "error_reason", "error_status", "keys_recall", "keys_precision", "values", "lifecycle")


def api(requests: int = 50, *, unimplemented: int = 0, values: int = 100, **percent: float) -> dict[str, Any]:
    """Figures of one API as the program writes them, 100 % unless said."""
    figures: dict[str, Any] = {figure: {"percent": percent.get(figure, 100.0), "n": 10} for figure in FIGURES}
    figures["values"]["n"] = values
    return {"counts": {"requests": requests, "unimplemented": unimplemented}, "figures": figures}


def folder(at: Path, **apis: dict[str, Any]) -> Path:
    """A folder with a program that replays, whatever the emulator answers, to these figures."""
    (at / "tools").mkdir()
    (at / "golden" / "sequences").mkdir(parents=True)
    (at / "tools" / "fidelity.py").write_text(REPLAYS)
    (at / "tools" / "figures.json").write_text(json.dumps({"apis": {"TOTAL": api()} | apis}))
    return at


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, PROGRAM, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_without_recordings_it_says_what_it_needs(tmp_path: Path) -> None:
    """They are no part of the project, so whoever has none is told, and nothing is measured."""
    ran = run(tmp_path)

    assert ran.returncode == 3
    assert "has no tools/fidelity.py and no golden/sequences" in ran.stderr
    assert "tox r -e fidelity -- FOLDER" in ran.stderr
    assert ran.stdout == ""


def test_all_is_replayed_and_what_is_proved_counts(tmp_path: Path) -> None:
    """Against an emulator that it starts and ends itself."""
    ran = run(folder(tmp_path, compute=api()))

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.index("replayed all") < ran.stdout.index("replayed strict")
    assert ran.stdout.endswith("Every figure is over its bar.\n")


UNDER = [
    pytest.param({"TOTAL": api(values=20, status=98.9)}, "status of TOTAL is 98.90 % and should be 99 % at least", id="a figure of all"),
    pytest.param({"storage": api(values=25, error_status=89.9)}, "error_status of storage is 89.90 % and should be 90 %", id="a figure of one API"),
    pytest.param({"TOTAL": api(100, unimplemented=6)}, "6.00 % went unanswered; 5 % may", id="too much is not implemented"),
]  # fmt: skip


@pytest.mark.parametrize(("apis", "told"), UNDER)
def test_what_is_under_its_bar_is_told(tmp_path: Path, apis: dict[str, Any], told: str) -> None:
    """A sentence each, and exit code 1."""
    ran = run(folder(tmp_path, **apis))

    assert ran.returncode == 1
    assert told in ran.stdout


def test_an_api_of_which_little_is_known_has_no_bar_of_its_own(tmp_path: Path) -> None:
    """One wrong value of ten says nothing; in the total it counts."""
    ran = run(folder(tmp_path, logging=api(values=24, keys_precision=50.0)))

    assert ran.returncode == 0, ran.stdout
