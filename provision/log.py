"""The log: structlog's events with fields, as lines for people or as JSON for machines, on standard error."""

import logging
import sys
from typing import Any

import structlog

SILENT, NORMAL, VERBOSE = logging.WARNING, logging.INFO, logging.DEBUG


def set_up(level: int, *, as_json: bool) -> None:
    """Decide once, at start, how events are shown.

    Args:
        level: SILENT, NORMAL or VERBOSE.
        as_json: One JSON object a line instead of coloured text.
    """
    renderer: Any = (
        structlog.processors.JSONRenderer(sort_keys=True)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=22)
    )
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
