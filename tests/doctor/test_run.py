"""How checks are run: side by side, each thing asked once, never longer than their time, and never failing."""

import threading

import pytest

from provision import doctor
from provision.doctor import Check
from provision.doctor.telling import blocked, ok, unchecked
from provision.errors import BadConfig, NoBilling, SeveralFailed, WrongRegion


def saying(*findings):
    """A check that says this."""
    return lambda facts: iter(findings)


def test_what_fails_is_unchecked_in_its_own_words(patient):
    """A check never fails."""

    def fails(facts):
        raise ValueError("no such thing")
        yield

    (found,) = doctor.run([Check("odd", fails)], patient.facts())

    assert (found.check, found.status.value, found.why) == ("odd", "unchecked", "no such thing")


def test_what_does_not_answer_is_unchecked_and_holds_nobody_up(patient):
    """The others are told."""
    never = threading.Event()

    def hangs(facts):
        never.wait(60)
        yield ok("late")

    found = doctor.run([Check("slow", hangs), Check("quick", saying(ok("well")))], patient.facts(), limit=0.1)
    never.set()

    assert [(finding.check, finding.status.value) for finding in found] == [("slow", "unchecked"), ("quick", "ok")]
    assert found[0].why == "There was no answer within 0.1 seconds."


def test_what_several_checks_want_to_know_is_asked_once(patient):
    """Whoever asks meanwhile waits for the same answer, or the same error."""
    facts, asked, both = patient.facts(), [], threading.Barrier(2)

    def ask():
        asked.append(1)
        raise KeyError("nothing")

    def look(facts):
        both.wait(10)
        facts.once("thing", ask)
        yield ok("")

    found = doctor.run([Check("a", look), Check("b", look)], facts)

    assert [finding.status.value for finding in found] == ["unchecked", "unchecked"]
    assert asked == [1]


def test_the_one_thing_that_blocks_is_the_error(patient):
    """Its hint says how to overrule the check, where that makes sense."""
    checks = [
        Check("money", saying(blocked(NoBilling("nobody pays")))),
        Check("place", saying(unchecked("who knows"))),
    ]
    error = doctor.error_of(doctor.run(checks, patient.facts()))

    assert isinstance(error, NoBilling)
    assert error.hint.endswith("If you know better: python -m provision up --despite money")


def test_all_that_blocks_is_told_at_once(patient):
    """And where to read what to do about each."""
    checks = [
        Check("money", saying(blocked(NoBilling("nobody pays")))),
        Check("place", saying(ok("there")), overrulable=False),
        Check("app", saying(blocked(WrongRegion("elsewhere")))),
    ]
    error = doctor.error_of(doctor.run(checks, patient.facts()))

    assert isinstance(error, SeveralFailed)
    assert str(error) == "nobody pays\nelsewhere"
    assert "python -m provision doctor" in error.hint


def test_what_was_typed_wrongly_comes_first(patient):
    """It may have been another cloud that was meant."""
    checks = [
        Check("money", saying(blocked(NoBilling("nobody pays")))),
        Check("ledger", saying(blocked(BadConfig("of another project"))), overrulable=False),
    ]
    error = doctor.error_of(doctor.run(checks, patient.facts()))

    assert isinstance(error, BadConfig)
    assert "--despite" not in error.hint


@pytest.mark.parametrize("names", [["money"], ["money", "app"]], ids=", ".join)
def test_a_check_that_is_overruled_only_warns(patient, names):
    """The others still count."""
    checks = [
        Check("money", saying(blocked(NoBilling("nobody pays")))),
        Check("app", saying(blocked(WrongRegion("elsewhere")))),
    ]
    found = doctor.overruled(doctor.run(checks, patient.facts()), names)
    error = doctor.error_of(found)

    assert [finding.status.value for finding in found] == ["warning", "warning" if "app" in names else "blocked"]
    assert (error is None) == ("app" in names)
