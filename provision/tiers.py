"""The machines of Cloud SQL for PostgreSQL: which there are, and how many connections each gives."""

import math

MAX_CONNECTIONS = {"db-f1-micro": 25, "db-g1-small": 50}
"""By shared-core tier, the default of max_connections (https://cloud.google.com/sql/docs/postgres/flags)."""

MEMORY_CONNECTIONS = ((3.75, 100), (6, 200), (7.5, 400), (15, 500), (30, 600), (60, 800), (120, 1000))
"""The same for the other tiers: below so many GiB of memory the next lower figure holds (same page)."""


def why_not(tier: str) -> str:
    """Why there is no such machine; "" when there is one.

    https://cloud.google.com/sql/docs/postgres/instance-settings
    """
    if tier in MAX_CONNECTIONS:
        return ""
    cores, megabytes = map(int, tier.split("-")[2:])
    if cores != 1 and (not 2 <= cores <= 96 or cores % 2):
        return "a custom machine has 1 core, or an even number up to 96"
    least = max(3840, math.ceil(cores * 0.9 * 1024 / 256) * 256)
    most = int(cores * 6.5 * 1024)
    if not least <= megabytes <= most or megabytes % 256:
        return f"a machine with {cores} cores has {least} to {most} MB of memory, in steps of 256"
    return ""


def connections(tier: str) -> int:
    """How many connections a tier gives by default."""
    if tier in MAX_CONNECTIONS:
        return MAX_CONNECTIONS[tier]
    gib = int(tier.rsplit("-", 1)[1]) / 1024
    return max((count for least, count in MEMORY_CONNECTIONS if gib >= least), default=50)


def smallest(need: int) -> str:
    """The smallest tier that gives so many connections, or what to do when none does."""
    for tier, count in sorted(MAX_CONNECTIONS.items(), key=lambda item: item[1]):
        if count >= need:
            return tier
    for gib, count in MEMORY_CONNECTIONS:
        if count >= need:
            # A custom tier gives at most 6.5 GiB of memory to a core, and an even number of cores above one.
            cores = math.ceil(gib / 6.5)
            return f"db-custom-{cores if cores == 1 else cores + cores % 2}-{int(gib * 1024)}"
    return "none: lower server.instances or server.workers"
