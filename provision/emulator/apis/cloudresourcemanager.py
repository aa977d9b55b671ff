"""Resource Manager, v1 and v3: projects and their policies.

https://cloud.google.com/resource-manager/reference/rest. A project that does not exist answers 403, never 404.
"""

import base64
import re
from collections.abc import Callable

from provision.emulator import errors, iam, operations
from provision.emulator.api import NO_PERMISSION, Call, Json, method
from provision.emulator.world import World

_ID = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]")
_TYPE = "type.googleapis.com/google.cloud.resourcemanager.v3."


def _v3(project: Json) -> Json:
    row: Json = {
        "name": f"projects/{project['projectNumber']}",
        "projectId": project["projectId"],
        "state": project["lifecycleState"],
        "displayName": project["name"],
        "createTime": project["createTime"],
        "updateTime": project["updateTime"],
        "etag": base64.b64encode(project["updateTime"].encode()).decode()[:22],
    }
    if project["parent"]:
        row["parent"] = f"{project['parent']['type']}s/{project['parent']['id']}"
    if project["labels"]:
        row["labels"] = project["labels"]
    if project.get("deleteTime"):
        row["deleteTime"] = project["deleteTime"]
    return row


def _v1(project: Json) -> Json:
    kept = ("projectNumber", "projectId", "lifecycleState", "name", "createTime", "labels", "parent")
    return {key: project[key] for key in kept if project[key]}


def _shape(call: Call) -> Json:
    return _v3(call.project) if call.version == "v3" else _v1(call.project)


def _resource(call: Call) -> str:
    return f"projects/{call.project_id}"


@method("cloudresourcemanager.projects.get", permission="resourcemanager.projects.get", resource=_resource)
def get(call: Call) -> Json:
    """A project, by ID or number."""
    return _shape(call)


@method("cloudresourcemanager.projects.search", version="v3", permission="resourcemanager.projects.list")
def search(call: Call) -> Json:
    """Projects that fit a query such as `state:ACTIVE labels.env:prod`."""
    return call.page(_found(call, str(call.params.get("query", "")), _v3), "projects")


@method("cloudresourcemanager.projects.list", version="v3", permission="resourcemanager.projects.list")
def list_v3(call: Call) -> Json:
    """Projects directly under a parent."""
    rows = [p for p in _found(call, "", _v3) if p.get("parent") == call.params.get("parent")]
    return call.page([p for p in rows if p["state"] == "ACTIVE" or call.params.get("showDeleted")], "projects")


@method("cloudresourcemanager.projects.list", version="v1", permission="resourcemanager.projects.list")
def list_v1(call: Call) -> Json:
    """Projects that fit a filter such as `labels.env:prod`."""
    return call.page(_found(call, str(call.params.get("filter", "")), _v1), "projects")


def _found(call: Call, query: str, shape: Callable[[Json], Json]) -> list[Json]:
    terms = [t for t in re.split(r"\s+(?:AND\s+)?", query.strip()) if t]
    rows = [shape(p) for p in call.world.projects.values()]
    return [row for row in rows if all(_fits(row, term) for term in terms)]


def _fits(row: Json, term: str) -> bool:
    key, _, wanted = re.sub("=", ":", term, count=1).partition(":")
    names = {
        "id": "projectId",
        "projectid": "projectId",
        "displayname": "displayName",
        "lifecyclestate": "lifecycleState",
    }
    value: object = row
    for part in key.split("."):
        value = value.get(names.get(part.lower(), part)) if isinstance(value, dict) else None
    return value is not None and (wanted.strip('"') in ("*", str(value)))


@method("cloudresourcemanager.projects.create")
def create(call: Call) -> Json:
    """Begin to make a project; an ID that is taken is refused, by whomever it was taken."""
    project = str(call.body.get("projectId") or "")
    if not _ID.fullmatch(project):
        raise errors.invalid("Request contains an invalid argument.", reason="badRequest")
    if project in call.world.projects:
        raise errors.already_exists("Requested entity already exists")
    parent = call.body.get("parent")
    if isinstance(parent, str):
        kind, _, number = parent.partition("s/")
        parent = {"type": kind, "id": number}
    seed = {
        "projectId": project,
        "name": call.body.get("displayName") or call.body.get("name") or project,
        "labels": call.body.get("labels"),
        "parent": parent,
    }
    metadata: Json | None = {"@type": f"{_TYPE}CreateProjectMetadata", "createTime": call.world.timestamp()}
    return operations.start(
        call,
        kind="resourcemanager",
        verb="cloudresourcemanager.projects.create",
        target=f"projects/{project}",
        args={"seed": seed, "version": call.version},
        metadata=metadata if call.version == "v3" else None,
        project=project,
    )


@operations.finish("cloudresourcemanager.projects.create")
def created(world: World, operation: Json) -> Json:
    """The project is there, without billing, with its creator as owner and only the default APIs on."""
    row = world.add_project(operation["args"]["seed"] | {"services": ["cloudresourcemanager", "serviceusage"]})
    row |= {"billing": "", "parent": operation["args"]["seed"]["parent"]}
    world.projects[row["projectId"]] = row
    iam.put_policy(
        world,
        f"projects/{row['projectId']}",
        {"version": 1, "bindings": [{"role": "roles/owner", "members": [f"user:{operation['user']}"]}]},
    )
    if operation["args"]["version"] == "v3":
        return {"@type": f"{_TYPE}Project"} | _v3(row)
    operation["metadata"] = {
        "@type": "type.googleapis.com/google.cloudresourcemanager.v1.ProjectCreationStatus",
        "createTime": row["createTime"],
        "gettable": True,
        "ready": True,
    }
    return {"@type": "type.googleapis.com/google.cloudresourcemanager.v1.Project"} | _v1(row)


@method(
    "cloudresourcemanager.projects.patch",
    version="v3",
    permission="resourcemanager.projects.update",
    resource=_resource,
)
def patch(call: Call) -> Json:
    """Change display name or labels; the operation is done at once."""
    row, mask = call.project, str(call.params.get("updateMask") or "displayName,labels")
    for name, key in (("displayName", "name"), ("labels", "labels")):
        if name in call.body and (name in mask or (name == "displayName" and "display_name" in mask)):
            row[key] = call.body[name]
    row["updateTime"] = call.world.timestamp()
    call.world.projects[row["projectId"]] = row
    return operations.start(
        call,
        kind="resourcemanager",
        verb="cloudresourcemanager.projects.patch",
        target=_resource(call),
        metadata={"@type": f"{_TYPE}UpdateProjectMetadata"},
        done=True,
    )


@operations.finish("cloudresourcemanager.projects.patch")
@operations.finish("cloudresourcemanager.projects.delete")
def changed(world: World, operation: Json) -> Json:
    """The project as it is now."""
    return {"@type": f"{_TYPE}Project"} | _v3(world.project(operation["project"]))


@method(
    "cloudresourcemanager.projects.update",
    version="v1",
    permission="resourcemanager.projects.update",
    resource=_resource,
)
def update(call: Call) -> Json:
    """Change name or labels: the whole project is sent."""
    row = call.project
    row |= {"name": call.body.get("name", row["name"]), "labels": call.body.get("labels", {})}
    row["updateTime"] = call.world.timestamp()
    call.world.projects[row["projectId"]] = row
    return _v1(row)


def _mark(call: Call, state: str) -> Json:
    row = call.project
    if row["lifecycleState"] == state:
        raise errors.failed_precondition("Precondition check failed.")
    row |= {"lifecycleState": state, "updateTime": call.world.timestamp()}
    row["deleteTime"] = call.world.timestamp() if state == "DELETE_REQUESTED" else ""
    call.world.projects[row["projectId"]] = row
    if call.version == "v1":
        return {}
    return operations.start(
        call, kind="resourcemanager", verb="cloudresourcemanager.projects.delete", target=_resource(call), done=True
    )


@method("cloudresourcemanager.projects.delete", permission="resourcemanager.projects.delete", resource=_resource)
def delete(call: Call) -> Json:
    """Mark a project for deletion; for 30 days it can be brought back."""
    return _mark(call, "DELETE_REQUESTED")


@method("cloudresourcemanager.projects.undelete", permission="resourcemanager.projects.undelete", resource=_resource)
def undelete(call: Call) -> Json:
    """Bring back a project that is marked for deletion."""
    return _mark(call, "ACTIVE")


@method(
    "cloudresourcemanager.projects.getAncestry",
    version="v1",
    permission="resourcemanager.projects.get",
    resource=_resource,
)
def ancestry(call: Call) -> Json:
    """The project and what it lies in, innermost first."""
    row = call.project
    above = row.get("ancestors") or ([row["parent"]] if row["parent"] else [])
    chain = [{"type": "project", "id": call.project_id}, *above]
    return {"ancestor": [{"resourceId": resource} for resource in chain]}


@method(
    "cloudresourcemanager.projects.getIamPolicy", permission="resourcemanager.projects.getIamPolicy", resource=_resource
)
def get_policy(call: Call) -> Json:
    """The project's policy."""
    return iam.get_policy(call, _resource(call))


@method(
    "cloudresourcemanager.projects.setIamPolicy", permission="resourcemanager.projects.setIamPolicy", resource=_resource
)
def set_policy(call: Call) -> Json:
    """Replace the project's policy; the public cannot be a member."""
    members = {m for b in (call.body.get("policy") or {}).get("bindings") or [] for m in b.get("members") or []}
    public = members & {"allUsers", "allAuthenticatedUsers"}
    if public:
        raise errors.invalid(
            f"Member {min(public)} is not allowed on a project.",
            reason="badRequest",
        )
    return iam.set_policy(call, _resource(call))


@method("cloudresourcemanager.projects.testIamPermissions", permission=NO_PERMISSION, resource=_resource)
def test_permissions(call: Call) -> Json:
    """Which of the permissions the caller holds on the project; anybody who has signed in may ask."""
    return iam.test_permissions(call, _resource(call))


@method("cloudresourcemanager.operations.get")
def get_operation(call: Call) -> Json:
    """An operation of v1 or v3."""
    return operations.read(call, "resourcemanager", call.name)
