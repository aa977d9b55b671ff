"""One deployment for all points of a proof, and the undisturbed run that all others must end like."""

import pytest
import requests

from tests.journey.deploy import Deployment, DyingStore
from tests.journey.recovery import Undisturbed, census, empty


@pytest.fixture(scope="module")
def deployment(shared_emulator):
    """One deployment for all points; each starts from an empty project."""
    made = Deployment(shared_emulator, workers=1)
    yield made
    made.gcp.close()


@pytest.fixture(scope="module")
def undisturbed(deployment):
    """The run that all others must end like."""
    empty(deployment)
    store = DyingStore(deployment.store())
    requests.delete(f"{deployment.emulator.url}/emulator/calls", timeout=10)
    deployment.up(store)
    calls = requests.get(f"{deployment.emulator.url}/emulator/calls", timeout=10).json()["calls"]
    changes = [call["id"] for call in calls if call["write"] and "-provision-" not in call["path"]]
    made = census(deployment)
    deployment.down()
    return Undisturbed(made, census(deployment), store.saves, changes)
