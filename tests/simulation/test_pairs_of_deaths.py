"""A run dies at every point where it can, the run after it at every point where that one can, and a third is enough."""

import pytest

from tests.simulation import pairs

PARTS = 8


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("command", ["up", "down"])
def test_every_pair_of_deaths(command, part, capsys):
    """Before and after the effect of every change and every save, of the first run and of the second."""
    found, count = [], 0
    for first, second in pairs.every(command, part, PARTS):
        count += 1
        if failures := pairs.broken(command, first, second):
            found.append(f"deaths {first} and {second} of {command}: {failures}")
    with capsys.disabled():
        print(f"\n{count} pairs of deaths of {command} told")  # noqa: T201 - one wants to know how many there are

    assert not found, "\n".join(found)
    assert count > 20
