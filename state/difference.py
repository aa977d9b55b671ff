"""What differs between two ledgers: which records came, went or changed, field by field. No input, no output."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from state.ledger import Ledger

STAMPS = {"serial", "run", "write_id", "schema_version"}
"""What every save changes."""


@dataclass(frozen=True)
class Field:
    """One value that differs; None stands for a field that is not there, too.

    Attributes:
        path: where it lies, dotted.
        before: what it was.
        after: what it is.
    """

    path: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Difference:
    """All that differs.

    Attributes:
        added: refs that only the later ledger knows.
        removed: refs that only the earlier one knows.
        changed: by ref, the fields of a record that differ.
        general: the fields beside the records that differ.
    """

    added: list[str]
    removed: list[str]
    changed: dict[str, list[Field]]
    general: list[Field]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.general)


def between(before: Ledger, after: Ledger) -> Difference:
    """Compare two ledgers; what every save stamps anew is left out."""
    old, new = before.records, after.records
    fields = {ref: _fields(old[ref].model_dump(), new[ref].model_dump()) for ref in sorted(old.keys() & new.keys())}
    apart = STAMPS | {"records"}
    return Difference(
        added=sorted(new.keys() - old.keys()),
        removed=sorted(old.keys() - new.keys()),
        changed={ref: found for ref, found in fields.items() if found},
        general=_fields(before.model_dump(exclude=apart), after.model_dump(exclude=apart)),
    )


def _fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Field]:
    old, new = dict(_leaves(before)), dict(_leaves(after))
    paths = sorted(path for path in {*old, *new} if old.get(path) != new.get(path))
    return [Field(path, old.get(path), new.get(path)) for path in paths]


def _leaves(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from _leaves(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", item
