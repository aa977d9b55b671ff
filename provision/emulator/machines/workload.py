"""An App Engine version that really runs: the image's own command as a process, watched by its health checks."""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

from provision.emulator.machines import records
from provision.emulator.machines.checks import EAGER_SECONDS, Check, Checks, Count, answers
from provision.emulator.machines.image import Image
from provision.emulator.machines.journal import LONGEST_LINE, Journal
from provision.emulator.machines.loop import free_port

STARTING, HEALTHY, FAILED = "starting", "healthy", "failed"
STOP_SECONDS = 10.0
LEFTOVER_SECONDS = 3.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
TEMPORARY = "tmp"
MARK = "GAE_INSTANCE"  # a new one for each process, so that it is known again after the emulator was killed

T = TypeVar("T")


@dataclass(frozen=True)
class Order:
    """What to run: the image, the Version resource that says how, and the environment that the emulator adds."""

    image: Image
    spec: Mapping[str, Any]
    environment: Mapping[str, str]


class Workload:
    """One version's process. All but `health`, `ready`, `port` and `log` belong to the loop that it runs in."""

    def __init__(self, folder: Path, log: Journal) -> None:
        self.folder = folder
        self.log = log
        self.ready = False
        self.port = 0
        self._given_up = False
        self._was_ready = False
        self._patience = STOP_SECONDS
        self._task: asyncio.Task[None] | None = None

    @property
    def health(self) -> str:
        """HEALTHY while it is ready for requests, FAILED when it was not in time and was given up, else STARTING."""
        return HEALTHY if self.ready else FAILED if self._given_up else STARTING

    def start(self, order: Order) -> None:
        """Begin to run it, and keep it running."""
        self._task = asyncio.ensure_future(self._keep(order))

    async def stop(self, patience: float = STOP_SECONDS) -> None:
        """Ask it to end, wait for `patience` seconds, then end it and everything that it started."""
        self._patience = patience
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _keep(self, order: Order) -> None:
        checks = Checks.of(order.spec)
        deadline = time.monotonic() + checks.start_timeout
        pause = FIRST_PAUSE
        while True:
            try:
                reason = await self._live(order, checks, deadline)
            except OSError as error:
                reason = f"{order.image.command[0]} could not be started: {error.strerror}"
            finally:
                self.ready = False
            if not self._was_ready and time.monotonic() + pause >= deadline:
                late = f"it was not ready within {checks.start_timeout:.0f} s and is given up"
                self.log.write("system", f"{reason}; {late}")
                self._given_up = True
                return
            self.log.write("system", f"{reason}; it is started again")
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _live(self, order: Order, checks: Checks, deadline: float) -> str:
        """Run the process once, until it ends or must be ended; why."""
        self.port = free_port()
        mark = secrets.token_hex(16)
        temporary = self._empty_folder()
        # Before the process is there: an emulator that is killed right now still finds it.
        records.write(self.folder / "process.json", {MARK: mark})
        told = {"TMPDIR": str(temporary), **order.environment, **order.image.environment, **_declared(order.spec)}
        # A process whose start is cancelled is waited for forever: https://github.com/python/cpython/issues/103847.
        process = await _whole(
            asyncio.create_subprocess_exec(
                *order.image.command, cwd=order.image.folder, start_new_session=True, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                env=told | {"PORT": str(self.port), MARK: mark},
            )
        )  # fmt: skip
        self.log.write("system", f"process {process.pid} is started")
        writers = [
            asyncio.ensure_future(self._record(process.stdout, "stdout")),
            asyncio.ensure_future(self._record(process.stderr, "stderr")),
        ]
        limits = httpx.Limits(max_keepalive_connections=0)
        try:
            async with httpx.AsyncClient(trust_env=False, limits=limits) as client:
                return await _first(
                    self._ended(process),
                    self._watch_readiness(client, checks.readiness, deadline),
                    self._watch_liveness(client, checks.liveness, checks.initial_delay),
                )
        finally:
            self.ready = False
            await self._end(process, writers)

    async def _ended(self, process: asyncio.subprocess.Process) -> str:
        code = await process.wait()
        return f"process {process.pid} ended {f'with code {code}' if code >= 0 else f'by signal {-code}'}"

    async def _watch_readiness(self, client: httpx.AsyncClient, check: Check, deadline: float) -> str:
        count = Count(check, well=False)
        while True:
            self.ready = count.add(await answers(client, check, self.port)) or check.path is None
            self._was_ready = self._was_ready or self.ready
            if not self._was_ready and time.monotonic() >= deadline:
                return f"the readiness check {check.path} was not answered with 200 in time"
            await asyncio.sleep(min(check.interval, EAGER_SECONDS) if not self._was_ready else check.interval)

    async def _watch_liveness(self, client: httpx.AsyncClient, check: Check, delay: float) -> str:
        await asyncio.sleep(delay)
        count = Count(check, well=True)
        while count.add(await answers(client, check, self.port)):  # noqa: ASYNC110 - it asks in intervals: no event
            await asyncio.sleep(check.interval)
        return f"the liveness check {check.path} failed {check.failures} times"

    async def _record(self, stream: asyncio.StreamReader | None, name: str) -> None:
        assert stream is not None
        rest = b""
        while data := await stream.read(LONGEST_LINE):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self.log.write(name, line.decode(errors="replace").rstrip("\r"))
            if len(rest) > LONGEST_LINE:
                self.log.write(name, rest.decode(errors="replace"))
                rest = b""
        if rest:
            self.log.write(name, rest.decode(errors="replace"))

    async def _end(self, process: asyncio.subprocess.Process, writers: Sequence[asyncio.Future[None]]) -> None:
        # The whole group is told: it outlives its first process when that one left children behind.
        _signal(process.pid, signal.SIGTERM)
        if process.returncode is None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), self._patience)
        _signal(process.pid, signal.SIGKILL)
        await process.wait()
        _, unread = await asyncio.wait(writers, timeout=1.0)  # what it said last
        for writer in unread:
            writer.cancel()
        (self.folder / "process.json").unlink(missing_ok=True)
        shutil.rmtree(self.folder / TEMPORARY, ignore_errors=True)

    def _empty_folder(self) -> Path:
        """For the process's temporary files: as in a container, they end with it, however it ends."""
        made = self.folder / TEMPORARY
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        return made


async def _whole(work: Coroutine[Any, Any, T]) -> T:
    """What `work` answers; whoever is cancelled meanwhile is so as soon as it is done."""
    begun, waiting = asyncio.ensure_future(work), asyncio.current_task()
    assert waiting is not None
    try:
        return await asyncio.shield(begun)
    except asyncio.CancelledError:
        try:
            return await begun
        finally:
            waiting.cancel()


async def _first(*watches: Coroutine[Any, Any, str]) -> str:
    """What the first of `watches` to end says; the others are cancelled."""
    tasks = [asyncio.ensure_future(watch) for watch in watches]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(iter(done)).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def end_leftover(folder: Path) -> int:
    """End the processes of a workload whose emulator was killed; how many there were.

    They are known by the random GAE_INSTANCE that their emulator wrote down before it started them: a number of a
    process may belong to another program by now.
    """
    noted = records.read(folder / "process.json")
    if noted is None:
        return 0
    found = [process for process in psutil.process_iter() if _carries(process, noted[MARK])]
    for process in found:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, stubborn = psutil.wait_procs(found, timeout=LEFTOVER_SECONDS)
    for process in stubborn:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(stubborn, timeout=STOP_SECONDS)
    (folder / "process.json").unlink(missing_ok=True)
    return len(found)


def _carries(process: psutil.Process, mark: str) -> bool:
    try:
        return process.pid != os.getpid() and process.environ().get(MARK) == mark
    except (psutil.Error, OSError):
        return False


def _declared(spec: Mapping[str, Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in (spec.get("envVariables") or {}).items()}


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
