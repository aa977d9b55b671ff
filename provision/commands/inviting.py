"""`client ...`: what the owner of a deployment does for those who log to it."""

import contextlib
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.commands import checking, ledgers, running
from provision.errors import BadUsage
from provision.invitation import CHECKOUT, ELSEWHERE, FORMATS, NOT_OURS, ONLY_HERE, PACKAGE
from provision.options import InReadingOrder, Options, common, handed_down, takes_turns

if TYPE_CHECKING:
    from provision.gcp import Gcp
    from provision.invitation import Invitation
    from provision.keys import Key
    from state.ledger import Ledger

FEDERATED = ("principal", "principalSet")
"""Kinds of members from elsewhere (https://cloud.google.com/iam/docs/principal-identifiers)."""


@click.group(cls=InReadingOrder, invoke_without_command=True)
@common
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="text", help="For whom or what.")
@click.option(
    "--package", metavar="PLACE", help=f"What pip installs the client from: {PACKAGE}, or with --local its checkout."
)
def client(options: Options, form: str, package: str | None) -> None:
    """Print what to send to a colleague, to log from their code.

    Three lines: how to install the client, what to set, how to check. Or the same as another program reads it. PLACE is
    a name in an index, a URL or a file.
    """
    if handed_down():
        return
    from provision import session

    gcp, store = options.open(options.whose())
    with session.reading(gcp, store) as ledger:
        place = package or (str(CHECKOUT) if gcp.emulator and CHECKOUT.is_dir() else PACKAGE)
        told = _invitation(gcp, ledger, place)
    said = FORMATS[form](told)
    options.report.object(install=told.install, variables=told.variables, format=form, text=said)
    if options.as_json:
        return
    click.echo(said, nl=False)
    if place == PACKAGE and PACKAGE in said:
        click.echo(NOT_OURS, err=True)
    if gcp.emulator and form in ELSEWHERE:
        click.echo(ONLY_HERE, err=True)


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
    checking.tell(options, findings)
    if any(found.status is Status.BLOCKED for found in findings):
        options.report.line(f"Something is in the way of {member}, or of their programs.")
        raise SystemExit(checking.BLOCKED)
    options.report.line(f"{member} gets in, and so do their programs, as far as can be told.")


def _member(who: str) -> str:
    """Whom somebody means who types an address, or an IAM member."""
    from pydantic import TypeAdapter, ValidationError

    from provision.config import Domain, Email
    from provision.deployment import member_of

    kinds = {"user": Email, "serviceAccount": Email, "group": Email, "domain": Domain}
    kind, colon, address = who.partition(":")
    if kind in FEDERATED and address.startswith("//iam.googleapis.com/"):
        return who
    kind, address = (kind, address.lower()) if colon else ("user", who.lower())
    try:
        TypeAdapter(kinds[kind]).validate_python(address)
    except (KeyError, ValidationError):
        raise BadUsage(
            f"--as {who!r} is neither an e-mail address nor an IAM member.", hint="Type --as ada@acme.com."
        ) from None
    return f"{kind}:{address}" if colon else member_of(address)


@client.group(cls=InReadingOrder, invoke_without_command=True)
@common
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Where to write it, in no git work tree.")
@click.option("--yes", count=True, help="Do not ask; a key is asked for twice, so it takes two of them.")
@takes_turns
def key(options: Options, out: Path | None, yes: int, lock_timeout: float | None) -> None:
    """Make a key of the log pusher, for a program that cannot sign in to Google otherwise.

    Hardly ever needed, and forbidden by most organizations. status tells of keys, and when each is to be replaced.
    """
    if handed_down():
        return
    import structlog

    from provision import keys, session

    if out is None:
        raise BadUsage("Where shall the key go?", hint="Name a new file with --out FILE, outside of any git work tree.")
    keys.must_lie_well(out)
    gcp, store = options.open(options.whose(), resume=True)
    with session.reading(gcp, store) as ledger:
        gcp.project, account = ledger.project, session.log_pusher_ref(ledger)
        keys.must_be_allowed(gcp)
        keys.must_have_room(account, keys.listed(gcp, account))
    _ask_twice(options, account.rpartition("/")[2], yes)
    with ledgers.holding(options, gcp, store, lock_timeout):
        made = keys.make(gcp, account, out)
        structlog.get_logger().debug("key.made", key=made.id, account=account)
    options.report.object(key=made.id, file=str(out), due=made.due.date())
    options.report.line(f"Key {made.id} is in {out}, which nobody but you may read; it works within some minutes.")
    options.report.line(f"For a program:  export MLFLOW_IAP_KEY_FILE={shlex.quote(str(out.resolve()))}")
    options.report.line(f"Replace it by {made.due:%Y-%m-%d}; status reminds you.")
    options.report.line(f"Take it away:   {options.command('client', 'key', 'revoke', made.id)}")


@key.command()
@common
@click.argument("which", nargs=-1, metavar="[KEY]...")
@click.option("--yes", count=True, help="Do not ask.")
@takes_turns
def revoke(options: Options, which: tuple[str, ...], yes: int, lock_timeout: float | None) -> None:
    """Take keys of the log pusher away, by id or by file; all of them if none is named.

    Who still uses one does not get in any more.
    """
    import structlog

    from provision import keys, session

    gcp, store = options.open(options.whose(), resume=True)
    with session.reading(gcp, store) as ledger:
        gcp.project, account = ledger.project, session.log_pusher_ref(ledger)
        known = {found.id: found for found in keys.listed(gcp, account)}
    chosen = [_chosen(known, word) for word in which] or list(known.values())
    if chosen and not yes:
        running.must_be_answered(options, "takes keys away")
        for found in chosen:
            options.report.line(f"  {found.id}  of {found.made:%Y-%m-%d}")
        if not click.confirm("Take them away?"):
            raise BadUsage("Not confirmed; nothing was touched.")
    if chosen:
        with ledgers.holding(options, gcp, store, lock_timeout):
            for found in chosen:
                keys.revoke(gcp, account, found)
                structlog.get_logger().debug("key.revoked", key=found.id, account=account)
    options.report.object(revoked=[found.id for found in chosen])
    for found in chosen:
        options.report.line(f"Key {found.id} is good for nothing any more.")
    if not chosen:
        options.report.line("There is no key to be taken away.")


def _ask_twice(options: Options, account: str, yes: int) -> None:
    """Go on only if a key is really meant."""
    hint = "Add --yes --yes if a key is really what you want."
    if yes < 2:
        running.must_be_answered(options, "makes a key, twice", hint=hint)
    if yes < 1:
        options.report.line(f"Most programs need no key: {options.command('client')} says what they need instead.")
        if not click.confirm("Make one all the same?"):
            raise BadUsage("Not confirmed; nothing was touched.")
    if yes < 2:
        running.confirm(options, f"Whoever has the file is {account}. Type key to make it", "key")


def _chosen(known: "dict[str, Key]", word: str) -> "Key":
    """The key that is meant by its id, or by the file that it was written to."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # no file, or none with a key in it
        word = str(json.loads(Path(word).read_text(encoding="utf-8"))["private_key_id"])
    if word not in known:
        raise BadUsage(f"{word} is no key of the log pusher.", hint=f"Its keys: {', '.join(known) or 'none'}.")
    return known[word]
