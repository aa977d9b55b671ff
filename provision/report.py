"""What a command says at its end: a page for people through rich, or one JSON object for machines."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from provision.engine import Done
from provision.errors import ProvisionError
from provision.inspect import Finding, Kind
from provision.teardown import Left

_SIGNS = {
    Kind.CREATE: ("+", "green", "will be created"),
    Kind.UPDATE: ("~", "yellow", "will be changed"),
    Kind.DELETE: ("-", "red", "will be deleted"),
    Kind.LATER: ("+", "green", "will be created"),
    Kind.FOREIGN: ("!", "red", "is not ours"),
    Kind.MISSING: ("-", "red", "is gone"),
    Kind.CHANGED: ("~", "yellow", "was changed"),
    Kind.UNFINISHED: ("?", "yellow", "was not finished"),
}


class Report:
    """Writes to standard output; in JSON mode nothing but one object.

    Args:
        as_json: Whether machines read it.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._console = Console(highlight=False, soft_wrap=True)

    def say(self, text: str = "") -> None:
        """Show a line to people; rich's markup is understood."""
        if not self.as_json:
            self._console.print(text)

    def object(self, **fields: Any) -> None:
        """Show the one object to machines."""
        if self.as_json:
            click.echo(json.dumps(fields, indent=2, sort_keys=True, default=str))

    def deployed(
        self, command: str, url: str, members: Sequence[str], done: Sequence[Done], seconds: float, contact: str | None
    ) -> None:
        """Show the end of `up`."""
        changes = [{"verb": item.verb, "step": item.step, "ref": item.ref} for item in done]
        self.object(url=url, access=list(members), changes=changes, seconds=round(seconds, 1))
        summary = f"{len(done)} changes in {seconds:.0f} s" if done else f"nothing to change ({seconds:.0f} s)"
        self.say(f"\n[bold green]MLflow is up:[/] [bold]{escape(url)}[/]   [dim]{summary}[/]")
        self.say(f"May sign in: {escape(', '.join(members)) or 'nobody yet; add users to provision.toml'}")
        if contact:
            self.say(f"Whom to ask for access: {escape(contact)}")
        self.say("\nNext:")
        export = f"export MLFLOW_TRACKING_URI={escape(url)} MLFLOW_TRACKING_TOKEN=$({command} token)"
        self.say(f"  [cyan]{export}[/]  log from here")
        self.say(f"  [cyan]{command} drift[/]  what changed behind our back")
        self.say(f"  [cyan]{command} down[/]   take it all away again")

    def findings(self, findings: Sequence[Finding], nothing: str) -> None:
        """Show what differs, or that nothing does."""
        self.object(
            findings=[
                {
                    "kind": item.kind.value,
                    "step": item.step,
                    "ref": item.ref,
                    "note": item.note,
                    "changes": [
                        {"field": ".".join(change.path), "live": change.live, "goal": change.goal}
                        for change in item.changes
                    ],
                }
                for item in findings
            ]
        )
        if not findings:
            self.say(f"[green]{nothing}[/]")
        for item in findings:
            sign, colour, words = _SIGNS[item.kind]
            note = f" [dim]({escape(item.note)})[/]" if item.note else ""
            self.say(f"[{colour}]{sign}[/] {escape(item.ref)} {words}{note}")
            for change in item.changes:
                self.say(f"    {escape(str(change))}")

    def taken_down(self, stays: Sequence[Left], done: Sequence[Done], seconds: float) -> None:
        """Show the end of `down`."""
        self.object(
            stays=[{"ref": item.ref, "why": item.why} for item in stays],
            deleted=[item.ref for item in done if item.verb == "delete"],
            seconds=round(seconds, 1),
        )
        self.say(f"\n[bold green]Taken down[/] in {seconds:.0f} s.")
        if stays:
            self.say("What stays, and why:")
            table = Table.grid(padding=(0, 2))
            for item in stays:
                table.add_row(f"  {escape(item.ref)}", f"[dim]{escape(item.why)}[/]")
            if not self.as_json:
                self._console.print(table)

    def status(self, facts: Mapping[str, Any], rows: Mapping[str, int]) -> None:
        """Show what the ledger knows."""
        self.object(**facts, resources=dict(rows))
        for name, value in facts.items():
            if value not in {None, ""}:
                self.say(f"[dim]{name.replace('_', ' ')}:[/] {escape(str(value))}")
        self.say(f"[dim]resources:[/] {sum(rows.values())} in {len(rows)} rows")

    def error(self, error: ProvisionError) -> None:
        """Show what went wrong and what to type next, on standard error."""
        if self.as_json:
            problem = {"error": type(error).__name__, "message": str(error), "hint": error.hint}
            click.echo(json.dumps(problem, indent=2, sort_keys=True), err=True)
            return
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print(f"[bold red]{type(error).__name__}:[/] {escape(str(error))}")
        if error.hint:
            console.print(f"[bold]Next:[/] {escape(error.hint)}")
