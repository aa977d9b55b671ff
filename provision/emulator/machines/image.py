"""What a container image would run, read from its Dockerfile: the emulator has no containers."""

import json
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from provision.emulator.machines.failure import MachineError


@dataclass(frozen=True)
class Image:
    """The command that the image's last stage starts, with its paths turned into paths of this machine."""

    command: tuple[str, ...]
    folder: Path
    environment: dict[str, str]


def read_image(folder: Path) -> Image:
    """The ENTRYPOINT and CMD (in their JSON form), WORKDIR and ENV of the last stage of `folder`/Dockerfile.

    A path below WORKDIR becomes the file of that name in `folder`, and `python` this very Python. An ENV that tells a
    place inside the image (PATH, a virtual environment) is left out. Raises MachineError when there is nothing to run.
    """
    try:
        text = (folder / "Dockerfile").read_text(encoding="utf-8")
    except OSError as error:
        raise MachineError(f"The image in {folder} can not be run: it has no Dockerfile ({error.strerror}).") from error
    workdir = PurePosixPath("/")
    entrypoint: list[str] = []
    command: list[str] = []
    environment: dict[str, str] = {}
    for instruction, rest in _instructions(text):
        if instruction == "FROM":
            workdir, entrypoint, command, environment = PurePosixPath("/"), [], [], {}
        elif instruction == "WORKDIR":
            workdir /= rest
        elif instruction == "ENTRYPOINT":
            entrypoint, command = _words(instruction, rest), []
        elif instruction == "CMD":
            command = _words(instruction, rest)
        elif instruction == "ENV":
            environment.update(_environment(rest))
    if not entrypoint + command:
        raise MachineError(f'The image in {folder} can not be run: write ENTRYPOINT ["python", ...] in its Dockerfile.')
    return Image(
        tuple(_here(word, workdir, folder) for word in entrypoint + command),
        folder,
        {key: value for key, value in environment.items() if not re.search(r"(^|:)/", value)},
    )


def _instructions(text: str) -> list[tuple[str, str]]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    whole = re.sub(r"\\[ \t]*\n", " ", "\n".join(lines))
    found = [line.strip().split(maxsplit=1) for line in whole.splitlines() if line.strip()]
    return [(words[0].upper(), words[1] if len(words) == 2 else "") for words in found]


def _words(instruction: str, rest: str) -> list[str]:
    try:
        words = json.loads(rest)
    except ValueError:
        words = None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise MachineError(
            f"The image can not be run: its {instruction} is not a JSON list of strings. "
            f'Write it so: {instruction} ["python", "/srv/entrypoint.py"]'
        )
    return [str(word) for word in words]


def _environment(rest: str) -> dict[str, str]:
    words = shlex.split(rest)
    if words and "=" not in words[0]:  # the old form: ENV NAME all the rest
        return {words[0]: " ".join(words[1:])}
    return dict(word.split("=", 1) for word in words if "=" in word)


def _here(word: str, workdir: PurePosixPath, folder: Path) -> str:
    path = PurePosixPath(word)
    if re.fullmatch(r"python3?(\.\d+)?", path.name):
        return sys.executable
    if workdir != PurePosixPath("/") and path.is_relative_to(workdir):
        return str(folder / path.relative_to(workdir))
    return word
