"""Joins what the shards have written into the figures of the page."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.crash.faults import FAULTS
from tests.crash.scenarios import SCENARIOS
from tests.crash.shards import PAIRS

Line = dict[str, Any]


def read(folder: Path) -> list[Line]:
    """All lines of all files of a folder."""
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]


def missing(lines: Iterable[Line]) -> list[str]:
    """What has not been played; empty when every point of every scenario has been, once."""
    lines = list(lines)
    played = Counter(
        scenario for scenario, _ in {(line["scenario"], line["replay"]) for line in lines if line["kind"] == "point"}
    )
    wanted = {line["scenario"]: sum(line["played"].values()) for line in lines if line["kind"] == "scenario"}
    tables = {(line["scenario"], line["table"]) for line in lines if line["kind"] == "scenario"}
    told = [
        f"{name}: {played[name]} of {wanted.get(name)} points" for name in SCENARIOS if played[name] != wanted.get(name)
    ]
    told += [
        f"{name}: the parts are not parts of one whole"
        for name, count in Counter(scenario for scenario, _ in tables).items()
        if count > 1
    ]
    pairs = {line["replay"] for line in lines if line["kind"] == "pair"}
    return told + ([] if len(pairs) == PAIRS else [f"{len(pairs)} of {PAIRS} pairs"])


def failures(lines: Iterable[Line]) -> list[str]:
    """How to replay what went wrong, and what it was."""
    return [f"{line['replay']}: {'; '.join(line['problems'])}" for line in lines if line.get("problems")]


def figures(lines: list[Line]) -> str:
    """The tables of the page."""
    scenarios = {line["scenario"]: line for line in lines if line["kind"] == "scenario"}
    verdicts = [line for line in lines if line["kind"] == "point"]
    rows = []
    for name, scenario in SCENARIOS.items():
        counted, ours = scenarios[name], [line for line in verdicts if line["scenario"] == name]
        points, played = sum(counted["points"].values()), len(ours)
        rows.append(
            [f"{scenario.says} (`{name}`)", counted["requests"], points, points - played, played, _failed(ours)]
        )
    rows.append(["all", *(sum(row[column] for row in rows) for column in range(1, 6))])
    heads = ["scenario", "requests", "points", "merged", "played", "failures"]
    faults = [_row_of(name, scenarios.values(), verdicts) for name in FAULTS]
    return "\n".join(
        [_table(heads, rows), _table(["fault", *heads[2:], "healed by the run itself"], faults), *_rest(lines)]
    )


def _row_of(name: str, scenarios: Iterable[Line], verdicts: list[Line]) -> list[Any]:
    ours = [line for line in verdicts if line["fault"] == name]
    points = sum(line["points"][name] for line in scenarios)
    healed = "-" if FAULTS[name].deadly else sum(line["first"] == "finished" for line in ours)
    return [f"{FAULTS[name].says} (`{name}`)", points, points - len(ours), len(ours), _failed(ours), healed]


def _rest(lines: list[Line]) -> list[str]:
    told = []
    if pairs := [line for line in lines if line["kind"] == "pair"]:
        told.append(
            f"Pairs, the second fault in the run that recovers from the first: {len(pairs)}, failures: {_failed(pairs)}."
        )
    if kills := [line for line in lines if line["kind"] == "kill"]:
        told.append(
            f"Real processes ended by `kill -9` at a random instant: {sum(line['kills'] for line in kills)}, failures: {_failed(kills)}."
        )
    seconds = sum(line["seconds"] for line in lines if "seconds" in line)
    return [*told, f"It took {seconds / 3600:.1f} hours of one core.\n"]


def _failed(lines: Iterable[Line]) -> int:
    return sum(bool(line["problems"]) for line in lines)


def _table(heads: list[str], rows: list[list[Any]]) -> str:
    lines = [heads, ["---", *["--:"] * (len(heads) - 1)], *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)
