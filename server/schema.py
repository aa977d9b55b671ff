"""The schema of MLflow's database: where it is, where this MLflow wants it, and the way from one to the other.

The entrypoint imports this without importing MLflow, which takes seconds: on most starts there is nothing to migrate.
Run as a program it is the migration itself: it imports MLflow, then waits for one line on standard input, the
database's URI, so that the password is neither in its arguments nor in its environment.
"""

import ast
import importlib
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from psycopg2 import errors, extensions

LOCK = int.from_bytes(b"mlflow")  # the advisory lock that every server of a database takes before it migrates


def migrations() -> dict[str, tuple[str, ...]]:
    """The migrations that the installed MLflow ships: revision -> the revisions that it builds on.

    Read from the text of the scripts (https://alembic.sqlalchemy.org/en/latest/tutorial.html#create-a-migration-script).

    Raises:
        ModuleNotFoundError: MLflow is not installed.
    """
    spec = importlib.util.find_spec("mlflow")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("No module named 'mlflow'", name="mlflow")
    scripts = Path(spec.submodule_search_locations[0]).glob("store/db_migrations/versions/[!_]*.py")
    return dict(_revision(script) for script in scripts)


def head(known: dict[str, tuple[str, ...]]) -> str:
    """The newest revision: the only one that no other builds on.

    Raises:
        ValueError: there is none, or more than one.
    """
    (newest,) = set(known) - {parent for parents in known.values() for parent in parents}
    return newest


def version(cursor: extensions.cursor) -> str | None:
    """The revision that a database is at, or None when it has no tables of MLflow yet."""
    try:
        cursor.execute("SELECT version_num FROM alembic_version")
    except errors.UndefinedTable:
        return None
    row = cursor.fetchone()
    return str(row[0]) if row else None


def lock(cursor: extensions.cursor) -> bool:
    """Take the lock on the schema until the connection closes, or say that another server has it."""
    cursor.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,))
    row = cursor.fetchone()
    return row is not None and bool(row[0])


def _revision(script: Path) -> tuple[str, tuple[str, ...]]:
    values = dict(_assignments(script.read_text(encoding="utf-8")))
    parents = values["down_revision"]
    return values["revision"], (parents,) if isinstance(parents, str) else tuple(parents or ())


def _assignments(text: str) -> Iterator[tuple[str, Any]]:
    for statement in ast.parse(text).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="revision" | "down_revision" as name)], value=value):
                yield name, ast.literal_eval(value)


class Migration:
    """The migration as a process of its own, which can be started before the database is there.

    While the database is still being made, importing MLflow costs nobody anything, and it brings the server's files
    into memory as well.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def prepare(self) -> None:
        """Start it, unless it is started; it waits for `run`."""
        if self._process is None:
            command = [sys.executable, __file__]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)

    def run(self, uri: str) -> bool:
        """Create or upgrade the schema of the database at `uri`, and say whether that worked."""
        self.prepare()
        assert self._process is not None
        self._process.communicate(uri + "\n")
        return self._process.returncode == 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def main() -> None:
    """Wait for the URI, then do what `mlflow db upgrade URI` does; without a URI do nothing."""
    # `upgrade` would import these two by itself; here they are paid for while the database is waited for.
    for module in ("alembic.command", "mlflow.store.db.utils"):
        importlib.import_module(module)
    db = importlib.import_module("mlflow.db")

    if uri := sys.stdin.readline().strip():
        db.commands(["upgrade", uri], standalone_mode=False)


if __name__ == "__main__":
    main()
