"""Google's own client libraries, pointed at the emulator."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import resourcemanager_v3
from googleapiclient.discovery import build

from tests.conftest import Emulator

PATHS = {"compute": "compute/v1/", "storage": "storage/v1/"}


class Google:
    """Makes clients, and closes them when the test is over."""

    def __init__(self, url: str, stack: ExitStack) -> None:
        self.url = url
        self._stack = stack

    def gapic(self, kind: Any, host: str, credentials: Any = None) -> Any:
        """A GAPIC client over REST."""
        options = {"api_endpoint": f"{self.url}/{host}.googleapis.com"}
        made = kind(transport="rest", credentials=credentials or AnonymousCredentials(), client_options=options)
        self._stack.callback(made.transport.close)
        return made

    def projects(self) -> Any:
        """Resource Manager v3."""
        return self.gapic(resourcemanager_v3.ProjectsClient, "cloudresourcemanager")

    def discovery(self, name: str, version: str, credentials: Any = None) -> Any:
        """A discovery client."""
        made = build(
            name,
            version,
            credentials=credentials or AnonymousCredentials(),
            client_options={"api_endpoint": f"{self.url}/{name}.googleapis.com/{PATHS.get(name, '')}"},
            static_discovery=True,
        )
        self._stack.callback(made.close)
        return made


@pytest.fixture
def google(emulator: Emulator) -> Iterator[Google]:
    """Clients of the emulator."""
    with ExitStack() as stack:
        yield Google(emulator.url, stack)
