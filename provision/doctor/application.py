"""The project's App Engine application: there is one at most, and its region is for ever.

https://docs.cloud.google.com/appengine/docs/flexible/regions
"""

from collections.abc import Iterator

from provision.doctor.facts import Facts
from provision.doctor.telling import Finding, blocked, ok
from provision.errors import ApplicationDisabled, WrongRegion


def fits(facts: Facts) -> Iterator[Finding]:
    """Whether the App Engine application, if there is one, lies in the region and serves."""
    found, wanted = facts.application, facts.deployment.app_region
    if found is None:
        yield ok(f"There is none yet; up makes it in {wanted}, for ever.")
        return
    name = f"apps/{facts.settings.project}"
    status = found.get("servingStatus", "SERVING")
    if found["locationId"] != wanted:
        yield blocked(WrongRegion(f"{name}: the application lies in {found['locationId']} for ever, not in {wanted}"))
    if status != "SERVING":
        yield blocked(
            ApplicationDisabled(f"{name}: the application is {status}, so it serves nothing and takes no version.")
        )
    if found["locationId"] == wanted and status == "SERVING":
        yield ok(f"It lies in {wanted} and serves.")
