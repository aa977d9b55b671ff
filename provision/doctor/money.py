"""Whether somebody pays for the project: without that, no API that costs anything can be switched on.

https://docs.cloud.google.com/billing/docs/how-to/verify-billing-enabled
"""

from collections.abc import Iterator

from provision.doctor.facts import Facts
from provision.doctor.telling import Finding, blocked, in_words, ok, unchecked
from provision.errors import NoBilling

LINK = "billing.resourceAssociations.create"


def paid(facts: Facts) -> Iterator[Finding]:
    """Whether the project has a billing account that is open; and whether you could link one that is named."""
    project = facts.settings.project
    info = facts.gcp.billing.projects().getBillingInfo(name=f"projects/{project}").execute()
    account = info.get("billingAccountName", "")
    if info.get("billingEnabled"):
        yield ok(f"{account} pays.")
        return
    if not account:
        hint = f"Type gcloud billing projects link {project} --billing-account=ACCOUNT; gcloud billing accounts list"
        yield blocked(NoBilling(f"Project {project} has no billing account.", hint=f"{hint} tells which you may use."))
        return
    yield blocked(
        NoBilling(
            f"Project {project} is linked to {account}, which is closed.",
            hint=f"Open it again in the console, or link another one: gcloud billing projects link {project}"
            " --billing-account=ACCOUNT",
        )
    )
    yield from _may_link(facts, account)


def _may_link(facts: Facts, account: str) -> Iterator[Finding]:
    """Whether the caller may have an account pay for projects."""
    try:
        calls = facts.gcp.billing.billingAccounts()
        held = calls.testIamPermissions(resource=account, body={"permissions": [LINK]}).execute().get("permissions", [])
    except Exception as error:  # noqa: BLE001 - a second opinion, which must not hide the first
        yield unchecked(f"Whether you may link projects to {account}: {in_words(error)}")
        return
    if LINK not in held:
        yield unchecked(
            f"You may not link projects to {account} ({LINK}), so somebody else has to.",
            "roles/billing.user on the billing account gives the right.",
        )
