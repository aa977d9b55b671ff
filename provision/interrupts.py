"""Ctrl-C and SIGTERM from the first moment to the last: one message, exit code 130, and never a traceback.

It imports next to nothing, so that it counts before the rest of the program is loaded.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

EXIT_CODE = 130

_SHOW_CURSOR = "\x1b[?25h"


def listen(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> None:
    """Let a handler have both signals: what ends a pipeline's job is a Ctrl-C too."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def once(number: int, frame: FrameType | None) -> NoReturn:
    """Leave in order, for the first time; whoever insists ends it at once."""
    listen(at_once)
    raise KeyboardInterrupt


def at_once(number: int, frame: FrameType | None) -> NoReturn:
    """End as if killed, after which the same command goes on too."""
    said = "Interrupted: Run the same command again to go on."
    if "--json" in sys.argv:
        said = '{"error": "Interrupted", "hint": "Run the same command again to go on.", "message": "Interrupted."}'
    with contextlib.suppress(OSError):  # nobody reads it
        os.write(2, f"{_SHOW_CURSOR if os.isatty(2) else ''}{said}\n".encode())
    os._exit(EXIT_CODE)
