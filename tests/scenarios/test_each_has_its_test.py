"""Every habit of Google's that the emulator can show is met by the tool in a test that carries its number."""

from pathlib import Path

import pytest

from provision.emulator.scenarios import SCENARIOS

TEXTS = [path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py") if path != Path(__file__)]


@pytest.fixture
def known(place):
    """All of them: they are loaded with the emulator."""
    return SCENARIOS


@pytest.mark.parametrize("number", range(1, 21))
def test_every_number_has_tests(number):
    """None of the twenty is left out."""
    assert [text for text in TEXTS if f"def test_{number:02}_" in text]


def test_every_scenario_plays_in_a_test_of_its_number(known):
    """Under its name, in a test or in the table that a test is given."""
    unplayed = {
        name: scenario.number
        for name, scenario in known.items()
        if not any(f'"{name}"' in text and f"def test_{scenario.number:02}_" in text for text in TEXTS)
    }

    assert unplayed == {}


def test_every_scenario_says_what_it_is_and_who_tells(known):
    """In one line, with a public page."""
    assert [name for name, scenario in known.items() if not scenario.says.endswith(".")] == []
    assert [name for name, scenario in known.items() if not scenario.source.startswith("https://")] == []
