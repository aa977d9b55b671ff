"""The server's source as one file: equal files make equal bytes, on any machine and at any time."""

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

from provision.errors import BadUsage

SOURCE = Path(__file__).parent.parent / "server"
"""What the container is built from."""

LEFT_OUT = {"__pycache__"}
"""Beside everything whose name begins with a dot: that is of tools and of persons, such as .env and .git."""


def packed(folder: Path = SOURCE) -> bytes:
    """All files of a folder as a tar, sorted, without times, owners and modes of their own.

    Raises:
        BadUsage: There is no Dockerfile in the folder, or something that is no file, or a name that is too long.
    """
    if not (folder / "Dockerfile").is_file():
        raise BadUsage(f"{folder} holds no Dockerfile", hint="Run it from a checkout of the project.")
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            if not any(part in LEFT_OUT or part.startswith(".") for part in name.parts) and path.suffix != ".pyc":
                _add(tar, path, name.as_posix())
    return stream.getvalue()


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    if path.is_symlink() or not (path.is_file() or path.is_dir()):
        # What a link leads to may lie anywhere on this machine, and would come into the image.
        raise BadUsage(f"{path} is a link or no file at all", hint="Put a file in its place, or take it away.")
    if path.is_dir():
        return
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = path.stat().st_size, 0o644
    try:
        with path.open("rb") as content:
            tar.addfile(entry, content)
    except ValueError as error:  # of the format, which any tool that unpacks it knows
        raise BadUsage(f"{path} cannot be packed: {error}", hint="Give it a shorter name.") from error


def digest(archive: bytes) -> str:
    """Names the content: 32 hex digits."""
    return hashlib.sha256(archive).hexdigest()[:32]


def compressed(archive: bytes) -> bytes:
    """As Cloud Build takes it, a .tar.gz."""
    return gzip.compress(archive, mtime=0)
