"""Small JSON files by which the emulator and its machines are found again; nobody but their owner may read them."""

import json
from pathlib import Path
from typing import Any

Json = dict[str, Any]


def write(path: Path, value: Json) -> None:
    """Write all of it or, when the process is killed meanwhile, nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".draft")
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(value), encoding="utf-8")
    draft.replace(path)


def read(path: Path) -> Json | None:
    """What was written last; None when there is nothing."""
    try:
        found: Json = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return found
