"""Artifact Registry: repositories and who may pull from them and push to them.

https://cloud.google.com/artifact-registry/docs/reference/rest/v1/projects.locations.repositories. What lies in them is
next door, in `artifactregistry_images`.
"""

import re

from provision.emulator import errors, iam, operations
from provision.emulator.api import Call, Json, method
from provision.emulator.operations import OperationError
from provision.emulator.world import World

_ID = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_LOCATION = re.compile(r"[a-z]+(-[a-z]+\d+)?")
_SETTABLE = {
    *("cleanupPolicies", "cleanupPolicyDryRun", "description", "dockerConfig", "labels", "mavenConfig"),
    *("platformLogsConfig", "remoteRepositoryConfig", "virtualRepositoryConfig", "vulnerabilityScanningConfig"),
}
_FIXED = {"format", "kmsKeyName", "mode"}
TYPE = "type.googleapis.com/google.devtools.artifactregistry.v1."
EMPTY = {"@type": "type.googleapis.com/google.protobuf.Empty"}
_PREFIX = "artifactregistry.projects.locations.repositories"


@method(f"{_PREFIX}.create", permission="artifactregistry.repositories.create")
def create(call: Call) -> Json:
    """Begin to make a repository."""
    repository, location = str(call.params.get("repositoryId") or ""), call.parent.split("/")[3]
    if not _ID.fullmatch(repository):
        raise errors.invalid(
            f'Invalid repository ID "{repository}": lower-case letters, digits, hyphens; a letter first'
        )
    if not _LOCATION.fullmatch(location):
        raise errors.invalid(f"Location {location} is not found or access is unauthorized.", status="INVALID_ARGUMENT")
    if call.body.get("format", "FORMAT_UNSPECIFIED") == "FORMAT_UNSPECIFIED":
        raise errors.invalid("repository format must be specified")
    name = f"projects/{call.project_id}/locations/{location}/repositories/{repository}"
    under_way = operations.pending(call.world, "artifactregistry", name)
    if name in call.world.table("artifactregistry.repositories") or any(o["target"] == name for o in under_way):
        raise errors.already_exists("the repository already exists")
    body = {k: v for k, v in call.body.items() if k in _SETTABLE | _FIXED}
    return started(call, f"{_PREFIX}.create", name, {"body": body})


@operations.finish(f"{_PREFIX}.create")
def created(world: World, operation: Json) -> Json:
    """The repository is there."""
    body, name = operation["args"]["body"], operation["target"]
    now = world.timestamp(6)
    row = {"name": name, "mode": "STANDARD_REPOSITORY", "createTime": now, "updateTime": now, "satisfiesPzi": True}
    row |= {k: v for k, v in body.items() if v not in ({}, "MODE_UNSPECIFIED")}
    row["vulnerabilityScanningConfig"] = _scanning(world, row)
    world.table("artifactregistry.repositories")[name] = row
    return {"@type": f"{TYPE}Repository"} | {k: v for k, v in row.items() if k not in ("createTime", "updateTime")}


@method(f"{_PREFIX}.get", permission="artifactregistry.repositories.get")
def get(call: Call) -> Json:
    """One repository, which alone of all answers says where clients push to."""
    row = repository_of(call)
    return with_size(call.world, row) | {"registryUri": registry(row["name"])}


@method(f"{_PREFIX}.list", permission="artifactregistry.repositories.list")
def list_(call: Call) -> Json:
    """The repositories of a project in one location."""
    rows = call.world.table("artifactregistry.repositories").under(f"{call.parent}/repositories/")
    return call.page([with_size(call.world, row) for _, row in rows], "repositories", 100)


@method(f"{_PREFIX}.patch", permission="artifactregistry.repositories.update")
def patch(call: Call) -> Json:
    """Set the fields that the mask names, without an operation; without a mask those in the body."""
    row = repository_of(call)
    mask = [f.strip() for f in str(call.params.get("updateMask") or "").split(",") if f.strip()]
    fields = {re.sub(r"_([a-z])", lambda m: m.group(1).upper(), f).partition(".")[0] for f in mask}
    for field in fields or set(call.body):
        if field in _FIXED and call.body.get(field) not in (None, row.get(field)):
            raise errors.invalid(f"cannot update {field}")
        if field not in _SETTABLE:
            continue
        row[field] = call.body.get(field)
        if row[field] in (None, {}, ""):
            del row[field]
    row["vulnerabilityScanningConfig"] = _scanning(call.world, row)
    row["updateTime"] = call.world.timestamp(6)
    call.world.table("artifactregistry.repositories")[row["name"]] = row
    return with_size(call.world, row)


@method(f"{_PREFIX}.delete", permission="artifactregistry.repositories.delete")
def delete(call: Call) -> Json:
    """Begin to delete a repository with all that is in it."""
    return started(call, f"{_PREFIX}.delete", repository_of(call)["name"], {})


@operations.finish(f"{_PREFIX}.delete")
def deleted(world: World, operation: Json) -> Json:
    """The repository is gone."""
    name = operation["target"]
    if world.table("artifactregistry.repositories").pop(name, None) is None:
        raise OperationError(5, "Requested entity was not found.")
    for kind in ("packages", "versions", "tags"):
        remove_under(world, kind, f"{name}/")
    iam.drop_policies(world, name)
    return EMPTY


@method(f"{_PREFIX}.getIamPolicy", permission="artifactregistry.repositories.getIamPolicy")
def get_policy(call: Call) -> Json:
    """Who may do what with a repository."""
    return iam.get_policy(call, repository_of(call)["name"])


@method(f"{_PREFIX}.setIamPolicy", permission="artifactregistry.repositories.setIamPolicy")
def set_policy(call: Call) -> Json:
    """Replace that policy; a stale etag is 409 ABORTED."""
    return iam.set_policy(call, repository_of(call)["name"])


@method(f"{_PREFIX}.testIamPermissions", permission="artifactregistry.repositories.get")
def test_permissions(call: Call) -> Json:
    """The subset of the permissions that the caller has."""
    return iam.test_permissions(call, repository_of(call)["name"])


@method("artifactregistry.projects.locations.operations.get", permission="artifactregistry.repositories.get")
def operation(call: Call) -> Json:
    """How far an operation is."""
    return operations.read(call, "artifactregistry", call.name)


def repository_of(call: Call) -> Json:
    """The repository that a request names, or in which lies what it names; raises 404 when there is none."""
    name = "/".join((call.resource or call.parent).split("/")[:6])
    row = call.world.table("artifactregistry.repositories").get(name)
    if row is None:
        raise not_found()
    return row


def not_found() -> errors.GoogleError:
    """404 in the only words that Artifact Registry has for it."""
    return errors.not_found("Requested entity was not found.")


def with_size(world: World, row: Json) -> Json:
    """A repository with the size of what is in it, which an empty one does not tell."""
    versions = world.table("artifactregistry.versions").under(f"{row['name']}/packages/")
    size = sum(int(v["metadata"]["imageSizeBytes"]) for _, v in versions)
    return row | ({"sizeBytes": str(size)} if size else {})


def registry(name: str) -> str:
    """Where Docker finds a repository: LOCATION-docker.pkg.dev/PROJECT/REPOSITORY."""
    _, project, _, location, _, repository = name.split("/")
    return f"{location}-docker.pkg.dev/{project}/{repository}"


def remove_under(world: World, kind: str, prefix: str) -> None:
    """Delete the rows of a kind (packages, versions, tags) whose name begins with `prefix`."""
    table = world.table(f"artifactregistry.{kind}")
    for key, _ in table.under(prefix):
        del table[key]


def started(call: Call, verb: str, target: str, args: Json) -> Json:
    """The first answer of an operation, whose metadata says nothing."""
    return operations.start(
        call,
        kind="artifactregistry",
        verb=verb,
        target=target,
        args=args,
        metadata={"@type": f"{TYPE}OperationMetadata"},
    )


def _scanning(world: World, row: Json) -> Json:
    """Whether images are scanned, and why not: nobody here switches on Container Scanning by saying "all APIs"."""
    config = row.get("vulnerabilityScanningConfig") or {}
    kept = {k: config[k] for k in ("enablementConfig",) if k in config}
    services = world.project(row["name"].split("/")[1])["services"]
    state, reason = "SCANNING_ACTIVE", ""
    if row["mode"] != "STANDARD_REPOSITORY":
        state, reason = "SCANNING_UNSUPPORTED", f"Repository mode {row['mode']} is not supported."
    elif config.get("enablementConfig") == "DISABLED":
        state, reason = "SCANNING_DISABLED", "Vulnerability scanning is disabled by the repository's configuration."
    elif not services.get("containerscanning.googleapis.com"):
        state, reason = "SCANNING_DISABLED", "API containerscanning.googleapis.com is not enabled."
    answer = kept | {"lastEnableTime": config.get("lastEnableTime") or world.timestamp(9), "enablementState": state}
    return answer | ({"enablementStateReason": reason} if reason else {})
