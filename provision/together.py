"""Asks many things side by side, on threads that nobody has to wait for.

An executor's threads are joined when the process ends (https://docs.python.org/3/library/concurrent.futures.html): one
that waits for an answer that never comes would keep the process for good, and Ctrl-C would wait for it too.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")

AT_ONCE = 16
"""Questions that are asked side by side unless said otherwise."""


def ask(question: Callable[[Item], Answer], items: Iterable[Item], *, at_once: int = AT_ONCE) -> list[Future[Answer]]:
    """Begin to ask the same of many things.

    Args:
        question: Asks it of one.
        items: The things.
        at_once: How many are asked side by side.

    Returns:
        Of each thing, in order, the answer that comes; who needs it no more may cancel what is not asked yet.
    """
    asked = [(item, Future[Answer]()) for item in items]
    waiting = deque(asked)

    def work() -> None:
        while waiting:
            try:
                item, answer = waiting.popleft()
            except IndexError:  # another thread was faster
                return
            if not answer.set_running_or_notify_cancel():
                continue
            try:
                answer.set_result(question(item))
            except BaseException as error:  # noqa: BLE001 - it is raised where the answer is wanted
                answer.set_exception(error)

    for _ in asked[:at_once]:
        threading.Thread(target=work, name="together", daemon=True).start()
    return [answer for _, answer in asked]
