"""`rollback` and `release`: what goes back to how things were, and what lets go of a thing without touching it."""

import time

import click

from provision.commands import running
from provision.errors import BadUsage, ChangedMeanwhile
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
        goal = way.interrupted(ledger, None if abandon else to)
        if abandon and goal is None:
            raise BadUsage("No rollback was interrupted, so there is none to give up.")
        if goal is None:
            with session.in_words_of_ours(store):
                planned = way.way_back(PLAN, [*history.states(store), ledger], to)
            options.report.way_back(planned)
            if not yes:
                running.confirm(options, f"Type the project's id, {ledger.project}, to go back", ledger.project)
            goal = planned.goal
    with running.changing(options, gcp, store, None, lock_timeout) as engine:
        earlier = history.states(store)
        if goal != (way.interrupted(engine.ledger, goal.to) or way.way_back(PLAN, [*earlier, engine.ledger], to).goal):
            raise ChangedMeanwhile(
                f"Run {earlier[-1].run} has changed the deployment meanwhile, so the way back is another one by now.",
                hint=f"{options.command('rollback')} shows it.",
            )
        if abandon:
            way.give_up(engine)
            left = []
        else:
            if engine.ledger.rollback != goal:
                way.begin(engine, goal)
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
    from provision import rollback as way
    from provision import session
    from steps import PLAN

    gcp, store = options.open(options.whose(), resume=True)
    with session.reading(gcp, store) as ledger:
        gcp.project = ledger.project
        for ref in refs:
            if ref not in ledger.records:
                raise BadUsage(
                    f"{ref} is not in the ledger.", hint=f"{options.command('state', 'list')} shows what is."
                )
        inside = PLAN.lying_in({ledger.records[ref].step for ref in refs})
        going = [
            ref
            for ref, record in ledger.records.items()
            if ref in refs or (record.step in inside and ref.startswith(tuple(f"{outer}/" for outer in refs)))
        ]
    with running.changing(options, gcp, store, None, lock_timeout) as engine:
        way.leave_the_end(engine)
        for ref in going:
            if ref in engine.ledger.records:
                engine.deeds.forget(ref)
    options.report.released(going)
