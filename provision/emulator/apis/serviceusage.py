"""Service Usage: which APIs a project has switched on. https://cloud.google.com/service-usage/docs/reference/rest."""

import base64

from provision.emulator import catalogue, errors, operations
from provision.emulator.api import NO_PERMISSION, Call, Json, method
from provision.emulator.world import World

_TYPE = "type.googleapis.com/google.api.serviceusage.v1."
# service agents with names of their own, https://cloud.google.com/iam/docs/service-agents
_AGENTS = {
    "appengine": "gcp-gae-service",
    "appengineflex": "gae-api-prod.google.com",
    "cloudfunctions": "gcf-admin-robot",
    "composer": "cloudcomposer-accounts",
    "compute": "compute-system",
    "container": "container-engine-robot",
    "containerregistry": "containerregistry",
    "dataflow": "dataflow-service-producer-prod",
    "dataproc": "dataproc-accounts",
    "file": "cloud-filer",
    "memcache": "cloud-memcache-sa",
    "redis": "cloud-redis",
    "run": "serverless-robot-prod",
    "servicenetworking": "service-networking",
    "sqladmin": "gcp-sa-cloud-sql",
    "storage": "gs-project-accounts",
    "tpu": "cloud-tpu",
}
_WITHOUT_AGENT = ("bigquery",)  # its agent is not one of Service Usage's
_MOST = 20  # services in one batchEnable


def agent(service: str, number: str) -> str:
    """The address of a service's agent in a project."""
    name = service.removesuffix(".googleapis.com")
    return f"service-{number}@{_AGENTS.get(name, f'gcp-sa-{name}')}.iam.gserviceaccount.com"


def _service(project: Json, name: str, *, enabled: bool) -> Json:
    number = project["projectNumber"]
    title, summary = catalogue.about(name)
    config: Json = {
        "name": name,
        "title": title,
        "documentation": {"summary": summary} if summary else {},
        "quota": {},
        "authentication": {},
        "usage": {"requirements": ["serviceusage.googleapis.com/tos/cloud"]},
        "monitoring": {},
    }
    state = "ENABLED" if enabled else "DISABLED"
    parent = f"projects/{number}"
    return {"name": f"{parent}/services/{name}", "config": config, "state": state, "parent": parent}


def _name(call: Call) -> str:
    name = call.name.split("/")[3] if call.params.get("name") else call.parent.split("/")[3]
    _known([name])
    return name


def _known(names: list[str]) -> None:
    unknown = [n for n in names if n not in catalogue.services()]
    if unknown:
        info = {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "SERVICE_CONFIG_NOT_FOUND_OR_PERMISSION_DENIED",
            "domain": "serviceusage.googleapis.com",
            "metadata": {"services": ",".join(unknown)},
        }
        message = f"Not found or permission denied for service(s): {','.join(unknown)}."
        raise errors.permission_denied(message, details=[info])


def _enabled(world: World, project: Json) -> list[str]:
    switched = project["services"]
    names = {name for name, on in switched.items() if on and name != "*"}
    if switched.get("*"):
        names |= {name for name in catalogue.COMMON if switched.get(name, True)}
    return sorted(name for name in names if world.enabled(project["projectId"], name))


def _resource(call: Call) -> str:
    return f"projects/{call.project_id}"


@method("serviceusage.services.list", permission="serviceusage.services.list", resource=_resource)
def list_services(call: Call) -> Json:
    """Services sorted by name; `filter=state:ENABLED` or `state:DISABLED`."""
    project, wanted = call.project, str(call.params.get("filter", ""))
    enabled = _enabled(call.world, project)
    names = set(enabled)
    if "ENABLED" not in wanted:
        names = set(catalogue.COMMON) - names if "DISABLED" in wanted else names | catalogue.COMMON
    size, after = int(call.params.get("pageSize") or 50), _after(str(call.params.get("pageToken") or ""))
    rest = [name for name in sorted(names) if name > after]
    rows = [_service(project, name, enabled=name in enabled) for name in rest[:size]]
    answer: Json = {"services": rows} if rows else {}
    return answer | ({"nextPageToken": _token(rest[size - 1])} if len(rest) > size else {})


def _token(last: str) -> str:
    """A page token, which holds the last name of the page."""
    return base64.b64encode(b"r$\n" + f'"B {last}'.encode()).decode()


def _after(token: str) -> str:
    try:
        return base64.b64decode(token, validate=True).decode().rpartition(" ")[2]
    except ValueError as problem:
        raise errors.invalid("Request contains an invalid argument.") from problem


@method("serviceusage.services.get", permission="serviceusage.services.get", resource=_resource)
def get_service(call: Call) -> Json:
    """One service, on or off."""
    name = _name(call)
    return _service(call.project, name, enabled=call.world.enabled(call.project_id, name))


@method("serviceusage.services.batchGet", permission="serviceusage.services.get", resource=_resource)
def batch_get(call: Call) -> Json:
    """Up to 30 services."""
    names = [str(n).rsplit("/", 1)[-1] for n in call.params.get("names") or []]
    _known(names)
    world, project = call.world, call.project
    return {"services": [_service(project, n, enabled=world.enabled(call.project_id, n)) for n in names]}


def _switch(call: Call, names: list[str], *, on: bool, verb: str) -> Json:
    world, project = call.world, call.project
    _known(names)
    paid = [n for n in names if n not in catalogue.FREE]
    if on and paid and not project["billing"]:
        raise _no_billing(project, paid)
    already = all(world.enabled(call.project_id, n) for n in names)
    if not on and not already:
        message = f"The service {names[0]} is not enabled for the consumer project {project['projectNumber']}."
        raise errors.failed_precondition(message)
    batch = verb.endswith("batchEnable")
    full = [f"projects/{project['projectNumber']}/services/{n}" for n in names]
    return operations.start(
        call,
        kind="serviceusage",
        verb=verb,
        target=f"projects/{call.project_id}/services/{names[0]}",
        args={"names": names, "on": on, "batch": batch},
        metadata={"@type": f"{_TYPE}OperationMetadata", "resourceNames": full} if batch else None,
        name="operations/noop.DONE_OPERATION" if on and already else None,
        done=on and already,
    )


@method("serviceusage.services.enable", permission="serviceusage.services.enable", resource=_resource)
def enable(call: Call) -> Json:
    """Switch one service on; done at once when it is on already."""
    return _switch(call, [_name(call)], on=True, verb="serviceusage.services.enable")


@method("serviceusage.services.batchEnable", permission="serviceusage.services.enable", resource=_resource)
def batch_enable(call: Call) -> Json:
    """Switch on 2 to 20 services: all or none."""
    names = list(dict.fromkeys(str(n) for n in call.body.get("serviceIds") or []))
    if not 1 < len(names) <= _MOST:  # a batch of one is refused too: that is what services.enable is for
        raise errors.invalid("Request contains an invalid argument.")
    return _switch(call, names, on=True, verb="serviceusage.services.batchEnable")


@method("serviceusage.services.disable", permission="serviceusage.services.disable", resource=_resource)
def disable(call: Call) -> Json:
    """Switch one service off."""
    return _switch(call, [_name(call)], on=False, verb="serviceusage.services.disable")


@operations.finish("serviceusage.services.enable")
@operations.finish("serviceusage.services.batchEnable")
@operations.finish("serviceusage.services.disable")
def switched(world: World, operation: Json) -> Json:
    """The services are on, or off."""
    args, project = operation["args"], world.project(operation["project"])
    project["services"] |= dict.fromkeys(args["names"], args["on"])
    world.projects[project["projectId"]] = project
    rows = [_service(project, name, enabled=args["on"]) for name in args["names"]]
    if args["batch"]:
        return {"@type": f"{_TYPE}BatchEnableServicesResponse", "services": rows}
    if not args["on"]:
        operation["metadata"] = {"@type": "type.googleapis.com/google.protobuf.Empty"}
    kind = "EnableServiceResponse" if args["on"] else "DisableServiceResponse"
    return {"@type": f"{_TYPE}{kind}", "service": rows[0]}


@method("serviceusage.services.generateServiceIdentity", permission="serviceusage.services.enable", resource=_resource)
def generate_identity(call: Call) -> Json:
    """Make the service's agent in the project, done at once; the same agent however often."""
    return operations.start(
        call,
        kind="serviceusage",
        verb="serviceusage.services.generateServiceIdentity",
        target=f"projects/{call.project_id}/services/{_name(call)}",
        done=True,
    )


@operations.finish("serviceusage.services.generateServiceIdentity")
def generated(world: World, operation: Json) -> Json:
    """The agent is there."""
    service = operation["target"].rsplit("/", 1)[-1]
    kind: Json = {"@type": "type.googleapis.com/google.api.serviceusage.v1beta1.ServiceIdentity"}
    if service.removesuffix(".googleapis.com") in _WITHOUT_AGENT:
        return kind
    email = agent(service, operation["number"])
    row = world.table("service.agents").setdefault(email, {"email": email, "uniqueId": world.number(21)})
    return kind | row


@method("serviceusage.operations.get", permission=NO_PERMISSION)
def get_operation(call: Call) -> Json:
    """An operation, by its name."""
    return operations.read(call, "serviceusage", call.name)


def _no_billing(project: Json, names: list[str]) -> errors.GoogleError:
    number = project["projectNumber"]
    message = (
        f"Billing account for project '{number}' is not found. Billing must be enabled for activation of service(s) "
        f"'{','.join(names)}' to proceed."
    )
    prefix = "type.googleapis.com/google.rpc."
    violation = {"type": "googleapis.com/billing-enabled", "subject": "390001", "description": message}
    details: list[Json] = [
        {"@type": f"{prefix}PreconditionFailure", "violations": [violation]},
        {
            "@type": f"{prefix}ErrorInfo",
            "reason": "UREQ_PROJECT_BILLING_NOT_FOUND",
            "domain": "serviceusage.googleapis.com/billing-enabled",
        },
    ]
    return errors.failed_precondition(message, details=details)
