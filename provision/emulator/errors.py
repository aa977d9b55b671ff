"""Google's error bodies: four families, one class.

Compute, Cloud SQL and Cloud Storage answer in the *legacy* form (`errors[]`, no `status`), IAM and Resource Manager
with both (*iam*), all others with `status` and perhaps `details[]` (*platform*); Cloud Storage's older API in *xml*.
See https://cloud.google.com/apis/design/errors, https://cloud.google.com/storage/docs/json_api/v1/status-codes and
https://cloud.google.com/storage/docs/xml-api/reference-status.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypedDict, Unpack
from xml.sax.saxutils import escape

Json = dict[str, Any]
Family = Literal["legacy", "iam", "platform", "xml"]

LEGACY_HOSTS = ("compute.googleapis.com", "sqladmin.googleapis.com", "storage.googleapis.com")
IAM_HOSTS = ("iam.googleapis.com", "cloudresourcemanager.googleapis.com")

_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    412: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_REASON = {
    400: "badRequest",
    401: "authError",
    403: "forbidden",
    404: "notFound",
    409: "alreadyExists",
    412: "conditionNotMet",
    429: "rateLimitExceeded",
    500: "backendError",
    503: "backendError",
}
_RPC = {
    "CANCELLED": 1,
    "INVALID_ARGUMENT": 3,
    "DEADLINE_EXCEEDED": 4,
    "NOT_FOUND": 5,
    "ALREADY_EXISTS": 6,
    "PERMISSION_DENIED": 7,
    "RESOURCE_EXHAUSTED": 8,
    "FAILED_PRECONDITION": 9,
    "ABORTED": 10,
    "UNIMPLEMENTED": 12,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
    "UNAUTHENTICATED": 16,
}


def family_of(host: str) -> Family:
    """The family of error bodies that an API's host answers with."""
    if host in LEGACY_HOSTS:
        return "legacy"
    return "iam" if host in IAM_HOSTS else "platform"


class Details(TypedDict, total=False):
    """What a constructor below may be told besides the message; see `GoogleError`."""

    reason: str | None
    status: str | None
    family: Family | None
    domain: str
    location: str | None
    location_type: str | None
    details: list[Json] | None
    extended_help: str | None
    headers: Mapping[str, str]


class GoogleError(Exception):
    """An answer that is an error: HTTP code, message, and what the families add to them.

    Without `family` the body takes the family of the host that answers. `reason` is `errors[0].reason`, `status` the
    canonical name (`NOT_FOUND`); both follow from the code when they are not given.
    """

    def __init__(self, code: int, message: str, **more: Unpack[Details]) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = more.get("reason") or _REASON.get(code, "backendError")
        self.status = more.get("status") or _STATUS.get(code, "UNKNOWN")
        self.said_status = more.get("status")
        self.family = more.get("family")
        self.domain = more.get("domain") or "global"
        self.location = more.get("location")
        self.location_type = more.get("location_type")
        self.details = more.get("details")
        self.extended_help = more.get("extended_help")
        self.headers = dict(more.get("headers") or {})

    @property
    def rpc_code(self) -> int:
        """The number of `status` in google.rpc.Code, as operations report it."""
        return _RPC.get(self.status, 2)

    def body(self, host: str) -> Json:
        """The JSON body as the API at `host` would write it."""
        family = self.family or family_of(host)
        error: Json = {"code": self.code, "message": self.message}
        if family != "platform":
            item: Json = {"message": self.message, "domain": self.domain, "reason": self.reason}
            if self.location_type:
                item |= {"locationType": self.location_type, "location": self.location}
            if self.extended_help:
                item["extendedHelp"] = self.extended_help
            error["errors"] = [item]
        if family != "legacy" or self.said_status:
            error["status"] = self.status
        if self.details and (family != "legacy" or self.said_status):
            error["details"] = self.details
        return {"error": error}

    def xml(self) -> str:
        """The body as Cloud Storage's XML API would write it; `reason` is its `Code`."""
        message = f"<Code>{escape(self.reason)}</Code><Message>{escape(self.message)}</Message>"
        return f"<?xml version='1.0' encoding='UTF-8'?><Error>{message}</Error>"


def not_found(message: str, **more: Unpack[Details]) -> GoogleError:
    """404 NOT_FOUND."""
    return GoogleError(404, message, **more)


def already_exists(message: str, **more: Unpack[Details]) -> GoogleError:
    """409 ALREADY_EXISTS, reason `alreadyExists`."""
    return GoogleError(409, message, **more)


def conflict(message: str, **more: Unpack[Details]) -> GoogleError:
    """409 ABORTED, reason `conflict`: what Cloud Storage says of a bucket that is there or not empty."""
    return GoogleError(409, message, **({"reason": "conflict"} | more))


def aborted(message: str, **more: Unpack[Details]) -> GoogleError:
    """409 ABORTED: somebody else changed it meanwhile."""
    return GoogleError(409, message, **({"reason": "aborted", "status": "ABORTED"} | more))


def invalid(message: str, **more: Unpack[Details]) -> GoogleError:
    """400 INVALID_ARGUMENT, reason `invalid`."""
    return GoogleError(400, message, **({"reason": "invalid"} | more))


def failed_precondition(message: str, **more: Unpack[Details]) -> GoogleError:
    """400 FAILED_PRECONDITION."""
    given = {"reason": "failedPrecondition", "status": "FAILED_PRECONDITION"} | more
    return GoogleError(400, message, **given)


def precondition_failed(**more: Unpack[Details]) -> GoogleError:
    """412 as Cloud Storage says it: a generation, metageneration or etag that is not the one asked for."""
    given = {"reason": "conditionNotMet", "location_type": "header", "location": "If-Match"} | more
    message = "At least one of the pre-conditions you specified did not hold."
    return GoogleError(412, message, **given)


def permission_denied(message: str = "The caller does not have permission", **more: Unpack[Details]) -> GoogleError:
    """403 PERMISSION_DENIED, which is also what a project that does not exist answers."""
    return GoogleError(403, message, **more)


def unauthenticated(**more: Unpack[Details]) -> GoogleError:
    """401: the bearer token is unknown or has expired."""
    message = (
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
        "authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project."
    )
    given = {"domain": "global", "location_type": "header", "location": "Authorization"} | more
    return GoogleError(401, message, **given)


def resource_exhausted(message: str, **more: Unpack[Details]) -> GoogleError:
    """429 RESOURCE_EXHAUSTED, reason `rateLimitExceeded`."""
    return GoogleError(429, message, **more)


def unavailable(message: str = "The service is currently unavailable.", **more: Unpack[Details]) -> GoogleError:
    """503 UNAVAILABLE."""
    return GoogleError(503, message, **more)


def unimplemented(method: str) -> GoogleError:
    """501: the emulator knows the method from the discovery document, but not its behaviour."""
    return GoogleError(501, f"{method} is not implemented by this emulator", reason="notImplemented")


def billing_disabled(service: str, number: str) -> GoogleError:
    """403 of an API that costs money, in a project that nobody pays for.

    https://cloud.google.com/billing/docs/how-to/verify-billing-enabled
    """
    url = f"https://console.developers.google.com/billing/enable?project={number}"
    message = (
        f"This API method requires billing to be enabled. Please enable billing on project #{number} by visiting {url} "
        "then retry. If you enabled billing for this project recently, wait a few minutes for the action to propagate "
        "to our systems and retry."
    )
    info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "BILLING_DISABLED",
        "domain": "googleapis.com",
        "metadata": {"consumer": f"projects/{number}", "service": service},
    }
    return GoogleError(403, message, status="PERMISSION_DENIED", details=[info])


def service_disabled(service: str, title: str, number: str) -> GoogleError:
    """403 of an API that the project has not switched on, for all families.

    https://cloud.google.com/apis/docs/getting-started#enabling_apis
    """
    url = f"https://console.developers.google.com/apis/api/{service}/overview?project={number}"
    message = (
        f"{title} has not been used in project {number} before or it is disabled. Enable it by visiting {url} "
        "then retry. If you enabled this API recently, wait a few minutes for the action to propagate to our systems "
        "and retry."
    )
    metadata = {
        "activationUrl": url,
        "consumer": f"projects/{number}",
        "containerInfo": number,
        "service": service,
        "serviceTitle": title,
    }
    prefix = "type.googleapis.com/google.rpc."
    details: list[Json] = [
        {"@type": f"{prefix}ErrorInfo", "reason": "SERVICE_DISABLED", "domain": "googleapis.com", "metadata": metadata},
        {"@type": f"{prefix}LocalizedMessage", "locale": "en-US", "message": message},
        {"@type": f"{prefix}Help", "links": [{"description": "Google developers console API activation", "url": url}]},
    ]
    # Compute and Storage leave status out; Cloud SQL does not
    status = None if service in ("storage.googleapis.com", "compute.googleapis.com") else "PERMISSION_DENIED"
    return GoogleError(
        403,
        message,
        reason="accessNotConfigured",
        domain="usageLimits",
        status=status,
        details=details,
        extended_help=f"https://console.developers.google.com/apis/api/{service}/overview?project={number}",
    )
