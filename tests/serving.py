"""Serves the emulator in this process, as `python -m provision.emulator` does in its own."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp


@contextlib.contextmanager
def answering(application: ASGIApp) -> Iterator[str]:
    """Let an application answer on a port of this machine until the block ends; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(application, log_level="warning", date_header=False))
        thread = threading.Thread(target=server.run, args=([listener],), name="emulator")
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
