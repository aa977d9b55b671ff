"""Shows what a run has under way: a live block of lines on a terminal, a plain line a minute anywhere else."""

import contextlib
import re
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta

import structlog
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from provision.engine import Engine

EVERY = 60.0
"""Seconds between two signs of life where nobody looks at a terminal: some pipelines end what is silent for long."""

A_MOMENT = timedelta(seconds=2)
"""What is over sooner is in the log before it could be read here."""

_DOING = {"create": "creating", "update": "changing", "delete": "removing"}


@contextlib.contextmanager
def shown(engine: Engine, *, live: bool) -> Iterator[None]:
    """Show what is under way as long as this is entered.

    Args:
        engine: Whose ledger tells it: what has a pending intent is under way.
        live: Whether a person looks at standard error.
    """
    if live:
        console = Console(stderr=True, highlight=False)
        with Live(_Block(engine), console=console, transient=True, redirect_stdout=False, refresh_per_second=4):
            yield
        return
    over = threading.Event()
    thread = threading.Thread(target=_tell, args=(engine, over), name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def on_a_terminal() -> bool:
    """Whether a person looks at standard error, on a terminal that can move its cursor."""
    return sys.stderr.isatty() and Console(stderr=True).is_interactive


def show_cursor() -> None:
    """Give the terminal back the cursor, for when the process ends without leaving what hides it."""
    if on_a_terminal():
        Console(file=sys.__stderr__).show_cursor()


def under_way(engine: Engine) -> list[str]:
    """What this run has begun and not finished within a moment, a line each, what takes longest first.

    In the end there is nothing to be done any more, and the run waits for the server.
    """
    now = engine.clock.now()
    pending = [(record.pending, record.step) for record in engine.journal.ledger.records.values() if record.pending]
    begun = [
        (now - datetime.fromisoformat(deed.at), deed, engine.plan[step])
        for deed, step in pending
        if deed.run == engine.run or deed.operation
    ]
    changes = [
        f"{_DOING[deed.verb]} {row.name} ({re.split('[:;,]', row.title)[0]}), {_length(time)}"
        for time, deed, row in sorted(begun, key=lambda item: item[0], reverse=True)
        if time >= A_MOMENT
    ]
    return [*changes, *filter(None, [engine.waits_for])]


class _Block:
    """What is under way, as it is whenever it is drawn."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._spinner = Spinner("dots")
        self._begun = engine.clock.now()

    def __rich__(self) -> RenderableType:
        engine = self._engine
        state = "stopping" if engine.stop.is_set() else "Ctrl-C is safe"
        length = _length(engine.clock.now() - self._begun)
        self._spinner.update(text=f"{len(engine.done)} changes, {length}; {state}")
        lines = [Text(f"  {line}", "dim", no_wrap=True, overflow="ellipsis") for line in under_way(engine)]
        return Group(*lines, self._spinner)


def _tell(engine: Engine, over: threading.Event) -> None:
    while not over.wait(EVERY):
        for line in under_way(engine):
            structlog.get_logger().info("run.busy", what=line)


def _length(time: timedelta) -> str:
    minutes, seconds = divmod(max(0, int(time.total_seconds())), 60)
    return f"{minutes}:{seconds:02}"
