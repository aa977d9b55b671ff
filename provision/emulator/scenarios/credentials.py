"""Credentials that Google does not accept any more."""

from typing import Any

from provision.emulator.scenarios import scenario
from provision.emulator.world import World

Json = dict[str, Any]


@scenario("credentials-expired", 20, "https://cloud.google.com/docs/authentication/troubleshoot-adc", renewable=0)
def credentials_expired(world: World, options: Json) -> None:
    """All tokens have expired, and nobody gets a new one without signing in again, unless they are renewable (1)."""
    now = world.timestamp(0)
    for token, row in world.table("tokens").items():
        world.table("tokens")[token] = row | {"expires": now}
    if not options["renewable"]:
        for refresh in list(world.table("refresh_tokens")):
            del world.table("refresh_tokens")[refresh]
