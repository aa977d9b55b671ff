"""What an organization forbids its projects."""

from typing import Any

from provision.emulator import errors
from provision.emulator.api import Call
from provision.emulator.apis import orgpolicy
from provision.emulator.scenarios import Answer, GoOn, Playing, habit, scenario
from provision.emulator.world import World

Json = dict[str, Any]

LOCATIONS = "gcp.resourceLocations"


@scenario("keys-forbidden", 14, "https://github.com/GaloyMoney/galoy-infra/issues/242")
def keys_forbidden(world: World, options: Json) -> None:
    """The organization lets nobody make keys of service accounts; new ones come like that."""
    del options
    _rule(world, "iam.disableServiceAccountKeyCreation", {"enforce": True})


@scenario(
    "accounts-forbidden",
    14,
    "https://cloud.google.com/resource-manager/docs/organization-policy/restricting-service-accounts",
)
def accounts_forbidden(world: World, options: Json) -> None:
    """The organization lets nobody make service accounts."""
    del options
    _rule(world, "iam.disableServiceAccountCreation", {"enforce": True})


@scenario("no-external-addresses", 14, "https://docs.cloud.google.com/appengine/docs/flexible/known-issues")
def no_external_addresses(world: World, options: Json) -> None:
    """No machine may have an external address; one that should have one never comes."""
    del options
    _rule(world, "compute.vmExternalIpAccess", {"denyAll": True})


@scenario("bare-default-accounts", 14, "https://cloud.google.com/resource-manager/docs/secure-by-default-organizations")
def bare_default_accounts(world: World, options: Json) -> None:
    """The accounts that Google makes have no role on the project; here they never have."""
    del options
    _rule(world, "iam.automaticIamGrantsForDefaultServiceAccounts", {"enforce": True})


@scenario("locations-restricted", 14, "https://github.com/firebase/firebase-tools/issues/6454", region="europe-west1")
def locations_restricted(world: World, options: Json) -> None:
    """Resources may lie in one region only, and nothing that has a location may be spread over the world."""
    _rule(world, LOCATIONS, {"values": {"allowedValues": [f"in:{options['region']}-locations"]}})


@habit("secretmanager.projects.secrets.create", of="locations-restricted")
def of_a_secret(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """Automatic replication is everywhere."""
    replicas = (call.body.get("replication", {}).get("userManaged") or {}).get("replicas") or [{"location": "global"}]
    return _within(call, playing, go_on, [replica["location"] for replica in replicas], "a secret")


@habit("artifactregistry.projects.locations.repositories.create", of="locations-restricted")
def of_a_repository(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """The location is part of its name."""
    return _within(call, playing, go_on, [call.parent.split("/")[3]], "a repository")


@habit("storage.buckets.insert", of="locations-restricted")
def of_a_bucket(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """Cloud Storage has words of its own."""
    location = str(call.body.get("location", "US")).lower()
    if location != playing["region"]:
        message = f"'{location}' violates constraint 'constraints/{LOCATIONS}'"
        raise errors.GoogleError(412, message, reason="conditionNotMet")
    return go_on()


@habit("sql.instances.insert", of="locations-restricted")
def of_a_database(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """And Cloud SQL, too."""
    if (region := call.body.get("region")) != playing["region"]:
        where = f"on the resource 'projects/{call.project_id}'"
        raise errors.invalid(f"Invalid request: '{region}' violates constraint 'constraints/{LOCATIONS}' {where}.")
    return go_on()


def _within(call: Call, playing: Playing, go_on: GoOn, locations: list[str], kind: str) -> Answer:
    outside = [location for location in locations if location != playing["region"]]
    if outside:
        subject = f"orgpolicy:projects/{call.number}"
        where = f"violated for [{subject}] attempting to create {kind} in [{outside[0]}]"
        raise orgpolicy.violated(LOCATIONS, subject, f"Constraint constraints/{LOCATIONS} {where}.")
    return go_on()


def _rule(world: World, constraint: str, rule: Json) -> None:
    for project in world.projects:
        name = f"projects/{project}/policies/{constraint}"
        row: Json = {"name": name, "spec": {"rules": [rule]}, "etag": world.hex(16)}
        world.table("orgpolicy.policies")[name] = row
