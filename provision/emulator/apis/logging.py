"""Cloud Logging: entries. https://cloud.google.com/logging/docs/reference/v2/rest."""

from provision.emulator import errors, filters
from provision.emulator.api import Call, Json, method
from provision.emulator.world import World

_STDOUT = "appengine.googleapis.com/stdout"


def record(world: World, project: str, log: str, resource: Json, payload: Json, severity: str = "DEFAULT") -> Json:
    """Write one entry: for API files whose services log, as Cloud Build does.

    Args:
        world: where it is kept.
        project: the project's ID.
        log: the log's ID, as in `cloudbuild`.
        resource: the monitored resource, {type, labels}.
        payload: {textPayload: ...} or {jsonPayload: ...}, perhaps with labels.
        severity: one of the names of LogSeverity.
    """
    now = world.timestamp(9)
    entry: Json = {
        "insertId": world.hex(16),
        "logName": f"projects/{project}/logs/{log.replace('/', '%2F')}",
        "resource": resource,
        "timestamp": now,
        "receiveTimestamp": now,
        "severity": severity,
    } | payload
    world.table("logging.entries")[f"{project}/{world.counter('logging.entries'):012d}"] = entry
    return entry


def _resource(call: Call) -> str:
    names = call.body.get("resourceNames") or [call.body.get("logName") or ""]
    names += [str(e.get("logName", "")) for e in call.body.get("entries") or []]
    first = next((n for n in names if n), "")
    return "/".join(call.world.by_id(first).split("/")[:2])


@method("logging.entries.write", permission="logging.logEntries.create", resource=_resource)
def write(call: Call) -> Json:
    """Keep entries; what an entry leaves out is taken from the request."""
    common = {key: call.body[key] for key in ("logName", "resource", "labels") if call.body.get(key)}
    rows = [common | entry for entry in call.body.get("entries") or []]
    for entry in rows:
        name = call.world.by_id(str(entry.get("logName", ""))).split("/")
        if len(name) != 4 or name[0] != "projects" or name[2] != "logs":  # projects/p/logs/l
            raise errors.invalid(f"Invalid log name: {entry.get('logName', '')}")
        if name[1] not in call.world.projects:
            raise errors.permission_denied()
        if "resource" not in entry:
            raise errors.invalid("A valid MonitoredResource must be specified.")
    if call.body.get("dryRun"):
        return {}
    for entry in rows:
        entry["logName"] = call.world.by_id(entry["logName"])
        project, log = entry["logName"].split("/")[1], entry["logName"].split("/")[3]
        record(call.world, project, log, entry["resource"], entry, entry.get("severity", "DEFAULT"))
    return {}


@method("logging.entries.list", permission="logging.logEntries.list", resource=_resource)
def list_entries(call: Call) -> Json:
    """Entries of projects that fit a filter, oldest first unless orderBy says `timestamp desc`."""
    names = [call.world.by_id(str(n)) for n in call.body.get("resourceNames") or []]
    names += [f"projects/{p}" for p in call.body.get("projectIds") or []]
    if not names:
        raise errors.invalid("At least one resource name must be specified.")
    try:
        fits = filters.compile_filter(str(call.body.get("filter") or ""))
    except filters.BadFilter as problem:
        raise errors.invalid(str(problem)) from problem
    rows = []
    for name in names:
        project = call.world.project(name.split("/")[1])["projectId"]
        rows += [entry for _, entry in call.world.table("logging.entries").under(f"{project}/")]
        rows += _machines(call.world, project)
    rows = sorted((e for e in rows if fits(e)), key=lambda e: str(e["timestamp"]))
    if str(call.body.get("orderBy", "")).endswith("desc"):
        rows.reverse()
    call.params |= {key: call.body[key] for key in ("pageSize", "pageToken") if call.body.get(key)}
    return call.page(rows, "entries", 50)


def keep(world: World, project: str, service: str, version: str) -> None:
    """Write down what a version has logged, before it is gone: Cloud Logging keeps it for a month.

    https://cloud.google.com/logging/docs/routing/overview#logs-retention
    """
    for line in world.machines.version_log(project, service, version):
        record(world, project, _STDOUT, _of_version(project, service, version), {"textPayload": line})


def _machines(world: World, project: str) -> list[Json]:
    """What the servers behind App Engine wrote, which the machines keep."""
    rows: list[Json] = []
    for name, _ in world.table("appengine.versions").under(f"apps/{project}/"):
        service, version = name.split("/")[3], name.split("/")[5]
        for number, line in enumerate(world.machines.version_log(project, service, version)):
            entry: Json = {
                "insertId": f"{version}-{number:08d}",
                "logName": f"projects/{project}/logs/{_STDOUT.replace('/', '%2F')}",
                "resource": _of_version(project, service, version),
                "timestamp": world.timestamp(9),
                "textPayload": line,
            }
            rows.append(entry)
    return rows


def _of_version(project: str, service: str, version: str) -> Json:
    labels = {"project_id": project, "module_id": service, "version_id": version}
    return {"type": "gae_app", "labels": labels}
