"""The check before: everything that would stop `up`, asked at once and told at once, before anything is changed.

The table of checks is in `table`, what several of them ask is in `facts`. A check is a function that tells findings; it
changes nothing, waits for nothing, and never fails: what it cannot ask is a finding too, *unchecked*, which stops
nobody. What is *blocked* carries the error that `up` raises for it.
"""

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future

from provision import together
from provision.doctor.facts import Facts
from provision.doctor.telling import Finding, unasked, unchecked
from provision.errors import ProvisionError, SeveralFailed

LIMIT = 20.0
"""Seconds after which what is not answered counts as unchecked."""

TYPED = 3
"""The exit code of what is wrong with the command line, the settings or the ledger."""


@dataclasses.dataclass(frozen=True)
class Check:
    """One line of the table.

    Args:
        name: What is looked at, in a word, as --despite takes it.
        look: Tells what there is to say of it.
        overrulable: Whether `up` could get any further if the user knew better.
        row: The row of the table of steps without which it is of no interest; empty when it always is.
        tells: The error that is this check's to tell: where it blocks, others that met it too need not repeat it.
    """

    name: str
    look: Callable[[Facts], Iterator[Finding]]
    overrulable: bool = True
    row: str = ""
    tells: type[ProvisionError] | None = None


def run(checks: Sequence[Check], facts: Facts, *, limit: float = LIMIT) -> list[Finding]:
    """Look at everything side by side.

    Args:
        checks: The table.
        facts: What they ask.
        limit: Seconds that all of them may take together.

    Returns:
        What there is to say, in the order of the table; at least one finding of each check that is of interest.
    """
    ends = time.monotonic() + limit
    of_interest = [check for check in checks if not check.row or check.row in facts.plan.rows]
    asked = together.ask(lambda check: _findings(check, facts), of_interest)
    told = [
        dataclasses.replace(found, check=check.name)
        for check, answer in zip(of_interest, asked, strict=True)
        for found in _answered(answer, ends, limit)
    ]
    blocked = {(found.check, type(found.error)) for found in told if found.error}
    known = {check.tells: check.name for check in of_interest if check.tells and (check.name, check.tells) in blocked}
    return list(dict.fromkeys(_referred(found, known) for found in told))


def overruled(findings: Iterable[Finding], names: Sequence[str]) -> list[Finding]:
    """The same, with what some checks say blocks taken for a warning."""
    return [found.overruled() if found.check in names else found for found in findings]


def error_of(findings: Iterable[Finding]) -> ProvisionError | None:
    """What `up` raises for what was found, None when nothing stands in its way.

    What was typed wrongly comes before what the cloud is like: it may have been another cloud that was meant.
    """
    blocked = [found.error for found in findings if found.error is not None]
    told = [error for error in blocked if error.exit_code == TYPED] or blocked
    if len(told) < 2:
        return told[0] if told else None
    several = SeveralFailed(told)
    several.hint = "python -m provision doctor tells what to do about each."
    return several


def _findings(check: Check, facts: Facts) -> list[Finding]:
    try:
        found = list(check.look(facts))
    except Exception as error:  # noqa: BLE001 - what cannot be asked is unchecked, whatever the reason
        return [unasked(error)]
    return [_overrulable(check, finding) for finding in found]


def _overrulable(check: Check, finding: Finding) -> Finding:
    """A finding that blocks says how it is overruled."""
    if finding.error is None or not check.overrulable:
        return finding
    finding.error.hint += f" If you know better: python -m provision up --despite {check.name}"
    return dataclasses.replace(finding, todo=finding.error.hint)


def _referred(finding: Finding, known: Mapping[type[ProvisionError], str]) -> Finding:
    """A finding as it is, or, when its cause is known by what another check tells, that check's name for all words."""
    if finding.cause is None or finding.cause not in known:
        return finding
    return dataclasses.replace(unchecked(f"Not checked until {known[finding.cause]} is well."), check=finding.check)


def _answered(answer: Future[list[Finding]], ends: float, limit: float) -> list[Finding]:
    try:
        return answer.result(timeout=max(0.0, ends - time.monotonic()))
    except TimeoutError:
        answer.cancel()  # what was not asked by now need not be
        return [unchecked(f"There was no answer within {limit:g} seconds.")]
