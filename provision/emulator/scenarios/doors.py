"""Front doors whose OAuth client serves nobody or not everybody, and that learn late who may come in."""

from typing import Any

from provision.emulator import errors
from provision.emulator.api import Call, Reply
from provision.emulator.scenarios import Answer, GoOn, Playing, habit, policies, scenario
from provision.emulator.world import World

Json = dict[str, Any]

ORG_INTERNAL = """<!doctype html>
<title>Error 403: org_internal</title>
<h1>Access blocked: this app can only be used within its organization</h1>
<p>Error 403: org_internal</p>
<p>This client is restricted to users within its organization.</p>
"""


@scenario("no-organization", 15, "https://docs.cloud.google.com/iap/docs/custom-oauth-configuration")
def no_organization(world: World, options: Json) -> None:
    """The project lies in no organization, so Google's own OAuth client lets nobody in: the front door answers 502."""
    del options
    for name, project in world.projects.items():
        world.projects[name] = project | {"parent": None}


@scenario("managed-client-refused", 15, "https://cloud.google.com/iap/docs/reference/app-engine-apis")
def managed_client_refused(world: World, options: Json) -> None:
    """The front door cannot be switched on without an OAuth client of one's own."""
    del world, options


@habit("appengine.apps.patch", of="managed-client-refused")
def refused(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """When it is to be on, and no client is named."""
    del playing
    iap = call.body.get("iap") or {}
    if iap.get("enabled") and not iap.get("oauth2ClientId"):
        raise errors.invalid("Request contains an invalid argument.")
    return go_on()


@scenario("door-policy-late", 16, "https://cloud.google.com/iap/docs/faq", seconds=60.0)
def door_policy_late(world: World, options: Json) -> None:
    """Who was let in at the front door hears 403 for minutes all the same."""
    del world, options


habit("iap.setIamPolicy", of="door-policy-late")(policies.granted)


@scenario(
    "outsiders-refused", 16, "https://docs.cloud.google.com/iap/docs/custom-oauth-configuration", domain="example.com"
)
def outsiders_refused(world: World, options: Json) -> None:
    """Google's own OAuth client lets only people of the project's organization sign in."""
    del world, options


@habit("accounts.signin.choose", of="outsiders-refused")
def outsider(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """Google's page says so before the door is reached, whatever the door's policy grants."""
    from provision.emulator.machines.registry import MANAGED_CLIENT

    email = str(call.body.get("email") or "").strip().lower()
    if call.body.get("client_id") == MANAGED_CLIENT and email.rpartition("@")[2] != playing["domain"]:
        return Reply(status=403, text=ORG_INTERNAL, media_type="text/html; charset=UTF-8")
    return go_on()
