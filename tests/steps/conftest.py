"""What the tests of the steps share: benches that close their connections."""

from collections.abc import Callable, Iterator

import pytest

from tests.conftest import Emulator
from tests.steps.bench import Bench
from tests.steps.deployments import deployment


@pytest.fixture
def bench_for(emulator: Emulator) -> Iterator[Callable[..., Bench]]:
    """Makes benches for deployments with any settings; nothing is deployed yet."""
    benches: list[Bench] = []

    def make(**settings: object) -> Bench:
        benches.append(Bench(emulator.url, deployment(**settings)))
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()
