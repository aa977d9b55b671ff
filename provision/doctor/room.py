"""Whether there is room for what is still to be made: quotas of Compute Engine, which App Engine flexible uses as well.

https://cloud.google.com/compute/resource-usage. An instance of the server has no external address, so it uses none of
those; while a new version is deployed the old one still runs, and is in the usage.
"""

from collections.abc import Iterator

from provision.doctor.facts import Facts, Json
from provision.doctor.telling import Finding, blocked, ok
from provision.errors import QuotaExceeded

GLOBAL = {"network": "NETWORKS", "subnet": "SUBNETWORKS", "peering_range": "GLOBAL_INTERNAL_ADDRESSES"}
"""By row, the quota of which each resource takes one."""

PLACEHOLDER = {"CPUS": 1.0, "INSTANCES": 1.0, "DISKS_TOTAL_GB": 10.0}
"""What App Engine's default service takes until it is stopped, before the server is deployed."""


def enough(facts: Facts) -> Iterator[Finding]:
    """Whether quotas leave room for what is still to be made."""
    _ = facts.ledger  # while it cannot be read, nobody knows what is still to be made
    here, everywhere = _in_the_region(facts), _everywhere(facts)
    if not (here or everywhere):
        yield ok("Nothing is to be made that takes any.")
        return
    calls, project = facts.gcp.compute, facts.settings.project
    short = []
    if everywhere:
        short += _short(calls.projects().get(project=project).execute(), everywhere, "")
    if here:
        found = calls.regions().get(project=project, region=facts.settings.region).execute()
        short += _short(found, here, f" in {facts.settings.region}")
    for words in short:
        yield blocked(QuotaExceeded(words))
    if not short:
        needed = ", ".join(f"{amount:g} {metric}" for metric, amount in sorted({**everywhere, **here}.items()))
        yield ok(f"There is room for what is to be made: {needed}.")


def _rows(facts: Facts) -> list[str]:
    """The row of each resource that is still to be begun."""
    return [row.name for row, _, _ in facts.unbegun]


def _everywhere(facts: Facts) -> dict[str, float]:
    """CPUs have a quota over all regions besides (https://github.com/GoogleCloudPlatform/data-science-on-gcp/issues/163)."""
    rows, here = _rows(facts), _in_the_region(facts)
    cpus = {"CPUS_ALL_REGIONS": here["CPUS"]} if here else {}
    return cpus | {metric: float(rows.count(name)) for name, metric in GLOBAL.items() if name in rows}


def _in_the_region(facts: Facts) -> dict[str, float]:
    size, needed, rows = facts.settings.server, dict[str, float](), _rows(facts)
    if "server" in rows:
        needed = {
            "CPUS": float(size.instances * size.cpu),
            "INSTANCES": float(size.instances),
            "DISKS_TOTAL_GB": float(size.instances * size.disk_gb),
        }
    if "default_service" in rows:
        needed = {metric: max(amount, needed.get(metric, 0.0)) for metric, amount in PLACEHOLDER.items()}
    return needed


def _short(found: Json, needed: dict[str, float], where: str) -> list[str]:
    """What there is too little of."""
    quotas = {quota["metric"]: (quota["limit"], quota.get("usage", 0.0)) for quota in found.get("quotas", [])}
    return [
        f"The quota {metric}{where} is {limit:g}, {usage:g} are used, and {needed[metric]:g} more are needed."
        for metric, (limit, usage) in sorted(quotas.items())
        if metric in needed and usage + needed[metric] > limit
    ]
