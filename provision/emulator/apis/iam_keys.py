"""IAM: keys of service accounts. https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts.keys."""

import base64
import json

from provision.emulator import errors, keys
from provision.emulator.api import Call, Json, method
from provision.emulator.apis import orgpolicy
from provision.emulator.apis.iam import find, name_of, resource

_MOST = 10  # keys of one account
_FORBIDDING = ("iam.disableServiceAccountKeyCreation", "iam.managed.disableServiceAccountKeyCreation")


def _shown(account: Json, key: Json) -> Json:
    ours = key["keyType"] == "USER_MANAGED"
    return {
        "name": f"{name_of(account)}/keys/{key['kid']}",
        "validAfterTime": key["validAfterTime"],
        "validBeforeTime": keys.FOREVER,
        "keyAlgorithm": "KEY_ALG_RSA_2048",
        "keyOrigin": "GOOGLE_PROVIDED",
        "keyType": "USER_MANAGED" if ours else "SYSTEM_MANAGED",
    }


def _find(call: Call) -> tuple[Json, Json]:
    account, kid = find(call), call.name.rsplit("/", 1)[-1]
    key = call.world.table("iam.keys").get(f"{account['email']}/{kid}")
    if key is None:
        raise errors.not_found(f"Service account key {kid} does not exist.")
    return account, key


@method("iam.projects.serviceAccounts.keys.create", permission="iam.serviceAccountKeys.create", resource=resource)
def create(call: Call) -> Json:
    """Make a key; its private half is in this answer and nowhere else."""
    account, world = find(call), call.world
    for constraint in _FORBIDDING:
        if orgpolicy.enforced(world, account["projectId"], constraint):
            message = "Key creation is not allowed on this service account."
            raise orgpolicy.violated(constraint, name_of(account), message)
    if sum(key["keyType"] == "USER_MANAGED" for key in keys.account_keys(world, account["email"])) >= _MOST:
        raise errors.failed_precondition("Precondition check failed.")
    key = keys.new_account_key(world, account["email"], user_managed=True)
    file = {
        "type": "service_account",
        "project_id": account["projectId"],
        "private_key_id": key["kid"],
        "private_key": key["pem"],
        "client_email": account["email"],
        "client_id": account["uniqueId"],
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": "https://oauth2.googleapis.com/token",
        "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
        "client_x509_cert_url": f"https://www.googleapis.com/robot/v1/metadata/x509/{account['email']}",
        "universe_domain": "googleapis.com",
    }
    data = base64.b64encode(json.dumps(file, indent=2).encode()).decode()
    return _shown(account, key) | {"privateKeyType": "TYPE_GOOGLE_CREDENTIALS_FILE", "privateKeyData": data}


@method("iam.projects.serviceAccounts.keys.get", permission="iam.serviceAccountKeys.get", resource=resource)
def get(call: Call) -> Json:
    """One key, its public half when asked for."""
    account, key = _find(call)
    kind = call.params.get("publicKeyType")
    if kind in ("TYPE_X509_PEM_FILE", "TYPE_RAW_PUBLIC_KEY"):
        pem = key["cert"] if kind == "TYPE_X509_PEM_FILE" else keys.public_pem(key)
        return _shown(account, key) | {"publicKeyData": base64.b64encode(pem.encode()).decode()}
    return _shown(account, key)


@method("iam.projects.serviceAccounts.keys.list", permission="iam.serviceAccountKeys.list", resource=resource)
def list_keys(call: Call) -> Json:
    """The keys of an account."""
    account, kinds = find(call), call.params.get("keyTypes") or []
    rows = [k for k in keys.account_keys(call.world, account["email"]) if not kinds or k["keyType"] in kinds]
    return {"keys": [_shown(account, key) for key in rows]} if rows else {}


@method("iam.projects.serviceAccounts.keys.delete", permission="iam.serviceAccountKeys.delete", resource=resource)
def delete(call: Call) -> Json:
    """Delete a key: what it signs is worth nothing from now on."""
    account, key = _find(call)
    del call.world.table("iam.keys")[f"{account['email']}/{key['kid']}"]
    return {}
