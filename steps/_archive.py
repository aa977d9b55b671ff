"""The server's source as one file: equal files make equal bytes, on any machine and at any time."""

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

from provision.errors import BadUsage

SOURCE = Path(__file__).parent.parent / "server"
"""What the container is built from."""

LEFT_OUT = {"__pycache__", ".DS_Store", ".git", ".mypy_cache", ".pytest_cache", ".ruff_cache"}


def packed(folder: Path = SOURCE) -> bytes:
    """All files of a folder as a tar, sorted, without times, owners and modes of their own.

    Raises:
        BadUsage: There is no Dockerfile in the folder.
    """
    if not (folder / "Dockerfile").is_file():
        raise BadUsage(f"{folder} holds no Dockerfile", hint="Run it from a checkout of the project.")
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            if path.is_file() and not LEFT_OUT & set(name.parts) and path.suffix != ".pyc":
                entry = tarfile.TarInfo(name.as_posix())
                entry.size, entry.mode = path.stat().st_size, 0o644
                with path.open("rb") as content:
                    tar.addfile(entry, content)
    return stream.getvalue()


def digest(archive: bytes) -> str:
    """Names the content: 32 hex digits."""
    return hashlib.sha256(archive).hexdigest()[:32]


def compressed(archive: bytes) -> bytes:
    """As Cloud Build takes it, a .tar.gz."""
    return gzip.compress(archive, mtime=0)
