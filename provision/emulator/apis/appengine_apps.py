"""App Engine applications: one for each project, made once and for ever; and the switch of Identity-Aware Proxy.

https://docs.cloud.google.com/appengine/docs/admin-api/reference/rest/v1/apps
"""

import hashlib
from datetime import timedelta

from provision.emulator import errors, operations
from provision.emulator.api import Call, Json, method
from provision.emulator.apis import appengine_regions as regions
from provision.emulator.world import World

TABLE = "appengine.apps"
SERVING = ("SERVING", "USER_DISABLED")

# How long Google's own account of a new application is not found everywhere.
_SPREADS = {"google": timedelta(seconds=30)}
_IAP_KEPT = ("enabled", "oauth2ClientId", "oauth2ClientSecretSha256")


def app_of(call: Call) -> Json:
    """The application that a call names; raises 404 when the project has none."""
    row = call.world.table(TABLE).get(call.project_id)
    if row is None:
        raise errors.not_found(f"Could not find Application '{call.project_id}'.")
    return row


def require_idle(world: World, target: str) -> None:
    """Refuse to begin anything on what another operation is still at work on."""
    app = "/".join(target.split("/")[:2])
    for row in operations.pending(world, "appengine", app):
        if row["target"] in (app, target):
            number = row["name"].rpartition("/")[2]
            busy = row["target"]
            message = f"Cannot operate on {target} because an operation is already in progress for {busy} by {number}."
            raise errors.aborted(message)


def require_spread(call: Call, row: Json) -> None:
    """Refuse what needs Google's own account of the application while that account is not found everywhere."""
    spreads = _SPREADS.get(call.world.profile, timedelta())
    if row["made"] + spreads.total_seconds() > call.now.timestamp():
        account = f"service-{call.project['projectNumber']}@gcp-gae-service.iam.gserviceaccount.com"
        why = "Could be GAIA propagation delay or request from deleted apps."
        raise errors.not_found(f"Unable to retrieve P4SA: [{account}] from GAIA. {why}")


def begin(call: Call, target: str, verb: str, **args: object) -> Json:
    """Start the operation of this call and answer it; `verb` is such as Applications.CreateApplication."""
    metadata = {
        "@type": "type.googleapis.com/google.appengine.v1.OperationMetadataV1",
        "method": f"google.appengine.v1.{verb}",
        "insertTime": call.world.timestamp(3),
        "user": call.caller.partition(":")[2],
        "target": target,
    }
    return operations.start(call, kind="appengine", verb=call.id, target=target, args=args, metadata=metadata)


def ended(world: World, operation: Json) -> None:
    """Write the time at which an operation ended."""
    operation["metadata"]["endTime"] = world.timestamp(3)


def response(kind: str, body: Json) -> Json:
    """The response of a finished operation."""
    return {"@type": f"type.googleapis.com/google.appengine.v1.{kind}", **body}


def _created_in(call: Call) -> str:
    return f"projects/{call.world.project_id(str(call.body.get('id') or ''))}"


@method("appengine.apps.create", permission="appengine.applications.create", resource=_created_in)
def create(call: Call) -> Json:
    """Begin to make the project's application; where it is can never be changed."""
    project = call.world.project(call.body.get("id") or "")
    app, location = project["projectId"], call.body.get("locationId") or "us-central"
    if app in call.world.table(TABLE):
        raise errors.already_exists("This application already exists and cannot be re-created.")
    require_idle(call.world, f"apps/{app}")
    if call.body.get("servingStatus"):
        raise errors.failed_precondition("Serving status cannot be updated.")
    if location not in regions.LOCATIONS:
        raise errors.invalid(f"The location '{location}' is not valid.")
    call.params["appsId"] = app
    return begin(call, f"apps/{app}", "Applications.CreateApplication", body=call.body, location=location)


@operations.finish("appengine.apps.create")
def created(world: World, operation: Json) -> Json:
    """The application is there, and so is the account that it runs as unless told otherwise."""
    app, body, location = operation["project"], operation["args"]["body"], operation["args"]["location"]
    host = f"{app}.{regions.LOCATIONS[location]}.r.appspot.com"
    account = _default_account(world, app)
    row = {
        "name": f"apps/{app}",
        "id": app,
        "authDomain": body.get("authDomain") or "gmail.com",
        "locationId": location,
        "codeBucket": f"staging.{app}.appspot.com",
        "servingStatus": "SERVING",
        "defaultHostname": host,
        "defaultBucket": f"{app}.appspot.com",
        "serviceAccount": body.get("serviceAccount") or account,
        "gcrDomain": regions.registry_of(location),
        "featureSettings": {"splitHealthChecks": True, "useContainerOptimizedOs": True}
        | (body.get("featureSettings") or {}),
        "made": world.clock.now().timestamp(),
    }
    row |= {"sslPolicy": body["sslPolicy"]} if body.get("sslPolicy") else {}
    row |= {"iap": _iap({}, body["iap"])} if body.get("iap") else {}
    world.table(TABLE)[app] = row
    ended(world, operation)
    return response("Application", shown(row))


@method("appengine.apps.get", permission="appengine.applications.get")
def get(call: Call) -> Json:
    """The application."""
    return shown(app_of(call))


@method("appengine.apps.patch", permission="appengine.applications.update")
def patch(call: Call) -> Json:
    """Begin to change what updateMask names: iap, servingStatus, featureSettings and a few more."""
    app = app_of(call)
    require_idle(call.world, app["name"])
    mask = [path.strip() for path in (call.params.get("updateMask") or ",".join(call.body)).split(",") if path.strip()]
    changeable = {
        "authDomain",
        "databaseType",
        "defaultCookieExpiration",
        "featureSettings",
        "iap",
        "servingStatus",
        "serviceAccount",
        "sslPolicy",
    }
    for path in mask:
        if camel(path.partition(".")[0]) not in changeable:
            raise errors.invalid(f"Field '{path}' in the update mask cannot be updated.")
    if call.body.get("servingStatus") not in (None, "UNSPECIFIED", *SERVING):
        raise errors.invalid(f"Serving status {call.body['servingStatus']} cannot be set.")
    fields = {camel(path.partition(".")[0]) for path in mask}
    changes = {field: call.body[field] for field in sorted(fields & set(call.body))}
    changes |= {"iap": _iap(app.get("iap", {}), changes["iap"])} if "iap" in changes else {}
    return begin(call, app["name"], "Applications.UpdateApplication", changes=changes)


@operations.finish("appengine.apps.patch")
def patched(world: World, operation: Json) -> Json:
    """The change holds."""
    row = world.table(TABLE)[operation["project"]]
    for field, value in operation["args"]["changes"].items():
        partial = isinstance(value, dict) and field != "iap"  # the switch comes whole: absent means off
        row[field] = row.get(field, {}) | value if partial else value
    world.table(TABLE)[operation["project"]] = row
    ended(world, operation)
    return response("Application", shown(row))


@method("appengine.apps.repair", permission="appengine.applications.update")
def repair(call: Call) -> Json:
    """Begin to make again what Google's part of the application lacks; a deleted account stays deleted."""
    return begin(call, app_of(call)["name"], "Applications.RepairApplication")


@operations.finish("appengine.apps.repair")
def repaired(world: World, operation: Json) -> Json:
    """Nothing was amiss."""
    ended(world, operation)
    return response("Application", shown(world.table(TABLE)[operation["project"]]))


@method("appengine.apps.operations.get", permission="appengine.operations.get")
def get_operation(call: Call) -> Json:
    """How an operation stands."""
    return operations.read(call, "appengine", f"apps/{call.project_id}/operations/{call.params['operationsId']}")


@method("appengine.apps.operations.list", permission="appengine.operations.list")
def list_operations(call: Call) -> Json:
    """The application's operations, newest first."""
    rows = operations.listed(call.world, "appengine", f"apps/{call.project_id}/operations/")
    return call.page(rows, key="operations", default=100)


def shown(row: Json) -> Json:
    """An application as the API shows it."""
    return {key: value for key, value in row.items() if key != "made"}


def camel(path: str) -> str:
    """A field of an update mask in the spelling of JSON: serving_status is servingStatus."""
    head, *rest = path.split("_")
    return head + "".join(word.capitalize() for word in rest)


def _iap(old: Json, new: Json) -> Json:
    """The switch as it is kept: of the secret only the hash; a client that is not sent, even empty, is kept."""
    kept = old | {key: value for key, value in new.items() if key in ("enabled", "oauth2ClientId")}
    if "oauth2ClientSecret" in new:
        secret = new["oauth2ClientSecret"]
        kept["oauth2ClientSecretSha256"] = hashlib.sha256(secret.encode()).hexdigest() if secret else ""
    return {key: kept[key] for key in _IAP_KEPT if kept.get(key)}


def _default_account(world: World, app: str) -> str:
    email = f"{app}@appspot.gserviceaccount.com"
    accounts = world.table("iam.accounts")
    if email not in accounts:
        unique = world.number(21)
        accounts[email] = {
            "name": f"projects/{app}/serviceAccounts/{email}",
            "projectId": app,
            "uniqueId": unique,
            "email": email,
            "displayName": "App Engine default service account",
            "etag": "MDEwMjE5MjA=",
            "oauth2ClientId": unique,
        }
    return email
