"""The list of methods that the tool uses: all of them are served, and none that is not goes unnoticed."""

from pathlib import Path

import pytest

from provision.emulator.api import METHODS
from provision.emulator.server import create_app
from provision.emulator.world import World
from tests.methods import LIST

pytest_plugins = ("pytester",)

ROOT = Path(__file__).parents[1]

TWO = """
import pytest
from provision.emulator.faults import Calls

def test_one():
    Calls().note("compute.networks.get", "GET", "/", "", 200)

{mark}
def test_other():
    Calls().note("made.up.method", "GET", "/", "", {status})
"""


@pytest.fixture(autouse=True)
def these_tests_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def outcome(pytester: pytest.Pytester, *arguments: str, **said: object) -> pytest.RunResult:
    """Run two tests in a process of its own; each calls one method."""
    pytester.makeini("[pytest]\nmarkers = unimplemented: expects 501")
    pytester.makeconftest('pytest_plugins = ("tests.methods",)')
    pytester.makepyfile(TWO.format(**{"mark": "", "status": 200} | said))
    return pytester.runpytest_subprocess(*arguments)


def test_every_method_of_the_list_is_served() -> None:
    """So the tool meets no 501 in its tests."""
    world = World.memory()
    create_app(world)
    world.close()
    listed = LIST.read_text(encoding="utf-8").split()

    assert "appengine.apps.services.versions.create" in listed
    assert [method for method in listed if method not in {served for served, _ in METHODS}] == []


def test_a_method_that_is_not_served_fails_its_test(pytester: pytest.Pytester) -> None:
    """Whatever became of the answer."""
    ran = outcome(pytester, status=501)

    ran.assert_outcomes(passed=2, errors=1)
    ran.stdout.fnmatch_lines(["*the emulator does not serve made.up.method*"])


def test_but_not_one_that_asks_for_it(pytester: pytest.Pytester) -> None:
    """What the emulator lacks has its tests too."""
    outcome(pytester, status=501, mark="@pytest.mark.unimplemented").assert_outcomes(passed=2)


@pytest.mark.parametrize("workers", ["0", "2"], ids=["in one process", "in two"])
def test_a_method_that_is_not_listed_is_told(pytester: pytest.Pytester, workers: str) -> None:
    """All pass, and the run fails: the documentation would not be true any more."""
    ran = outcome(pytester, "-n", workers, "--dist=loadfile")

    ran.assert_outcomes(passed=2)
    assert ran.ret == pytest.ExitCode.TESTS_FAILED
    ran.stdout.fnmatch_lines(["tests/methods.txt lacks made.up.method; pytest --methods=add writes it down"])
