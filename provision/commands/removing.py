"""`down` and `stop`: what takes a deployment away, and what only lets it rest."""

import time

import click

from provision.commands import running
from provision.errors import StillInUse
from provision.options import Duration, Options, common, takes_turns


@click.command()
@common
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--delete-data", is_flag=True, help="Delete the artifacts too, not only what serves them.")
@click.option("--only", multiple=True, metavar="ROW", help="Only this row of the table and what depends on it.")
@click.option("--wait", type=Duration(), default=0.0, metavar="TIME", help="How long to go on, such as 2h.")
@takes_turns
def down(
    options: Options, yes: bool, delete_data: bool, only: tuple[str, ...], wait: float, lock_timeout: float | None
) -> None:
    """Take the deployment away, and tell what stays and why.

    Ends with exit code 6 when Google does not let go of something yet: then down again, later or with --wait.
    """
    from provision import rollback, session
    from provision.teardown import Left, Teardown, data_at_risk
    from steps import PLAN

    settings = options.whose()
    running.must_be_rows(only, "--only")
    begun = time.monotonic()
    gcp, store = options.open(settings, resume=True)
    with session.reading(gcp, store) as ledger:
        gcp.project = ledger.project
        if not yes:
            what = f"{', '.join(only)} and what depends on it" if only else "MLflow"
            running.confirm(
                options,
                f"This takes down {what} in project {ledger.project}. Type the project's id to go on",
                ledger.project,
            )
        if delete_data and not yes:
            for ref, contents in data_at_risk(PLAN, gcp, ledger).items():
                running.confirm(options, f"{ref} holds {contents}. Type delete to lose them", "delete")
    with running.changing(options, gcp, store, None, lock_timeout) as engine:
        rollback.give_up(engine)
        teardown = Teardown(engine, session.new_salt(), delete_data=delete_data, only=only)
        stays = teardown.run(wait)
    if not only:
        stays.append(Left(str(store), "The ledger: it tells a later up what was here."))
    options.report.taken_down(stays, teardown.waiting, engine.done, time.monotonic() - begun)
    if teardown.waiting:
        raise SystemExit(StillInUse.exit_code)
    if options.local and not only:
        options.report.say(f"\nThe emulator goes on running; to end it: [cyan]{options.command('stop')}[/]")


@click.command()
@common
def stop(options: Options) -> None:
    """Stop the emulator of this folder; all data stays.

    The machines behind it, MLflow and the database, stop with it. `up --local` goes on from there.
    """
    from provision import local

    stopped = local.stop()
    options.report.object(stopped=stopped)
    options.report.say(
        "Stopped; python -m provision up --local goes on from here." if stopped else "Nothing was running."
    )
