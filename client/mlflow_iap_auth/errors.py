"""What can be wrong with access: one class for each thing that somebody would do about it."""


class AccessError(Exception):
    """There is no access.

    Args:
        what: What happened, and why.
        hint: What to type or to ask for next.
    """

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what, hint)  # both, so that it can be pickled by whoever runs several processes
        self.what, self.hint = what, hint

    def __str__(self) -> str:
        return f"{self.what}\n{self.hint}" if self.hint else self.what


class BadSettings(AccessError):
    """An environment variable is missing, or does not fit."""


class NotSignedIn(AccessError):
    """Nobody has signed in to Google here, or not for a long time."""


class NotAllowed(AccessError):
    """You are signed in, and may not sign for the account that logs."""


class WrongQuotaProject(AccessError):
    """You are signed in, and your requests are counted on a project where they are not taken."""


class NoRole(AccessError):
    """The door knows the account that logs, and does not let it in."""


class WrongAudience(AccessError):
    """The token was made for another address, or another OAuth client, than that of this door."""


class WrongClock(AccessError):
    """This machine's clock is too far from the server's for any token to be good."""


class BadKey(AccessError):
    """The key file is none, or its key was revoked."""


class DoorNotConfigured(AccessError):
    """The door has no OAuth client, and lets nobody in."""


class Refused(AccessError):
    """The door refuses the token for a reason of its own."""


class Unreachable(AccessError):
    """Google or the server gives no answer."""

    patience = 5.0
    """Seconds for which it is worth asking again."""


class ServerStarting(Unreachable):
    """The door opens, and the server behind it does not answer yet."""

    patience = 120.0
