"""The log: structlog's events with fields, as lines for people or as JSON for machines, on standard error."""

import contextlib
import logging
import re
import sys
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

import structlog

SILENT, NORMAL, VERBOSE = logging.WARNING, logging.INFO, logging.DEBUG

LONGEST = 2000
"""Letters of a line or a value that a person may want to see."""

_SIGNS = {
    "resource.created": "+",
    "resource.updated": "~",
    "resource.deleted": "-",
    "resource.adopted": "=",
    "waiting": ".",
}


def set_up(level: int, *, as_json: bool) -> None:
    """Decide once, at start, how events are shown.

    Args:
        level: SILENT, NORMAL or VERBOSE.
        as_json: One JSON object a line instead of text.
    """
    shown: list[Any] = [structlog.processors.JSONRenderer(sort_keys=True)]
    if not as_json and level == VERBOSE:
        shown = [_for_a_terminal, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=18)]
    elif not as_json:
        shown = [_for_a_terminal, _once(), _for_people]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _tell_listeners,
            _down_to(level),
            structlog.processors.TimeStamper(fmt="iso" if as_json else "%H:%M:%S", utc=as_json),
            structlog.processors.format_exc_info,
            *shown,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(VERBOSE),
        logger_factory=structlog.PrintLoggerFactory(_StandardError()),  # type: ignore[arg-type]  # as much of a file as it needs
        cache_logger_on_first_use=False,
    )


@contextlib.contextmanager
def heard_by(listener: Callable[[str], None]) -> Iterator[None]:
    """Tell every event to somebody as well, whatever is shown: as one JSON object, the details too."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def short(ref: str) -> str:
    """A resource's name as people say it, without the project that all of them lie in."""
    return re.sub(r"^projects/[^/]+/(?=.)", "", ref)


def printable(text: str, *, lines: bool = False, longest: int | None = LONGEST) -> str:
    r"""Text from anywhere as it may go to a terminal: what that would obey, or show in another order, is written out.

    Args:
        text: Whatever it is: a name that somebody gave, an answer of a server, what is in a file.
        lines: Whether its line breaks are ours; else they are written out as \\n like the rest.
        longest: How many letters of a line are shown.
    """
    if lines:
        return "\n".join(printable(line, longest=longest) for line in text.split("\n"))
    begin = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text[:longest])
    return begin if longest is None or len(text) <= longest else f"{begin}... ({len(text)} characters)"


_listeners: list[Callable[[str], None]] = []
_stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
_as_json = structlog.processors.JSONRenderer(sort_keys=True)


def _tell_listeners(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if _listeners:
        whole = structlog.processors.format_exc_info(logger, method, _stamp(logger, method, {**event}))
        line = str(_as_json(logger, method, whole))
        for listener in _listeners:
            listener(line)
    return event


def _down_to(level: int) -> "Callable[[object, str, MutableMapping[str, Any]], MutableMapping[str, Any]]":
    """Show nothing below a level; listeners have heard it by then."""

    def drop(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if logging.getLevelNamesMapping()[str(event["level"]).upper()] < level:
            raise structlog.DropEvent
        return event

    return drop


class _StandardError:
    """Standard error as it is at the moment: what shows progress on a terminal puts itself in its place."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def _once() -> "Callable[[object, str, MutableMapping[str, Any]], MutableMapping[str, Any]]":
    """Keep what is waited for from being told again at every try."""
    told: set[tuple[Any, Any]] = set()

    def drop(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if event["event"] == "waiting":
            wait = (event.get("what"), event.get("why"))
            if wait in told:
                raise structlog.DropEvent
            told.add(wait)
        return event

    return drop


def _for_a_terminal(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Every text of an event, and those in its lists, as a terminal may have it; a traceback keeps its lines."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = printable(value, lines=key == "exception")
        elif isinstance(value, list | tuple):
            event[key] = [printable(item) if isinstance(item, str) else item for item in value]
    return event


def _for_people(logger: object, method: str, event: MutableMapping[str, Any]) -> str:
    """One short line: when, what happened, to which row, under which name, how long it took."""
    sign = _SIGNS.get(event["event"], "!" if event["level"] in {"warning", "error"} else " ")
    words = event["event"].rpartition(".")[2]
    ref = event.get("ref")
    if ref:
        name = ref.removesuffix("/iamPolicy").rpartition("/")[2]
        what = f"{event['step']:<17} {name}" if event.get("step") else short(ref)
    else:
        what = str(event.get("what") or event.get("step") or event.get("service") or "")
    # How long a pause lasts is nobody's concern; how long a change took is.
    seconds = f"  {event['seconds']:g} s" if event.get("seconds") and sign != "." else ""
    why = f"  ({event['why']})" if event.get("why") else ""
    return f"{event['timestamp']} {sign} {words:<8} {what}{seconds}{why}"
