"""What the journeys without machines share: Google's clients, and deployments made with them."""

import pytest
from google.oauth2.credentials import Credentials

from provision.config import check
from provision.gcp import Gcp
from tests.journey.deploy import BASE, PROJECT, Deployment


@pytest.fixture(scope="module")
def gcp(shared_emulator):
    """The clients, which take longer to make than most of what is done with them here."""
    clients = Gcp(PROJECT, Credentials("owner"), shared_emulator.url)
    yield clients
    clients.close()


@pytest.fixture
def deploying(emulator, gcp):
    """Makes a deployment with some settings; several may be in the project."""
    return lambda **settings: Deployment(emulator, config=check({**BASE, **settings}, "provision.toml"), gcp=gcp)
