"""The log: structlog's events with fields, as lines for people or as JSON for machines, on standard error."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

SILENT, NORMAL, VERBOSE = logging.WARNING, logging.INFO, logging.DEBUG

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
    renderer: Any = structlog.processors.JSONRenderer(sort_keys=True)
    if not as_json:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if level == VERBOSE else _for_people
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso" if as_json else "%H:%M:%S", utc=as_json),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _for_people(logger: object, method: str, event: MutableMapping[str, Any]) -> str:
    """One short line: when, what happened, to which row, under which name, how long it took."""
    sign = _SIGNS.get(event["event"], "!" if event["level"] in {"warning", "error"} else " ")
    words = event["event"].rpartition(".")[2]
    seconds = f"  {event['seconds']} s" if event.get("seconds") else ""
    what = event.get("title") or event.get("what") or event.get("step") or event.get("service") or ""
    name = str(event.get("ref", "")).rpartition("/projects/")[2]
    why = f"  ({event['why']})" if event.get("why") else ""
    return f"{event['timestamp']} {sign} {words:<8} {what}{'  ' + name if name else ''}{seconds}{why}"
