"""Whether all that is deployed is to be had in the region.

https://docs.cloud.google.com/appengine/docs/flexible/locations, https://cloud.google.com/sql/docs/postgres/locations,
https://cloud.google.com/build/docs/locations#restricted_regions_for_some_projects
"""

from collections.abc import Callable, Iterator

from provision.doctor.facts import Facts
from provision.doctor.telling import Finding, blocked, ok, unasked, unchecked, warning
from provision.errors import BadConfig

BUILDS_EVERYWHERE = (
    "asia-east1", "australia-southeast1", "europe-west1", "southamerica-east1", "us-central1", "us-west2",
)  # fmt: skip
"""Where every project may build; others let some projects only."""


def has_it_all(facts: Facts) -> Iterator[Finding]:
    """Whether App Engine flexible and Cloud SQL are there in the region; Cloud Build cannot be asked."""
    if not facts.makes("app", "server", "sql_instance", "image"):
        yield ok("All that needs a region is there already.")
        return
    yield from _said("App Engine flexible", lambda: _app_engine(facts))
    yield from _said("Cloud SQL", lambda: _cloud_sql(facts))
    region = facts.settings.region
    if region not in BUILDS_EVERYWHERE and facts.makes("image"):
        yield warning(
            f"Google lets some projects build images only in {', '.join(BUILDS_EVERYWHERE)}, and does not tell whether"
            f" this one may in {region}."
        )


def _said(what: str, ask: Callable[[], Finding]) -> Iterator[Finding]:
    try:
        yield ask()
    except Exception as error:  # noqa: BLE001 - what the others say is told
        yield unasked(error, about=what)


def _app_engine(facts: Facts) -> Finding:
    app, wanted = facts.settings.project, facts.deployment.app_region
    found = facts.gcp.appengine.apps().locations().list(appsId=app, pageSize=100).execute().get("locations", [])
    flexible = [place["locationId"] for place in found if place.get("metadata", {}).get("flexibleEnvironmentAvailable")]
    return _has("App Engine flexible", wanted, flexible)


def _cloud_sql(facts: Facts) -> Finding:
    tier, region = facts.settings.database.tier, facts.settings.region
    found = facts.gcp.sql.tiers().list(project=facts.settings.project).execute().get("items", [])
    places = {place for item in found for place in item.get("region", []) if item["tier"] == tier}
    # Custom machines are in no list: where Cloud SQL is at all, they are.
    return _has("Cloud SQL", region, sorted(places or {place for item in found for place in item.get("region", [])}))


def _has(what: str, wanted: str, places: list[str]) -> Finding:
    if not places:
        return unchecked(f"{what} does not tell where it is.")
    if wanted in places:
        return ok(f"{what} is there in {wanted}.")
    return blocked(BadConfig(f"region: {what} is not there in {wanted}, but in {', '.join(sorted(places))}."))
