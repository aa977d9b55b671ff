"""What the proofs share."""

from collections.abc import Iterator

import pytest

from provision import log
from tests.crash.proof import Proof, proving


@pytest.fixture(scope="module")
def proof() -> Iterator[Proof]:
    """Plays points. While it lives, nothing in this process sleeps, and its requests go over the wire of the proofs."""
    log.set_up(log.SILENT + 1, as_json=True)
    with proving() as made:
        yield made
