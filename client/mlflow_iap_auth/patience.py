"""What passes by itself is asked for again, within limits."""

import time
from collections.abc import Callable
from typing import TypeVar

from mlflow_iap_auth.errors import Unreachable

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 15.0


def patiently(ask: Callable[[], T], sleep: Callable[[float], None] = time.sleep) -> T:
    """Ask until there is an answer.

    Args:
        ask: Asks once.
        sleep: Lets so many seconds pass.

    Raises:
        Unreachable: There was none for longer than its own `patience`.
    """
    waited, pause = 0.0, FIRST_PAUSE
    while True:
        try:
            return ask()
        except Unreachable as error:
            if waited >= error.patience:
                raise
        sleep(pause)
        waited, pause = waited + pause, min(2 * pause, LONGEST_PAUSE)
