"""The APIs that everything else needs: which `up` will switch on."""

from collections.abc import Iterator

from provision.doctor.facts import Facts
from provision.doctor.telling import Finding, ok


def switched_on(facts: Facts) -> Iterator[Finding]:
    """Which of the APIs that are needed are on; `up` switches the others on."""
    off = sorted(name for name, state in facts.services.items() if state != "ENABLED")
    if off:
        yield ok(f"{len(off)} of {len(facts.services)} APIs are off, and up switches them on: {', '.join(off)}.")
    else:
        yield ok(f"All {len(facts.services)} APIs are on.")
