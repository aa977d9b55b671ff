"""The archive of the server's source: the same files make the same bytes."""

import io
import os
import tarfile

import pytest

from provision.errors import BadUsage
from steps import _archive

FILES = {"Dockerfile": "FROM scratch\n", "entrypoint.py": "print()\n", "parts/wait.py": "pass\n"}


def folder(path, files=FILES, mode=0o644, time=0):
    for name, text in files.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        os.utime(file, (time, time))
    return path


def test_times_modes_and_caches_make_no_difference(tmp_path):
    """Two checkouts of the same files, one of them used, are one archive."""
    one = folder(tmp_path / "one", time=1_000_000_000)
    other = folder(tmp_path / "other", dict(reversed(FILES.items())), mode=0o755, time=1_700_000_000)
    folder(other, {"__pycache__/entrypoint.cpython-311.pyc": "x", "parts/.ruff_cache/x": "x", "old.pyc": "x"})
    folder(other, {".env": "SECRET=1", ".git/config": "x", "parts/.venv/bin/python": "x"})
    (other / ".venv").symlink_to("/")

    assert _archive.packed(one) == _archive.packed(other)
    assert _archive.compressed(_archive.packed(one)) == _archive.compressed(_archive.packed(other))


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({**FILES, "entrypoint.py": "print(1)\n"}, id="other content"),
        pytest.param({**FILES, "more.py": ""}, id="one file more"),
        pytest.param({"Dockerfile": FILES["Dockerfile"], "main.py": "print()\n"}, id="another name"),
    ],
)
def test_another_source_is_another_digest(tmp_path, files):
    """Any difference in the files themselves is a new image."""
    same, other = folder(tmp_path / "same"), folder(tmp_path / "other", files)

    assert _archive.digest(_archive.packed(same)) != _archive.digest(_archive.packed(other))


def test_the_archive_holds_the_files(tmp_path):
    """Names are relative to the folder, in order."""
    archive = _archive.compressed(_archive.packed(folder(tmp_path)))
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        names = tar.getnames()
        text = tar.extractfile("parts/wait.py").read()

    assert names == sorted(FILES)
    assert text == b"pass\n"


def fifo(path):
    os.mkfifo(path / "pipe")


def link_to_a_file(path):
    (path / "link").symlink_to("/etc/hostname")


def link_to_a_folder(path):
    (path / "parts" / "link").symlink_to("/etc")


def link_to_nothing(path):
    (path / "link").symlink_to("nowhere")


def link_inside(path):
    (path / "link").symlink_to("Dockerfile")


@pytest.mark.parametrize("make", [link_to_a_file, link_to_a_folder, link_to_nothing, link_inside, fifo])
def test_what_is_no_file_is_refused(tmp_path, make):
    """A link could bring any file of this machine into the image."""
    make(folder(tmp_path))
    with pytest.raises(BadUsage, match="is a link or no file at all") as error:
        _archive.packed(tmp_path)

    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize("name", ["a" * 120, "/".join(["a" * 90, "b" * 90, "c" * 90])])
def test_a_name_that_the_format_has_not_is_refused(tmp_path, name):
    """A hundred letters, and a path of some more."""
    folder(tmp_path, {**FILES, name: ""})
    with pytest.raises(BadUsage, match="cannot be packed") as error:
        _archive.packed(tmp_path)

    assert "shorter name" in error.value.hint


def test_a_folder_without_a_dockerfile_is_refused(tmp_path):
    """An installed wheel has no server/ beside it; the error says what to do."""
    with pytest.raises(BadUsage, match="Dockerfile") as error:
        _archive.packed(tmp_path)

    assert "checkout" in error.value.hint
