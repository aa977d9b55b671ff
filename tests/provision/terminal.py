"""Commands typed into folders: real processes of the real program, with files or a terminal as their streams.

Each process is forked from one that has loaded Google's libraries already, so that a command costs what it does and not
what it imports. https://docs.python.org/3/library/multiprocessing.html#contexts-and-start-methods
"""

import json
import multiprocessing
import os
import pty
import re
import select
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provision import __version__
from provision.emulator.tokens import owners_file

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["provision.cli", "provision.identity", "provision.verify", "steps", "google.cloud.storage",
                               "google.cloud.resourcemanager_v3", "google.cloud.secretmanager_v1",
                               "google.cloud.iam_credentials_v1", "googleapiclient.discovery"])  # fmt: skip
PATIENCE = 90.0
"""Seconds after which a command that does not end, or a word that does not come, fails a test."""

COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Typed:
    """How a command ended: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one object on standard output."""
        return json.loads(self.out)


def _run(words: tuple[str, ...], folder: str, variables: dict[str, str], streams: tuple[str, str, str]) -> None:
    """Be `python -m provision WORDS`, in a process of its own."""
    os.setsid()
    os.chdir(folder)
    os.environ.update(variables)
    for number, (path, flags) in enumerate(zip(streams, (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY), strict=True)):
        opened = os.open(path, flags if path == os.devnull or not path.startswith("/dev/") else os.O_RDWR)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w", buffering=1), open(2, "w", buffering=1)  # noqa: SIM115 - of this process
    sys.argv = ["provision", *words]
    from provision.cli import main

    main(prog_name="python -m provision")


@dataclass
class Running:
    """A command that has not ended yet."""

    process: Any
    streams: tuple[Path, Path]

    def interrupt(self, number: int = signal.SIGINT) -> None:
        """Send it a signal."""
        os.kill(self.process.pid, number)

    def until(self, words: str) -> None:
        """Wait until it has said something on either stream."""
        deadline = time.monotonic() + PATIENCE
        while not any(words in stream.read_text() for stream in self.streams):
            if time.monotonic() > deadline or self.process.exitcode is not None:
                raise AssertionError(f"{words!r} was not said in {[stream.read_text() for stream in self.streams]}")
            self.process.join(0.02)

    def ended(self) -> Typed:
        """Wait for its end."""
        self.process.join(PATIENCE)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        return Typed(self.process.exitcode, *(stream.read_text() for stream in self.streams))


@dataclass
class Screen:
    """A command on a terminal: what it shows, and a keyboard."""

    process: Any
    keyboard: int
    other_end: int  # held open: what a process has written last would be lost with its end
    shown: str = ""
    seen: int = 0

    def until(self, words: str) -> str:
        """Wait until it shows something new; what it has shown since the last time."""
        deadline = time.monotonic() + PATIENCE
        while words not in self.text[self.seen :]:
            if not self._read(deadline):
                raise AssertionError(f"{words!r} was not shown, but {self.text[self.seen :]!r}")
        before, self.seen = self.seen, self.text.index(words, self.seen) + len(words)
        return self.text[before : self.seen]

    def type(self, line: str) -> None:
        """Type a line, and Enter."""
        self.press(f"{line}\n")

    def press(self, keys: str) -> None:
        """Press keys."""
        os.write(self.keyboard, keys.encode())

    def insist(self, key: str) -> None:
        """Press a key once a second until the command ends.

        What comes between a question and the wait for its answer is noticed with the next key only: Python looks for
        signals before it waits, and a person is never that fast.
        """
        deadline = time.monotonic() + PATIENCE
        while self.process.exitcode is None and time.monotonic() < deadline:
            self.press(key)
            self.process.join(1.0)

    def ended(self) -> Typed:
        """Wait for its end."""
        deadline = time.monotonic() + PATIENCE
        while self._read(deadline):
            pass
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        os.close(self.keyboard)
        os.close(self.other_end)
        return Typed(self.process.exitcode, self.text, "")

    @property
    def text(self) -> str:
        """All that it has shown, without colours."""
        return COLOURS.sub("", self.shown).replace("\r\n", "\n")

    def _read(self, deadline: float) -> bool:
        """Read what is new; False when nothing will come any more."""
        while time.monotonic() < deadline:
            ended = self.process.exitcode is not None
            if select.select([self.keyboard], [], [], 0 if ended else 0.05)[0]:
                self.shown += os.read(self.keyboard, 65536).decode(errors="replace")
                return True
            if ended:
                return False
        return False


@dataclass
class Folder:
    """A folder in which a person types commands; its emulator is the one of the tests."""

    path: Path
    url: str
    token: str
    variables: dict[str, str] = field(default_factory=lambda: {"NO_GCE_CHECK": "true", "COLUMNS": "100"})
    typed: int = 0

    def __post_init__(self) -> None:
        data = self.path / ".provision" / "data"
        data.mkdir(parents=True)
        note = {
            "port": int(self.url.rpartition(":")[2]),
            "pid": os.getpid(),
            "version": __version__,
            "token": self.token,
        }
        (data / "emulator.json").write_text(json.dumps(note))
        (data / "credentials.json").write_text(json.dumps(owners_file(self.token, self.url)))

    def type(self, *words: str, code: int = 0) -> Typed:
        """Type a command without a terminal, and wait for its end, which must be the expected one."""
        ended = self.start(*words).ended()
        assert ended.code == code, f"{' '.join(words)} ended with {ended.code}\n{ended.out}\n{ended.err}"
        return ended

    def start(self, *words: str) -> Running:
        """Type a command without a terminal; nobody is there to answer."""
        self.typed += 1
        out, err = self.path / f".out-{self.typed}", self.path / f".err-{self.typed}"
        out.touch()
        err.touch()
        return Running(self._process(words, (os.devnull, str(out), str(err))), (out, err))

    def at_a_terminal(self, *words: str) -> Screen:
        """Type a command on a terminal."""
        keyboard, other_end = pty.openpty()
        name = os.ttyname(other_end)
        return Screen(self._process(words, (name, name, name)), keyboard, other_end)

    def write(self, text: str, name: str = "provision.toml") -> None:
        """Write a file into it."""
        (self.path / name).write_text(text)

    def _process(self, words: tuple[str, ...], streams: tuple[str, str, str]) -> Any:
        process = _FORKS.Process(target=_run, args=(words, str(self.path), self.variables, streams))
        process.start()
        return process
