"""What runs have come to, without what no two runs have in common: times, random numbers, and who did what when."""

import json
import re
from collections import Counter
from typing import Any

from state.ledger import Ledger
from tests.journey.neighbours import things

# Numbers and words that Google makes up anew for each thing, or that tell of its history.
_MADE_UP = {
    "data", "dataCrc32c", "etag", "fingerprint", "generation", "id", "made", "metageneration", "oauth2ClientId",
    "selfLinkWithId", "server_id", "serviceAccountEmailAddress", "uniqueId",
}  # fmt: skip
_OF_THE_RUN = {"by", "digest", "done", "run", "serial", "write_id"}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[^\"]*")
_BACKUP = re.compile(r"/backups/\d+")
_VERSION = re.compile(r"\bmlflow-[0-9a-f]{8}\b")  # a digest over numbers that Google makes up

Portrait = Counter[str]
"""Lines, each as often as it stands there: two things that differ in made-up numbers only are seen as two."""


def of_project(cloud: Any) -> Portrait:
    """Everything in the project but the ledger's own bucket, with what each thing is like."""
    return Counter(f"{name}: {_plain(value)}" for name, value in _clean_names(things(cloud)))


def of_ledger(ledger: Ledger | None) -> Portrait:
    """Every record, its last change aside, and what else the ledger knows."""
    if ledger is None:
        return Counter()
    known = ledger.model_dump()
    records = known.pop("records")
    lines = [f"record of {name}: {_plain(value)}" for name, value in _clean_names(records)]
    return Counter([*lines, f"ledger: {_plain(known)}"])


def differences(expected: Portrait, actual: Portrait) -> list[str]:
    """What is missing, what is too much, and of what is there both times, from where on it differs."""
    missing, extra = sorted((expected - actual).elements()), sorted((actual - expected).elements())
    told = []
    for line in missing:
        other = next((found for found in extra if found.partition(": ")[0] == line.partition(": ")[0]), None)
        if other is None:
            told.append(f"missing: {line}")
        else:
            extra.remove(other)
            at = max(next(n for n, (a, b) in enumerate(zip(line, other, strict=False)) if a != b) - 40, 0)
            told.append(f"{line.partition(': ')[0]}: ...{line[at : at + 200]} became ...{other[at : at + 200]}")
    return told + [f"too much: {line}" for line in extra]


def marked(cloud: Any, deployment: str) -> set[str]:
    """Names of what carries a deployment's mark."""
    mark = re.compile(f'deployment(=|": "){deployment}', re.IGNORECASE)
    return {name for name, value in things(cloud).items() if mark.search(_plain(value, whole=True))}


def _clean_names(found: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(_VERSION.sub("mlflow-VERSION", name), value) for name, value in found.items()]


def _plain(value: Any, *, whole: bool = False) -> str:
    text = json.dumps(value if whole else _without(value), sort_keys=True, default=sorted)
    return text if whole else _VERSION.sub("mlflow-VERSION", _BACKUP.sub("/backups/N", _TIME.sub("TIME", text)))


def _without(value: Any) -> Any:
    match value:
        case dict():
            return {key: _without(item) for key, item in value.items() if key not in _MADE_UP | _OF_THE_RUN}
        case list() | tuple():
            return [_without(item) for item in value]
        case _:
            return value
