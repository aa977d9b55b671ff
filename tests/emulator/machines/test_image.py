"""What an image would run, read from its Dockerfile."""

import sys
from pathlib import Path

import pytest

from provision.emulator.machines.failure import MachineError
from provision.emulator.machines.image import read_image


def dockerfile(folder: Path, text: str) -> Path:
    (folder / "Dockerfile").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("text", "command"),
    [
        pytest.param(
            'FROM python:3.11\nWORKDIR /srv\nENTRYPOINT ["python", "/srv/entrypoint.py"]\n',
            ["PYTHON", "HERE/entrypoint.py"],
            id="a path below WORKDIR is the file of that name",
        ),
        pytest.param(
            'FROM a AS build\nENTRYPOINT ["make"]\nFROM b\nWORKDIR /srv\nENTRYPOINT ["python3", "app/main.py"]\n',
            ["PYTHON", "app/main.py"],
            id="the last stage counts",
        ),
        pytest.param(
            'FROM b\nENTRYPOINT ["/usr/bin/tini", "--"]\nCMD ["python3.11", "-m", "http.server"]\n',
            ["/usr/bin/tini", "--", "PYTHON", "-m", "http.server"],
            id="CMD follows ENTRYPOINT",
        ),
        pytest.param(
            'FROM b\n# ENTRYPOINT ["no"]\nWORKDIR /srv\nENTRYPOINT \\\n  ["python", \\\n   "/srv/x.py"]\n',
            ["PYTHON", "HERE/x.py"],
            id="comments and continued lines",
        ),
    ],
)
def test_the_command_is_found(tmp_path: Path, text: str, command: list[str]) -> None:
    """ENTRYPOINT and CMD in their JSON form, with this Python and this folder in place of the image's."""
    image = read_image(dockerfile(tmp_path, text))

    assert list(image.command) == [
        word.replace("PYTHON", sys.executable).replace("HERE", str(tmp_path)) for word in command
    ]


def test_the_environment_is_taken_but_for_places_inside_the_image(tmp_path: Path) -> None:
    """ENV in both its forms; PATH and folders of the image mean nothing here."""
    text = 'FROM b\nENV PATH="/venv/bin:$PATH" A=1 B="two words"\nENV OLD a form\nENV VENV=/venv\nCMD ["python"]\n'

    assert read_image(dockerfile(tmp_path, text)).environment == {"A": "1", "B": "two words", "OLD": "a form"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("FROM b\n", "write ENTRYPOINT", id="no command at all"),
        pytest.param("FROM b\nENTRYPOINT python x.py\n", "not a JSON list", id="the shell form"),
    ],
)
def test_what_can_not_be_run_says_what_to_write(tmp_path: Path, text: str, message: str) -> None:
    """The error holds an example."""
    with pytest.raises(MachineError, match=message):
        read_image(dockerfile(tmp_path, text))


def test_a_folder_without_a_dockerfile_is_an_error(tmp_path: Path) -> None:
    """It names the folder."""
    with pytest.raises(MachineError, match="has no Dockerfile"):
        read_image(tmp_path)
