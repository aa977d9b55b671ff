"""A run dies at every point where it can, the run after it at every point where that one can, and a third is enough."""

import pytest

from tests.simulation import pairs


def test_every_pair_of_deaths_of_an_up(capsys: pytest.CaptureFixture[str]) -> None:
    """Before and after the effect of every change and every save, of the first run and of the second."""
    found, count = [], 0
    for first in pairs.points():
        for second in pairs.points(first):
            count += 1
            if failures := pairs.broken(first, second):
                found.append(f"deaths {first} and {second}: {failures}")
    with capsys.disabled():
        print(f"\n{count} pairs of deaths told")  # noqa: T201 - how many there are is what one wants to know

    assert not found, "\n".join(found)
    assert count > 1000
