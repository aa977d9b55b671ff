"""The proofs are told from a program that loses things: what they look for, they find."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.crash import page, points, shards
from tests.crash.faults import FAULTS
from tests.crash.scenarios import SCENARIOS
from tests.crash.wire import Request
from tests.journey.deploy import PROJECT

ROOT = Path(__file__).parents[2]
READ = Request("sql.operations.get", "GET /o/1", reads=True, before="a", after="a")
CHANGE = Request("sql.instances.insert", "POST /i", reads=False, before="a", after="b")


def played(*requests: Request) -> list[tuple[int, str]]:
    return [(point.number, point.fault) for point in points.of_run("up", requests) if point.same_as is None]


def test_what_can_be_told_apart_is_played():
    """Of a change everything; deaths that leave the same world are one."""
    assert played(CHANGE) == [(0, name) for name in FAULTS]
    assert played(CHANGE, CHANGE)[len(FAULTS) :] == [(1, name) for name in FAULTS if not name.startswith("dies")]


def test_a_question_that_is_asked_again():
    """Its faults are merged with those of the first time, unless something has happened meanwhile."""
    later = Request(READ.method, READ.text, reads=True, before="b", after="b")
    first = played(READ)

    assert [name for _, name in first] == ["dies-before", "lost", "503-before", "429", "timeout-before", "torn"]
    assert played(READ, READ) == first
    assert len(played(READ, CHANGE, later)) == len(first) + len(FAULTS) - 1 + len(first) - 1


def _sabotaged(console, sabotage):
    console.up()
    sabotage(console)


@pytest.mark.parametrize(
    ("sabotage", "found"),
    [
        pytest.param(
            lambda console: console.gcp.storage.create_bucket(f"{PROJECT}-orphan", location="EU"),
            "too much: test-project-1-orphan",
            id="something was made twice",
        ),
        pytest.param(
            lambda console: console.gcp.storage.bucket(f"{PROJECT}-mlflow-builds-s4lt").delete(force=True),
            "missing: test-project-1-mlflow-builds-s4lt",
            id="something is gone",
        ),
        pytest.param(
            lambda console: console.gcp.storage.bucket(f"{PROJECT}-theirs").blob("report.txt").delete(),
            "of others was touched",
            id="something of others was touched",
        ),
    ],
)
def test_what_a_careless_program_does_is_found(proof, monkeypatch, sabotage, found):
    """Here somebody else does it, right after the last run."""
    point = next(point for point in proof.points("up-among-others") if point.fault == "429")
    careless = SCENARIOS["up-among-others"]
    monkeypatch.setitem(
        SCENARIOS,
        "up-among-others",
        type(careless)(careless.says, careless.begins, lambda console: _sabotaged(console, sabotage)),
    )
    verdict = proof.play(point)

    assert [problem for problem in verdict.problems if found in problem]


def test_figures_of_a_part_are_not_written():
    """Only what was played whole can be claimed."""
    scenario = {"kind": "scenario", "scenario": "up", "requests": 1, "points": {"429": 1}, "played": {"429": 1}}
    one, other = {**scenario, "table": "0d"}, {**scenario, "table": "0e"}

    assert "up: 0 of 1 points" in page.missing([one])
    assert "up: the parts are not parts of one whole" in page.missing([one, other])


def test_every_process_meets_the_same_points(proof):
    """Also where strings have other hashes: else the parts would leave points out, and play others twice."""
    code = (
        "from provision import log; from tests.crash import shards; from tests.crash.proof import proving\n"
        "log.set_up(log.SILENT + 1, as_json=True)\n"
        "with proving() as proof: print(*[shards.table(proof, name) for name in ('up', 'down')])"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    there = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, env=environment
    )

    assert there.stdout.split()[-2:] == [shards.table(proof, name) for name in ("up", "down")]


def test_requests_of_every_library_pass_the_wire(proof):
    """Also those that are made without any of Google's."""
    proof._wire.begin()
    requests.get(f"{proof._cloud.url}/oauth2.googleapis.com/tokeninfo", timeout=10)

    assert proof._wire.count == 1
