"""The front door: whether Google's own OAuth client can let in those who shall sign in.

It serves people of the project's own organization; a project without one needs a client of its own
(https://docs.cloud.google.com/iap/docs/custom-oauth-configuration).
"""

from collections.abc import Iterator, Sequence

from provision.deployment import is_of_people
from provision.doctor.facts import Facts
from provision.doctor.telling import Finding, blocked, ok, unasked, unchecked, warning
from provision.errors import NeedsCustomClient

BY_HAND = (
    "make an OAuth client by hand: in the console of {project}, Google Auth Platform, fill in Branding, choose the"
    " audience External, and make a client of the type Web application with the redirect URI"
    " https://iap.googleapis.com/v1/oauth/clientIds/CLIENT_ID:handleRedirect (its own id in place of CLIENT_ID). Then"
    " set door.client_id and door.client_secret_file in provision.toml; docs/how-to/let-outsiders-in.md tells more."
)


def opens(facts: Facts) -> Iterator[Finding]:
    """Whether the OAuth client of the front door can let in those who are named."""
    yield from lets_in(facts, facts.settings.door.client_id, facts.deployment.members)


def lets_in(facts: Facts, client_id: str | None, members: Sequence[str]) -> Iterator[Finding]:
    """Whether an OAuth client can let some members in; Google's own one if it has no id."""
    if client_id:
        yield ok("You bring your own OAuth client, which lets in whomever its audience allows.")
        return
    parent = facts.project.parent
    by_hand = BY_HAND.format(project=facts.settings.project)
    if parent is None:
        yield unchecked(
            "Whether the project belongs to an organization is not told while Resource Manager is off.",
            f"If it belongs to none, {by_hand}",
        )
    elif not parent:
        yield blocked(
            NeedsCustomClient(
                f"Project {facts.settings.project} belongs to no organization, and Google's own OAuth client"
                " serves people of the project's organization only.",
                hint=by_hand[0].upper() + by_hand[1:],
            )
        )
    else:
        people = [member for member in members if is_of_people(member)]
        yield from _outsiders(facts, people, f"If somebody does not belong to it, {by_hand}")


def _outsiders(facts: Facts, members: Sequence[str], todo: str) -> Iterator[Finding]:
    """Who is named and does not belong to the organization, as far as addresses tell."""
    if not members:
        yield ok("Google's own OAuth client is used; no person may pass yet.")
        return
    try:
        found = facts.organization
    except Exception as error:  # noqa: BLE001 - what is known without it is told
        yield unasked(error, todo, about="Whether all who may sign in belong to the organization")
        return
    domain = str((found or {}).get("displayName", ""))
    outside = [member for member in members if member.partition(":")[2].rpartition("@")[2] != domain]
    if outside:
        yield warning(
            f"{', '.join(outside)}: not of {domain}, and Google's own OAuth client lets in people of the project's"
            " organization only; another domain of the same organization is fine.",
            todo,
        )
    else:
        yield ok(f"All who may sign in belong to {domain}, so Google's own OAuth client will do.")
