"""`down` and `stop`: what takes a deployment away, and what only lets it rest."""

import time

import click

from provision.commands import running
from provision.options import Options, common, takes_turns


@click.command()
@common
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--delete-data", is_flag=True, help="Delete the artifacts too, not only what serves them.")
@takes_turns
def down(options: Options, yes: bool, delete_data: bool, lock_timeout: float | None) -> None:
    """Take the deployment away, and tell what stays and why."""
    from provision import identity, session
    from provision.teardown import Left, Teardown, data_at_risk, held
    from steps import PLAN

    settings = options.settings()
    begun = time.monotonic()
    gcp, store = options.open(settings, resume=True)
    with session.reading(gcp, store) as ledger:
        gcp.project = ledger.project
        if not yes:
            running.confirm(
                f"This takes down MLflow in project {ledger.project}. Type the project's id to go on", ledger.project
            )
        if delete_data and not yes:
            for ref, contents in data_at_risk(PLAN, gcp, ledger).items():
                running.confirm(f"{ref} holds {held(contents)}. Type delete to lose them", "delete")
    with running.changing(options, gcp, store, None, lock_timeout, identity.runner(gcp)) as engine:
        stays = Teardown(engine, session.new_salt(), delete_data=delete_data).run()
    stays.append(Left(str(store), "The ledger: it tells a later up what was here."))
    options.report.taken_down(stays, engine.done, time.monotonic() - begun)
    if options.local:
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
