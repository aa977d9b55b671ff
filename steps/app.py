"""The project's App Engine application: there is one at most, in one region, for ever.

https://docs.cloud.google.com/appengine/docs/flexible/regions
"""

from collections.abc import Sequence
from typing import ClassVar, NoReturn

from provision import operations, step
from provision.deployment import Deployment
from provision.errors import ApplicationDisabled, WrongRegion
from provision.gcp import Gcp
from provision.step import Body, Change, FactBook, Operation, Ref, keep, no_contents, shared
from steps import _appengine

LEAVES: str | None = "The App Engine application: Google lets nobody delete one. By itself it costs nothing."
RIGHTS: tuple[str, ...] = (
    "appengine.applications.create", "appengine.applications.get", "appengine.services.list",
    "appengine.versions.get", "appengine.versions.list", "appengine.operations.get",
)  # fmt: skip


class Facts(step.Facts):
    """What the application is called by, and who has its default service.

    Args:
        default_hostname: The host name of the default service; that of others is made from it.
        default_of: Of the versions that get its traffic, the deployments' ids; an empty one is not ours. None at all
            when there is no default service yet.
    """

    step: ClassVar[str] = "app"
    default_hostname: str
    default_of: tuple[str, ...]


def ref(deployment: Deployment) -> Ref:
    """The application."""
    return f"apps/{deployment.project}"


def declare(deployment: Deployment, facts: FactBook) -> dict[Ref, Body]:
    """One in our region, which App Engine may spell in its own way."""
    return {ref(deployment): {"locationId": deployment.app_region, "servingStatus": "SERVING"}}


def read(gcp: Gcp, ref: Ref) -> Body | None:
    """Where it is, how it is reached, who has its default service."""
    where = _appengine.path(ref)
    answer = gcp.appengine.apps().get(**where).execute()
    default = _appengine.service(gcp, where["appsId"], _appengine.DEFAULT)
    return {
        "locationId": answer["locationId"],
        "servingStatus": answer.get("servingStatus", "SERVING"),
        "defaultHostname": answer.get("defaultHostname", ""),
        "defaultOf": sorted(default.marks()) if default else [],
    }


def create(gcp: Gcp, ref: Ref, body: Body) -> Operation | None:
    """Make it."""
    asked = {"id": _appengine.path(ref)["appsId"], "locationId": body["locationId"]}
    return operations.started("appengine", gcp.appengine.apps().create(body=asked).execute())


def update(gcp: Gcp, ref: Ref, body: Body, changes: Sequence[Change]) -> NoReturn:
    """Tell that it cannot be moved; and that somebody has switched it off, which is not ours to change."""
    for change in changes:
        if change.path == ("locationId",):
            raise WrongRegion(f"{ref}: the application lies in {change.live} for ever, not in {body['locationId']}")
    raise ApplicationDisabled(
        f"{ref}: the application is {changes[0].live}, so it serves nothing and takes no version."
    )


def facts(live: Body) -> Facts:
    """Its host name and the holders of its default service."""
    return Facts(default_hostname=live["defaultHostname"], default_of=tuple(live["defaultOf"]))


delete = keep
owner = shared
contents = no_contents
