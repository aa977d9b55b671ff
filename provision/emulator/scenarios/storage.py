"""Cloud Storage: answers that mislead, writes that come too fast, and names that somebody else has."""

from fnmatch import fnmatchcase
from typing import Any

from provision.emulator import errors
from provision.emulator.api import Call, Reply
from provision.emulator.apis.storage_rules import denied
from provision.emulator.scenarios import TABLE, Answer, GoOn, Playing, habit, scenario
from provision.emulator.world import World

Json = dict[str, Any]

NOT_AVAILABLE = (
    "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please"
    " select a different name and try again."
)


@scenario("own-success-412", 12, "https://docs.cloud.google.com/storage/docs/request-preconditions", times=3)
def own_success_412(world: World, options: Json) -> None:
    """A write succeeds, its answer is lost on the way, it is sent again by itself, and that answers 412."""
    del world, options


@habit("storage.objects.insert", of="own-success-412")
def succeeds(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """The first writes that name a generation."""
    answer = go_on()
    if call.params.get("ifGenerationMatch") is None or not playing.again():
        return answer
    refused = errors.precondition_failed()
    return Reply(refused.body(call.host), refused.code)


@scenario("ledger-throttled", 12, "https://docs.cloud.google.com/storage/quotas", seconds=1.0)
def ledger_throttled(world: World, options: Json) -> None:
    """An object takes no second write within a second."""
    del world, options


@habit("storage.objects.insert", of="ledger-throttled")
def throttled(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """Each object by itself; what is refused does not count."""
    name = str(call.params.get("name") or call.body.get("name") or "")
    written = playing.row.setdefault("written", {})
    if name in written and playing.lasts(written[name]):
        raise errors.resource_exhausted(
            f"The object {call.params['bucket']}/{name} exceeded the rate limit for object mutation operations (create,"
            " update, and delete). Please reduce your request rate. See https://cloud.google.com/storage/docs/gcs429.",
            reason="rateLimitExceeded",
        )
    answer = go_on()
    written[name] = call.world.timestamp(6)
    call.world.table(TABLE)[playing.name] = playing.row
    return answer


@scenario(
    "bucket-taken",
    12,
    "https://github.com/GoogleCloudPlatform/gsutil/pull/1166",
    bucket="*-artifacts-*",
    times=1,
    look=403,
)
def bucket_taken(world: World, options: Json) -> None:
    """The name that is asked for is that of somebody else's bucket."""
    del world, options


@habit("storage.buckets.get", "storage.buckets.insert", of="bucket-taken")
def taken(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """The first names of that kind; a look at them may be forbidden, or find nothing."""
    making = call.id.endswith("insert")
    name = str(call.body["name"] if making else call.params["bucket"])
    if not fnmatchcase(name, playing["bucket"]):
        return go_on()
    playing.first(name)
    if list(playing.row["first"]).index(name) >= playing["times"]:
        return go_on()
    if making:
        raise errors.conflict(NOT_AVAILABLE)
    if playing["look"] == 403:
        raise denied(call.caller, "storage.buckets.get", "bucket")
    raise errors.not_found("The specified bucket does not exist.")
