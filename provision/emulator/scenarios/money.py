"""A project that nobody pays for, quotas that are used up, and too many requests in a short time."""

from typing import Any

from provision.emulator import errors
from provision.emulator.api import Call
from provision.emulator.apis.compute_regions import REGION_QUOTAS
from provision.emulator.scenarios import TABLE, Answer, GoOn, Playing, habit, scenario
from provision.emulator.world import World

Json = dict[str, Any]

DEPLOYING = "appengine.apps.services.versions.create"
LEGACY = ("compute.googleapis.com", "sqladmin.googleapis.com", "storage.googleapis.com")


@scenario("no-billing", 13, "https://github.com/kyegomez/zeta/issues/71")
def no_billing(world: World, options: Json) -> None:
    """The project has no billing account, and what costs money is refused."""
    del options
    for name, project in world.projects.items():  # how each API says it is its own behaviour
        world.projects[name] = project | {"billing": ""}


@scenario(
    "billing-quota",
    13,
    "https://github.com/terraform-google-modules/terraform-google-project-factory/issues/28",
)
def billing_quota(world: World, options: Json) -> None:
    """The project has no billing account, and the one that there is pays for as many projects as it may."""
    no_billing(world, options)


@habit("cloudbilling.projects.updateBillingInfo", of="billing-quota")
def no_more_projects(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """It is not linked."""
    del playing, go_on
    words = "Cloud billing quota exceeded: https://support.google.com/code/contact/billing_quota_increase"
    violation = {"subject": call.body.get("billingAccountName", ""), "description": words}
    failure = {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]}
    raise errors.failed_precondition("Precondition check failed.", details=[failure])


@scenario(
    "quota-used-up",
    13,
    "https://github.com/PolicyEngine/policyengine-api/issues/177",
    among={"metric": REGION_QUOTAS},
    metric="CPUS",
    limit=24,
)
def quota_used_up(world: World, options: Json) -> None:
    """A quota of the region, such as CPUS or IN_USE_ADDRESSES, leaves no room for a deployment."""
    del world, options


@habit(DEPLOYING, of="quota-used-up")
def no_room(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """It is refused before it begins."""
    del call, go_on
    used = f"{playing['metric']} (quota: {playing['limit']}, used: {playing['limit']} + needed: 1)"
    raise errors.invalid(f"The following quotas were exceeded: {used}.", status="INVALID_ARGUMENT")


@habit("compute.regions.get", of="quota-used-up")
def told(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """Whoever looks sees it."""
    del call
    region = go_on()
    limit = float(playing["limit"])
    if isinstance(region, dict):
        for quota in region["quotas"]:
            if quota["metric"] == playing["metric"]:
                quota |= {"limit": limit, "usage": limit}
    return region


@scenario(
    "rate-limited",
    13,
    "https://cloud.google.com/compute/api-quota",
    host="artifactregistry.googleapis.com",
    calls=5,
    seconds=60.0,
)
def rate_limited(world: World, options: Json) -> None:
    """An API has had more requests in a minute than it takes, and refuses all for a while."""
    del world, options


@habit("*", of="rate-limited")
def too_many(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """After so many calls."""
    since = playing.row.get("limited", "")
    if call.host != playing["host"] or (since and not playing.lasts(since)):
        return go_on()
    if not since:  # what is counted in a call that is refused would be gone with it
        if playing.count("calls") == playing["calls"]:
            playing.row["limited"] = call.world.timestamp(6)
            call.world.table(TABLE)[playing.name] = playing.row
        return go_on()
    metric = f"quota metric 'Requests' and limit 'Requests per minute' of service '{call.host}'"
    message = f"Quota exceeded for {metric} for consumer 'project_number:{call.number}'."
    if call.host in LEGACY:
        raise errors.permission_denied(message, reason="rateLimitExceeded", domain="usageLimits")
    info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "RATE_LIMIT_EXCEEDED",
        "domain": "googleapis.com",
        "metadata": {"service": call.host, "consumer": f"projects/{call.number}"},
    }
    raise errors.resource_exhausted(message, details=[info])
