"""IAM: service accounts and their policies. https://cloud.google.com/iam/docs/reference/rest."""

import re

from provision.emulator import errors, iam
from provision.emulator.api import Call, Json, method
from provision.emulator.apis import orgpolicy
from provision.emulator.world import World

ETAG = "MDEwMjE5MjA="  # the same for every account
_ID = re.compile(r"[a-z]([-a-z0-9]{4,28}[a-z0-9])")


def find(call: Call) -> Json:
    """The account that `name` or `resource` means, by address or unique ID, in its project or in `-`.

    Raises 404 in the words for an account that never was, or that was deleted.
    """
    text = (call.params.get("name") or call.params.get("resource") or "").split("/")[3]
    table = call.world.table("iam.accounts")
    row = table.get(text) or next((a for a in table.values() if a["uniqueId"] == text), None)
    where = call.name.split("/")[1] if call.params.get("name") else call.resource.split("/")[1]
    if row is None or where not in ("-", row["projectId"]):
        raise errors.not_found("Unknown service account")
    if row.get("deleted"):
        raise errors.not_found(f"Account deleted: {row['uniqueId']}")
    return row


def name_of(account: Json) -> str:
    """The account's full name, by address."""
    return f"projects/{account['projectId']}/serviceAccounts/{account['email']}"


def resource(call: Call) -> str:
    """The account's full name, for its IAM policy."""
    return name_of(find(call))


def shown(account: Json) -> Json:
    """An account as the API shows it."""
    row = {"name": name_of(account)}
    row |= {key: account[key] for key in ("projectId", "uniqueId", "email")}
    row |= {key: account[key] for key in ("displayName", "description") if account.get(key)}
    row |= {"etag": ETAG, "oauth2ClientId": account["uniqueId"]}
    return row | ({"disabled": True} if account.get("disabled") else {})


def _project(call: Call) -> str:
    return f"projects/{call.project_id}"


@method("iam.projects.serviceAccounts.create", permission="iam.serviceAccounts.create", resource=_project)
def create(call: Call) -> Json:
    """Make an account; its address is taken from accountId."""
    account, project, sent = str(call.body.get("accountId", "")), call.project_id, call.body.get("serviceAccount") or {}
    if not 6 <= len(account) <= 30:
        message = f'The account ID "{account}" does not have a length between 6 and 30.'
        raise errors.invalid(message, reason="badRequest")
    if not _ID.fullmatch(account):
        message = f"Account ID {account} is not valid. It must match [a-z]([-a-z0-9]*[a-z0-9])."
        raise errors.invalid(message, reason="badRequest")
    email = f"{account}@{project}.iam.gserviceaccount.com"
    constraint = "iam.disableServiceAccountCreation"
    if orgpolicy.enforced(call.world, project, constraint):
        message = "Service account creation is not allowed on this project."
        raise orgpolicy.violated(constraint, f"projects/{project}", message)
    table = call.world.table("iam.accounts")
    if email in table and not table[email].get("deleted"):
        details = [
            {
                "@type": "type.googleapis.com/google.rpc.ResourceInfo",
                "resourceName": f"projects/{project}/serviceAccounts/{email}",
            }
        ]
        message = f"Service account {account} already exists within project projects/{project}."
        raise errors.already_exists(message, details=details)
    row: Json = {"projectId": project, "uniqueId": call.world.number(21), "email": email}
    row |= {key: sent.get(key, "") for key in ("displayName", "description")}
    table[email] = row
    return shown(row)


@method("iam.projects.serviceAccounts.get", permission="iam.serviceAccounts.get", resource=resource)
def get(call: Call) -> Json:
    """One account."""
    return shown(find(call))


@method("iam.projects.serviceAccounts.list", permission="iam.serviceAccounts.list", resource=_project)
def list_accounts(call: Call) -> Json:
    """The accounts of a project."""
    rows = [a for a in call.world.table("iam.accounts").values() if a["projectId"] == call.project_id]
    return call.page([shown(a) for a in rows if not a.get("deleted")], "accounts", 20)


@method("iam.projects.serviceAccounts.patch", permission="iam.serviceAccounts.update", resource=resource)
def patch(call: Call) -> Json:
    """Change display name or description; answers the changed fields and the name only."""
    row, sent = find(call), call.body.get("serviceAccount") or {}
    mask = [re.sub(r"_n", "N", field) for field in str(call.body.get("updateMask") or "").split(",") if field]
    changed = {field: sent.get(field, "") for field in mask or sent if field in ("displayName", "description")}
    call.world.table("iam.accounts")[row["email"]] = row | changed
    return {"name": name_of(row)} | changed


@method("iam.projects.serviceAccounts.update", permission="iam.serviceAccounts.update", resource=resource)
def update(call: Call) -> Json:
    """Replace display name and description."""
    row = find(call)
    row |= {key: call.body[key] for key in ("displayName", "description") if key in call.body}
    call.world.table("iam.accounts")[row["email"]] = row
    return shown(row)


@method("iam.projects.serviceAccounts.delete", permission="iam.serviceAccounts.delete", resource=resource)
def delete(call: Call) -> Json:
    """Delete an account; bindings that name it go on to name a deleted one, and for 30 days it can be brought back."""
    deleted(call.world, find(call))
    return {}


def deleted(world: World, row: Json) -> None:
    """What becomes of an account that is deleted."""
    email = row["email"]
    world.table("iam.accounts")[email] = row | {"deleted": True}
    world.table("iam.deleted")[row["uniqueId"]] = row
    keys = world.table("iam.keys")
    for key, _ in keys.under(f"{email}/"):
        del keys[key]
    iam.drop_policies(world, name_of(row))
    _rename(world, f"serviceAccount:{email}", f"deleted:serviceAccount:{email}?uid={row['uniqueId']}")


@method("iam.projects.serviceAccounts.undelete", permission="iam.serviceAccounts.undelete", resource=_project)
def undelete(call: Call) -> Json:
    """Bring back a deleted account by its unique ID."""
    world, text = call.world, call.name.split("/")[3]
    row = world.table("iam.deleted").get(text)
    if row is None:
        raise errors.not_found("Unknown service account")
    if not world.table("iam.accounts").get(row["email"], {"deleted": True}).get("deleted"):
        raise errors.failed_precondition("Precondition check failed.")
    world.table("iam.accounts")[row["email"]] = row
    del world.table("iam.deleted")[text]
    _rename(world, f"deleted:serviceAccount:{row['email']}?uid={text}", f"serviceAccount:{row['email']}")
    return {"restoredAccount": shown(row)}


def _rename(world: World, old: str, new: str) -> None:
    """Give a member another name in every policy, which leaves the policies' etags as they are."""
    policies = world.table("iam.policies")
    for key, policy in policies.items():
        bindings = policy.get("bindings", [])
        if any(old in b["members"] for b in bindings):
            for binding in bindings:
                binding["members"] = sorted({new if m == old else m for m in binding["members"]})
            policies[key] = policy


def _switch(call: Call, *, disabled: bool) -> Json:
    row = find(call)
    call.world.table("iam.accounts")[row["email"]] = row | {"disabled": disabled}
    return {}


@method("iam.projects.serviceAccounts.disable", permission="iam.serviceAccounts.disable", resource=resource)
def disable(call: Call) -> Json:
    """Keep an account from doing anything."""
    return _switch(call, disabled=True)


@method("iam.projects.serviceAccounts.enable", permission="iam.serviceAccounts.enable", resource=resource)
def enable(call: Call) -> Json:
    """Let a disabled account act again."""
    return _switch(call, disabled=False)


@method("iam.projects.serviceAccounts.getIamPolicy", permission="iam.serviceAccounts.getIamPolicy", resource=resource)
def get_policy(call: Call) -> Json:
    """Who may use an account."""
    return iam.get_policy(call, resource(call))


@method("iam.projects.serviceAccounts.setIamPolicy", permission="iam.serviceAccounts.setIamPolicy", resource=resource)
def set_policy(call: Call) -> Json:
    """Say who may use an account."""
    return iam.set_policy(call, resource(call))


@method("iam.projects.serviceAccounts.testIamPermissions", permission="iam.serviceAccounts.get", resource=resource)
def test_permissions(call: Call) -> Json:
    """Which of the permissions the caller holds on an account."""
    return iam.test_permissions(call, resource(call))
