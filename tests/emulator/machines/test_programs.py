"""Finding PostgreSQL's programs, and running them as root."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.emulator.machines.failure import MachineError
from provision.emulator.machines.programs import (
    AS_NOBODY,
    AS_NOBODY_FROM_COPY,
    AS_OURSELVES,
    THROUGH_NAMESPACE,
    Runner,
    Way,
    installed,
    programs_for,
)
from tests.emulator.machines.test_database import Kit

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to go round root's refusal")


def nobody_may_enter() -> bool:
    """Whether the environment's folders are open to everybody; those that tox makes are not."""
    return all(folder.stat().st_mode & 0o001 for folder in installed()[0].path("postgres").parents)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.mark.parametrize(
    ("version", "major"),
    [
        pytest.param("POSTGRES_18", 18, id="one that the wheel has"),
        pytest.param("POSTGRES_16", 16, id="an older one that it has"),
        pytest.param("POSTGRES_17", 18, id="the next newer one for one that it lacks"),
    ],
)
def test_the_version_asked_for_is_found(version: str, major: int) -> None:
    """Cloud SQL's name of a version leads to an installation."""
    assert programs_for(version).major == major


def test_a_version_that_is_too_new_is_an_error_that_names_the_others() -> None:
    """The message says which versions there are."""
    with pytest.raises(MachineError, match=r"no PostgreSQL 99.*POSTGRES_16, POSTGRES_18"):
        programs_for("POSTGRES_99")


@as_root
@pytest.mark.parametrize(
    "way",
    [
        pytest.param(THROUGH_NAMESPACE, id="in a user namespace"),
        pytest.param(AS_NOBODY_FROM_COPY, id="as nobody from a copy"),
    ],
)
def test_root_gets_a_server_in_every_way(way: Way, open_folder: Path) -> None:
    """Each of the ways round root's refusal ends with a server that takes connections, twice."""
    runner = Runner(lambda: (way,))
    kit = Kit(open_folder / "one", runner)
    kit.start().set_user("mlflow", "secret")
    kit.database.pause()
    kit.start()
    kit.connect(password="secret", dbname="postgres").close()
    kit.close()
    runner.close()


@as_root
def test_a_way_that_is_forbidden_gives_way_to_the_next(open_folder: Path) -> None:
    """Running it as root itself is refused, and the next way is taken."""
    kit = Kit(open_folder / "one", Runner(lambda: (AS_OURSELVES, AS_NOBODY_FROM_COPY)))
    kit.start()
    kit.close()


@as_root
def test_nobody_runs_it_where_nobody_may_enter(open_folder: Path) -> None:
    """In an environment that is open the server runs in place; a closed one is an error that says so."""
    kit = Kit(open_folder / "one", Runner(lambda: (AS_NOBODY,)))
    if nobody_may_enter():
        kit.start()
    else:
        with pytest.raises(MachineError, match="nobody: "):
            kit.start()
    kit.close()


@as_root
def test_when_no_way_is_left_the_error_tells_what_was_tried(tmp_path: Path) -> None:
    """The message holds each way's own refusal, and what to do."""
    tmp_path.chmod(0o700)
    kit = Kit(tmp_path / "one", Runner(lambda: (AS_OURSELVES, AS_NOBODY)))

    with pytest.raises(MachineError, match=r"(?s)ourselves: .*root.*nobody: .*normal user"):
        kit.start()
    kit.close()


def test_two_installations_are_told_apart() -> None:
    """The wheel has two majors, each in a folder of its own."""
    assert [programs.path("postgres").exists() for programs in installed()] == [True, True]
