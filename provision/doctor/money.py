"""Whether somebody pays for the project: without that, no API that costs anything can be switched on.

https://docs.cloud.google.com/billing/docs/how-to/verify-billing-enabled
"""

from collections.abc import Iterator

from provision.doctor.facts import Facts
from provision.doctor.telling import Finding, blocked, ok, unasked
from provision.errors import NoBilling

LINK = "billing.resourceAssociations.create"
"""What it takes to have an account pay for a project, asked at the account."""


def paid(facts: Facts) -> Iterator[Finding]:
    """Whether the project has a billing account that is open; if not, which one you could link it to."""
    project = facts.settings.project
    info = facts.gcp.billing.projects().getBillingInfo(name=f"projects/{project}").execute()
    account = info.get("billingAccountName", "")
    if info.get("billingEnabled"):
        yield ok(f"{account} pays.")
        return
    has = f"is linked to {account}, which is closed" if account else "has no billing account"
    account, hint = "ACCOUNT", "Let somebody with roles/billing.user on a billing account type this, with its id."
    try:
        if usable := _linkable(facts):
            account, hint = usable[0].removeprefix("billingAccounts/"), "Type this."
    except Exception as error:  # noqa: BLE001 - what is known without it is told
        yield unasked(error, about="Which billing accounts you may use")
        hint = "Type this, with an account that gcloud billing accounts list tells."
    missing = NoBilling(f"Project {project} {has}.", hint=hint)
    missing.commands = (f"gcloud billing projects link {project} --billing-account={account}",)
    yield blocked(missing)


def _linkable(facts: Facts) -> list[str]:
    """The accounts that are open and that the caller may have pay for projects."""
    calls = facts.gcp.billing.billingAccounts()
    seen = [found["name"] for found in calls.list().execute().get("billingAccounts", []) if found.get("open")]
    asked = {"permissions": [LINK]}
    return [name for name in seen if calls.testIamPermissions(resource=name, body=asked).execute().get("permissions")]
