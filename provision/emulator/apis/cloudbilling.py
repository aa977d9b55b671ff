"""Cloud Billing: which account pays for a project. https://cloud.google.com/billing/docs/reference/rest."""

from provision.emulator import errors, iam
from provision.emulator.api import NO_PERMISSION, Call, Json, method

ACCOUNT: Json = {
    "name": "billingAccounts/000000-AAAAAA-BBBBBB",
    "open": True,
    "displayName": "My Billing Account",
    "masterBillingAccount": "",
    "parent": "",
    "currencyCode": "USD",
}


def _info(project: Json) -> Json:
    """The empty text and false are said, unlike elsewhere; an account that is closed enables nothing."""
    name = f"projects/{project['projectId']}/billingInfo"
    account = project["billing"]
    return {
        "name": name,
        "projectId": project["projectId"],
        "billingAccountName": account,
        "billingEnabled": account == ACCOUNT["name"],
    }


def _resource(call: Call) -> str:
    return f"projects/{call.project_id}"


@method("cloudbilling.projects.getBillingInfo", permission="resourcemanager.projects.get", resource=_resource)
def get_info(call: Call) -> Json:
    """The account of a project."""
    return _info(call.project)


@method(
    "cloudbilling.projects.updateBillingInfo",
    permission="resourcemanager.projects.createBillingAssignment",
    resource=_resource,
)
def update_info(call: Call) -> Json:
    """Link a project to an account; an empty name unlinks it."""
    account = str(call.body.get("billingAccountName") or "")
    if account and account != ACCOUNT["name"]:
        raise errors.permission_denied()
    row = call.project
    row["billing"] = account
    call.world.projects[row["projectId"]] = row
    return _info(row)


@method("cloudbilling.billingAccounts.list", permission=NO_PERMISSION)
def list_accounts(call: Call) -> Json:
    """The accounts that the caller sees."""
    name, caller = ACCOUNT["name"], call.caller
    sees = caller == call.world.owner or call.world.allowed(caller, "billing.accounts.get", name)
    return call.page([ACCOUNT] if sees else [], "billingAccounts")


def _account(call: Call) -> Json:
    if call.params.get("name", call.params.get("resource")) != ACCOUNT["name"]:
        raise errors.permission_denied()
    return ACCOUNT


@method("cloudbilling.billingAccounts.get", permission="billing.accounts.get")
def get_account(call: Call) -> Json:
    """One account."""
    return _account(call)


@method("cloudbilling.billingAccounts.projects.list")
def list_projects(call: Call) -> Json:
    """The projects that an account pays for."""
    name = _account(call)["name"]
    return call.page([_info(p) for p in call.world.projects.values() if p["billing"] == name], "projectBillingInfo")


@method("cloudbilling.billingAccounts.testIamPermissions", permission=NO_PERMISSION)
def test_permissions(call: Call) -> Json:
    """Which of the permissions the caller holds on an account."""
    return iam.test_permissions(call, _account(call)["name"])
