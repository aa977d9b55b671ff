"""A thread with an asyncio loop of its own, so that sockets are served while the emulator answers API calls."""

import asyncio
import socket
import threading
from collections.abc import Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import uvicorn
from starlette.types import ASGIApp

from provision.emulator.machines.failure import MachineError

T = TypeVar("T")
TURNS_OF_AN_ACCEPTANCE = 2  # of the loop: asyncio makes the transport in one, and tells the protocol of it in the next


class LoopThread:
    """Runs coroutines in a background thread until it is closed."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._threads = ThreadPoolExecutor(16, thread_name_prefix=name)
        self._loop.set_default_executor(self._threads)
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        # Not waited for: one of them may wait for the very world whose closing this is part of.
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T], timeout: float = 30.0) -> T:
        """Run `work` in the loop and wait for its answer at most `timeout` seconds."""
        return self.spawn(work).result(timeout)

    def spawn(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start `work` in the loop; the caller may wait for the future or forget it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        """Cancel what still runs, and end the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)


def listening(address: str, port: int = 0) -> socket.socket:
    """A listening TCP socket on `address`; port 0 takes a free one. Raises OSError when the port is taken."""
    # The protocol is named: asyncio switches Nagle off only for sockets that say that they are TCP, and with Nagle on
    # every request on a kept connection takes 40 ms more (https://github.com/Kludex/uvicorn/issues/3149).
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
        made.listen(256)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made


async def stop_accepting(listener: socket.socket) -> None:
    """Take no more connections from `listener`, which asyncio serves, and see in those that it has taken already.

    A server that is closed between a connection's acceptance and its protocol's beginning forgets it open, and its
    client waits forever: https://github.com/python/cpython/issues/109564. To be called before the server is closed.
    """
    asyncio.get_running_loop().remove_reader(listener)
    for _ in range(TURNS_OF_AN_ACCEPTANCE):
        await asyncio.sleep(0)


def free_port(address: str = "127.0.0.1") -> int:
    """A TCP port of `address` that nobody listens on right now."""
    with listening(address) as probe:
        return int(probe.getsockname()[1])


class Site:
    """An ASGI application served on one loopback port by uvicorn, inside a LoopThread."""

    def __init__(self, thread: LoopThread, app: ASGIApp, address: str = "127.0.0.1", port: int = 0) -> None:
        try:
            self._socket = listening(address, port)
        except OSError as error:
            raise MachineError(f"Cannot listen on {address}:{port}: {error.strerror}.") from error
        self.address = address
        self.port = int(self._socket.getsockname()[1])
        config = uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", proxy_headers=False, server_header=False,
            timeout_graceful_shutdown=1, http="h11", ws="none", loop="asyncio",
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = thread
        self._served = thread.spawn(self._server.serve(sockets=[self._socket]))

    def close(self) -> None:
        """Stop listening; requests under way get a second to end."""
        self._thread.run(self.stop())

    async def stop(self) -> None:
        """The same, from inside the loop."""
        await stop_accepting(self._socket)
        self._server.should_exit = True
        await asyncio.wrap_future(self._served)
        self._socket.close()
