"""Start the emulator: `python -m provision.emulator [--port N] [--data DIR]`."""

import argparse
import contextlib
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import uvicorn

from provision import __version__
from provision.emulator import scenarios, tokens
from provision.emulator.machines import records
from provision.emulator.server import create_app
from provision.emulator.world import PROFILES, World

NOTE = "emulator.json"
CREDENTIALS = "credentials.json"


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; the exit code is 0, or 1 when the port is taken."""
    options = _options(argv)
    try:
        listener = _listener(options)
    except OSError as problem:
        sys.stderr.write(
            f"The emulator cannot listen on port {options.port}: {problem}. Choose another with --port, or 0.\n"
        )
        return 1
    port = int(listener.getsockname()[1])
    world = World.open(options.data, profile=options.profile) if options.data else World.memory(profile=options.profile)
    application = create_app(world)
    try:
        _switch_on(world, options.scenario)
    except ValueError as problem:
        sys.stderr.write(f"--scenario: {problem}\n")
        return 2
    if not options.no_machines:
        _machines(world, f"http://127.0.0.1:{port}")
    server = uvicorn.Server(
        uvicorn.Config(application, log_level="warning", timeout_graceful_shutdown=3, date_header=False)
    )

    def stop(*_: object) -> None:
        server.should_exit = True

    signal.signal(signal.SIGTERM, stop)
    _announce(world, port)
    try:
        server.run([listener])
    finally:
        world.close()
    return 0


def _options(argv: list[str] | None) -> Any:  # argparse's own
    parser = argparse.ArgumentParser(prog="python -m provision.emulator", description=__doc__)
    parser.add_argument(
        "--port", type=int, default=0, metavar="N", help="port on 127.0.0.1 (default: that of before, or any)"
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="keep all state in this folder (default: in memory)")
    parser.add_argument(
        "--profile", choices=PROFILES, help="how long operations take (default: local with --data, or instant)"
    )
    parser.add_argument(
        "--scenario",
        action="append",
        default=[],
        metavar="NAME[,OPTION=VALUE]...",
        help="a habit of Google's to rehearse, again for more; docs/reference/scenarios.md lists them",
    )
    parser.add_argument("--no-machines", action="store_true", help="control plane only: no database and no server runs")
    options = parser.parse_args(argv)
    options.data = options.data.resolve() if options.data else None
    options.profile = options.profile or ("local" if options.data else "instant")
    return options


def _switch_on(world: World, wanted: list[str]) -> None:
    """Let scenarios play from the beginning, each given as on the command line."""
    for words in wanted:
        name, *options = words.split(",")
        with world.lock, world.transaction():
            scenarios.switch_on(world, name, dict(option.partition("=")[::2] for option in options))


def _listener(options: Any) -> socket.socket:  # argparse's own
    """Listen on the port that was asked for; if none was, on that of before if it is free, for it may be known by now.

    STORAGE_EMULATOR_HOST, for one, stands in the user's shell.
    """
    if options.port == 0 and options.data:
        with contextlib.suppress(
            OSError, ValueError, KeyError, TypeError, OverflowError
        ):  # no note, or the port is taken
            return socket.create_server(("127.0.0.1", json.loads((options.data / NOTE).read_text())["port"]))
    return socket.create_server(("127.0.0.1", options.port))


def _machines(world: World, url: str) -> None:
    """Put real machines behind the world; imported here, because the control plane does not need what they need."""
    from provision.emulator.machines.real import RealMachines  # see above

    world.machines = RealMachines(world, url)


def _announce(world: World, port: int) -> None:
    """Say where it listens: in the data folder for programs, on stdout for people and tests."""
    url = f"http://127.0.0.1:{port}"
    if world.kept:
        records.write(world.data / CREDENTIALS, tokens.owners_file(world.token, url))
        records.write(
            world.data / NOTE, {"port": port, "pid": os.getpid(), "version": __version__, "token": world.token}
        )
    sys.stdout.write(f"The emulator listens on {url}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
