"""The table of the simulated deployment: eight rows, one of every kind that the real one has.

account    reads lag behind its creation; has facts
roles      a policy shared with strangers; a member of it was there before us
network    has operations, and is changed in place
database   salted, its name is used once; operations take minutes
user       dies with the database; has a field that cannot be read back
version    dies with the database; the server gives the number; renews
server     renews; its deployment may fail in the end; its older ones are pruned
app        nobody's own: adopted where it was there before
"""

from types import SimpleNamespace
from typing import ClassVar

from provision import step
from provision.config import Config
from provision.plan import Plan, row
from steps import _policy

PROJECT = "my-project"
POLICY = f"projects/{PROJECT}/iamPolicy"
AGENT = "serviceAccount:agent@google.example.com"
"""Has its role before us."""

NEEDS = {
    "account": (),
    "roles": ("account",),
    "network": (),
    "database": ("network",),
    "version": ("database",),
    "user": ("database", "version"),
    "app": (),
    "server": ("account", "app"),
}


def config(number):
    """A user's settings: 0 as they were, 1 and 2 as somebody changes them."""
    settings = {
        "database": {"disk_gb": 10 + 10 * number, "tier": ("db-f1-micro", "db-g1-small", "db-g1-small")[number]}
    }
    settings["server"] = {"cpu": (1, 2, 2)[number], "memory_gb": 3.0}
    settings["access"] = {
        "users": [("ada@example.com",), ("ada@example.com", "bob@example.com"), ("bob@example.com",)][number]
    }
    settings["artifacts"] = {"noncurrent_days": 30 + number}
    return Config.model_validate({"project": PROJECT, **settings})


class Account(step.Facts):
    """Which account it is: one that was made again is another."""

    step: ClassVar[str] = "account"
    unique_id: str


def plan(cloud, names):
    """The rows of these names, over a cloud."""
    steps = {name: _step(cloud, name) for name in NEEDS}
    rows = (
        row(steps["account"], settles=30),
        row(steps["roles"], *_some(steps, names, "roles"), at_least=("bindings",)),
        row(steps["network"]),
        row(steps["database"], *_some(steps, names, "database"), at_least=("disk",), once=True),
        row(steps["version"], *_some(steps, names, "version"), dies_with=steps["database"], renews=True),
        row(steps["user"], *_some(steps, names, "user"), dies_with=steps["database"], write_only=("password",)),
        row(steps["app"], settles=30),
        row(steps["server"], *_some(steps, names, "server"), renews=True),
    )
    return Plan(tuple(line for line in rows if line.name in names))


def closed(names):
    """These rows and what they need."""
    found = set()
    for name in names:
        found |= {name, *closed(NEEDS[name])}
    return found


def _some(steps, names, name):
    return [steps[other] for other in NEEDS[name] if other in names]


def _database(deployment):
    return deployment.numbered(f"databases/{deployment.salt}", "database")


def _version(deployment):
    return f"{_database(deployment)}/versions/{deployment.counters.get('version', 0) + 1}"


def _declared(name, deployment, facts):
    settings, mark = deployment.config, {"mark": deployment.id}
    match name:
        case "account":
            return {"accounts/server": {"title": f"for {settings.artifacts.noncurrent_days} days", **mark}}
        case "roles":
            viewers = [f"user:{user}" for user in settings.access.users]
            account = "serviceAccount:server@my-project.example.com"
            return {POLICY: _policy.bindings({"roles/viewer": [*viewers, account], "roles/agent": [AGENT]})}
        case "network":
            return {"networks/n": {"mtu": 1400 + settings.artifacts.noncurrent_days, **mark}}
        case "database":
            return {_database(deployment): {"tier": settings.database.tier, "disk": settings.database.disk_gb, **mark}}
        case "version":
            return {_version(deployment): {"state": "ENABLED"}}
        case "user":
            return {f"{_database(deployment)}/users/u": {"name": "u", "password": _version(deployment)}}
        case "app":
            return {"apps/a": {"location": "europe-west", "serving": settings.artifacts.noncurrent_days}}
        case _:
            number, who = deployment.counters.get("server", 0), facts[Account].unique_id
            fixed = {"cpu": settings.server.cpu, "account": who, "database": _database(deployment), **mark}
            identity = f"{settings.server.cpu}-{who}-{_database(deployment).rpartition('/')[2]}-{number}"
            return {f"servers/{identity}": fixed}


def _step(cloud, name):
    """A step over the cloud; the mark is a field like any other, which strangers' things carry empty."""
    if name == "roles":
        policies = _policy.Policies(cloud.get_policy, cloud.set_policy)
        verbs = {verb: getattr(policies, verb) for verb in ("read", "create", "update", "delete")}
        return _module(name, **verbs, owner=step.by_parent)

    def read(gcp, ref):
        return {key: value for key, value in cloud.read(gcp, ref).items() if key != "password"}

    def create(gcp, ref, body):
        return cloud.create(gcp, ref, {k: v for k, v in body.items() if k != "mark"}, body.get("mark", ""))

    def update(gcp, ref, body, changes):
        return cloud.update(gcp, ref, changes)

    def delete(gcp, ref, live, applied):
        return cloud.delete(gcp, ref)

    def owner(live, deployment):
        return step.Owner.OURS if live["mark"] == deployment else step.Owner.FOREIGN

    if name in {"server", "version"}:
        update = step.immutable
    if name in {"user", "version"}:
        owner = step.by_parent
    if name == "app":
        owner = step.shared
    facts = (lambda live: Account(unique_id="account")) if name == "account" else step.no_facts
    return _module(name, read=read, create=create, update=update, delete=delete, owner=owner, facts=facts)


def _module(name, **members):
    defaults = {
        "__name__": f"steps.{name}",
        "__doc__": f"The {name}.",
        "LEAVES": None,
        "declare": lambda deployment, facts: _declared(name, deployment, facts),
        "facts": step.no_facts,
        "contents": step.no_contents,
    }
    return SimpleNamespace(**{**defaults, **members})
