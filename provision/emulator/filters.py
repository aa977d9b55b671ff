"""Cloud Logging's query language, as far as people use it. https://cloud.google.com/logging/docs/view/logging-query-language."""

import re
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]
Test = Callable[[Json], bool]

SEVERITIES = ("DEFAULT", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY")
_TOKEN = re.compile(
    r'\s*(?:(--[^\n]*)|("(?:[^"\\]|\\.)*")|([()])|(!=|>=|<=|=~|!~|[=<>:])|(-(?=[\w"(]))|([^\s()=<>:!"]+))'
)


_DEEPEST = 50


class BadFilter(ValueError):
    """The filter cannot be understood; the text says where."""


def compile_filter(text: str) -> Test:
    """A test of log entries: comparisons joined by AND (or nothing), OR, NOT and brackets; raises BadFilter."""
    parser = _Parser(_tokens(text))
    if parser.at_end():
        return lambda _: True
    test = parser.either()
    if not parser.at_end():
        raise BadFilter(f"Unparseable filter: unexpected '{parser.peek()}'")
    return test


def _tokens(text: str) -> list[str]:
    found, at = [], 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            raise BadFilter(f"Unparseable filter: syntax error at column {at + 1}")
        at = match.end()
        if not match.group(1):
            found.append(match.group().strip())
    return found


class _Parser:
    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def at_end(self) -> bool:
        return self._at >= len(self._tokens)

    def peek(self) -> str:
        return "" if self.at_end() else self._tokens[self._at]

    def take(self) -> str:
        if self.at_end():
            raise BadFilter("Unparseable filter: it ends too early")
        self._at += 1
        return self._tokens[self._at - 1]

    def either(self) -> Test:
        tests = [self.every()]
        while self.peek() == "OR":
            self.take()
            tests.append(self.every())
        return lambda entry: any(test(entry) for test in tests)

    def every(self) -> Test:
        tests = [self.one()]
        while not self.at_end() and self.peek() not in (")", "OR"):
            if self.peek() == "AND":
                self.take()
            tests.append(self.one())
        return lambda entry: all(test(entry) for test in tests)

    def one(self) -> Test:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise BadFilter(f"Unparseable filter: it is nested more than {_DEEPEST} deep")
        try:
            return self._one()
        finally:
            self._depth -= 1

    def _one(self) -> Test:
        word = self.take()
        if word in ("NOT", "-"):
            inner = self.one()
            return lambda entry: not inner(entry)
        if word == "(":
            test = self.either()
            if self.take() != ")":
                raise BadFilter("Unparseable filter: a bracket is not closed")
            return test
        if self.peek() in ("=", "!=", ">", ">=", "<", "<=", ":", "=~", "!~"):
            return self.comparison(word, self.take())
        text = _plain(word).lower()
        return lambda entry: text in str(entry).lower()

    def comparison(self, field: str, operator: str) -> Test:
        if self.peek() != "(":
            return _compare(field, operator, _plain(self.take()))
        self.take()
        values, joined_by = [], "AND"
        while self.peek() != ")":
            word = self.take()
            if word in ("OR", "AND"):
                joined_by = word
            else:
                values.append(_compare(field, operator, _plain(word)))
        self.take()
        join = any if joined_by == "OR" else all
        return lambda entry: join(test(entry) for test in values)


def _plain(word: str) -> str:
    return re.sub(r"\\(.)", r"\1", word[1:-1]) if word.startswith('"') else word


def _compare(field: str, operator: str, wanted: str) -> Test:
    if operator in ("=~", "!~"):
        try:
            re.compile(wanted)
        except (re.error, RecursionError, OverflowError) as problem:
            raise BadFilter(f"Unparseable filter: regex '{wanted}' is not valid: {problem}") from problem

    def test(entry: Json) -> bool:
        value = _value(entry, field)
        if operator in ("!=", "!~"):
            return value is None or not _holds(value, "=" if operator == "!=" else "=~", wanted, field)
        if value is None:
            return field == "severity" and _holds("DEFAULT", operator, wanted, field)
        return _holds(value, operator, wanted, field)

    return test


def _holds(value: Any, operator: str, wanted: str, field: str) -> bool:  # any JSON
    if isinstance(value, bool):
        value = str(value).lower()
    if operator == ":":
        return wanted in ("*", "") or wanted.lower() in str(value).lower()
    if operator == "=~":
        return re.search(wanted, str(value)) is not None
    left: Any = value
    right: Any = wanted
    if field == "severity" and value in SEVERITIES and wanted.upper() in SEVERITIES:
        left, right = SEVERITIES.index(value), SEVERITIES.index(wanted.upper())
    elif isinstance(value, (int, float)) and re.fullmatch(r"-?\d+(\.\d+)?", wanted):
        left, right = value, float(wanted)
    elif field in ("timestamp", "receiveTimestamp"):
        left, right = _moment(str(value)), _moment(wanted)
    else:
        left = str(value)
    return bool(
        {"=": left == right, ">": left > right, ">=": left >= right, "<": left < right, "<=": left <= right}[operator]
    )


def _moment(text: str) -> str:
    """A time that compares as text, whatever its precision."""
    head, _, fraction = text.removesuffix("Z").partition(".")
    return f"{head}.{fraction:0<9}"


def _value(entry: Json, field: str) -> Any:  # any JSON
    value: Any = entry
    for part in re.findall(r'"[^"]+"|[^.]+', field):
        value = value.get(_plain(part)) if isinstance(value, dict) else None
    return value
