"""The tokens of this process: each is made once, and again a little before it ends."""

import os
import threading
import time
from collections.abc import Callable

from mlflow_iap_auth.errors import Unreachable
from mlflow_iap_auth.settings import Settings
from mlflow_iap_auth.signatures import Token, bucket_token

EARLY = 300.0
"""Seconds before a token's end from which on a new one is made; as much time is there to try again."""

PAUSE = 60.0
"""Seconds until it is tried again while a token is good: whoever logs meanwhile does not wait."""


class Tokens:
    """Holds one token for each server. Threads wait for the one that makes it; a forked process goes on with it.

    Args:
        make: Makes a token, at a time in seconds since 1970.
        now: The time.
    """

    def __init__(self, make: Callable[[Settings, float], Token], now: Callable[[], float] = time.time) -> None:
        self._make = make
        self._now = now
        self._held: dict[Settings, Token] = {}
        self._again: dict[Settings, float] = {}  # when to try again, where that was in vain
        self._lock = threading.Lock()
        if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
            os.register_at_fork(after_in_child=self._in_child)

    def current(self, settings: Settings) -> Token:
        """A token that is good now.

        Raises:
            AccessError: None can be made.
        """
        with self._lock:
            held, now = self._held.get(settings), self._now()
            if held is None or now > min(held.ends, self._again.get(settings, held.ends - EARLY)):
                try:
                    held = self._held[settings] = self._make(settings, now)
                    self._again.pop(settings, None)
                except Unreachable:
                    now = self._now()  # it may have taken minutes
                    if held is None or now > held.ends:
                        raise
                    self._again[settings] = now + PAUSE
            return held

    def forget(self, settings: Settings) -> None:
        """Make a new one next time: the door does not take this one."""
        with self._lock:
            self._held.pop(settings, None)

    def _in_child(self) -> None:
        # Another thread of the parent may have held the lock, and there is no such thread here that would give it back.
        self._lock = threading.Lock()


FOR_BUCKETS = Tokens(bucket_token)
"""The access tokens of this process, by which files are written and read."""
