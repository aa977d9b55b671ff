"""Which answer of Google means what: one table, and tenacity's policies made from it.

A changing call is never repeated by itself: what is repeated is the whole of read, compare, act, since an answer that
was lost may have had its effect.
"""

import collections
import enum
import re
from collections.abc import Callable
from dataclasses import dataclass

import tenacity

from provision import constraints, errors
from provision.circumstances import Circumstances
from provision.refusals import Refusal, refusal_of


class Meaning(enum.Enum):
    """What an answer asks of us."""

    ABSENT = "absent"
    AGAIN = "again"
    FINAL = "final"
    OTHERWISE = "otherwise"


@dataclass(frozen=True)
class Rule:
    """One line of the table: the first whose conditions all hold is the meaning of an answer.

    Args:
        meaning: What it asks of us.
        why: The reason, for the log.
        status: HTTP statuses; any when empty.
        reason: A pattern of the machine-readable word.
        message: A pattern of Google's sentence.
        violation: A pattern of the type of a violation.
        ended: A pattern of the API whose operation ended so; no other line is about the end of one.
        about: A pattern of the ref that was worked on.
        patience: Seconds that the same answer is borne with.
        times: How often it is, at the most; as often as it comes when 0.
        after: What must have been done a moment ago, by us, for patience to make sense: ``enable`` an API, ``grant``
            a role to the account that the answer names, or ``made`` the thing that it is about.
        error: What it becomes when patience ends.
    """

    meaning: Meaning
    why: str
    status: tuple[int, ...] = ()
    reason: str = ""
    message: str = ""
    violation: str = ""
    ended: str = ""
    about: str = ""
    patience: float = 0
    times: int = 0
    after: str = ""
    error: type[errors.ProvisionError] = errors.GoogleRefused

    def fits(self, refusal: Refusal, about: str = "") -> bool:
        """Whether the answer is of this kind, when a ref was worked on."""
        return (
            bool(self.ended) == bool(refusal.ended)
            and bool(re.search(self.about, about))
            and bool(re.search(self.ended, refusal.ended))
            and (not self.status or refusal.status in self.status)
            and bool(re.search(self.reason, f"{refusal.reason} {refusal.rpc_status}"))
            and bool(re.search(self.message, refusal.message, re.IGNORECASE))
            and (not self.violation or any(re.search(self.violation, found.type) for found in refusal.violations))
        )


_AGAIN, _FINAL = Meaning.AGAIN, Meaning.FINAL

_UNKNOWN_HOST = "Failed to resolve '[^']*'"
_CAUSE = re.compile(
    f"{_UNKNOWN_HOST}|Unable to connect to proxy|Connection refused|Connection reset by peer|Network is unreachable"
    "|No route to host|Remote end closed connection|timed out|certificate verify failed"
)
"""What of a connection's error says why no answer came; the rest of it is about urllib3."""

_OFF = "SERVICE_DISABLED|accessNotConfigured"

# Sources: https://cloud.google.com/apis/design/errors, https://cloud.google.com/storage/docs/retry-strategy,
# https://cloud.google.com/iam/docs/access-change-propagation and the retry predicates of Terraform's provider,
# https://github.com/hashicorp/terraform-provider-google/blob/main/google/transport/error_retry_predicates.go
TABLE = (
    Rule(_AGAIN, "App Engine's service agent is not known everywhere yet", (404,), message="retrieve P4SA", patience=300),
    Rule(Meaning.ABSENT, "there is nothing under this name, or not everywhere yet", (404,), patience=120, after="made"),

    Rule(_AGAIN, "no answer came", (0,), message=_UNKNOWN_HOST, patience=30, error=errors.NoAnswer),
    Rule(_AGAIN, "no answer came", (0,), patience=180, error=errors.NoAnswer),
    Rule(_AGAIN, "Google is busy", (408, 500, 502, 503, 504), patience=180, error=errors.NoAnswer),

    Rule(_FINAL, "the credentials are not accepted", (401,), error=errors.NotSignedIn),
    Rule(_AGAIN, "the API was switched on and is not awake yet", (403,), _OFF,
         patience=300, after="enable", error=errors.ApiDisabled),
    Rule(_FINAL, "the project cannot pay", reason="UREQ_PROJECT_BILLING_NOT_FOUND|accountDisabled|BILLING_DISABLED",
         error=errors.NoBilling),
    Rule(_FINAL, "the project cannot pay", violation="billing-enabled|^googleapis.com$", error=errors.NoBilling),
    Rule(_FINAL, "the project cannot pay", (403,), message="billing (account .*|is |has been )?disabled", error=errors.NoBilling),
    Rule(_FINAL, "an organization's policy forbids it", violation="^constraints/", error=errors.PolicyForbids),
    Rule(_FINAL, "an organization's policy forbids it", (400, 412), message="constraints?/[a-zA-Z.]+|permitted customer",
         error=errors.PolicyForbids),

    Rule(_FINAL, "a quota is used up", (400,), violation="^QuotaFailure$", error=errors.QuotaExceeded),
    Rule(_AGAIN, "too many requests in a short time", (403,), "(?i)rateLimitExceeded|CONCURRENT_OPERATIONS", patience=300),
    Rule(_AGAIN, "too many requests in a short time", (403, 429), message="per (minute|second)|rate limit", patience=300),
    Rule(_FINAL, "a quota is used up", (400, 403, 429), "quotaExceeded|QUOTA_EXCEEDED", error=errors.QuotaExceeded),
    Rule(_FINAL, "a quota is used up", (400, 429), message="quotas? (were|was) exceeded|quota exceeded.*per day|allotted",
         error=errors.QuotaExceeded),
    Rule(_AGAIN, "too many requests in a short time", (429,), patience=300),

    Rule(_AGAIN, "the account is new and not known everywhere yet", (403,), message=r"iam\.serviceAccounts\.get(IamPolicy)?'.*or it may not exist",
         patience=120, after="made", error=errors.PermissionDenied),
    Rule(_FINAL, "the project may not be used to pay for calls", (403,), "USER_PROJECT_DENIED", error=errors.QuotaProjectMissing),
    Rule(_AGAIN, "a grant takes minutes to spread", (403,), message="permission|access|act as", patience=420,
         after="grant", error=errors.PermissionDenied),
    Rule(_AGAIN, "another operation is under way", (403,), "operationInProgress", patience=1800),
    Rule(_FINAL, "the right is missing", (403,), error=errors.PermissionDenied),

    Rule(_AGAIN, "another operation is under way", (403, 409), "operationInProgress|invalidState", patience=1800),
    Rule(_AGAIN, "another operation is under way", (409,), message="operation is already in progress", patience=1800),
    Rule(_AGAIN, "somebody else changed the policy at the same time", (409,), "aborted|ABORTED", patience=120),
    Rule(_FINAL, "a deleted one's name is kept for a week", (409,), message="until one week", error=errors.NameReserved),
    Rule(_AGAIN, "it may be there by now, or its name is reserved", (409,), "instanceAlreadyExists", patience=60,
         error=errors.NameReserved),
    Rule(_FINAL, "the name is somebody else's", (409,), message="bucket name is not available", error=errors.NameTaken),
    Rule(_AGAIN, "it may be there by now", (409,), patience=60),
    Rule(_AGAIN, "it was changed at the same time", (412,), patience=60),

    Rule(Meaning.OTHERWISE, "the project may not build in this region", (400,),
         message=r"cannot run builds in this region|region.* (restricted|not (allowed|supported))"),
    Rule(_AGAIN, "the resource is not ready", (400,), "resourceNotReady", patience=600),
    Rule(_AGAIN, "another change of the network is under way", (400,), message="peering operation in progress", patience=600),
    Rule(_AGAIN, "another activation is under way", (400,), message="Another activation or deactivation", patience=600),
    Rule(_AGAIN, "it is still in use", (400,), "resourceInUseByAnotherResource", patience=300, error=errors.StillInUse),
    Rule(_FINAL, "the policy names an account that was deleted", (400,), message="deleted:[a-z]+:", error=errors.NamesTheDeleted),
    Rule(_AGAIN, "the account is new and not known everywhere yet", (400,), message="service account .* does not exist", patience=150),
    Rule(_AGAIN, "the etag was overtaken", (400,), "FAILED_PRECONDITION", "etag", patience=60),
    Rule(_AGAIN, "the fingerprint was overtaken", (400,), message="fingerprint", patience=60),
    Rule(_FINAL, "the edition has no such machine", (400,), message="Invalid (custom )?Tier", error=errors.SettingRefused),
    # https://cloud.google.com/iap/docs/reference/app-engine-apis wants a client, the guide does without; no word is known.
    Rule(_FINAL, "the front door needs a client of the user's own", (400,), about="^apps/[^/]+/iap$",
         error=errors.NeedsCustomClient),
    Rule(_FINAL, "the request cannot be granted"),

    Rule(_AGAIN, "an activation ended halfway", ended="serviceusage", message="160009|with failed services", patience=300),
    Rule(_AGAIN, "a grant takes minutes to spread", ended="appengine", reason="^(7|9) ", message="image", patience=600,
         after="grant"),
    Rule(_AGAIN, "a grant takes minutes to spread", ended="servicenetworking", reason="^7 ", patience=600, after="grant"),
    Rule(_AGAIN, "a grant takes minutes to spread", ended="cloudbuild", reason="PUSH_NOT_AUTHORIZED|FETCH_SOURCE_FAILED",
         patience=600, after="grant"),
    Rule(_AGAIN, "Cloud Build had trouble of its own", ended="cloudbuild", reason="INTERNAL_ERROR|LOGGING_FAILURE",
         patience=3600, times=1),
    Rule(Meaning.OTHERWISE, "producers hold on to the connection", ended="servicenetworking", reason="^9 ",
         message="Producer services", patience=120),
    Rule(_FINAL, "an organization's policy forbids it", ended=".", message="constraints/[a-zA-Z.]+", error=errors.PolicyForbids),
    Rule(_FINAL, "a quota is used up", ended=".", reason="QUOTA_EXCEEDED|^8 ", error=errors.QuotaExceeded),
    Rule(_FINAL, "the operation failed", ended="."),
)  # fmt: skip


def meaning_of(refusal: Refusal, about: str = "") -> Rule:
    """Look an answer up in the table; about is the ref that was worked on, if it was one."""
    return next(rule for rule in TABLE if rule.fits(refusal, about))


def absent(error: BaseException) -> bool:
    """Whether an error says that there is nothing under the name that was asked for."""
    refusal = refusal_of(error)
    return refusal is not None and meaning_of(refusal).meaning is Meaning.ABSENT


def asks_for_another_way(error: BaseException) -> bool:
    """Whether what was refused, for as long as there was patience, may be reached by the row's other verb."""
    refusal = refusal_of(error)
    return refusal is not None and meaning_of(refusal).meaning is Meaning.OTHERWISE


def is_off(error: BaseException) -> bool:
    """Whether an error says that an API is not switched on, in whichever project pays for the call."""
    refusal = refusal_of(error)
    return refusal is not None and bool(re.search(_OFF, refusal.reason))


def is_off_here(error: BaseException, project_number: str = "") -> bool:
    """Whether it is not switched on in our project, as far as its number is known: another one may pay for the call."""
    refusal = refusal_of(error)
    return refusal is not None and is_off(error) and not Circumstances(project_number).is_foreign(refusal)


def patiently(
    seconds: Callable[[], float],
    pause: Callable[[float], None],
    circumstances: Circumstances,
    told: Callable[[str, float], None],
    about: str = "",
) -> tenacity.Retrying:
    """Make a policy that repeats a read-compare-act as long as the table has patience with the answer.

    Args:
        seconds: A clock that never goes back.
        pause: Lets seconds pass.
        circumstances: What was done a moment ago.
        told: Called before each pause with why and how many seconds.
        about: The ref that is worked on, if it is one.
    """
    since: dict[Rule, float] = {}
    met: collections.Counter[Rule] = collections.Counter()

    def worth_repeating(error: BaseException) -> bool:
        refusal = refusal_of(error)
        if refusal is None:
            return False
        rule = meaning_of(refusal, about)
        if not rule.patience or not circumstances.explain(rule.after, refusal, about):
            return False
        met[rule] += 1
        if rule.times and met[rule] > rule.times:
            return False
        return seconds() - since.setdefault(rule, seconds()) < rule.patience

    def tell(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        refusal = refusal_of(error) if error else None
        told(_reason(refusal) if refusal else "", state.next_action.sleep if state.next_action else 0)

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(worth_repeating),
        wait=tenacity.wait_exponential_jitter(multiplier=0.5, max=10, jitter=1),
        sleep=pause,
        before_sleep=tell,
        reraise=True,
    )


def explained(error: Exception, what: str, circumstances: Circumstances | None = None, about: str = "") -> Exception:
    """Turn an error of Google's libraries into one that tells the user what to do; others come back as they are.

    Args:
        error: What was raised.
        what: What we were about, such as ``creating projects/p/instances/i``.
        circumstances: What was done a moment ago.
        about: The ref that was worked on, if it is one.
    """
    refusal = refusal_of(error)
    if refusal is None:
        return error
    kind = meaning_of(refusal, about).error
    if refusal.ended and kind is errors.GoogleRefused:  # an operation tells its failure by itself
        return error
    if kind is errors.ApiDisabled and (circumstances or Circumstances()).is_foreign(refusal):
        kind = errors.QuotaProjectMissing
    hint = constraints.advice(refusal.constraint) if kind is errors.PolicyForbids else ""
    return kind(f"{what}: {refusal}", hint=hint)


def _reason(refusal: Refusal) -> str:
    """Why it is tried again; where no answer came, with what was in the way."""
    cause = None if refusal.status else _CAUSE.search(refusal.message)
    return meaning_of(refusal).why + (f": {cause.group()}" if cause else "")
