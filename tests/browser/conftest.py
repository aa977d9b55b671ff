"""What the tests with a browser share: a deployment on this machine, a run in it, and Debian's Chromium.

They are no part of the usual run, which needs no browser: `tox r -e browser`.
"""

import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.browser import pages
from tests.journey.test_mission import PROJECT, Folder, bearer, token_of

EXAMPLE = Path(__file__).parents[2] / "examples" / "log_a_run.py"
SETTINGS = f"""
project = "{PROJECT}"
access.users = ["ada@example.com", "bob@example.com"]
"""
THIS_MACHINE = "127.0.0.1"


@dataclass(frozen=True)
class Place:
    """A deployment that somebody has logged a run to.

    Args:
        origin: Where MLflow is.
        other: Where another service of the same application is, behind a door of its own.
        sign_in: The emulator, whose page stands for Google's sign-in.
        token: What a program shows at MLflow's door.
    """

    origin: str
    other: str
    sign_in: str
    token: str = field(repr=False)

    def experiments(self) -> set[str]:
        """The names of those that there are, as a program sees them."""
        url = f"{self.origin}/api/2.0/mlflow/experiments/search"
        answer = requests.post(url, json={"max_results": 100}, headers=bearer(self.token), timeout=30)
        answer.raise_for_status()
        return {found["name"] for found in answer.json()["experiments"]}


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """What `up --local` makes of a few settings, with the run of the example in it."""
    folder = Folder(tmp_path_factory.mktemp("place"))
    (folder.path / "provision.toml").write_text(SETTINGS)
    try:
        line = next(line for line in folder.run("up", "--local").splitlines() if "log from here" in line)
        told = dict(word.split("=", 1) for word in line.partition("export ")[2].split() if "=" in word)
        told["MLFLOW_TRACKING_TOKEN"] = token_of(folder)
        subprocess.run([sys.executable, str(EXAMPLE)], cwd=folder.path, env={**os.environ, **told}, check=True)
        door = requests.get(f"{folder.emulator}/emulator/doors", params={"app": PROJECT}, timeout=30).json()
        other = f"{door['scheme']}://{door['host']}:{door['port']}"
        yield Place(told["MLFLOW_TRACKING_URI"], other, folder.emulator, told["MLFLOW_TRACKING_TOKEN"])
    finally:
        folder.try_to("stop")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Debian's own; it looks up no name, so nothing that it is asked for leaves this machine."""
    program = shutil.which("chromium")
    if program is None:
        pytest.fail("There is no chromium here. On Debian: apt-get install chromium")
    alone = f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {THIS_MACHINE}"
    expect.set_options(timeout=30_000)  # milliseconds
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=program, args=[alone]) as found:
        yield found


@pytest.fixture
def somebody(chromium: Browser) -> Iterator[Callable[[], BrowserContext]]:
    """Gives somebody a browser of their own, with nothing in it yet; no page in it may ask for another machine."""
    given: list[BrowserContext] = []
    asked: set[str | None] = set()

    def give() -> BrowserContext:
        context = chromium.new_context(viewport={"width": 1400, "height": 900})
        context.on("request", lambda request: asked.add(urlsplit(request.url).hostname))
        given.append(context)
        return context

    yield give
    for context in given:
        context.close()

    assert asked <= {THIS_MACHINE, None}  # None: what a page carries in itself


@pytest.fixture
def page(somebody: Callable[[], BrowserContext]) -> Page:
    """An empty page in a browser that has just been installed."""
    return somebody().new_page()


@pytest.fixture
def ada(page: Page, place: Place) -> Page:
    """Ada, who may, has signed in and sees MLflow."""
    page.goto(place.origin)
    pages.choose(page, "ada@example.com")
    pages.expect_mlflow(page)
    return page


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """The address of a page of somebody else's on this machine, such as a notebook's or a preview's."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>elsewhere</title>")

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with http.server.ThreadingHTTPServer((THIS_MACHINE, 0), Answer) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://{THIS_MACHINE}:{running.server_address[1]}"
        running.shutdown()
        thread.join()
