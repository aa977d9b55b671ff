"""Which answer of Google means what: one table, and tenacity's policies made from it.

A changing call is never repeated by itself: what is repeated is the whole of read, compare, act, since an answer that
was lost may have had its effect.
"""

import enum
import errno
import json
import re
from collections.abc import Callable
from dataclasses import dataclass

import tenacity

from provision import errors


@dataclass(frozen=True)
class Refusal:
    """An error of any Google library in one form.

    Args:
        status: The HTTP status; 0 when no answer came.
        reason: The machine-readable word: ``errors[0].reason``, or the ErrorInfo's.
        rpc_status: The canonical code's name, such as ``FAILED_PRECONDITION``; empty in the older APIs.
        message: Google's sentence.
        consumer: The project that SERVICE_DISABLED names, as ``projects/NUMBER``.
    """

    status: int
    reason: str = ""
    rpc_status: str = ""
    message: str = ""
    consumer: str = ""

    def __str__(self) -> str:
        words = " ".join(str(part) for part in (self.status or "no answer", self.reason or self.rpc_status) if part)
        return f"{self.message.strip()} ({words})"


class Meaning(enum.Enum):
    """What an answer asks of us."""

    ABSENT = "absent"
    AGAIN = "again"
    FINAL = "final"


@dataclass(frozen=True)
class Rule:
    """One line of the table: the first whose conditions all hold is the meaning of an answer.

    Args:
        meaning: What it asks of us.
        why: The reason, for the log.
        status: HTTP statuses; any when empty.
        reason: A pattern of the machine-readable word.
        message: A pattern of Google's sentence.
        patience: Seconds that the same answer is borne with.
        after: What this run must have done itself for patience to make sense: ``grant`` or ``enable``.
        error: What it becomes when patience ends.
    """

    meaning: Meaning
    why: str
    status: tuple[int, ...] = ()
    reason: str = ""
    message: str = ""
    patience: float = 0
    after: str = ""
    error: type[errors.ProvisionError] = errors.GoogleRefused

    def fits(self, refusal: Refusal) -> bool:
        """Whether the answer is of this kind."""
        return (
            (not self.status or refusal.status in self.status)
            and bool(re.search(self.reason, f"{refusal.reason} {refusal.rpc_status}"))
            and bool(re.search(self.message, refusal.message, re.IGNORECASE))
        )


_AGAIN, _FINAL = Meaning.AGAIN, Meaning.FINAL

_UNKNOWN_HOST = "Failed to resolve '[^']*'"
_CAUSE = re.compile(
    f"{_UNKNOWN_HOST}|Unable to connect to proxy|Connection refused|Connection reset by peer|Network is unreachable"
    "|No route to host|Remote end closed connection|timed out|certificate verify failed"
)
"""What of a connection's error says why no answer came; the rest of it is about urllib3."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""What a write answers when there is no room; it names no file."""

# Sources: https://cloud.google.com/apis/design/errors, https://cloud.google.com/storage/docs/retry-strategy,
# https://cloud.google.com/iam/docs/access-change-propagation and the retry predicates of Terraform's provider,
# https://github.com/hashicorp/terraform-provider-google/blob/main/google/transport/error_retry_predicates.go
TABLE = (
    Rule(_AGAIN, "App Engine's service agent is not known everywhere yet", (404,), message="retrieve P4SA", patience=300),
    Rule(Meaning.ABSENT, "there is nothing under this name", (404,)),
    Rule(_AGAIN, "no answer came", (0,), message=_UNKNOWN_HOST, patience=30, error=errors.NoAnswer),
    Rule(_AGAIN, "no answer came", (0,), patience=180, error=errors.NoAnswer),
    Rule(_AGAIN, "Google is busy", (408, 500, 502, 503, 504), patience=180, error=errors.NoAnswer),
    Rule(_FINAL, "a quota is used up", (403, 429), "quotaExceeded|QUOTA_EXCEEDED", error=errors.QuotaExceeded),
    Rule(_AGAIN, "too many requests in a short time", (429,), patience=300),
    Rule(_AGAIN, "too many requests in a short time", (403,), "(?i)rateLimitExceeded|CONCURRENT_OPERATIONS", patience=300),
    Rule(_AGAIN, "too many requests in a short time", (403,), message="per minute", patience=300),
    Rule(_AGAIN, "the API was switched on and is not awake yet", (403,), "SERVICE_DISABLED|accessNotConfigured",
         patience=300, after="enable", error=errors.ApiDisabled),
    Rule(_AGAIN, "the account is new and not known everywhere yet", (403,), message="or it may not exist", patience=120),
    Rule(_AGAIN, "a grant takes minutes to spread", (403,), "(?i)PERMISSION_DENIED|forbidden",
         patience=420, after="grant", error=errors.PermissionDenied),
    Rule(_AGAIN, "somebody else changed the policy at the same time", (409,), "aborted|ABORTED", patience=120),
    Rule(_AGAIN, "another operation is under way", (403, 409), "operationInProgress|invalidState", patience=1800),
    Rule(_AGAIN, "another operation is under way", (409,), message="operation is already in progress", patience=1800),
    Rule(_AGAIN, "it may be there by now, or its name is reserved", (409,), "instanceAlreadyExists", patience=60,
         error=errors.NameReserved),
    Rule(_AGAIN, "it may be there by now", (409,), patience=60),
    Rule(_AGAIN, "it was changed at the same time", (412,), patience=60),
    Rule(_AGAIN, "the resource is not ready", (400,), "resourceNotReady", patience=600),
    Rule(_AGAIN, "another change of the network is under way", (400,), message="peering operation in progress", patience=600),
    Rule(_AGAIN, "another activation is under way", (400,), message="Another activation or deactivation", patience=600),
    Rule(_AGAIN, "it is still in use", (400,), "resourceInUseByAnotherResource", patience=300,
         error=errors.StillInUse),
    Rule(_AGAIN, "the account is new and not known everywhere yet", (400,), message="service account .* does not exist", patience=150),
    Rule(_AGAIN, "the etag was overtaken", (400,), "FAILED_PRECONDITION", "etag", patience=60),
    Rule(_AGAIN, "the fingerprint was overtaken", (400, 412), message="fingerprint", patience=60),
    Rule(_FINAL, "the request cannot be granted"),
)  # fmt: skip


def meaning_of(refusal: Refusal) -> Rule:
    """Look an answer up in the table."""
    return next(rule for rule in TABLE if rule.fits(refusal))


def refusal_of(error: BaseException) -> Refusal | None:
    """Bring an error of any of Google's libraries into one form; None when it is not one of theirs."""
    import google.api_core.exceptions
    import google.auth.exceptions
    import googleapiclient.errors
    import httplib2
    import requests

    match error:
        case googleapiclient.errors.HttpError():
            return _of_json(int(error.resp.status), error.content)
        case google.api_core.exceptions.GoogleAPICallError():
            response = getattr(error, "response", None)
            content = getattr(response, "content", b"") if response is not None else b""
            found = _of_json(int(error.code or 0), content)
            return found if found.message else Refusal(found.status, found.reason, found.rpc_status, str(error.message))
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


def absent(error: BaseException) -> bool:
    """Whether an error says that there is nothing under the name that was asked for."""
    refusal = refusal_of(error)
    return refusal is not None and meaning_of(refusal).meaning is Meaning.ABSENT


def is_off(error: BaseException, project_number: str = "") -> bool:
    """Whether an error says that an API is not switched on, in this project where a number is given.

    Another project is meant where the caller's credentials name one that pays for the calls.
    """
    refusal = refusal_of(error)
    if refusal is None or not re.search("SERVICE_DISABLED|accessNotConfigured", refusal.reason):
        return False
    return not project_number or refusal.consumer in {"", f"projects/{project_number}"}


@dataclass
class Circumstances:
    """What this run has done that explains an answer.

    Args:
        project_number: The project whose APIs we switched on; empty while it is not known.
        granted: Whether this run has changed a policy.
        enabled: Whether this run has switched on an API.
    """

    project_number: str = ""
    granted: bool = False
    enabled: bool = False

    def explain(self, rule: Rule, refusal: Refusal) -> bool:
        """Whether waiting makes sense: not for a right that nobody granted, nor for an API of another project."""
        if rule.after == "grant":
            return self.granted
        if rule.after == "enable":
            ours = not self.project_number or refusal.consumer in {"", f"projects/{self.project_number}"}
            return self.enabled and ours
        return True


def patiently(
    seconds: Callable[[], float],
    pause: Callable[[float], None],
    circumstances: Circumstances,
    told: Callable[[str, float], None],
) -> tenacity.Retrying:
    """Make a policy that repeats a read-compare-act as long as the table has patience with the answer.

    Args:
        seconds: A clock that never goes back.
        pause: Lets seconds pass.
        circumstances: What this run has done.
        told: Called before each pause with why and how many seconds.
    """
    since: dict[Rule, float] = {}

    def worth_repeating(error: BaseException) -> bool:
        refusal = refusal_of(error)
        if refusal is None:
            return False
        rule = meaning_of(refusal)
        if rule.meaning is not Meaning.AGAIN or not circumstances.explain(rule, refusal):
            return False
        return seconds() - since.setdefault(rule, seconds()) < rule.patience

    def tell(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        refusal = refusal_of(error) if error else None
        told(_reason(refusal) if refusal else "", state.next_action.sleep if state.next_action else 0)

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(worth_repeating),
        wait=tenacity.wait_exponential_jitter(multiplier=0.5, max=30, jitter=1),
        sleep=pause,
        before_sleep=tell,
        reraise=True,
    )


def explained(error: Exception, what: str) -> Exception:
    """Turn an error of Google's libraries into one that tells the user what to do; others come back as they are.

    Args:
        error: What was raised.
        what: What we were about, such as ``creating projects/p/instances/i``.
    """
    refusal = refusal_of(error)
    if refusal is None:
        return error
    return meaning_of(refusal).error(f"{what}: {refusal}")


def _reason(refusal: Refusal) -> str:
    """Why it is tried again; where no answer came, with what was in the way."""
    cause = None if refusal.status else _CAUSE.search(refusal.message)
    return meaning_of(refusal).why + (f": {cause.group()}" if cause else "")


def _of_json(status: int, content: bytes | str) -> Refusal:
    try:
        body = json.loads(content)["error"]
    except (ValueError, KeyError, TypeError):
        return Refusal(status, message=str(content)[:500])
    if not isinstance(body, dict):
        return Refusal(status, message=str(body))
    reason, consumer = "", ""
    for detail in body.get("details") or []:
        if isinstance(detail, dict) and detail.get("reason"):
            reason, consumer = str(detail["reason"]), str(detail.get("metadata", {}).get("consumer", ""))
            break
    for item in body.get("errors") or []:
        reason = reason or str(item.get("reason", ""))
    return Refusal(status, reason, str(body.get("status", "")), str(body.get("message", "")), consumer)
