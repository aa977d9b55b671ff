"""Finds what carries our mark in a project, by listing: all that is left of a deployment whose ledger is lost."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from provision import retry
from provision.clock import Clock
from provision.gcp import Gcp
from provision.patience import Patience
from provision.step import Ref

_MARK = re.compile(r"managed-by=provision deployment=([0-9a-f]+)")
_NO_LOCATION = {"", "global"}


@dataclass(frozen=True)
class Trace:
    """One thing with our mark.

    Args:
        ref: Its full resource name.
        deployment: The id of the deployment in its mark.
        region: Where it lies, as all services but App Engine spell it; empty where it lies nowhere.
        row: The row whose older resource it may be: of some rows a few are kept, and no name of theirs is declared.
        made: When, for those; sorts like time.
    """

    ref: Ref
    deployment: str
    region: str = ""
    row: str = ""
    made: str = ""


def found(gcp: Gcp, clock: Clock, number: str) -> list[Trace]:
    """List everything with our mark, of whichever deployment.

    Args:
        gcp: The clients.
        clock: Whose time passes while Google is busy.
        number: The project's number.
    """
    patience = Patience(gcp, clock)

    def listed(what: str, ask: Callable[[], Iterable[Trace | None]]) -> list[Trace]:
        def once() -> list[Trace]:
            try:
                return [trace for trace in ask() if trace is not None]
            except Exception as error:
                if retry.absent(error) or retry.is_off_here(error, number):
                    return []
                raise

        return patience.with_(f"listing {what}", once)

    traces = [
        *listed("buckets", lambda: _buckets(gcp)),
        *listed("database instances", lambda: _instances(gcp)),
        *listed("service accounts", lambda: _accounts(gcp)),
        *listed("networks", lambda: _networks(gcp)),
        *listed("secrets", lambda: _secrets(gcp, number)),
        *listed("versions", lambda: _versions(gcp)),
    ]
    for region in sorted({trace.region for trace in traces} - _NO_LOCATION):
        traces += listed(f"images in {region}", lambda region=region: _images(gcp, region))  # type: ignore[misc]  # a default binds the loop's value
    return traces


def _buckets(gcp: Gcp) -> Iterator[Trace | None]:
    for item in _items(gcp.buckets.buckets(), "items", project=gcp.project):
        yield _labelled(f"projects/_/buckets/{item['name']}", item.get("labels"), item.get("location", "").lower())


def _instances(gcp: Gcp) -> Iterator[Trace | None]:
    for item in _items(gcp.sql.instances(), "items", project=gcp.project):
        labels = item.get("settings", {}).get("userLabels")
        yield _labelled(f"projects/{gcp.project}/instances/{item['name']}", labels, item.get("region", ""))


def _accounts(gcp: Gcp) -> Iterator[Trace | None]:
    for item in _items(gcp.iam.projects().serviceAccounts(), "accounts", name=f"projects/{gcp.project}"):
        yield _described(item["name"], item)


def _networks(gcp: Gcp) -> Iterator[Trace | None]:
    for kind, calls in (("networks", gcp.compute.networks()), ("addresses", gcp.compute.globalAddresses())):
        for item in _items(calls, "items", project=gcp.project):
            yield _described(f"projects/{gcp.project}/global/{kind}/{item['name']}", item)


def _secrets(gcp: Gcp, number: str) -> Iterator[Trace | None]:
    for item in gcp.secrets.list_secrets(parent=f"projects/{number}"):
        secret = _labelled(item.name, item.labels)
        yield secret
        for version in gcp.secrets.list_secret_versions(parent=item.name) if secret else ():
            yield Trace(version.name, secret.deployment) if secret else None


def _versions(gcp: Gcp) -> Iterator[Trace | None]:
    services = gcp.appengine.apps().services()
    for service in _items(services, "services", appsId=gcp.project):
        for item in _items(services.versions(), "versions", appsId=gcp.project, servicesId=service["id"], view="FULL"):
            ref = f"apps/{gcp.project}/services/{service['id']}/versions/{item['id']}"
            row = "" if item["id"].startswith("placeholder-") else "server"
            if deployment := item.get("envVariables", {}).get("DEPLOYMENT"):
                yield Trace(ref, deployment, row=row, made=item.get("createTime", ""))


def _images(gcp: Gcp, region: str) -> Iterator[Trace | None]:
    repositories = gcp.artifactregistry.projects().locations().repositories()
    for item in _items(repositories, "repositories", parent=f"projects/{gcp.project}/locations/{region}"):
        repository = _labelled(item["name"], item.get("labels"), region)
        yield repository
        if repository:
            for package in _items(repositories.packages(), "packages", parent=item["name"]):
                calls = repositories.packages().versions()
                for version in _items(calls, "versions", parent=package["name"], view="FULL"):
                    for tag in version.get("relatedTags", []):
                        made = version.get("createTime", "")
                        yield Trace(tag["name"], repository.deployment, region, row="image", made=made)


def _items(calls: Any, key: str, **where: str) -> Iterator[dict[str, Any]]:
    """Everything on all pages of a list."""
    request = calls.list(**where)
    while request is not None:
        answer = request.execute()
        yield from answer.get(key, [])
        request = calls.list_next(request, answer)


def _labelled(ref: Ref, labels: Mapping[str, str] | None, region: str = "") -> Trace | None:
    if not labels or labels.get("managed-by") != "provision" or "deployment" not in labels:
        return None
    return Trace(ref, labels["deployment"], region)


def _described(ref: Ref, item: Mapping[str, Any]) -> Trace | None:
    mark = _MARK.search(str(item.get("description", "")))
    return Trace(ref, mark[1]) if mark else None
