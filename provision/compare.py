"""What differs: the declared body, the live one and the one applied last, field by field.

A three-way comparison: only fields that we declare, or declared when we last applied, are looked at. What others
added in between stays unless the field is ours alone. A list is one field: an API replaces it as a whole, so what is in
its items is ours to the last key.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from provision.step import Body, Change

_LINK = re.compile(r"^https://[a-z.]*googleapis\.com/(?:[a-z]+/)?v\d[a-z0-9]*/(?=projects/)")


def differences(
    declared: Body,
    live: Body,
    applied: Body | None = None,
    *,
    at_least: Sequence[str] = (),
    write_only: Sequence[str] = (),
) -> list[Change]:
    """List the fields to be changed, so that the live body becomes what is declared.

    Args:
        declared: What should be.
        live: What is.
        applied: What the ledger says we applied last; a field that is in it and no longer declared is to go.
        at_least: Dotted fields of which the cloud may hold more: numbers may be larger, collections may hold others.
        write_only: Dotted fields that the API never returns: compared with applied instead of live.
    """
    return _mapping((), declared, live, applied or {}, _Marks(at_least, write_only))


class _Marks:
    """Which fields are compared in a way of their own."""

    def __init__(self, at_least: Sequence[str], write_only: Sequence[str]) -> None:
        self._at_least = at_least
        self._write_only = write_only

    def at_least(self, path: tuple[str, ...]) -> bool:
        return any(".".join(path) == mark or ".".join(path).startswith(mark + ".") for mark in self._at_least)

    def write_only(self, path: tuple[str, ...]) -> bool:
        return ".".join(path) in self._write_only


def _mapping(path: tuple[str, ...], declared: Body, live: Body, applied: Body, marks: _Marks) -> list[Change]:
    changes: list[Change] = []
    for key in [*declared, *(key for key in applied if key not in declared)]:
        here = (*path, key)
        want, have, before = declared.get(key), live.get(key), applied.get(key)
        if marks.write_only(here):
            if key in declared and not _same(want, before):
                changes.append(Change(here, before, want))
        elif isinstance(want, Mapping) or (key not in declared and isinstance(before, Mapping)):
            changes += _mapping(here, _dict(want), _dict(have), _dict(before), marks)
        elif change := _leaf(here, want, have, before, marks):
            changes.append(change)
    return changes


def _leaf(path: tuple[str, ...], want: Any, have: Any, before: Any, marks: _Marks) -> Change | None:
    if marks.at_least(path):
        if isinstance(want, list) or isinstance(before, list):
            mine, theirs = _list(want), _list(have)
            dropped = [item for item in _list(before) if item not in mine]
            goal = [item for item in theirs if item not in dropped] + [item for item in mine if item not in theirs]
            return None if _same(goal, have) else Change(path, have, sorted(goal, key=str) or None)
        if _is_number(want) and _is_number(have) and float(have) >= float(want):
            return None
    if want is None and _is_default(have):
        return None
    return None if _same(want, have) else Change(path, have, want)


def _same(want: Any, have: Any) -> bool:
    if have is None or want is None:
        return _is_default(want) and _is_default(have)
    if isinstance(want, list) and isinstance(have, list):
        return _same_lists(want, have)
    if isinstance(want, Mapping) and isinstance(have, Mapping):  # within a list: one condition more is another rule
        return all(_same(want.get(key), have.get(key)) for key in want.keys() | have.keys())
    return _canonical(want) == _canonical(have)


def _same_lists(want: list[Any], have: list[Any]) -> bool:
    if len(want) != len(have):
        return False
    if not any(isinstance(item, Mapping | list) for item in [*want, *have]):
        # Google gives no order to members, roles, ranges and the like.
        return sorted(map(_canonical, want)) == sorted(map(_canonical, have))
    return all(_same(mine, theirs) for mine, theirs in zip(want, have, strict=True))


def _canonical(value: Any) -> str:
    """One spelling: Google writes int64 as text and links in full (https://google.aip.dev/141)."""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return _LINK.sub("", str(value))


def _is_default(value: Any) -> bool:
    """Google's JSON leaves out what has its default: false, zero, empty."""
    return value is None or (not isinstance(value, Mapping) and not value) or value in ({}, "0")


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and (
        isinstance(value, int | float) or (isinstance(value, str) and value.isascii() and value.isdecimal())
    )


def _dict(value: Any) -> Body:
    return dict(value) if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else []


def managed(live: Body, declared: Body) -> Body:
    """Cut a live body down to the fields that we declare: what an update is about to replace."""
    cut: Body = {}
    for key, want in declared.items():
        if isinstance(want, Mapping) and isinstance(live.get(key), Mapping):
            cut[key] = managed(live[key], dict(want))
        elif key in live:
            cut[key] = live[key]
    return cut


def merged(applied: Body, body: Body) -> Body:
    """What counts as applied once a change to body was made: body, and what was applied before and is not in it."""
    result = dict(applied)
    for key, value in body.items():
        before = result.get(key)
        result[key] = merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return result


def united(applied: Body, body: Body) -> Body:
    """What may be applied while nobody knows whether a change to body was made: all fields, and all items of lists."""
    result = {**body, **applied}
    for key in applied.keys() & body.keys():
        old, new = applied[key], body[key]
        if isinstance(old, dict) and isinstance(new, dict):
            result[key] = united(old, new)
        elif isinstance(old, list) and isinstance(new, list):
            result[key] = old + [item for item in new if item not in old]
    return result


def shared(body: Body, live: Body) -> Body:
    """Of the lists in a body, the items that are live already: where we are guests, they are not ours."""
    return _lists_of(body, live, wanted=True)


def without(body: Body, found: Body) -> Body:
    """A body without the items of lists that were found there before us."""
    return {**body, **_lists_of(body, found, wanted=False)} if found else body


def _lists_of(body: Body, other: Body, *, wanted: bool) -> Body:
    """The lists of a body, cut down to the items that are, or are not, in another."""
    cut: Body = {}
    for key, value in body.items():
        if isinstance(value, Mapping):
            inner = _lists_of(dict(value), _dict(other.get(key)), wanted=wanted)
            cut |= {key: inner if wanted else {**value, **inner}} if inner else {}
        elif isinstance(value, list):
            theirs = _list(other.get(key))
            items = [item for item in value if any(_same(item, there) for there in theirs) is wanted]
            cut |= {key: items} if items or not wanted else {}
    return cut


def remains(applied: Any, live: Any) -> bool:
    """Whether anything of what we applied is still live: how the engine knows that a policy's bindings are gone."""
    if isinstance(applied, Mapping):
        return isinstance(live, Mapping) and any(remains(value, live.get(key)) for key, value in applied.items())
    if isinstance(applied, list):
        return any(_same(mine, theirs) for mine in applied for theirs in _list(live))
    return not _is_default(applied) and _same(applied, live)
