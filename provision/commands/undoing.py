"""`rollback` and `release`: what goes back to how things were, and what lets go of a thing without touching it."""

import time

import click

from provision.commands import running
from provision.errors import BadUsage
from provision.options import Options, common, takes_turns


@click.command()
@common
@click.option("--to", metavar="RUN", help="Before this run, and not before the last that changed anything.")
@click.option("--abandon", is_flag=True, help="Give up a rollback that was interrupted; everything stays as it is.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@takes_turns
def rollback(options: Options, to: str | None, abandon: bool, yes: bool, lock_timeout: float | None) -> None:
    """Go back to what was before a run.

    What it made is removed, what it changed is changed back, what it removed is made again; what cannot come back is
    told first. An interrupted rollback goes on when the same command is typed again.
    """
    from provision import rollback as way
    from provision import session
    from state import history
    from steps import PLAN

    begun = time.monotonic()
    gcp, store = options.open(options.whose(), resume=True)
    with session.reading(gcp, store) as ledger:
        gcp.project = ledger.project
        under_way = ledger.rollback if ledger.rollback and not ledger.rollback.by else None
        begun_before = under_way is not None and to in {None, under_way.to}
        if abandon and under_way is None:
            raise BadUsage("No rollback was interrupted, so there is none to give up.")
        if not (begun_before or abandon):
            with session.in_words_of_ours(store):
                planned = way.way_back(PLAN, [*history.states(store), ledger], to)
            options.report.way_back(planned)
            if not yes:
                running.confirm(f"Type the project's id, {ledger.project}, to go back", ledger.project)
    with running.changing(options, gcp, store, None, lock_timeout) as engine:
        if abandon:
            way.give_up(engine)
            left = []
        else:
            if not begun_before:
                way.begin(engine, way.way_back(PLAN, [*history.states(store), engine.ledger], planned.goal.to).goal)
            left = way.go_back(engine)
    options.report.gone_back(left, engine.done, time.monotonic() - begun)


@click.command()
@common
@click.argument("refs", metavar="REF...", nargs=-1, required=True)
@takes_turns
def release(options: Options, refs: tuple[str, ...], lock_timeout: float | None) -> None:
    """Take resources out of the ledger without touching them.

    From then on they are nobody's. An up whose settings still name one of them takes it again, by its mark.
    """
    from provision import session
    from steps import PLAN

    gcp, store = options.open(options.whose(), resume=True)
    with session.reading(gcp, store) as ledger:
        gcp.project = ledger.project
        for ref in refs:
            if ref not in ledger.records:
                raise BadUsage(f"{ref} is not in the ledger.", hint=f"{options.command('state')} list shows what is.")
        inside = PLAN.lying_in({ledger.records[ref].step for ref in refs})
        going = [
            ref
            for ref, record in ledger.records.items()
            if ref in refs or (record.step in inside and ref.startswith(tuple(f"{outer}/" for outer in refs)))
        ]
    with running.changing(options, gcp, store, None, lock_timeout) as engine:
        for ref in going:
            if ref in engine.ledger.records:
                engine.deeds.forget(ref)
    options.report.released(going)
