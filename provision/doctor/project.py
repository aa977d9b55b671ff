"""The project: whether it can be used, what it lies in, and what was deployed to it before."""

from collections.abc import Iterator

from provision import session
from provision.doctor.facts import Facts
from provision.doctor.telling import Finding, blocked, ok, unchecked
from provision.errors import ProjectNotUsable, ProvisionError
from provision.refusals import file_trouble, is_of_this_machine

LEAVES_OPEN = (1,)
"""Exit codes of errors that say no more than that something could not be asked."""


def usable(facts: Facts) -> Iterator[Finding]:
    """Whether the project is there, and not about to be deleted."""
    try:
        project = facts.project
    except ProjectNotUsable as error:
        yield blocked(error)
        return
    if project.parent is None:
        yield unchecked(f"{project.id} is there; whether it is active is not told while Resource Manager is off.")
    else:
        yield ok(f"{project.id} is there and active; its number is {project.number}.")


def organization(facts: Facts) -> Iterator[Finding]:
    """Whether the project belongs to one: only then are there policies, and an OAuth client of Google's own."""
    parent = facts.project.parent
    if parent is None:
        yield unchecked("What the project lies in is not told while Resource Manager is off.")
    elif parent:
        yield ok(f"The project lies in {parent}.")
    else:
        yield ok("The project belongs to no organization.")


def ledger(facts: Facts) -> Iterator[Finding]:
    """Whether what was deployed before can be read, and fits the settings."""
    try:
        known = facts.ledger
        if known is not None:
            session.must_fit(known, facts.settings)
    except ProvisionError as error:
        if error.exit_code in LEAVES_OPEN or isinstance(error, ProjectNotUsable):  # that is the project's own line
            raise
        yield blocked(error)
        return
    except OSError as error:
        if not is_of_this_machine(error):
            raise
        yield blocked(file_trouble(error))
        return
    if known is None:
        yield ok("Nothing was deployed before.")
    else:
        yield ok(f"The ledger has serial {known.serial} and knows {len(known.records)} resources.")
