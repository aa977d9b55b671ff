"""Cloud Build: builds are asked for, watched and cancelled; what they do is next door, in `cloudbuild_work`.

https://cloud.google.com/build/docs/api/reference/rest/v1/projects.builds. A build is kept in the metadata of its
operation.
"""

import base64
import re
import uuid
from typing import Any

from provision.emulator import errors, operations
from provision.emulator.api import Call, Json, method
from provision.emulator.apis import cloudbuild_work as work
from provision.emulator.clock import stamp
from provision.emulator.operations import OperationError
from provision.emulator.world import World

_GLOBAL, _REGIONAL = "cloudbuild.projects.builds", "cloudbuild.projects.locations.builds"
_TYPE = "type.googleapis.com/google.devtools.cloudbuild.v1."
_CLOUD_ONLY = ("CLOUD_LOGGING_ONLY", "NONE")
_OUTPUT = {
    *("createTime", "failureInfo", "finishTime", "id", "logUrl", "name", "projectId", "results", "sourceProvenance"),
    *("startTime", "status", "statusDetail", "timing", "warnings"),
}


def _project(call: Call) -> str:
    return f"projects/{call.project_id}"


@method(f"{_GLOBAL}.create", permission="cloudbuild.builds.create", resource=_project)
def create_global(call: Call) -> Json:
    """Begin a build outside all regions."""
    return _create(call, "global")


@method(f"{_REGIONAL}.create", permission="cloudbuild.builds.create", resource=_project)
def create(call: Call) -> Json:
    """Begin a build in the region that `parent` names."""
    return _create(call, call.parent.split("/")[3])


@method(f"{_GLOBAL}.get", permission="cloudbuild.builds.get", resource=_project)
@method(f"{_REGIONAL}.get", permission="cloudbuild.builds.get", resource=_project)
def get(call: Call) -> Json:
    """One build, as far as it is."""
    return _shown(call.world, _operation(call))


@method(f"{_GLOBAL}.list", permission="cloudbuild.builds.list", resource=_project)
@method(f"{_REGIONAL}.list", permission="cloudbuild.builds.list", resource=_project)
def list_(call: Call) -> Json:
    """The builds of a project in one region, or outside all, newest first."""
    location = call.parent.split("/")[3] if "locations" in call.path else "global"
    keys = call.world.table("cloudbuild.builds").under(f"{call.project_id}/{location}/")
    rows = [call.world.table("operations")[row["operation"]] for _, row in keys]
    rows.sort(key=lambda row: -int(row["order"]))
    builds = [_shown(call.world, row) for row in rows]
    return call.page([b for b in builds if _matches(b, str(call.params.get("filter") or ""))], "builds", 50)


@method(f"{_GLOBAL}.cancel", permission="cloudbuild.builds.update", resource=_project)
@method(f"{_REGIONAL}.cancel", permission="cloudbuild.builds.update", resource=_project)
def cancel(call: Call) -> Json:
    """Stop a build that is not over."""
    row = _operation(call)
    if row["state"] != "running" or row["metadata"]["build"]["status"] == "CANCELLED":
        raise errors.failed_precondition("cannot cancel a build that is not queued or in progress")
    now = stamp(call.now, 9)
    build = row["metadata"]["build"]
    build |= {"status": "CANCELLED", "startTime": build["createTime"], "finishTime": now}
    row["due"] = stamp(call.now, 6)
    call.world.table("operations")[_key(call.world, build["projectId"], build["id"])] = row
    return dict(build)


@method("cloudbuild.operations.get", permission="cloudbuild.builds.get", resource=lambda call: _owner(call.name))
@method("cloudbuild.projects.locations.operations.get", permission="cloudbuild.operations.get", resource=_project)
def operation(call: Call) -> Json:
    """How far the operation of a build is."""
    answer = operations.read(call, "cloudbuild", call.name)
    build = answer["metadata"]["build"]
    if not answer.get("done"):
        row = call.world.table("operations")[_key(call.world, build["projectId"], build["id"])]
        answer["metadata"]["build"] = _shown(call.world, row)
    return answer


@method("cloudbuild.projects.locations.getDefaultServiceAccount", permission="cloudbuild.builds.get", resource=_project)
def default_account(call: Call) -> Json:
    """The account that builds without one of their own run as: since 2024 that of Compute Engine."""
    email = work.default_account(call.project)
    name = call.name.split("/")
    return {
        "name": f"projects/{call.number}/locations/{name[3]}/defaultServiceAccount",
        "serviceAccountEmail": f"projects/{call.number}/serviceAccounts/{email}",
    }


@operations.finish("cloudbuild.projects.locations.builds.create")
def worked(world: World, operation_: Json) -> Json:
    """The build has run: its images are in Artifact Registry, or it says why not."""
    build: Json = operation_["metadata"]["build"]
    if build["status"] == "CANCELLED":
        raise OperationError(1, "Build cancelled")
    work.run(world, build)
    if build["status"] != "SUCCESS":
        raise OperationError(2, f"Build failed; check build logs for details: {build['statusDetail']}", keep=True)
    return {"@type": f"{_TYPE}Build"} | build


def _create(call: Call, location: str) -> Json:
    world, project, now = call.world, call.project_id, stamp(call.now, 9)
    sent = {k: v for k, v in call.body.items() if k not in _OUTPUT}
    _check(call, sent)
    build_id = str(uuid.uuid4())
    where = "builds" if location == "global" else f"builds;region={location}"
    options = sent.get("options") or {}
    build: Json = sent | {
        "name": f"projects/{call.number}/locations/{location}/builds/{build_id}",
        "id": build_id,
        "projectId": project,
        "status": "QUEUED",
        "createTime": now,
        "timeout": sent.get("timeout") or "600s",
        "queueTtl": sent.get("queueTtl") or "3600s",
        "options": options | {"logging": options.get("logging") or "LEGACY"},
        "logUrl": f"https://console.cloud.google.com/cloud-build/{where}/{build_id}?project={call.number}",
    }
    names = work.substitutions(build, call.number, location)
    build |= {key: work.substituted(build[key], names) for key in ("steps", "images") if key in build}
    build = {k: v for k, v in build.items() if v not in ({}, [], None)}
    if build.get("images"):
        build["artifacts"] = (build.get("artifacts") or {}) | {"images": build["images"]}
    if build["options"]["logging"] not in _CLOUD_ONLY and "logsBucket" not in build:
        build["logsBucket"] = f"gs://{call.number}.cloudbuild-logs.googleusercontent.com"
    build["sourceProvenance"] = _provenance(world, build)
    mark = base64.b64encode(build_id.encode()).decode()
    name = f"projects/{project}/locations/{location}/operations/{mark}"
    if location == "global":
        name = f"operations/build/{project}/{mark}"
    entry = {"operation": f"cloudbuild/{name}"}
    world.table("cloudbuild.builds")[f"{project}/{location}/{build_id}"] = entry
    world.table("cloudbuild.ids")[f"{project}/{build_id}"] = entry
    return operations.start(
        call,
        kind="cloudbuild",
        verb="cloudbuild.projects.locations.builds.create",
        target=f"projects/{project}/locations/{location}/builds/{build_id}",
        metadata={"@type": f"{_TYPE}BuildOperationMetadata", "build": build},
        name=name,
        project=project,
    )


def _check(call: Call, build: Json) -> None:
    """Raise 400 or 403 for a build that is refused at once."""
    if not build.get("steps"):
        raise errors.invalid("invalid build: build must have at least one step", status="INVALID_ARGUMENT")
    if any(not step.get("name") for step in build["steps"]):
        raise errors.invalid("invalid build: step has no name", status="INVALID_ARGUMENT")
    options, account = build.get("options") or {}, build.get("serviceAccount")
    own_bucket = options.get("defaultLogsBucketBehavior") == "REGIONAL_USER_OWNED_BUCKET"
    if account and not (build.get("logsBucket") or own_bucket or options.get("logging") in _CLOUD_ONLY):
        raise errors.invalid(
            "if 'build.service_account' is specified, the build must either (a) specify 'build.logs_bucket', (b) use "
            "the REGIONAL_USER_OWNED_BUCKET build.options.default_logs_bucket_behavior option, or (c) use either "
            "CLOUD_LOGGING_ONLY / NONE logging options: invalid argument",
            status="INVALID_ARGUMENT",
        )
    if account:
        _check_account(call, str(account))
    source = (build.get("source") or {}).get("storageSource")
    if source and work.source_row(call.world, source) is None:
        what = f"No such object: {source.get('bucket')}/{source.get('object')}"
        raise errors.invalid(
            f"could not resolve source: googleapi: Error 404: {what}, notFound", status="INVALID_ARGUMENT"
        )


def _check_account(call: Call, account: str) -> None:
    found = re.fullmatch(r"projects/([^/]+)/serviceAccounts/([^/]+)", account)
    if found is None:
        raise errors.invalid(f"invalid build service account {account!r}: it is projects/P/serviceAccounts/EMAIL")
    email = found[2]
    own = email.endswith(f"@{call.project_id}.iam.gserviceaccount.com")
    if own and call.world.table("iam.accounts").get(email, {"deleted": True}).get("deleted"):
        raise errors.not_found("Requested entity was not found.")
    resource = f"projects/{call.world.project_of_account(email) or call.project_id}/serviceAccounts/{email}"
    if call.caller != call.world.owner and not call.world.allowed(call.caller, "iam.serviceAccounts.actAs", resource):
        raise errors.permission_denied(f"caller does not have permission to act as service account {account}")


def _provenance(world: World, build: Json) -> Json:
    """Which source exactly: its generation, whether or not the build names one."""
    source = (build.get("source") or {}).get("storageSource")
    row = work.source_row(world, source) if source else None
    if source is None or row is None:
        return {}
    resolved = {"bucket": source["bucket"], "object": source["object"], "generation": row["generation"]}
    where = f"gs://{source['bucket']}/{source['object']}#{row['generation']}"
    hashes = {"fileHash": [{"type": "MD5", "value": row["md5Hash"]}]} if "md5Hash" in row else {"fileHash": []}
    return {"resolvedStorageSource": resolved, "fileHashes": {where: hashes}}


def _operation(call: Call) -> Json:
    name = call.name.split("/")
    build_id = str(call.params.get("id") or name[-1])
    row = call.world.table("cloudbuild.ids").get(f"{call.project_id}/{build_id}")
    operation_ = call.world.table("operations")[row["operation"]] if row else None
    if operation_ is None or ("locations" in name and name[3] != operation_["target"].split("/")[3]):
        raise errors.not_found("Requested entity was not found.")
    return operation_


def _key(world: World, project: str, build_id: str) -> str:
    return str(world.table("cloudbuild.ids")[f"{project}/{build_id}"]["operation"])


def _owner(name: str) -> str:
    """`operations/build/PROJECT/ID`: what its permissions are looked up on."""
    parts = name.split("/")
    return f"projects/{parts[2]}" if len(parts) > 2 else ""


def _shown(world: World, row: Json) -> Json:
    """The build of an operation: while it is under way it works, whatever was noted when it began."""
    build = dict(row["metadata"]["build"])
    if row["state"] == "running" and build["status"] == "QUEUED" and stamp(world.clock.now(), 6) > row["begun"]:
        build |= {"status": "WORKING", "startTime": build["createTime"]}
    return build


def _matches(build: Json, text: str) -> bool:
    """Whether a build fits a filter: `status="X"`, `tags="t"`, `build_id="..."`, joined by AND.

    https://cloud.google.com/build/docs/view-build-results#filtering_build_results_using_queries
    """
    for term in filter(None, re.split(r"\s+AND\s+", text.strip(), flags=re.IGNORECASE)):
        found = re.fullmatch(r'(status|tags|build_id)\s*=\s*"?([^"]*)"?', term)
        if found is None:
            raise errors.invalid(f"invalid list filter: {text}", status="INVALID_ARGUMENT")
        have: Any = build.get({"build_id": "id"}.get(found[1], found[1]))
        if found[2] not in (have if isinstance(have, list) else [have]):
            return False
    return True
