"""Who runs the command, and which project pays for its calls.

https://cloud.google.com/docs/authentication/application-default-credentials,
https://cloud.google.com/docs/quotas/quota-project
"""

from collections.abc import Iterator

from provision import retry
from provision.doctor.facts import Facts
from provision.doctor.telling import Finding, blocked, ok, unchecked, warning
from provision.errors import NeedsAnAccount, NotSignedIn, QuotaProjectMissing
from provision.refusals import refusal_of


def known(facts: Facts) -> Iterator[Finding]:
    """Whether Google knows the caller."""
    import google.auth.exceptions

    try:
        who = facts.runner
    except google.auth.exceptions.DefaultCredentialsError as error:
        yield blocked(NotSignedIn(f"Google does not know who you are: {error}"))
        return
    except Exception as error:
        told = retry.explained(error, "asking who you are")
        if not isinstance(told, NotSignedIn | NeedsAnAccount):
            raise
        yield blocked(told)
        return
    if who:
        yield ok(f"You are {who}.")
    else:
        yield unchecked("Google does not say whose the credentials are.")


def pays(facts: Facts) -> Iterator[Finding]:
    """Whether the deployed project pays for the calls, as far as that is seen from here."""
    mine, project = facts.gcp.quota_project, facts.settings.project
    missing = QuotaProjectMissing.hint.replace("PROJECT", project)
    try:
        number = facts.project.number
    except Exception as error:
        if not retry.is_off(error) or retry.is_off_here(error):
            raise
        yield blocked(QuotaProjectMissing(f"Another project pays for your calls: {refusal_of(error)}", hint=missing))
        return
    if mine in {project, number}:
        yield ok(f"{project} pays for your calls.")
    elif mine:
        yield warning(f"{mine} pays for your calls, so every API must be on there as well.", missing)
    elif facts.gcp.is_person:
        yield warning("Your credentials name no project that pays for your calls; some APIs want one.", missing)
    else:
        yield ok("The account's own project pays for its calls.")
