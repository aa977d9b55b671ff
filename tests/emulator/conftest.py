"""Google's own client libraries, pointed at the emulator."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.auth.crypt import RSASigner
from google.cloud import resourcemanager_v3, storage
from google.oauth2 import credentials, service_account
from googleapiclient.discovery import build

from provision.emulator import keys
from tests.conftest import PROJECT, Emulator
from tests.emulator.links import EMAIL, grant

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


@pytest.fixture
def signer(emulator: Emulator) -> service_account.Credentials:
    """A service account with a key of its own, which signs links."""
    emulator.world.table("iam.accounts")[EMAIL] = {"email": EMAIL, "projectId": PROJECT, "uniqueId": "1" * 21}
    key = keys.new_account_key(emulator.world, EMAIL, user_managed=True)
    return service_account.Credentials(RSASigner.from_string(key["pem"], key["kid"]), EMAIL, "")


@pytest.fixture
def shared(emulator: Emulator, signer: service_account.Credentials) -> Iterator[storage.Bucket]:
    """A bucket as its owner sees it, whose objects that account may use."""
    options = {"api_endpoint": f"{emulator.url}/storage.googleapis.com"}
    client = storage.Client(project=PROJECT, credentials=credentials.Credentials("owner"), client_options=options)
    made = client.create_bucket("shared", location="europe-west1")
    grant(emulator, "roles/storage.objectUser")
    yield made
    client.close()
