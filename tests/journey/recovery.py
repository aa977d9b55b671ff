"""What the proofs of recovery have in common: a project on its first day, and how its resources are counted."""

import collections

from tests.journey.deploy import NUMBER, PROJECT, Deployment

# No API is switched on.
EMPTY_PROJECT = [{"projectId": PROJECT, "projectNumber": NUMBER, "services": []}]

# What the emulator keeps beside the project's resources: its own settings, and histories that only grow.
NO_RESOURCES = {
    "calls", "compute.requests", "operations", "settings", "sql.reserved", "storage.looks", "storage.noncurrent", "tokens",
}  # fmt: skip


def census(deployment: Deployment) -> collections.Counter[str]:
    """How many resources of each kind the project has, the ledger's bucket aside."""
    rows = deployment.emulator.world._database.execute("SELECT kind, key FROM rows")
    return collections.Counter(kind for kind, key in rows if kind not in NO_RESOURCES and "-provision-" not in key)
