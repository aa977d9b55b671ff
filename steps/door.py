"""The front door: Identity-Aware Proxy, which lets nobody reach MLflow who has not signed in and may.

It is a switch of the whole application (https://cloud.google.com/iap/docs/enabling-app-engine). Without a client of the
user's Google's own OAuth client is used; the Admin API for OAuth clients was shut down in March 2026.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from provision import config, operations
from provision.deployment import Deployment
from provision.gcp import Gcp
from provision.step import Body, Change, FactBook, Operation, Ref, Stays, no_contents, no_facts, shared
from steps import _appengine, _names, app

NO_CLIENT = {"oauth2ClientId": "", "oauth2ClientSecret": ""}
"""Said outright: what is left out stays as it was."""

LEAVES: str | None = None
RIGHTS: tuple[str, ...] = (
    "appengine.applications.get", "appengine.applications.update", "appengine.services.list",
    "appengine.versions.get", "appengine.versions.list", "appengine.operations.get",
)  # fmt: skip


def declare(deployment: Deployment, facts: FactBook) -> dict[Ref, Body]:
    """Switched on, with the user's OAuth client if there is one."""
    body: Body = {"enabled": True}
    door = deployment.config.door
    if door.client_id and door.client_secret_file:
        secret = config.secret_in(door.client_secret_file)
        body |= {
            "oauth2ClientId": door.client_id,
            "oauth2ClientSecretFile": str(door.client_secret_file),
            "oauth2ClientSecretSha256": hashlib.sha256(secret.encode()).hexdigest(),
        }
    return {f"{app.ref(deployment)}/iap": body}


def read(gcp: Gcp, ref: Ref) -> Body | None:
    """How it is set; nothing when it is off."""
    answer = gcp.appengine.apps().get(**_appengine.path(ref)).execute().get("iap", {})
    fields = _names.chosen(answer, "enabled", "oauth2ClientId", "oauth2ClientSecretSha256")
    return fields if fields.get("enabled") else None


def create(gcp: Gcp, ref: Ref, body: Body) -> Operation | None:
    """Switch it on; the client's secret is read from its file now and nowhere kept."""
    iap: Body = {"enabled": True}
    if file := body.get("oauth2ClientSecretFile"):
        iap |= {"oauth2ClientId": body["oauth2ClientId"], "oauth2ClientSecret": config.secret_in(Path(file))}
    return _patch(gcp, ref, iap)


def update(gcp: Gcp, ref: Ref, body: Body, changes: Sequence[Change]) -> Operation | None:
    """Hand over the client anew; or take it back, for Google's own one."""
    if any(change.path == ("oauth2ClientId",) and change.goal is None for change in changes):
        return _patch(gcp, ref, {**NO_CLIENT, "enabled": True})
    return create(gcp, ref, body)


def delete(gcp: Gcp, ref: Ref, live: Body, applied: Body) -> Operation | None:
    """Switch it off, the server being gone by then; not while others of the application are served behind it."""
    if others := _appengine.serving(gcp, _appengine.path(ref)["appsId"]):
        raise Stays(f"IAP stays switched on: {', '.join(others)} would be open to everybody without it.")
    return _patch(gcp, ref, {**(NO_CLIENT if "oauth2ClientId" in applied else {}), "enabled": False})


def _patch(gcp: Gcp, ref: Ref, iap: Body) -> Operation | None:
    asked = gcp.appengine.apps().patch(**_appengine.path(ref), updateMask="iap", body={"iap": iap})
    return operations.started("appengine", asked.execute())


facts = no_facts
owner = shared
contents = no_contents
