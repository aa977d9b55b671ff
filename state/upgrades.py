"""What makes a ledger of an older schema one of the next, as plain JSON.

The ledger as it was stays in the history: whoever opens it for a change keeps the very bytes first (`Journal.open`).
"""

from collections.abc import Callable, Mapping
from typing import Any

Content = dict[str, Any]


def upgrade_1_to_2(content: Content) -> Content:
    """Drop `parent` of every record: what goes with what is told by the table of steps, and nothing has read it."""
    records = content.get("records")
    slim = (
        {ref: _without(record, "parent") for ref, record in records.items()} if isinstance(records, dict) else records
    )
    return {**content, **({"records": slim} if "records" in content else {}), "schema_version": 2}


def _without(record: object, field: str) -> object:
    if not isinstance(record, Mapping):
        return record
    return {name: value for name, value in record.items() if name != field}


UPGRADES: Mapping[int, Callable[[Content], Content]] = {1: upgrade_1_to_2}
"""By schema, what makes the next one of it."""
