"""Lifecycle rules of buckets: what they delete or move to another storage class, and when.

Cloud Storage looks once a day; here a bucket is looked at when it is asked for and its last look is an hour old on the
emulator's clock. https://cloud.google.com/storage/docs/lifecycle
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from provision.emulator import errors
from provision.emulator.api import Json
from provision.emulator.apis import storage_shelf as shelf
from provision.emulator.clock import parse
from provision.emulator.world import World

_EVERY = timedelta(hours=1)


def sweep(world: World, bucket: Json) -> None:
    """Apply a bucket's rules if that is due."""
    rules = bucket.get("lifecycle", {}).get("rule", [])
    if not rules:
        return
    looks, now = world.table("storage.looks"), world.clock.now()
    last = looks.get(bucket["name"])
    if last and parse(last["at"]) + _EVERY > now:
        return
    looks[bucket["name"]] = {"at": world.timestamp()}
    _give_uploads_up(world, bucket, rules)
    for row, newer in list(_with_newer(world, bucket["name"])):
        rule = next((r for r in _strongest_first(rules) if _meets(r.get("condition", {}), row, newer, now)), None)
        if rule:
            _act(world, bucket, row, rule["action"])


def look_again(world: World, bucket: str) -> None:
    """Make the next request apply the rules of a bucket, since they changed."""
    world.table("storage.looks").pop(bucket, None)


def _give_uploads_up(world: World, bucket: Json, rules: list[Json]) -> None:
    """Uploads in parts that were begun too long ago; of their rules the emulator knows the age alone."""
    ages = [
        rule["condition"]["age"] for rule in rules if rule["action"].get("type") == "AbortIncompleteMultipartUpload"
    ]
    uploads = world.table("storage.multiparts")
    ours = [(upload, row) for upload, row in uploads.items() if row["bucket"] == bucket["name"]]
    for upload, row in ours:
        if any(_age("begun")(age, row, 0, world.clock.now()) for age in ages):
            shelf.forget_upload(world, upload)


def _with_newer(world: World, bucket: str) -> Iterator[tuple[Json, int]]:
    """Every version, with the number of newer versions of its object."""
    names = {row["name"] for row in shelf.live_under(world, bucket)}
    yield from ((row, 0) for row in shelf.live_under(world, bucket))
    older: dict[str, list[Json]] = {}
    for row in shelf.noncurrent_under(world, bucket):
        older.setdefault(row["name"], []).append(row)
    for name, rows in older.items():
        rows.sort(key=lambda row: -int(row["generation"]))
        yield from ((row, place + (name in names)) for place, row in enumerate(rows))


def _strongest_first(rules: list[Json]) -> list[Json]:
    """Deleting wins over a change of class: https://cloud.google.com/storage/docs/lifecycle#multiple_rules."""
    return sorted(rules, key=lambda rule: rule["action"].get("type") != "Delete")


def _meets(condition: Json, row: Json, newer: int, now: datetime) -> bool:
    """Whether a version meets every part of a condition; one that is not known is met by nothing."""
    met = (key in _TESTS and _TESTS[key](value, row, newer, now) for key, value in condition.items())
    return bool(condition) and all(met)


def _age(field: str) -> Callable[[Any, Json, int, datetime], bool]:
    return lambda days, row, _newer, now: field in row and now - parse(row[field]) >= timedelta(days=int(days))


def _before(field: str) -> Callable[[Any, Json, int, datetime], bool]:
    return lambda day, row, _newer, _now: field in row and row[field][:10] < str(day)


_TESTS: dict[str, Callable[[Any, Json, int, datetime], bool]] = {
    "age": _age("timeCreated"),
    "createdBefore": _before("timeCreated"),
    "customTimeBefore": _before("customTime"),
    "daysSinceCustomTime": _age("customTime"),
    "daysSinceNoncurrentTime": _age("timeDeleted"),
    "isLive": lambda want, row, _newer, _now: bool(want) == ("timeDeleted" not in row),
    "matchesPrefix": lambda texts, row, _newer, _now: row["name"].startswith(tuple(texts)),
    "matchesStorageClass": lambda classes, row, _newer, _now: row["storageClass"] in classes,
    "matchesSuffix": lambda texts, row, _newer, _now: row["name"].endswith(tuple(texts)),
    "noncurrentTimeBefore": _before("timeDeleted"),
    "numNewerVersions": lambda count, _row, newer, _now: newer >= int(count),
}


def _act(world: World, bucket: Json, row: Json, action: Json) -> None:
    try:
        if action["type"] == "Delete" and "timeDeleted" in row:
            shelf.erase(world, bucket, row)
        elif action["type"] == "Delete":
            shelf.retire(world, bucket, row)
        elif action["type"] == "SetStorageClass" and row["storageClass"] != action["storageClass"]:
            now = world.timestamp()
            shelf.save(world, row | {"storageClass": action["storageClass"], "timeStorageClassUpdated": now})
    except errors.GoogleError:
        return  # held or retained: such objects outlive every rule
