"""Where App Engine is. Two of its regions have names of their own: europe-west and us-central.

https://docs.cloud.google.com/appengine/docs/flexible/locations. The short ids are those of the hosts' names.
"""

from provision.emulator import errors
from provision.emulator.api import Call, Json, method

# Short id by location, as in PROJECT.ew.r.appspot.com.
LOCATIONS = {
    "asia-east1": "de",
    "asia-east2": "df",
    "asia-northeast1": "an",
    "asia-northeast2": "dt",
    "asia-northeast3": "du",
    "asia-south1": "el",
    "asia-southeast1": "as",
    "asia-southeast2": "et",
    "australia-southeast1": "ts",
    "europe-central2": "lm",
    "europe-west": "ew",
    "europe-west2": "nw",
    "europe-west3": "ey",
    "europe-west6": "oa",
    "northamerica-northeast1": "nn",
    "southamerica-east1": "rj",
    "us-central": "uc",
    "us-east1": "ue",
    "us-east4": "uk",
    "us-west1": "uw",
    "us-west2": "wl",
    "us-west3": "wm",
    "us-west4": "wn",
}


def region_of(location: str) -> str:
    """The region as the other services call it."""
    return f"{location}1" if location in ("europe-west", "us-central") else location


def registry_of(location: str) -> str:
    """The Container Registry host of a location's continent."""
    continent = location.partition("-")[0]
    return {"europe": "eu.gcr.io", "asia": "asia.gcr.io", "australia": "asia.gcr.io"}.get(continent, "us.gcr.io")


@method("appengine.apps.locations.list", permission="appengine.applications.get")
def list_locations(call: Call) -> Json:
    """Every location; it needs no application yet."""
    rows = [_location(call.project_id, location) for location in LOCATIONS]
    return call.page(rows, key="locations", default=100)


@method("appengine.apps.locations.get", permission="appengine.applications.get")
def get_location(call: Call) -> Json:
    """One location."""
    name = call.params["locationsId"]
    if name not in LOCATIONS:
        raise errors.not_found(f"Location {name} was not found.")
    return _location(call.project_id, name)


def _location(project: str, location: str) -> Json:
    return {
        "name": f"apps/{project}/locations/{location}",
        "locationId": location,
        "labels": {"cloud.googleapis.com/region": region_of(location)},
        "metadata": {
            "@type": "type.googleapis.com/google.appengine.v1.LocationMetadata",
            "standardEnvironmentAvailable": True,
            "flexibleEnvironmentAvailable": True,
            "searchApiAvailable": location in ("us-central", "europe-west"),
        },
    }
