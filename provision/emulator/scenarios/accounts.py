"""Service accounts that are new, remade or forbidden."""

from typing import Any

from provision.emulator import errors, iam
from provision.emulator.api import Call
from provision.emulator.apis import iam as accounts
from provision.emulator.scenarios import Answer, GoOn, Playing, habit, scenario
from provision.emulator.world import World

Json = dict[str, Any]

READS = ("iam.projects.serviceAccounts.get", "iam.projects.serviceAccounts.getIamPolicy")


@scenario(
    "new-accounts-flap",
    1,
    "https://github.com/GoogleCloudPlatform/magic-modules/pull/14447",
    seconds=20.0,
)
def new_accounts_flap(world: World, options: Json) -> None:
    """A service account that was just made is there at one look and not at the next, and no policy takes it yet."""
    del world, options


@habit("iam.projects.serviceAccounts.create", of="new-accounts-flap")
def made(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """Remember when."""
    answer = go_on()
    if isinstance(answer, dict):
        playing.row.setdefault("made", {})[answer["email"]] = call.world.timestamp(6)
        call.world.table("scenarios")[playing.name] = playing.row
    return answer


@habit(*READS, "iam.projects.serviceAccounts.setIamPolicy", of="new-accounts-flap")
def flaps(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """Every other look does not find it."""
    email = (call.params.get("name") or call.params.get("resource") or "").rpartition("/")[2]
    since = playing.row.get("made", {}).get(email)
    if since and playing.lasts(since) and playing.count(email) % 2 == 0:
        name = f"projects/{call.project_id}/serviceAccounts/{email}"
        raise errors.not_found(f"Service account {name} does not exist.")
    return go_on()


@habit("*.setIamPolicy", of="new-accounts-flap")
def refused(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """A policy that names it is refused whole."""
    text = str(call.body)
    for email, since in playing.row.get("made", {}).items():
        if f"serviceAccount:{email}" in text and playing.lasts(since):
            raise errors.invalid(f"Service account {email} does not exist.")
    return go_on()


@scenario(
    "account-remade",
    19,
    "https://cloud.google.com/knowledge/kb/permission-denied-on-deleted-and-recreated-service-account-000004665",
    account="server",
)
def account_remade(world: World, options: Json) -> None:
    """An account was deleted and made again under its address: it is another one, without the roles of the old."""
    for email, row in world.table("iam.accounts").items():
        if email.partition("@")[0].endswith(options["account"]) and not row.get("deleted"):
            accounts.deleted(world, row)
            world.table("iam.accounts")[email] = row | {"uniqueId": world.number(21)}


@scenario(
    "deleted-members",
    19,
    "https://cloud.google.com/iam/docs/service-accounts-delete-undelete",
    refused=1,
)
def deleted_members(world: World, options: Json) -> None:
    """A policy names a stranger's account that was deleted; Google may not take it back, or (`refused=0`) may."""
    del options
    for project in world.projects:
        policy = iam.policy_of(world, f"projects/{project}")
        named = {
            "role": "roles/viewer",
            "members": [f"deleted:serviceAccount:old@{project}.iam.gserviceaccount.com?uid=1"],
        }
        iam.put_policy(world, f"projects/{project}", policy | {"bindings": [*policy.get("bindings", []), named]})


@habit("*.setIamPolicy", of="deleted-members")
def not_taken_back(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """It is refused whole."""
    sent = (call.body.get("policy") or call.body).get("bindings", [])
    gone = [member for binding in sent for member in binding["members"] if member.startswith("deleted:")]
    if playing["refused"] and gone:
        raise errors.invalid(f"Invalid service account ({gone[0]}).", reason="badRequest")
    return go_on()
