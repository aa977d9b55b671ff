"""What Google's libraries raise, in one form."""

import errno
import json
import re
from dataclasses import dataclass, replace

from provision import errors

_PROJECT_NAMED = re.compile(r"has not been used in project (\d+)")
"""Where the older APIs say which project an API is off in."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""What a write answers when there is no room; it names no file."""


@dataclass(frozen=True)
class Violation:
    """What a PreconditionFailure or a QuotaFailure names: which rule, broken by what.

    Args:
        type: Such as ``constraints/iam.allowedPolicyMemberDomains``, or the name of the detail that has none.
        subject: What broke it.
        description: Google's sentence.
    """

    type: str
    subject: str
    description: str


@dataclass(frozen=True)
class Refusal:
    """An error of any Google library in one form.

    Args:
        status: The HTTP status; 0 when no answer came.
        reason: The machine-readable word: ``errors[0].reason``, or the ErrorInfo's.
        rpc_status: The canonical code's name, such as ``FAILED_PRECONDITION``; empty in the older APIs.
        message: Google's sentence.
        consumer: The project for which an API is off, as ``projects/NUMBER``.
        violations: What the answer's details name.
        ended: Where it is the end of a long-running operation, whose: an API's short name; its code is the reason.
    """

    status: int
    reason: str = ""
    rpc_status: str = ""
    message: str = ""
    consumer: str = ""
    violations: tuple[Violation, ...] = ()
    ended: str = ""

    @property
    def constraint(self) -> str:
        """The organization's constraint that it names, as ``gcp.resourceLocations``; empty when it names none.

        Old answers name none of one, but say it in a sentence of its own
        (https://docs.cloud.google.com/resource-manager/docs/organization-policy/restricting-domains).
        """
        types = [violation.type for violation in self.violations]
        named = re.search(r"constraints?/([a-zA-Z.]*[a-zA-Z])", " ".join([*types, self.message]))
        if named:
            return named[1]
        return "iam.allowedPolicyMemberDomains" if "permitted customer" in self.message else ""

    def __str__(self) -> str:
        if self.ended:
            return self.message
        words = " ".join(str(part) for part in (self.status or "no answer", self.reason or self.rpc_status) if part)
        named = [violation.description for violation in self.violations if violation.description]
        told = " ".join(dict.fromkeys([self.message.strip(), *named]))
        rules = [violation.type for violation in self.violations if violation.type.startswith("constraints/")]
        unsaid = " ".join(f"[{rule}]" for rule in dict.fromkeys(rules) if rule not in told)
        return " ".join(filter(None, [told, unsaid, f"({words})"]))


def refusal_of(error: BaseException) -> Refusal | None:
    """Bring an error of any of Google's libraries into one form; None when it is not one of theirs."""
    import google.api_core.exceptions
    import google.auth.exceptions
    import googleapiclient.errors
    import httplib2
    import requests

    match error:
        case errors.OperationFailed(service=service, code=code) if service:
            return Refusal(0, reason=str(code), message=str(error), ended=service)
        case googleapiclient.errors.HttpError():
            return _of_json(int(error.resp.status), error.content)
        case google.api_core.exceptions.GoogleAPICallError():
            response = getattr(error, "response", None)
            content = getattr(response, "content", b"") if response is not None else b""
            found = _of_json(int(error.code or 0), content)
            return found if found.message else Refusal(found.status, found.reason, found.rpc_status, str(error.message))
        case google.auth.exceptions.RefreshError():
            return _of_refresh(error)
        case google.auth.exceptions.TransportError() | google.api_core.exceptions.RetryError():
            return Refusal(0, message=str(error))
        case requests.RequestException() | httplib2.HttpLib2Error():
            return Refusal(0, message=f"{type(error).__name__}: {error}")
        case OSError() if not is_of_this_machine(error):
            return Refusal(0, message=f"{type(error).__name__}: {error}")
    return None


def is_of_this_machine(error: OSError) -> bool:
    """Whether a file is the trouble, and not the network: waiting mends neither a missing right nor a full disk."""
    return error.filename is not None or error.errno in _FULL


def _of_refresh(error: BaseException) -> Refusal:
    """A token could not be had: an account that was to be impersonated says why as every API does."""
    body = error.args[1] if len(error.args) > 1 else ""
    found = _of_json(0, body if isinstance(body, str) else "")
    if found.status:
        return replace(found, message=f"{error.args[0]}: {found.message}")
    return Refusal(503 if getattr(error, "retryable", False) else 401, message=str(error.args[0]) if error.args else "")


def file_trouble(error: OSError) -> errors.FileTrouble:
    """What the user is told when a file of this machine is the trouble."""
    return errors.FileTrouble(f"{error.filename or 'A file of this machine'}: {error.strerror}")


def _of_json(status: int, content: bytes | str) -> Refusal:
    try:
        body = json.loads(content)["error"]
    except (ValueError, KeyError, TypeError):
        return Refusal(status, message=str(content)[:500])
    if not isinstance(body, dict):
        return Refusal(status, message=str(body))
    reason, consumer, violations = "", "", list[Violation]()
    for detail in filter(_is_object, body.get("details") or []):
        if detail.get("reason") and not reason:
            reason, consumer = str(detail["reason"]), str(detail.get("metadata", {}).get("consumer", ""))
        for found in filter(_is_object, detail.get("violations") or []):
            kind = found.get("type") or str(detail.get("@type", "")).rpartition(".")[2]
            violations.append(Violation(kind, str(found.get("subject", "")), str(found.get("description", ""))))
    for item in body.get("errors") or []:
        reason = reason or str(item.get("reason", ""))
    message = str(body.get("message", ""))
    if not consumer and (named := _PROJECT_NAMED.search(message)):
        consumer = f"projects/{named[1]}"
    status = status or int(body.get("code") or 0)
    return Refusal(status, reason, str(body.get("status", "")), message, consumer, tuple(violations))


def _is_object(value: object) -> bool:
    return isinstance(value, dict)
