"""Waits for what shows by no other sign than that it is so."""

import threading
import time
from collections.abc import Callable
from typing import Any


def until(condition: Callable[[], Any], seconds: float = 15.0) -> Any:
    """What `condition` answers as soon as that is true."""
    deadline = time.monotonic() + seconds
    tick = threading.Event()
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing true after {seconds} s")
        tick.wait(0.01)
    return found
