"""How checks are run: side by side, each thing asked once, never longer than their time, and never failing."""

import contextlib
import socket
import subprocess
import sys
import textwrap
import threading

import pytest

from provision import doctor
from provision.doctor import Check
from provision.doctor.telling import blocked, ok, unasked, unchecked
from provision.errors import ApiDisabled, BadConfig, NoBilling, SeveralFailed, WrongRegion


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


@contextlib.contextmanager
def somebody_who_never_finishes():
    """A server that goes on answering a little to everybody, so that no time-out of a socket ever ends the wait."""
    over = threading.Event()

    def answer(connection):
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Still-At-It: ")
            while not over.wait(0.2):
                connection.sendall(b".")

    def serve():
        with contextlib.suppress(OSError):  # closed: it is over
            while True:
                threading.Thread(target=answer, args=listener.accept()[:1], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)


def test_who_never_answers_does_not_keep_the_process():
    """It ends by itself once all is told, whatever its threads still wait for, those of a single check too."""
    program = """
        import sys
        from google.oauth2.credentials import Credentials
        from provision import doctor
        from provision.bootstrap import Project
        from provision.clock import SystemClock
        from provision.config import Config
        from provision.doctor.facts import Facts
        from provision.doctor.table import CHECKS
        from provision.gcp import Gcp
        from steps import PLAN

        gcp = Gcp("acme-ml-prod", Credentials("token"), sys.argv[1])
        settings = Config.model_validate({"project": gcp.project, "access": {"users": ["ada@example.com"]}})
        facts = Facts(gcp, settings, PLAN, SystemClock(), lambda find: None)
        facts.once("project", lambda: Project(gcp.project, "123456789012", "organizations/1"))
        print({found.check: found.why for found in doctor.run(CHECKS, facts, limit=3)})
    """
    with somebody_who_never_finishes() as address:
        words = [sys.executable, "-c", textwrap.dedent(program), address]
        ended = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)

    assert ended.returncode == 0, ended.stderr
    assert "'names': 'There was no answer within 3 seconds.'" in ended.stdout
    assert "'policies': 'There was no answer within 3 seconds.'" in ended.stdout
    assert ended.stderr == ""


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


def failing(error):
    """A check that meets this."""

    def look(facts):
        raise error
        yield

    return look


def test_what_one_check_tells_is_not_repeated_by_those_that_met_it(patient):
    """They name it, each once; what was met for another reason keeps its words."""
    parts = saying(*(unasked(NoBilling(f"{part} wants billing"), about=part) for part in ("disks", "machines")))
    checks = [
        Check("money", saying(blocked(NoBilling("nobody pays"))), tells=NoBilling),
        Check("quotas", parts),
        Check("names", failing(NoBilling("billing is off"))),
        Check("app", failing(ApiDisabled("it is off"))),
    ]
    found = doctor.run(checks, patient.facts())

    assert [(finding.check, finding.why) for finding in found] == [
        ("money", "nobody pays"),
        ("quotas", "Not checked until money is well."),
        ("names", "Not checked until money is well."),
        ("app", "it is off"),
    ]


def test_what_is_nobodys_to_tell_keeps_its_words(patient):
    """Nobody pays, and the check that would say so could not ask."""
    checks = [
        Check("money", saying(unchecked("who knows")), tells=NoBilling),
        Check("names", failing(NoBilling("billing is off"))),
    ]

    assert [finding.why for finding in doctor.run(checks, patient.facts())] == ["who knows", "billing is off"]


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
