"""`client ...`: what the owner of a deployment does for those who log to it."""

from typing import TYPE_CHECKING

import click

from provision.commands import checking
from provision.errors import BadUsage
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


@client.command()
@common
@click.option("--as", "who", metavar="USER", required=True, help="An e-mail address, or an IAM member.")
def check(options: Options, who: str) -> None:
    """Tell whether somebody will get in, and why not, from the policies.

    Nothing is tried in their name. Ends with exit code 5 when something is in their way.
    """
    from provision import config, doctor, session
    from provision.doctor import guest
    from provision.doctor.telling import Status

    member = _member(who)
    gcp, store = options.open(options.whose())
    with session.reading(gcp, store) as ledger:
        gcp.project = ledger.project
        known = {"project": ledger.project, "env": ledger.env, "region": ledger.region}
        facts = checking.facts_of(options, config.check(known, "the ledger"), gcp, ledger=ledger)
        findings = doctor.run(guest.checks(member), facts)
    options.report.examined(findings)
    stands = {found.status for found in findings}
    if Status.BLOCKED in stands:
        options.report.line(f"Something is in the way of {member}, or of their programs.")
        raise SystemExit(checking.BLOCKED)
    certain = stands <= {Status.OK}
    options.report.line(f"{member} gets in, and so do their programs{'' if certain else ', as far as can be told'}.")


def _member(who: str) -> str:
    """Whom somebody means who types an address, or an IAM member."""
    from provision.deployment import member_of

    kind, colon, address = who.partition(":")
    if colon and kind and address:
        return who if "//" in address else f"{kind}:{address.lower()}"
    if "@" not in who.strip("@"):
        raise BadUsage(f"--as {who!r} is neither an e-mail address nor an IAM member.", hint="Type --as ada@acme.com.")
    return member_of(who.lower())
