"""What a command says at its end: nothing in it may command the terminal that shows it."""

import json

import pytest

from provision.errors import GoogleRefused
from provision.inspect import Finding, Kind
from provision.report import Report
from provision.step import Change

NASTY = "\x1b[2J[bold]x\u202e\nMLflow is up: https://elsewhere.example"
FINDING = Finding(
    Kind.CHANGED, "artifact_bucket", f"projects/_/buckets/{NASTY}", (Change(("labels", NASTY), NASTY, [NASTY]),), NASTY
)


def told_of(as_json=False):
    report = Report(as_json=as_json)
    report.findings([FINDING], {}, "", "Put it back")
    report.line(NASTY, NASTY)
    report.error(GoogleRefused("a line\nof ours, and \x1b]0;title", hint=NASTY))


def test_a_terminal_obeys_nothing_that_is_told(capsys):
    """Names, values and Google's own words are shown letter by letter, markup too; a value makes no lines."""
    told_of()
    told = "".join(capsys.readouterr())

    assert told.replace("\n", "").isprintable()
    assert r"\x1b[2J[bold]x\u202e" in told
    assert not any(line.startswith("MLflow is up") for line in told.splitlines())
    assert "GoogleRefused: a line\nof ours" in told


def test_machines_get_every_letter(capsys):
    """JSON has a spelling for all of them."""
    told_of(as_json=True)
    told = capsys.readouterr()

    assert json.loads(told.out)["findings"][0]["note"] == NASTY
    assert json.loads(told.err)["hint"] == NASTY
    assert (told.out + told.err).replace("\n", "").isprintable()


@pytest.mark.parametrize("change", [Change(("a",), "x" * 1_000_000, None), Change(("a",), ["x" * 1_000_000], [])])
def test_a_very_long_value_is_told_in_short(capsys, change):
    """Enough to know it by."""
    Report(as_json=False).findings([Finding(Kind.CHANGED, "s", "projects/p/x", (change,))], {}, "", "Put it back")
    told = capsys.readouterr().out

    assert "xxx... (10000" in told
    assert len(told) < 3000
