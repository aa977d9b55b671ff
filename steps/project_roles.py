"""Roles on the project: only those that cannot be given on anything narrower.

Google's own agent for private services access needs its role before a network can be connected, and it may not exist
yet (https://cloud.google.com/vpc/docs/configure-private-services-access#service-agent).
"""

from collections.abc import Sequence

from provision.deployment import Deployment
from provision.gcp import Gcp
from provision.step import Body, Change, FactBook, Ref, Stays, by_parent, no_contents, no_facts
from steps import _connections, _policy

AGENT_ROLE = "roles/servicenetworking.serviceAgent"

LEAVES: str | None = None
RIGHTS: tuple[str, ...] = (
    "resourcemanager.projects.getIamPolicy", "resourcemanager.projects.setIamPolicy",
    "serviceusage.services.enable", "compute.networks.list",
)  # fmt: skip


def declare(deployment: Deployment, facts: FactBook) -> dict[Ref, Body]:
    """What the server, the builder and Google's agent may do."""
    server, builder = (_policy.account(deployment.account(purpose)) for purpose in ("server", "builder"))
    agent = f"service-{deployment.project_number}@service-networking.iam.gserviceaccount.com"
    granted = {
        "roles/cloudsql.client": [server],
        "roles/logging.logWriter": [server, builder],
        "roles/monitoring.metricWriter": [server],
        AGENT_ROLE: [_policy.account(agent)],
    }
    return {f"projects/{deployment.project}{_policy.SUFFIX}": _policy.bindings(granted)}


def create(gcp: Gcp, ref: Ref, body: Body) -> None:
    """Grant them all."""
    _wake_agent(gcp, body["bindings"][AGENT_ROLE])
    _policies.create(gcp, ref, body)


def update(gcp: Gcp, ref: Ref, body: Body, changes: Sequence[Change]) -> None:
    """Grant what is missing, and nothing else is touched."""
    if any(change.path[-1] == AGENT_ROLE for change in changes):
        _wake_agent(gcp, body["bindings"][AGENT_ROLE])
    _policies.update(gcp, ref, body, changes)


def delete(gcp: Gcp, ref: Ref, live: Body, applied: Body) -> None:
    """Take out what we granted; Google's agent keeps its role while a network, of others by now, is connected by it."""
    ours = {role: who for role, who in applied["bindings"].items() if set(who) & set(live["bindings"].get(role, []))}
    if networks := _connections.connected(gcp):
        ours.pop(AGENT_ROLE, None)
        if not ours:
            raise Stays(f"Google's own agent keeps {AGENT_ROLE}: the connection of {', '.join(networks)} needs it.")
    _policies.delete(gcp, ref, live, {"bindings": ours})


def _wake_agent(gcp: Gcp, members: list[str]) -> None:
    """Make Google create its agent: a role can only be granted to one that exists. Asking again does no harm."""
    number = members[0].partition("service-")[2].partition("@")[0]
    service = f"projects/{number}/services/servicenetworking.googleapis.com"
    gcp.serviceusage_beta.services().generateServiceIdentity(parent=service).execute()


_policies = _policy.of_messages(lambda gcp: gcp.projects)
read = _policies.read
facts = no_facts
owner = by_parent
contents = no_contents
