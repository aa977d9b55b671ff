"""What a file in `apis/` needs: register behaviour by method id, and see one call.

The ids are those of the discovery documents, https://developers.google.com/discovery/v1/reference/apis.
"""

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from provision.emulator import errors
from provision.emulator.world import World

Json = dict[str, Any]


@dataclass
class Reply:
    """An answer with more to it than a JSON body: a status, headers, or bytes from a file.

    `file` is sent from `start` to `end` (exclusive; None is its end) after the world's lock is given back.
    """

    body: Json | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    file: Path | None = None
    start: int = 0
    end: int | None = None
    text: str | bytes | None = None
    media_type: str = "application/json; charset=UTF-8"


@dataclass
class Call:
    """One request to one method: what was asked, by whom, and the world it is asked of."""

    id: str
    http: str
    host: str
    path: str
    params: Json
    query: list[tuple[str, str]]
    body: Json
    headers: Mapping[str, str]
    caller: str
    world: World
    now: datetime
    base: str
    version: str = ""
    media: Path | None = None
    media_type: str | None = None
    upload: str | None = None

    def _named(self, key: str) -> str:
        return self.world.by_id(str(self.params.get(key, "")))

    @property
    def name(self) -> str:
        """The parameter `name`, with the project's ID where its number was sent."""
        return self._named("name")

    @property
    def parent(self) -> str:
        """The parameter `parent`, with the project's ID where its number was sent."""
        return self._named("parent")

    @property
    def resource(self) -> str:
        """The parameter `resource`, or else `name`, with the project's ID where its number was sent."""
        return self._named("resource") or self.name

    @functools.cached_property
    def project(self) -> Json:
        """The project that the request is about; raises 403 when there is none, as Google does."""
        return self.world.project(self._project_text())

    @property
    def project_id(self) -> str:
        """The project's ID, whatever the request called it."""
        return str(self.project["projectId"])

    @property
    def number(self) -> str:
        """The project's number."""
        return str(self.project["projectNumber"])

    def names_project(self) -> bool:
        """Whether the request says which project it is about."""
        return bool(self._project_text())

    def _project_text(self) -> str:
        for key in ("project", "projectId", "appsId"):  # an application is named like its project
            if self.params.get(key):
                return str(self.params[key])
        if self.params.get("bucket"):
            bucket = self.world.table("storage.buckets").get(str(self.params["bucket"]))
            return str(bucket["projectNumber"]) if bucket else ""
        if self.host == "cloudresourcemanager.googleapis.com" and "/" not in str(self.params.get("resource", "/")):
            return str(self.params["resource"])  # v1 leaves out projects/
        for key in ("name", "parent", "resource", "sinkName", "metricName", "projectName"):
            parts = str(self.params.get(key, "")).split("/")
            if len(parts) > 1 and parts[0] in ("projects", "apps"):
                if parts[1] == "-" and len(parts) > 3 and "@" in parts[3]:  # projects/-/serviceAccounts/E
                    return self.world.project_of_account(parts[3].split(":")[0])
                return "" if parts[1] in ("-", "_") else parts[1]
        return ""

    def page(self, items: list[Json], key: str = "items", default: int = 500) -> Json:
        """`items` as one page, as pageSize or maxResults and pageToken ask; an empty list leaves the key out."""
        size = int(self.params.get("pageSize") or self.params.get("maxResults") or default)
        token = str(self.params.get("pageToken") or "")
        if token and not token.isdigit():
            raise errors.invalid("The page token is invalid.")
        start = int(token or 0)
        answer: Json = {key: items[start : start + size]} if items[start : start + size] else {}
        if start + size < len(items):
            answer["nextPageToken"] = str(start + size)
        return answer


Function = Callable[[Call], "Json | Reply | None"]


@dataclass(frozen=True)
class Method:
    """Registered behaviour, and what a caller who is not the owner must be allowed."""

    function: Function
    permission: str | None = None
    resource: Callable[[Call], str] | None = None
    anonymous: bool = False
    raw: bool = False


NO_PERMISSION = ""
"""Of a method that whoever has signed in may call."""

METHODS: dict[tuple[str, str | None], Method] = {}
ENDPOINTS: dict[tuple[str, str], list[tuple[re.Pattern[str], str]]] = {}


def method(
    method_id: str,
    *,
    permission: str | None = None,
    version: str | None = None,
    resource: Callable[[Call], str] | None = None,
) -> Callable[[Function], Function]:
    """Register the behaviour of a discovery method.

    `permission` is the IAM permission that callers other than the owner need on `call.resource`, or on what `resource`
    answers, or NO_PERMISSION; a method without one is for the owner only. `version` is for APIs with the same id in two
    versions.
    """

    def register(function: Function) -> Function:
        METHODS[method_id, version] = Method(function, permission, resource)
        return function

    return register


def endpoint(method_id: str, http: str, address: str, *, raw: bool = False) -> Callable[[Function], Function]:
    """Register what no discovery document knows, as in `oauth2.googleapis.com/token`.

    In the address `{x}` is one segment and `{+x}` any number of them; `raw` leaves a body as it is, in `call.media`.
    """

    def register(function: Function) -> Function:
        METHODS[method_id, None] = Method(function, anonymous=True, raw=raw)
        host, _, path = address.partition("/")
        shape = re.sub(r"\\{((?:\\\+)?)(\w+)\\}", _group, re.escape(path))
        ENDPOINTS.setdefault((http, host), []).append((re.compile(shape), method_id))
        return function

    return register


def _group(found: re.Match[str]) -> str:
    plus, name = found.groups()
    return f"(?P<{name}>{'.+' if plus else '[^/]+'})"


def behaviour(method_id: str, version: str) -> Method | None:
    """What is registered for a method, the version's own first."""
    return METHODS.get((method_id, version)) or METHODS.get((method_id, None))
