"""The emulator's clock: real time plus whatever tests add to it."""

from datetime import UTC, datetime, timedelta


class Clock:
    """UTC time that goes on by itself and can be moved forward, never back."""

    def __init__(self, ahead: float = 0.0) -> None:
        self.ahead = ahead

    def now(self) -> datetime:
        """The emulator's time, with zone UTC."""
        return datetime.now(UTC) + timedelta(seconds=self.ahead)

    def advance(self, seconds: float) -> None:
        """Move the clock forward by `seconds`; raises ValueError when they are negative."""
        if seconds < 0:
            message = f"the clock cannot go back: advance must be 0 or more, not {seconds}"
            raise ValueError(message)
        self.ahead += seconds


def stamp(when: datetime, digits: int = 3) -> str:
    """RFC 3339 in UTC with `digits` digits of a second (0, 3, 6 or 9): each API has its own precision."""
    fraction = f"{when.microsecond:06d}000"[:digits]
    return when.strftime("%Y-%m-%dT%H:%M:%S") + (f".{fraction}" if digits else "") + "Z"


def parse(text: str) -> datetime:
    """The moment that an RFC 3339 text names."""
    head, dot, rest = text.partition(".")
    if not dot:
        return datetime.fromisoformat(text)
    digits = "".join(c for c in rest if c.isdigit()) if rest.endswith("Z") else rest
    return datetime.fromisoformat(f"{head}.{digits[:6]}+00:00" if rest.endswith("Z") else text)
