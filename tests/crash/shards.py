"""Plays the whole product, or a part of it, and writes each verdict down as a line of JSON."""

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from provision import log
from tests.crash.proof import Proof, Verdict, proving
from tests.crash.scenarios import SCENARIOS

PAIRS = 500


def play(shard: int, of: int, folder: Path, processes: int) -> list[Path]:
    """Play shard number `shard` (the first is 1) of so many, on several processes; returns the files written."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = [((shard - 1) * processes + number, of * processes, folder) for number in range(processes)]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        return list(pool.map(_play_part, *zip(*parts, strict=True)))


def _play_part(part: int, of: int, folder: Path) -> Path:
    """Play every `of`-th point, from number `part` on, of all scenarios, and as many of the pairs."""
    log.set_up(log.SILENT + 1, as_json=True)
    path = folder / f"{part + 1}-of-{of}.jsonl"
    with path.open("w", encoding="utf-8") as lines, proving() as proof:
        for line in _lines(proof, part, of):
            lines.write(json.dumps(line) + "\n")
            lines.flush()
    return path


def _lines(proof: Proof, part: int, of: int) -> Iterator[dict[str, Any]]:
    number = 0
    for name in SCENARIOS:
        points = proof.points(name)
        yield {"kind": "scenario", **counted(proof, name)}
        for point in points:
            if point.same_as is None:
                if number % of == part:
                    yield told("point", proof.play(point))
                number += 1
    for seed in range(part, PAIRS, of):
        yield told("pair", proof.play_pair(seed))


def counted(proof: Proof, name: str) -> dict[str, Any]:
    """How many points a scenario has, and how many of them are to be played, by fault."""
    points: dict[str, int] = {}
    played: dict[str, int] = {}
    for point in proof.points(name):
        points[point.fault] = points.get(point.fault, 0) + 1
        played[point.fault] = played.get(point.fault, 0) + (point.same_as is None)
    requests = len(proof.undisturbed(name).requests)
    return {"scenario": name, "requests": requests, "points": points, "played": played, "table": table(proof, name)}


def table(proof: Proof, name: str) -> str:
    """Which points a scenario has, in a word: parts are parts of one whole only if all have cut up the same table."""
    told = "\n".join(f"{point} {point.method} {point.same_as}" for point in proof.points(name))
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def told(kind: str, verdict: Verdict) -> dict[str, Any]:
    """A verdict as a line."""
    return {"kind": kind, **asdict(verdict)}
