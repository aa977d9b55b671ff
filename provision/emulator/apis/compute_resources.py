"""What every Compute Engine resource has: links, ids, fingerprints, lists, and calls that may be sent twice.

Behaviour of the API: https://docs.cloud.google.com/compute/docs/reference/rest/v1
"""

import base64
import functools
import hashlib
import json
import re
import zoneinfo
from collections.abc import Callable, Iterable
from datetime import datetime
from uuid import UUID

from provision.emulator import errors, operations
from provision.emulator.api import Call, Json
from provision.emulator.world import World

LINK = "https://www.googleapis.com/compute/v1/"

_PACIFIC = zoneinfo.ZoneInfo("America/Los_Angeles")
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_CLAUSE = re.compile(r"\(?\s*([\w.]+)\s*(!=|=|:|\beq\b|\bne\b)\s*(\"[^\"]*\"|'[^']*'|[^\s()]+)\s*\)?")


def timestamp(when: datetime) -> str:
    """A time as Compute Engine writes it: milliseconds, and the offset of the Pacific coast."""
    return when.astimezone(_PACIFIC).isoformat(timespec="milliseconds")


def fingerprint(content: object) -> str:
    """The fingerprint of some content: eight bytes in URL-safe base64. No labels at all always give 42WmSpB8rSM=."""
    if not content:
        return "42WmSpB8rSM="
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()
    return base64.urlsafe_b64encode(digest[:8]).decode()


def fixed_id(name: str) -> str:
    """An id for what was always there, such as a region: the same digits each time."""
    return str(1000 + int.from_bytes(hashlib.sha256(name.encode()).digest()[:2]))


def ipv6(digits: str, length: int) -> str:
    """A range of IPv6 as Compute Engine writes it, fd20:ab3:8d7:0:0:0:0:0/48, of its first hexadecimal digits."""
    padded = digits.ljust(32, "0")
    return ":".join(f"{int(padded[i : i + 4], 16):x}" for i in range(0, 32, 4)) + f"/{length}"


def path_of(call: Call, value: str) -> str:
    """A resource's path, projects/p/global/networks/n, of any spelling of its link: full, partial, or with a number."""
    path = re.sub(r"^https?://[^/]+/compute/[a-z0-9]+/", "", value.strip()).lstrip("/")
    if not path.startswith("projects/"):
        path = f"projects/{call.project_id}/{path}"
    head, project, rest = path.split("/", 2)
    return f"{head}/{call.world.project_id(project)}/{rest}"


def link_of(call: Call, value: str) -> str:
    """The full link of a resource, from any spelling."""
    return LINK + path_of(call, value)


def not_found(path: str) -> errors.GoogleError:
    """The error of a resource that is not there."""
    return errors.not_found(f"The resource '{path}' was not found", reason="notFound")


def invalid(field: str, value: object, why: str) -> errors.GoogleError:
    """The error of a field whose value is refused."""
    return errors.invalid(f"Invalid value for field '{field}': '{value}'. {why}", reason="invalid")


def in_use(kind: str, path: str, by: str) -> errors.GoogleError:
    """The error of deleting what something else still uses."""
    message = f"The {kind} resource '{path}' is already being used by '{by}'"
    return errors.invalid(message, reason="resourceInUseByAnotherResource")


def found(world: World, table: str, path: str) -> Json:
    """The row of a resource; not found is an error."""
    row = world.table(table).get(path)
    if row is None:
        raise not_found(path)
    return row


def require_ready(world: World, path: str) -> None:
    """Refuse to touch a resource while an operation on it is still running."""
    if any(row["target"] == path for row in operations.pending(world, "compute", path)):
        raise errors.invalid(f"The resource '{path}' is not ready", reason="resourceNotReady")


def require_fingerprint(given: str | None, current: str, message: str, field: str) -> None:
    """Optimistic locking: a fingerprint must be sent, and be the current one."""
    if not given:
        raise errors.invalid(f"Required field '{field}' not specified", reason="required")
    if given != current:
        raise errors.GoogleError(
            412, message, reason="conditionNotMet", location="If-Match", location_type="header", family="legacy"
        )


def created(call: Call, collection: str, kind: str, body: Json) -> tuple[str, Json]:
    """A new resource's path and the part of its body that every kind has. The name is checked here.

    Args:
        call: the insert call.
        collection: where it is, such as global/networks.
        kind: the last part of the kind, such as network.
        body: what the caller sent.
    """
    name = body.get("name") or ""
    if not _NAME.fullmatch(name):
        why = f"Must be a match of regex '(?:{_NAME.pattern})'"
        raise invalid("resource.name", name, why)
    path = f"projects/{call.project_id}/{collection}/{name}"
    if path in call.world.table("compute." + collection.rpartition("/")[2]):
        raise errors.already_exists(f"The resource '{path}' already exists", reason="alreadyExists")
    return path, {
        "kind": f"compute#{kind}",
        "id": new_id(call.world),
        "creationTimestamp": timestamp(call.now),
        "name": name,
        "selfLink": LINK + path,
    }


def new_id(world: World) -> str:
    """A numeric id of the usual length that does not begin with a zero."""
    return "1" + world.number(18)


def begin(call: Call, path: str, row: Json, type: str, *, done: bool = False, **args: object) -> Json:  # noqa: A002
    """Start the operation of this call on one resource and answer it."""
    return operations.start(
        call, kind="compute", verb=call.id, type=type, target=path, target_id=row["id"], args=args, done=done
    )


def once(handler: Callable[[Call], Json]) -> Callable[[Call], Json]:
    """Answer a call whose requestId was seen before with the operation that it began then.

    https://docs.cloud.google.com/compute/docs/reference/rest/v1/networks/insert (requestId)
    """

    @functools.wraps(handler)
    def answer(call: Call) -> Json:
        given = call.params.get("requestId")
        if not given:
            return handler(call)
        try:
            key = f"{call.project_id}/{UUID(given)}"
        except ValueError:
            raise invalid("requestId", given, "Must be a valid UUID.") from None
        seen = call.world.table("compute.requests")
        if key in seen:
            return operations.read(call, "compute", seen[key]["operation"])
        operation = handler(call)
        seen[key] = {"operation": operation["selfLink"].removeprefix(LINK)}
        return operation

    return answer


def listed(call: Call, kind: str, collection: str, rows: Iterable[Json]) -> Json:
    """A page of a collection's list; filter= and maxResults are honoured.

    Args:
        call: the list call.
        kind: the last part of the items' kind, such as network.
        collection: path below the project, such as global/networks.
        rows: every resource of the collection.
    """
    wanted = _filter(call.params.get("filter"))
    path = f"projects/{call.project_id}/{collection}"
    page = call.page([row for row in rows if wanted(row)], key="items", default=500)
    return {"kind": f"compute#{kind}List", "id": path, **page, "selfLink": LINK + path}


def _filter(text: str | None) -> Callable[[Json], bool]:
    clauses = _CLAUSE.findall(text or "")
    if text and not clauses:
        raise errors.invalid(f"Invalid value for field 'filter': '{text}'. Invalid list filter expression.")

    def wanted(row: Json) -> bool:
        return all(_matches(row, field, op, value.strip("\"'")) for field, op, value in clauses)

    return wanted


def _matches(row: Json, field: str, op: str, value: str) -> bool:
    held: object = row
    for part in field.split("."):
        held = held.get(part) if isinstance(held, dict) else None
    text = str(held).lower() if isinstance(held, bool) else "" if held is None else str(held)
    if op == "eq":
        return re.fullmatch(value, text) is not None
    if op == "ne":
        return re.fullmatch(value, text) is None
    if op == ":":
        return held is not None and (value == "*" or value in text)
    wildcard = re.escape(value).replace(r"\*", ".*")
    return (re.fullmatch(wildcard, text) is not None) == (op == "=")
