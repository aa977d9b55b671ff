"""`client ...`: what the owner of a deployment does for those who log to it."""

from typing import TYPE_CHECKING

import click

from provision.invitation import FORMATS, PACKAGE
from provision.options import InReadingOrder, Options, common, handed_down

if TYPE_CHECKING:
    from provision.gcp import Gcp
    from provision.invitation import Invitation
    from state.ledger import Ledger


@click.group(cls=InReadingOrder, invoke_without_command=True)
@common
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="text", help="For whom or what.")
@click.option(
    "--package", metavar="PLACE", default=PACKAGE, show_default=True, help="What pip installs the client from."
)
def client(options: Options, form: str, package: str) -> None:
    """Print what to send to a colleague: how to install the client, what to set, how to check.

    It is three lines for people, or what another program reads. PLACE is a name in an index, a URL or a file.
    """
    if handed_down():
        return
    from provision import session

    gcp, store = options.open(options.whose())
    with session.reading(gcp, store) as ledger:
        told = _invitation(gcp, ledger, package)
    said = FORMATS[form](told)
    options.report.object(install=told.install, variables=told.variables, format=form, text=said)
    if not options.as_json:
        click.echo(said, nl=False)


def _invitation(gcp: "Gcp", ledger: "Ledger", package: str) -> "Invitation":
    from provision import invitation, local, session

    door = next((record.body for record in ledger.records.values() if record.step == "door"), {})
    variables = invitation.variables(
        session.origin_of(ledger),
        session.log_pusher_of(ledger),
        client_id=door.get("oauth2ClientId", ""),
        emulator=gcp.emulator or "",
        credentials=str(local.credentials_file()) if gcp.emulator else "",
    )
    return invitation.Invitation(variables, package, ledger.project, ledger.region)
