"""Organization Policy: what an organization forbids its projects. https://cloud.google.com/resource-manager/docs/reference/orgpolicy/rest."""

from provision.emulator import errors
from provision.emulator.api import Call, Json, method
from provision.emulator.world import World

# constraints that take lists of values; all others are switches
_LISTS = ("allowed", "restrict", "resourceLocations", "vmExternalIpAccess", "Domains", "requireOsConfig")


def enforced(world: World, project: str, constraint: str) -> bool:
    """Whether a constraint that is a switch is on in a project (by ID)."""
    row = world.table("orgpolicy.policies").get(f"projects/{project}/policies/{constraint}")
    return bool(row and any(rule.get("enforce") for rule in row["spec"].get("rules", [])))


def denied(world: World, project: str, constraint: str) -> bool:
    """Whether a constraint that takes a list allows nothing in a project (by ID)."""
    row = world.table("orgpolicy.policies").get(f"projects/{project}/policies/{constraint}")
    return bool(row and any(rule.get("denyAll") for rule in row["spec"].get("rules", [])))


def violated(constraint: str, subject: str, message: str) -> errors.GoogleError:
    """400 FAILED_PRECONDITION that names the constraint, as most APIs say it."""
    violation = {"type": f"constraints/{constraint}", "subject": subject, "description": message}
    failure: Json = {"@type": "type.googleapis.com/google.rpc.PreconditionFailure", "violations": [violation]}
    return errors.failed_precondition(message, details=[failure])


def _shown(call: Call, row: Json) -> Json:
    return row | {"name": f"projects/{call.number}/policies/{row['name'].rsplit('/', 1)[-1]}"}


@method("orgpolicy.projects.policies.getEffectivePolicy", permission="orgpolicy.policy.get")
def effective(call: Call) -> Json:
    """What holds in a project: its own policy, or Google's default, which allows."""
    _ = call.project
    row = call.world.table("orgpolicy.policies").get(call.name)
    if row is None:
        is_list = any(word in call.name.rsplit(".", 1)[-1] for word in _LISTS)
        row = {"name": call.name, "spec": {"rules": [{"allowAll": True} if is_list else {"enforce": False}]}}
    shown = _shown(call, row)
    return {"name": shown["name"], "spec": {"rules": shown["spec"].get("rules", [])}}


@method("orgpolicy.projects.policies.get", permission="orgpolicy.policy.get")
def get(call: Call) -> Json:
    """The policy set on the project itself."""
    row = call.world.table("orgpolicy.policies").get(call.name)
    if row is None:
        raise errors.not_found("Requested entity was not found.")
    return _shown(call, row)


@method("orgpolicy.projects.policies.list", permission="orgpolicy.policies.list")
def list_policies(call: Call) -> Json:
    """All policies set on the project itself."""
    rows = call.world.table("orgpolicy.policies").under(f"{call.parent}/policies/")
    return call.page([_shown(call, row) for _, row in rows], "policies", 100)


@method("orgpolicy.projects.policies.create", permission="orgpolicy.policy.set")
def create(call: Call) -> Json:
    """Set a policy on the project."""
    name = f"projects/{call.project_id}/policies/{str(call.body.get('name', '')).rsplit('/', 1)[-1]}"
    if name in call.world.table("orgpolicy.policies"):
        raise errors.already_exists("Requested entity already exists")
    return _put(call, name)


@method("orgpolicy.projects.policies.patch", permission="orgpolicy.policy.set")
def patch(call: Call) -> Json:
    """Change a policy set on the project."""
    if call.name not in call.world.table("orgpolicy.policies"):
        raise errors.not_found("Requested entity was not found.")
    return _put(call, call.name)


def _put(call: Call, name: str) -> Json:
    spec = {key: value for key, value in (call.body.get("spec") or {}).items() if key not in ("etag", "updateTime")}
    spec |= {"etag": call.world.hex(16), "updateTime": call.world.timestamp(6)}
    row: Json = {"name": name, "spec": spec, "etag": call.world.hex(16)}
    call.world.table("orgpolicy.policies")[name] = row
    return _shown(call, row)


@method("orgpolicy.projects.policies.delete", permission="orgpolicy.policy.set")
def delete(call: Call) -> Json:
    """Take a policy off the project."""
    if call.world.table("orgpolicy.policies").pop(call.name, None) is None:
        raise errors.not_found("Requested entity was not found.")
    return {}
