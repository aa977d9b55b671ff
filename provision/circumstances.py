"""What was done in our name a moment ago, which explains some answers of Google's."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from provision.refusals import Refusal

GOOGLES_OWN = {"764086051850", "618104708054", "32555940559"}
"""Projects that pay for the calls of user credentials without a quota project; no API can be switched on there
(https://github.com/GoogleCloudPlatform/dlp-pdf-redaction/issues/31)."""

_ACCOUNT = re.compile("/serviceAccounts/[^/]+/iamPolicy$")

_ON_AN_ACCOUNT = re.compile(r"iam\.serviceAccounts\.|\bact ?as\b", re.IGNORECASE)
"""What a right on an account is told by: the account that the answer names is not the one that lacks it."""

LATELY = timedelta(minutes=10)
"""How long something that was done may explain an answer; IAM takes seven minutes or more to spread."""


@dataclass
class Circumstances:
    """What was done in our name a moment ago, by this run or by one that died, and explains an answer.

    Args:
        project_number: The project that we deploy to; empty while it is not known.
        now: Tells the time.
    """

    project_number: str = ""
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def __post_init__(self) -> None:
        self._made: dict[str, datetime] = {}
        self._changed: dict[str, datetime] = {}
        self._granted: dict[str, datetime] = {}
        self._opened: dict[str, datetime] = {}
        self._enabled: datetime | None = None

    def note(self, ref: str, after: Mapping[str, Any], at: datetime, *, created: bool = False) -> None:
        """Remember a change.

        Args:
            ref: What was changed.
            after: What it became.
            at: When.
            created: Whether it was made.
        """
        self._changed[ref] = at
        if created:
            self._made[ref] = at
        if ref.endswith("/services"):
            self._enabled = at
        if _ACCOUNT.search(ref):
            self._opened[ref.split("/")[-2]] = at
        elif ref.endswith("/iamPolicy"):
            for members in after.get("bindings", {}).values():
                self._granted |= {member.partition(":")[2]: at for member in members}

    @property
    def enabled(self) -> bool:
        """Whether an API was switched on a moment ago."""
        return self._lately(self._enabled)

    def changed(self, pattern: str) -> bool:
        """Whether something was changed a moment ago whose ref fits a pattern with ``*`` for any part."""
        return any(self._lately(at) and fnmatchcase(ref, pattern) for ref, at in list(self._changed.items()))

    def explain(self, after: str, refusal: Refusal, about: str = "") -> bool:
        """Whether waiting makes sense: not for a right that nobody granted, nor for an API of another project.

        Args:
            after: What must have been done for the answer to heal: ``enable``, ``grant`` or ``made``.
            refusal: The answer.
            about: The ref that was worked on.
        """
        match after:
            case "grant":  # the end of an operation does not say whose right was missing: it was one of Google's agents
                on_an_account = not refusal.ended and _ON_AN_ACCOUNT.search(refusal.message)
                changed = self._opened if on_an_account else self._granted
                lately = [named for named, at in list(changed.items()) if self._lately(at)]  # others note meanwhile
                return any(refusal.ended or named in refusal.message for named in lately)
            case "enable":
                return self.enabled and not self.is_foreign(refusal)
            case "made":
                return any(self._lately(at) and _touch(ref, about) for ref, at in list(self._made.items()))
        return True

    def is_foreign(self, refusal: Refusal) -> bool:
        """Whether an API is off in another project than ours: the one that the credentials name to pay for calls."""
        number = refusal.consumer.removeprefix("projects/")
        return number in GOOGLES_OWN or bool(number and self.project_number and number != self.project_number)

    def _lately(self, at: datetime | None) -> bool:
        return at is not None and abs(self.now() - at) < LATELY  # the clock of the run that died may have been ahead


def _touch(ref: str, about: str) -> bool:
    """Whether one is the other, or lies in it."""
    return f"{ref}/".startswith(f"{about}/") or f"{about}/".startswith(f"{ref}/")
