"""Routes and request schemas, read from the discovery documents that google-api-python-client ships.

https://developers.google.com/discovery/v1/reference/apis. A host's documents are parsed at its first request:
Compute's is 5 MB. Nothing here knows what a method does.
"""

import functools
import json
import re
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any
from urllib.parse import unquote

Json = dict[str, Any]

DOCUMENTS = {
    "appengine.googleapis.com": ("appengine.v1",),
    "artifactregistry.googleapis.com": ("artifactregistry.v1",),
    "cloudbilling.googleapis.com": ("cloudbilling.v1",),
    "cloudbuild.googleapis.com": ("cloudbuild.v1",),
    "cloudresourcemanager.googleapis.com": ("cloudresourcemanager.v3", "cloudresourcemanager.v1"),
    "compute.googleapis.com": ("compute.v1",),
    "iam.googleapis.com": ("iam.v1",),
    "iamcredentials.googleapis.com": ("iamcredentials.v1",),
    "iap.googleapis.com": ("iap.v1",),
    "logging.googleapis.com": ("logging.v2",),
    "orgpolicy.googleapis.com": ("orgpolicy.v2",),
    "run.googleapis.com": ("run.v2",),
    "secretmanager.googleapis.com": ("secretmanager.v1",),
    "servicenetworking.googleapis.com": ("servicenetworking.v1",),
    "serviceusage.googleapis.com": ("serviceusage.v1", "serviceusage.v1beta1"),
    "sqladmin.googleapis.com": ("sqladmin.v1",),
    "storage.googleapis.com": ("storage.v1",),
    "sts.googleapis.com": ("sts.v1",),
}
# www.googleapis.com serves the older APIs under their own prefix: https://cloud.google.com/compute/docs/reference/rest/v1
_ALIASES = {"compute": "compute.googleapis.com", "storage": "storage.googleapis.com", "sql": "sqladmin.googleapis.com"}


@dataclass
class Route:
    """One method of an API: how it is called, and what it may be sent."""

    id: str
    version: str
    http: str
    host: str
    title: str
    template: str
    flat: str
    parameters: Json
    request: str | None
    schemas: Json = field(repr=False)
    upload: bool = False

    @functools.cached_property
    def pattern(self) -> re.Pattern[str]:
        """Takes a path apart into the method's path parameters."""
        names = iter(range(100))

        def group(found: re.Match[str]) -> str:
            plus, name = found.groups()
            shape = self.parameters.get(name, {}).get("pattern", "") if plus else ""
            shape = shape.removeprefix("^").removesuffix("$") or ("[^:]+" if plus else "[^/]+")
            return f"(?P<p{next(names)}_{name}>{shape})"

        pieces = re.split(r"(\{\+?\w+\})", self.template)
        text = "".join(re.sub(r"\{(\+?)(\w+)\}", group, p) if p.startswith("{") else re.escape(p) for p in pieces)
        return re.compile(text + r"/?$")

    def path_params(self, path: str) -> dict[str, str] | None:
        """The path parameters, unquoted, or None when the path does not fit."""
        found = self.pattern.match(path)
        if found is None:  # percent-encoded where the pattern wants plain characters
            found = self.pattern.match(unquote(path)) if "/o/" not in path else None
        if found is None:
            return None
        return {key.split("_", 1)[1]: unquote(value) for key, value in found.groupdict().items() if value is not None}

    @property
    def open_ended(self) -> bool:
        """Whether a parameter may hold any number of path segments."""
        return any(".*" in p.get("pattern", "") for p in self.parameters.values() if p.get("location") == "path")


class Api:
    """All methods of one host."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.title = host
        self._by_shape: dict[tuple[str, int], list[tuple[list[str], Route]]] = {}
        self._open: list[Route] = []
        for name in reversed(DOCUMENTS[host]):
            document = load(name)
            self.title = document["title"]
            for method in _methods(document):
                self._add(document, method)
        for rows in self._by_shape.values():
            rows.sort(key=lambda row: _specificity(row[0]))
        self._open.sort(key=lambda route: -len(re.sub(r"\{.*?\}", "", route.template)))

    def _add(self, document: Json, method: Json) -> None:
        base = document["servicePath"]
        flat = method.get("flatPath", method["path"])

        def route(template: str, flat: str, http: str, *, upload: bool) -> Route:
            return Route(
                id=method["id"],
                version=document["version"],
                http=http,
                host=self.host,
                title=document["title"],
                template=template,
                flat=flat,
                parameters=document.get("parameters", {}) | method.get("parameters", {}),
                request=method.get("request", {}).get("$ref"),
                schemas=document["schemas"],
                upload=upload,
            )

        self._place(route(base + method["path"], base + flat, method["httpMethod"], upload=False))
        for protocol in method.get("mediaUpload", {}).get("protocols", {}).values():
            path = protocol["path"].lstrip("/")
            # a resumable upload goes on with PUT, and is given up with DELETE, at the address where it began
            for http in {method["httpMethod"], "PUT", "DELETE"}:
                prefix = path.removesuffix(method["path"])
                self._place(route(path, prefix + flat if prefix != path else path, http, upload=True))

    def _place(self, route: Route) -> None:
        if route.open_ended:
            self._open.append(route)
            return
        segments = route.flat.split("/")
        self._by_shape.setdefault((route.http, len(segments)), []).append((segments, route))

    def find(self, http: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The method that answers `http` at `path` (encoded, no host, no leading slash), and its path parameters."""
        parts = path.split("/")
        for segments, route in self._by_shape.get((http, len(parts)), ()):
            if _fits(segments, parts):
                params = route.path_params(path)
                if params is not None:
                    return route, params
        for route in self._open:
            params = route.path_params(path) if route.http == http else None
            if params is not None:
                return route, params
        return None


def _specificity(segments: list[str]) -> tuple[int, int]:
    """Custom verbs first, then the path with the fewest parameters."""
    return (0 if "}:" in segments[-1] else 1, sum("{" in s for s in segments))


def _fits(segments: list[str], parts: list[str]) -> bool:
    for segment, part in zip(segments, parts, strict=True):
        if not segment.startswith("{"):
            if segment != part:
                return False
        elif not part or ("}:" in segment and not part.endswith(":" + segment.split("}:", 1)[1])):
            return False
    return True


def _methods(node: Json) -> list[Json]:
    own = list(node.get("methods", {}).values())
    for child in node.get("resources", {}).values():
        own += _methods(child)
    return own


def load(name: str) -> Json:
    """A discovery document, as in `compute.v1`."""
    folder = files("googleapiclient").joinpath("discovery_cache/documents")
    document: Json = json.loads(folder.joinpath(f"{name}.json").read_text())
    return document


@functools.cache
def api(host: str) -> Api | None:
    """The API at `host`, parsed once; None for a host that the emulator does not serve."""
    return Api(host) if host in DOCUMENTS else None


def address(host: str, path: str) -> tuple[str, str]:
    """Host and path in the form that today's clients use, whatever alias they came by."""
    path = path.lstrip("/")
    if host == "www.googleapis.com":
        bare = re.sub(r"^(resumable/upload|upload|download|batch)/", "", path)
        host = _ALIASES.get(bare.split("/", 1)[0], host)
    if host == "storage.googleapis.com":
        path = path.removeprefix("download/")
    if host == "sqladmin.googleapis.com":
        path = re.sub(r"^sql/v1(beta4)?/", "v1/", path)
    return host, path
