"""App Engine: what the rows that are about versions and services have in common."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from provision import operations
from provision.gcp import Gcp
from provision.step import Body, Operation, Owner, Ref, Stays
from steps import _logs

MARK = "DEPLOYMENT"
"""The environment variable of a version that says whose it is: versions take no labels."""

SERVER, PLACEHOLDER = "mlflow-", "placeholder-"
"""How the ids of the versions begin that we deploy."""

DEFAULT = "default"
"""The service that every application has to have first, and that can never be deleted."""


def path(ref: Ref) -> dict[str, str]:
    """The parameters by which the API names the application, service and version of a ref."""
    words = ref.split("/")
    return dict(zip(("appsId", "servicesId", "versionsId"), words[1::2], strict=False))


def told(gcp: Gcp, ref: Ref, operation: Operation) -> str:
    """What a deployment that failed has left: the version's state, if there is one still, and the end of its log."""
    where = path(ref)
    of_service, of_version = (f"resource.labels.{label}" for label in ("module_id", "version_id"))
    log = f'resource.type="gae_app" {of_service}="{where["servicesId"]}" {of_version}="{where["versionsId"]}"'
    found = service(gcp, where["appsId"], where["servicesId"])
    version = found.versions.get(where["versionsId"]) if found else None
    state = "The version was rolled back: it is not there any more."
    if version is not None:
        instances = gcp.appengine.apps().services().versions().instances().list(**where).execute()
        health = [f"{one.get('vmStatus')}, {one.get('vmLiveness')}" for one in instances.get("instances", [])]
        state = f"The version is {version['servingStatus']}; its instances: {'; '.join(health) or 'none'}."
    return f"{state}\n{_logs.tail(gcp, log)}"


@dataclass(frozen=True)
class Service:
    """A service as it is.

    Args:
        split: By version, how much of the traffic it gets.
        versions: All versions by id, in full.
    """

    split: Mapping[str, float]
    versions: Mapping[str, Body]

    def marks(self, *, serving: bool = False) -> set[str]:
        """The deployments whose versions get its traffic; only those that run, if asked for; "" is not one of ours."""
        receiving = [self.versions.get(name, {}) for name in self.split]
        return {mark(version) for version in receiving if not serving or is_serving(version)}


def service(gcp: Gcp, app: str, name: str) -> Service | None:
    """A service with its versions; None when the application has no such service."""
    calls = gcp.appengine.apps().services()
    request = calls.list(appsId=app)
    while request is not None:
        answer = request.execute()
        for found in answer.get("services", []):
            if found["id"] == name:
                return Service(found.get("split", {}).get("allocations", {}), _versions(gcp, app, name))
        request = calls.list_next(request, answer)
    return None


def _versions(gcp: Gcp, app: str, service: str) -> dict[str, Body]:
    """All versions of a service; what may be ours is asked for by itself where the list leaves its environment out.

    Google's page has the full view for lists too, and says of the environment that it is returned in GET requests only.
    """
    calls = gcp.appengine.apps().services().versions()
    found: dict[str, Body] = {}
    request = calls.list(appsId=app, servicesId=service, view="FULL")
    while request is not None:
        answer = request.execute()
        found |= {version["id"]: version for version in answer.get("versions", [])}
        request = calls.list_next(request, answer)
    untold = [name for name in found if name.startswith((SERVER, PLACEHOLDER)) and "envVariables" not in found[name]]
    return found | {name: version(gcp, f"apps/{app}/services/{service}/versions/{name}") for name in untold}


def version(gcp: Gcp, ref: Ref) -> dict[str, Any]:
    """A version in full: image and environment are only told when they are asked for."""
    return dict(gcp.appengine.apps().services().versions().get(**path(ref), view="FULL").execute())


def is_serving(version: Body) -> bool:
    """Whether it runs; one that is stopped costs nothing."""
    return version.get("servingStatus") == "SERVING"


def serving(gcp: Gcp, app: str) -> list[str]:
    """The services of an application that run anything."""
    calls = gcp.appengine.apps().services()
    found = []
    for service in calls.list(appsId=app).execute().get("services", []):
        found += [service["id"]] if any(map(is_serving, _versions(gcp, app, service["id"]).values())) else []
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


def send_traffic(gcp: Gcp, service: Ref, version: str) -> Operation | None:
    """Give a version all traffic of its service."""
    body = {"split": {"allocations": {version: 1.0}}}
    asked = gcp.appengine.apps().services().patch(**path(service), updateMask="split", body=body)
    return operations.started("appengine", asked.execute())


def stop_version(gcp: Gcp, ref: Ref) -> Operation | None:
    """Stop a version: it costs nothing any more."""
    return patch_version(gcp, ref, {"servingStatus": "STOPPED"}, "servingStatus")


def delete_version(gcp: Gcp, ref: Ref) -> Operation | None:
    """Delete a version that gets no traffic."""
    calls = gcp.appengine.apps().services().versions()
    return operations.started("appengine", calls.delete(**path(ref)).execute())


def end_service(gcp: Gcp, service_ref: Ref, ours: str) -> Operation | None:
    """Delete a service with all its versions; one that cannot or must not go has our versions with traffic stopped.

    Args:
        gcp: The clients.
        service_ref: The service.
        ours: The deployment's id.

    Raises:
        Stays: It is Google's default service, or holds versions of others, and nothing of ours runs there any more.
    """
    where = path(service_ref)
    found = service(gcp, where["appsId"], where["servicesId"])
    versions = found.versions if found else {}
    others = sorted(name for name, version in versions.items() if mark(version) != ours)
    is_default = where["servicesId"] == DEFAULT
    if not others and not is_default:
        return operations.started("appengine", gcp.appengine.apps().services().delete(**where).execute())
    for name in sorted(found.split if found else {}):
        if mark(versions.get(name, {})) == ours and is_serving(versions[name]):
            return stop_version(gcp, f"{service_ref}/versions/{name}")
    if is_default:
        raise Stays("The last version of App Engine's default service, stopped: Google lets nobody delete it.")
    raise Stays(f"It holds versions that are not ours: {', '.join(others)}. What was ours in it is stopped.")


def create_version(gcp: Gcp, ref: Ref, body: Body) -> Operation | None:
    """Deploy a version; its service comes with the first one."""
    where = path(ref)
    asked = {"id": where.pop("versionsId"), **body}
    answer = gcp.appengine.apps().services().versions().create(**where, body=asked).execute()
    return operations.started("appengine", answer)
