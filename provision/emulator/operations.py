"""Long-running operations of every API: begun, taking their time, done or failed; each told in its API's own shape."""

import base64
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from provision.emulator import errors
from provision.emulator.clock import parse, stamp

if TYPE_CHECKING:
    from provision.emulator.api import Call
    from provision.emulator.world import World

Json = dict[str, Any]


class NotYet:
    """What an effect answers while the machine behind it is still on its way."""


NOT_YET: Final = NotYet()
Effect = Callable[["World", Json], "Json | NotYet | None"]

_EFFECTS: dict[str, Effect] = {}
_BEFORE: list["Look"] = []

# How long Google takes, in seconds, by the verb, in the profile "google"; in "brief" each operation is seen under way
# once, by a client that comes back after a quarter of a second; in the others only machines take time.
SECONDS = {
    "sql.instances.insert": 420.0,
    "sql.instances.patch": 60.0,
    "sql.instances.delete": 90.0,
    "servicenetworking.services.connections.create": 45.0,
    "appengine.apps.create": 30.0,
    "appengine.apps.services.versions.create": 360.0,
    "cloudbuild.projects.builds.create": 180.0,
    "cloudbuild.projects.locations.builds.create": 180.0,
    "serviceusage.services.batchEnable": 30.0,
}
OTHERWISE = 8.0
MOMENT = 0.2


class OperationError(Exception):
    """Ends an operation with an error: a google.rpc code (9), or the name that Compute or Cloud SQL gives it.

    What the effect wrote before is undone, unless `keep` says that Google leaves it too.
    """

    def __init__(
        self,
        code: int | str,
        message: str,
        *,
        http_status: int = 400,
        http_message: str = "BAD REQUEST",
        keep: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.http_status = http_status
        self.http_message = http_message
        self.keep = keep


def finish(verb: str) -> Callable[[Effect], Effect]:
    """Register what happens when an operation of this verb is due.

    The effect gets the world and the operation's row (target, args, metadata, project, user, verb; it may change
    metadata) and answers the `response` body, None, or NOT_YET; it raises OperationError to make the operation fail.
    """

    def register(effect: Effect) -> Effect:
        _EFFECTS[verb] = effect
        return effect

    return register


Look = Callable[["World", Json], "NotYet | None"]


def before_any_end(look: Look) -> Look:
    """Register what is asked before any operation's effect; it may answer NOT_YET or raise OperationError."""
    _BEFORE.append(look)
    return look


def start(
    call: "Call",
    *,
    kind: str,
    verb: str,
    target: str,
    type: str = "",  # noqa: A002  # the APIs call it operationType
    args: Json | None = None,
    metadata: Json | None = None,
    name: str | None = None,
    project: str | None = None,
    target_id: str | None = None,
    done: bool = False,
) -> Json:
    """Begin an operation and answer it as the API's first answer; with `done` it is finished at once.

    Args:
        call: the request that asks for it.
        kind: whose shape it has: compute, sql, serviceusage, resourcemanager, servicenetworking, artifactregistry,
            cloudbuild, appengine, run or logging.
        verb: the method id, which also names the effect and its duration.
        target: the resource, as in `projects/p/global/networks/n`.
        type: operationType of Compute (`insert`) and Cloud SQL (`CREATE`).
        args: what the effect needs to know.
        metadata: `metadata` of the operation as first answered; the effect may change it.
        name: full name, when the API file makes it itself.
        project: the project's ID, when it is not the call's.
        target_id: Compute's numeric targetId.
        done: whether the API answers it already done.
    """
    world = call.world
    project = project if project is not None else call.project_id
    number = str((world.find_project(project) or {}).get("projectNumber", ""))
    now = world.clock.now()
    row: Json = {
        "kind": kind,
        "verb": verb,
        "target": target,
        "type": type,
        "args": args or {},
        "metadata": metadata,
        "project": project,
        "number": number,
        "user": call.caller.partition(":")[2],
        "targetId": target_id,
        "id": world.number(19),
        "begun": stamp(now, 6),
        "due": stamp(now + timedelta(seconds=0 if done else _seconds(world, verb)), 6),
        "state": "running",
        "order": world.counter("operations"),
    }
    row["name"] = name or _name(row, now)
    if done:
        _settle_one(world, row)
    _keep(world, row)
    return render(row)


def read(call: "Call", kind: str, name: str) -> Json:
    """The operation as it is now, by full name; raises 404 in the words of its API.

    Compute's names are `projects/p/global/operations/x` or `projects/p/regions/r/operations/x`, Cloud SQL's
    `projects/p/operations/x`, the others' what the API calls `name`.
    """
    row = call.world.table("operations").get(f"{kind}/{call.world.by_id(name)}")
    if row is None:
        if kind == "compute":
            raise errors.not_found(f"The resource '{name}' was not found")
        if kind == "sql":
            raise errors.not_found("The Cloud SQL instance operation does not exist.", reason="operationDoesNotExist")
        raise errors.not_found("Requested entity was not found.")
    return render(row)


def pending(world: "World", kind: str, target: str = "") -> list[Json]:
    """Rows of the operations under way on a resource or what is in it, oldest first."""
    return [r for r in _running(world, f"{kind}/") if r["target"].startswith(target)]


def listed(world: "World", kind: str, prefix: str = "") -> list[Json]:
    """All operations whose full name begins with `prefix`, newest first, as the API shows them."""
    rows = [r for _, r in world.table("operations").under(f"{kind}/{prefix}")]
    return [render(r) for r in sorted(rows, key=lambda r: -int(r["order"]))]


def settle(world: "World") -> None:
    """Finish whatever is due, oldest first; each in a transaction of its own."""
    now = world.clock.now()
    for row in _running(world):
        if parse(row["due"]) <= now:
            _settle_one(world, row)
            _keep(world, row)


def _running(world: "World", prefix: str = "") -> list[Json]:
    """Rows of the operations that are not done, oldest first; their keys are kept apart, for each request asks."""
    table = world.table("operations")
    rows = [table[key] for key, _ in world.table("operations.running").under(prefix)]
    return sorted(rows, key=lambda row: int(row["order"]))


def _keep(world: "World", row: Json) -> None:
    key = _key(row)
    world.table("operations")[key] = row
    if row["state"] == "running":
        world.table("operations.running")[key] = {}
    else:
        world.table("operations.running").pop(key, None)


def _settle_one(world: "World", row: Json) -> None:
    try:
        with world.transaction():
            answer = _answer_of(world, row)
    except OperationError as thrown:
        answer = thrown
    if isinstance(answer, OperationError):
        failure = answer
        row["state"] = "failed"
        row["error"] = {
            "code": failure.code,
            "message": failure.message,
            "httpStatus": failure.http_status,
            "httpMessage": failure.http_message,
        }
    elif isinstance(answer, NotYet):
        return
    else:
        row["state"] = "done"
        row["response"] = answer
    row["ended"] = stamp(world.clock.now(), 6)


def _answer_of(world: "World", row: Json) -> "Json | NotYet | OperationError | None":
    effect = _EFFECTS.get(row["verb"])
    try:
        for look in _BEFORE:
            if look(world, row) is not None:
                return NOT_YET
        return effect(world, row) if effect else None
    except OperationError as failure:
        if not failure.keep:
            raise
        return failure


def _seconds(world: "World", verb: str) -> float:
    if world.profile == "brief":
        return MOMENT
    return SECONDS.get(verb, OTHERWISE) if world.profile == "google" else 0.0


def _key(row: Json) -> str:
    if row["kind"] == "compute":
        return f"compute/{_scope(row)}/operations/{row['name']}"
    if row["kind"] == "sql":
        return f"sql/projects/{row['project']}/operations/{row['name']}"
    name = str(row["name"])
    if row["number"]:
        name = name.replace(f"projects/{row['number']}/", f"projects/{row['project']}/", 1)
    return f"{row['kind']}/{name}"


def _scope(row: Json) -> str:
    """`projects/p/global` or `projects/p/regions/r`: what a Compute operation belongs to."""
    parts = row["target"].split("/")
    where = parts[2:4] if len(parts) > 3 and parts[2] in ("regions", "zones") else ["global"]
    return "/".join(["projects", row["project"], *where])


# -- names, as each API makes them
def _name(row: Json, now: datetime) -> str:
    project, number, parts, unique = row["project"], row["number"], row["target"].split("/"), str(uuid.uuid4())
    location = parts[3] if len(parts) > 3 and parts[2] == "locations" else "global"
    digits = uuid.uuid4().hex
    match row["kind"]:
        case "compute":
            return f"operation-{int(now.timestamp() * 1000)}-{digits[:13]}-{digits[13:21]}-{digits[21:29]}"
        case "sql":
            return unique
        case "serviceusage":
            series = "acat.p17" if row["verb"].endswith("disable") else "acf.p2"
            return f"operations/{series}-{number}-{unique}"
        case "resourcemanager":
            return f"operations/cp.{int(digits[:15], 16)}"
        case "servicenetworking":
            return f"operations/pssn.p24-{number}-{unique}"
        case "appengine":
            return f"apps/{project}/operations/{unique}"
        case "cloudbuild":
            mark = base64.b64encode(unique.encode()).decode()
            return f"projects/{project}/locations/{location}/operations/{mark}"
        case "logging":
            return f"projects/{number}/locations/{location}/operations/{unique}"
        case _:
            return f"projects/{project}/locations/{location}/operations/{unique}"


# -- shapes
def render(row: Json) -> Json:
    """An operation's row in the shape of its API."""
    if row["kind"] == "compute":
        return _compute(row)
    if row["kind"] == "sql":
        return _sql(row)
    answer: Json = {"name": row["name"]}
    if row.get("metadata") is not None:
        answer["metadata"] = row["metadata"]
    if row["state"] == "running":
        return answer
    answer["done"] = True
    if row["state"] == "failed":
        answer["error"] = {"code": row["error"]["code"], "message": row["error"]["message"]}
    elif row.get("response") is not None:
        answer["response"] = row["response"]
    return answer


def _compute(row: Json) -> Json:
    def pacific(text: str) -> str:
        return parse(text).astimezone(ZoneInfo("America/Los_Angeles")).isoformat(timespec="milliseconds")

    root = "https://www.googleapis.com/compute/v1/"
    answer: Json = {
        "kind": "compute#operation",
        "id": row["id"],
        "name": row["name"],
        "operationType": row["type"],
        "targetLink": root + row["target"],
        "targetId": row["targetId"] or row["id"],
        "status": "RUNNING" if row["state"] == "running" else "DONE",
        "user": row["user"],
        "progress": 0 if row["state"] == "running" else 100,
        "insertTime": pacific(row["begun"]),
        "startTime": pacific(row["begun"]),
        "selfLink": f"{root}{_scope(row)}/operations/{row['name']}",
    }
    parts = _scope(row).split("/")
    if parts[2] != "global":
        answer[parts[2].removesuffix("s")] = f"{root}{_scope(row)}"
    if row["state"] != "running":
        answer["endTime"] = pacific(row["ended"])
    if row["state"] == "failed":
        error = row["error"]
        answer["error"] = {"errors": [{"code": error["code"], "message": error["message"]}]}
        answer |= {"httpErrorStatusCode": error["httpStatus"], "httpErrorMessage": error["httpMessage"]}
    return answer


def _sql(row: Json) -> Json:
    root, project = "https://sqladmin.googleapis.com/sql/v1beta4/", row["project"]
    instance = row["target"].split("/")[3]
    answer: Json = {
        "kind": "sql#operation",
        "name": row["name"],
        "operationType": row["type"],
        "status": "PENDING" if row["state"] == "running" else "DONE",
        "user": row["user"],
        "insertTime": stamp(parse(row["begun"])),
        "targetProject": project,
        "targetId": instance,
        "targetLink": root + row["target"],
        "selfLink": f"{root}projects/{project}/operations/{row['name']}",
    }
    if row["state"] != "running":
        answer |= {"startTime": stamp(parse(row["begun"])), "endTime": stamp(parse(row["ended"]))}
    if row["state"] == "failed":
        error = {"kind": "sql#operationError", "code": str(row["error"]["code"]), "message": row["error"]["message"]}
        answer["error"] = {"kind": "sql#operationErrors", "errors": [error]}
    return answer
