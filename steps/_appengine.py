"""App Engine: what the rows that are about versions and services have in common."""

from collections.abc import Iterable
from typing import Any

from provision import operations
from provision.gcp import Gcp
from provision.step import Body, Operation, Owner, Ref

MARK = "DEPLOYMENT"
"""The environment variable of a version that says whose it is: versions take no labels."""

DEFAULT = "default"
"""The service that every application has to have first, and that can never be deleted."""


def path(ref: Ref) -> dict[str, str]:
    """The parameters by which the API names the application, service and version of a ref."""
    words = ref.split("/")
    return dict(zip(("appsId", "servicesId", "versionsId"), words[1::2], strict=False))


def allocations(gcp: Gcp, app: str, service: str) -> dict[str, float]:
    """How the traffic of a service is split, by version; empty when there is no such service."""
    calls = gcp.appengine.apps().services()
    request = calls.list(appsId=app)
    while request is not None:
        answer = request.execute()
        for found in answer.get("services", []):
            if found["id"] == service:
                return dict(found.get("split", {}).get("allocations", {}))
        request = calls.list_next(request, answer)
    return {}


def version(gcp: Gcp, ref: Ref) -> dict[str, Any]:
    """A version in full: image and environment are only told when they are asked for."""
    return dict(gcp.appengine.apps().services().versions().get(**path(ref), view="FULL").execute())


def versions(gcp: Gcp, app: str, service: str, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Some versions of a service, by id, in full."""
    return {name: version(gcp, f"apps/{app}/services/{service}/versions/{name}") for name in names}


def serving(gcp: Gcp, app: str) -> list[str]:
    """The services of an application that run anything."""
    calls = gcp.appengine.apps().services()
    found = []
    for service in calls.list(appsId=app).execute().get("services", []):
        listed = calls.versions().list(appsId=app, servicesId=service["id"]).execute().get("versions", [])
        found += [service["id"]] if any(version.get("servingStatus") == "SERVING" for version in listed) else []
    return sorted(found)


def mark(version: Body) -> str:
    """The id of the deployment that a version belongs to; empty when it is not one of ours."""
    return str(version.get("envVariables", {}).get(MARK, ""))


def by_environment(live: Body, deployment_id: str) -> Owner:
    """Ours when the version's environment says so."""
    return Owner.OURS if mark(live) == deployment_id else Owner.FOREIGN


def patch_version(gcp: Gcp, ref: Ref, body: Body, mask: str) -> Operation | None:
    """Change one of the few things that can be changed on a version."""
    calls = gcp.appengine.apps().services().versions()
    return operations.started("appengine", calls.patch(**path(ref), updateMask=mask, body=body).execute())


def create_version(gcp: Gcp, ref: Ref, body: Body) -> Operation | None:
    """Deploy a version; its service comes with the first one."""
    where = path(ref)
    asked = {"id": where.pop("versionsId"), **body}
    answer = gcp.appengine.apps().services().versions().create(**where, body=asked).execute()
    return operations.started("appengine", answer)
