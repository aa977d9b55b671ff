"""The network: one that was there before us, its subnet, and room for the addresses of Google's services.

https://cloud.google.com/vpc/docs/configure-private-services-access
"""

from collections.abc import Iterator

from provision.doctor.facts import Facts
from provision.doctor.telling import Finding, blocked, ok
from provision.errors import NetworkNotUsable


def usable(facts: Facts) -> Iterator[Finding]:
    """Whether an existing network and its subnet are there and can be used."""
    name = facts.settings.network.name
    try:
        for row in facts.plan:
            if row.foresees is not None:
                row.foresees(facts.gcp, facts.settings)
    except NetworkNotUsable as error:
        yield blocked(error)
        return
    yield ok(f"{name} and its subnet are there and can be used." if name else "A network of our own is made.")
