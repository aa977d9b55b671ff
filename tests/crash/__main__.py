"""The proof that no single fault loses anything: `python -m tests.crash --shard 1/4`, then `--merge`.

One point is played again by what its verdict says: `python -m tests.crash --scenario up --point 17 --fault dies-after`.
"""

import argparse
import sys
from pathlib import Path

import click

from provision import log
from tests import figures
from tests.crash import kills, page, shards
from tests.crash.faults import FAULTS
from tests.crash.proof import proving
from tests.crash.scenarios import SCENARIOS

RESULTS = Path("build/proof")


def main() -> int:
    """Do what the options say; the exit code is 1 when something does not hold."""
    options = _options()
    if options.scenario or options.pair is not None:
        return _replay(options)
    if options.count:
        return _count()
    if options.shard:
        shard, of = map(int, options.shard.split("/"))
        shards.play(shard, of, options.results, options.processes)
        kills.play(shard, of, options.results)
    lines = page.read(options.results)
    for failure in (failed := page.failures(lines)):
        click.echo(failure)
    click.echo(f"{sum('problems' in line for line in lines)} played, {len(failed)} failures")
    if options.merge:
        if gaps := page.missing(lines):
            click.echo(f"Not written, for this is missing: {'; '.join(gaps)}")
            return 1
        figures.put("proof", page.figures(lines))
    return 1 if failed else 0


def _replay(options: argparse.Namespace) -> int:
    """Play one point or pair, with the whole log."""
    log.set_up(log.VERBOSE, as_json=False)
    with proving() as proof:
        if options.pair is not None:
            verdict = proof.play_pair(options.pair)
        else:
            known = {(point.number, point.fault): point for point in proof.points(options.scenario)}
            verdict = proof.play(known[options.point, options.fault])
    click.echo(f"{verdict.method}: {verdict.first}; {'; '.join(verdict.problems) or 'all is well'}")
    return 1 if verdict.problems else 0


def _count() -> int:
    """Say how many points there are."""
    log.set_up(log.SILENT + 1, as_json=False)
    with proving() as proof:
        for name in SCENARIOS:
            counted = shards.counted(proof, name)
            points, played = (sum(counted[kind].values()) for kind in ("points", "played"))
            click.echo(
                f"{name}: {counted['requests']} requests, {points} points, {points - played} merged, {played} to play"
            )
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--shard", metavar="I/N", help="play one part of so many")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="at a time (default: 2)")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help=f"default: {RESULTS}")
    parser.add_argument("--merge", action="store_true", help="write the figures of all shards into docs/reliability.md")
    parser.add_argument("--count", action="store_true", help="only count the points")
    parser.add_argument("--scenario", choices=SCENARIOS, help="with --point and --fault: play one point again")
    parser.add_argument("--point", type=int, metavar="N", help="number of the request, the first being 0")
    parser.add_argument("--fault", choices=FAULTS)
    parser.add_argument("--pair", type=int, metavar="SEED", help="play one pair again")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
