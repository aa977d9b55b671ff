"""Tell one story again, or very many: ``python -m tests.simulation --help``."""

import argparse
import sys
from pathlib import Path

from tests import figures
from tests.simulation import report
from tests.simulation.story import play


def main():
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation", description="Stories of runs, each out of a seed."
    )
    parser.add_argument("--seed", type=int, help="tell this one")
    parser.add_argument("--trace", action="store_true", help="with every event")
    parser.add_argument("--seeds", metavar="A..B", help="tell all of these, B included")
    parser.add_argument("--checkpoint", metavar="FILE", help="keep there what is done, and go on from there")
    parser.add_argument("--write", action="store_true", help="put what the checkpoint says into docs/reliability.md")
    parser.add_argument("--processes", type=int, help="how many side by side; one for each core when left out")
    asked = parser.parse_args()
    if asked.seed is not None:
        return _one(asked.seed, traced=asked.trace)
    if asked.write:
        if not asked.checkpoint:
            parser.error("of which soak? Give --checkpoint")
        figures.put("soak", report.figures(Path(asked.checkpoint)))
        return 0
    if not asked.seeds:
        parser.error("which seeds? Give --seed or --seeds")
    first, last = map(int, asked.seeds.split(".."))
    return 1 if report.soak(first, last, asked.checkpoint, asked.processes, _say) else 0


def _one(seed, *, traced):
    told = play(seed, traced=traced)
    for line in told.trace:
        _say(line)
    _say(report.failure(seed, told) if told.failures else f"seed {seed}: every promise was kept, in {told.calls} calls")
    return 1 if told.failures else 0


def _say(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
