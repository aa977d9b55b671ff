"""Which of Google's methods the tests call: none goes unserved unnoticed, and those of the tool are listed.

The tests of the emulator call whatever it serves; all others have the tool at work. What these call is in
tests/methods.txt, from which docs/reference/emulator.md is made; ``pytest --methods=add`` writes down what is new,
``--methods=anew`` what this run has called and nothing else. Emulators in other processes are not heard.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provision.emulator.faults import ANSWERED

LIST = Path(__file__).with_name("methods.txt")

_known = pytest.StashKey[set[str]]()
_heard: dict[tuple[str, int], int] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--methods`."""
    told = "what becomes of tests/methods.txt: check it, add what is new, or write it anew"
    parser.addoption("--methods", choices=("check", "add", "anew"), default="check", help=told)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_known] = set()


@pytest.fixture(autouse=True)
def no_method_goes_unserved(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test in which a method was answered 501, unless it is marked as asking for one."""
    yield
    called = {call for call, times in ANSWERED.items() if times > _heard.get(call, 0)}
    _heard.update(ANSWERED)
    if "emulator" not in request.path.parts:
        request.config.stash[_known] |= {method for method, status in called if status != 501}
    unserved = ", ".join(sorted(method for method, status in called if status == 501))

    assert not unserved or request.node.get_closest_marker("unimplemented"), f"the emulator does not serve {unserved}"


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Compare with the list, or write it; a worker of xdist hands what it knows to whoever started it."""
    config, called = session.config, session.config.stash[_known]
    if hasattr(config, "workeroutput"):
        config.workeroutput["methods"] = sorted(called)
        return
    listed = set(LIST.read_text(encoding="utf-8").split())
    how = config.getoption("--methods")
    if how != "check":
        called |= listed if how == "add" else set()
        LIST.write_text("".join(f"{method}\n" for method in sorted(called)), encoding="utf-8")
    elif called - listed or (_whole(session) and called != listed):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:  # of xdist, which has no types
    """Take what a worker knows."""
    node.config.stash[_known] |= set(getattr(node, "workeroutput", {}).get("methods", ()))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:  # pytest's own
    """Tell what the list lacks, or has too much."""
    listed, called = set(LIST.read_text(encoding="utf-8").split()), config.stash[_known]
    lacks, obsolete = sorted(called - listed), sorted(listed - called)
    if lacks:
        terminalreporter.line(
            f"tests/methods.txt lacks {', '.join(lacks)}; pytest --methods=add writes it down", red=True
        )
    if obsolete and _whole(terminalreporter._session):
        terminalreporter.line(f"tests/methods.txt lists what nothing calls: {', '.join(obsolete)}", red=True)


def _whole(session: pytest.Session) -> bool:
    """Whether every test was asked for, and passed."""
    config = session.config
    chosen = config.option.keyword or config.option.markexpr or session.testsfailed
    return config.args_source is pytest.Config.ArgsSource.TESTPATHS and not chosen
