"""Identity-Aware Proxy: who may pass its doors, and settings. OAuth brands and clients are not made by API any more.

https://docs.cloud.google.com/iap/docs/reference/rest
"""

import copy
import re

from provision.emulator import errors, iam
from provision.emulator.api import Call, Json, method

SETTINGS = "iap.settings"
_RESOURCE = re.compile(
    r"projects/[^/]+/(iap_web(/(appengine-[^/]+|compute(-[^/]+)?|cloud_run-[^/]+|forwarding_rule(-[^/]+)?)(/services/[^/]+"
    r"(/versions/[^/]+)?)?)?|iap_tunnel(/.*)?)"
)


def _resource(call: Call) -> str:
    """The resource of a policy; it must be one that Identity-Aware Proxy knows."""
    name = call.world.by_id(str(call.params["resource"]))
    call.world.project(name.split("/")[1] if name.count("/") else "")
    if not _RESOURCE.fullmatch(name):
        raise errors.invalid(f"Invalid resource name: {call.params['resource']}")
    return name


def _kind(call: Call) -> str:
    """What the permissions of a resource are called after: webTypes, webServices, webServiceVersions and so on."""
    name = call.world.by_id(str(call.params["resource"]))
    if "/iap_tunnel" in name:
        return "iap.tunnel"
    if "/versions/" in name:
        return "iap.webServiceVersions"
    if "/services/" in name:
        return "iap.webServices"
    return "iap.webTypes" if name.count("/") > 2 else "iap.web"


def _require(call: Call, verb: str) -> str:
    """The resource, when the caller may do `verb` to it."""
    name = _resource(call)
    permission = f"{_kind(call)}.{verb}"
    if call.caller != call.world.owner and not call.world.allowed(call.caller, permission, name):
        raise errors.permission_denied()
    return name


# A caller who may do nothing in the project is turned away below, by the permission of the kind of resource.
@method("iap.getIamPolicy", permission="iap.webServices.getIamPolicy")
def get_policy(call: Call) -> Json:
    """The policy of a door."""
    return iam.get_policy(call, _require(call, "getIamPolicy"))


@method("iap.setIamPolicy", permission="iap.webServices.setIamPolicy")
def set_policy(call: Call) -> Json:
    """Replace the policy of a door."""
    return iam.set_policy(call, _require(call, "setIamPolicy"))


@method("iap.testIamPermissions", permission="iap.webServices.getIamPolicy")
def test_permissions(call: Call) -> Json:
    """Which of the permissions the caller has."""
    return iam.test_permissions(call, _resource(call))


@method("iap.getIapSettings", permission="iap.webServices.getSettings")
def get_settings(call: Call) -> Json:
    """The settings of a project or a door: those made on it, and nothing of what it inherits."""
    return {"name": _shown_name(call), **call.world.table(SETTINGS).get(_settings_of(call), {})}


@method("iap.updateIapSettings", permission="iap.webServices.updateSettings")
def update_settings(call: Call) -> Json:
    """Change what updateMask names, or without it replace everything."""
    name = _settings_of(call)
    held = call.world.table(SETTINGS).get(name, {})
    sent = {key: value for key, value in call.body.items() if key != "name"}
    mask = [part.strip() for part in (call.params.get("updateMask") or "").split(",") if part.strip()]
    held = _masked(held, sent, mask) if mask else sent
    call.world.table(SETTINGS)[name] = held
    return {"name": _shown_name(call), **held}


def _settings_of(call: Call) -> str:
    name = call.name
    call.world.project(name.split("/")[1] if name.count("/") else "")
    if not (_RESOURCE.fullmatch(name) or re.fullmatch(r"projects/[^/]+", name)):
        raise errors.invalid(f"Invalid resource name: {call.params['name']}")
    return name


def _shown_name(call: Call) -> str:
    """The name with the project's number, as Google answers it."""
    parts = call.name.split("/")
    parts[1] = str(call.world.project(parts[1])["projectNumber"])
    return "/".join(parts)


def _masked(held: Json, sent: Json, mask: list[str]) -> Json:
    result = copy.deepcopy(held)
    for path in mask:
        parts = [_camel(part) for part in path.removeprefix("iapSettings.").removeprefix("iap_settings.").split(".")]
        target, given = result, sent
        for part in parts[:-1]:
            target = target.setdefault(part, {})
            given = given.get(part) or {}
        if parts[-1] in given:
            target[parts[-1]] = given[parts[-1]]
        else:
            target.pop(parts[-1], None)
    return result


def _camel(part: str) -> str:
    head, *rest = part.split("_")
    return head + "".join(word.capitalize() for word in rest)
