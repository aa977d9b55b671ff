"""Who runs the command, and which project pays for its calls.

https://cloud.google.com/docs/authentication/application-default-credentials,
https://cloud.google.com/docs/quotas/quota-project
"""

from collections.abc import Iterator

from provision import retry
from provision.doctor.facts import Facts
from provision.doctor.telling import Finding, blocked, ok, unchecked, warning
from provision.errors import NotSignedIn, QuotaProjectMissing
from provision.refusals import refusal_of

FEDERATED = (
    "Let the credentials act as a service account (service_account_impersonation_url): a federated principal can sign"
    " nothing for the front door by itself."
)


def known(facts: Facts) -> Iterator[Finding]:
    """Whether Google knows the caller."""
    import google.auth.exceptions

    try:
        who = facts.runner
    except google.auth.exceptions.GoogleAuthError as error:
        if refusal_of(error) is not None:  # no answer, which is not to say that Google would refuse
            raise
        yield blocked(NotSignedIn(f"Google does not know who you are: {error}"))
        return
    if who:
        yield ok(f"You are {who}.")
    elif facts.gcp.is_federated:
        yield warning("Your credentials are federated and act as no service account.", FEDERATED)
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
