"""What a check has to say."""

import dataclasses
import enum
import re

from provision import retry
from provision.errors import NotSignedIn, ProvisionError
from provision.refusals import refusal_of


class Status(enum.Enum):
    """How much a finding matters: only what is blocked stops `up`."""

    OK = "ok"
    WARNING = "warning"
    BLOCKED = "blocked"
    UNCHECKED = "unchecked"


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line of what was found.

    Args:
        status: How much it matters.
        why: What is so.
        todo: What the user can do about it.
        error: What `up` raises for it, when it is blocked.
        check: The check that tells it.
        cause: What kept it from being asked, as the error that `up` would end with, when it is unchecked for one.
    """

    status: Status
    why: str
    todo: str = ""
    error: ProvisionError | None = None
    check: str = ""
    cause: type[ProvisionError] | None = None

    @property
    def commands(self) -> tuple[str, ...]:
        """Lines that mend it, to be pasted."""
        return self.error.commands if self.error else ()

    def told_as(self, todo: str) -> "Finding":
        """The same with other words for what to do."""
        return dataclasses.replace(self, todo=todo)

    def overruled(self) -> "Finding":
        """The same as a warning, when it is blocked."""
        if self.status is not Status.BLOCKED:
            return self
        return dataclasses.replace(self, status=Status.WARNING, error=None)


def ok(why: str) -> Finding:
    """All is well."""
    return Finding(Status.OK, why)


def warning(why: str, todo: str = "") -> Finding:
    """It may go wrong, or not as meant."""
    return Finding(Status.WARNING, why, todo)


def blocked(error: ProvisionError) -> Finding:
    """It cannot work: the error that `up` raises for it says why, and what to do."""
    return Finding(Status.BLOCKED, str(error), error.hint, error)


def unchecked(why: str, todo: str = "") -> Finding:
    """Nobody could tell."""
    return Finding(Status.UNCHECKED, why, todo)


def unasked(error: Exception, todo: str = "", *, about: str = "") -> Finding:
    """Nobody could tell, because of an error; about what, where it is not all that the check is about."""
    why = f"{about}: {in_words(error)}" if about else in_words(error)
    return Finding(Status.UNCHECKED, why, todo, cause=_kind_of(error))


def _kind_of(error: Exception) -> type[ProvisionError] | None:
    import google.auth.exceptions

    if isinstance(error, google.auth.exceptions.DefaultCredentialsError):
        return NotSignedIn
    told = retry.explained(error, "")
    return type(told) if isinstance(told, ProvisionError) else None


def in_words(error: Exception) -> str:
    """Why something could not be asked."""
    refusal = refusal_of(error)
    if isinstance(error, ProvisionError) or refusal is None:
        return str(error) or type(error).__name__
    if retry.is_off_here(error):
        api = re.match(r"(.*?) has not been used", refusal.message)
        return f"{api[1] if api else 'The API that tells'} is off in the project, which up switches on."
    return f"Google does not tell: {refusal}"
