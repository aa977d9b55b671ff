"""What a command says at its end: a page for people through rich, or one JSON object for machines."""

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import click
from rich import markup
from rich.console import Console

from provision.deeds import Done
from provision.doctor import telling
from provision.doctor.telling import Status
from provision.errors import ProvisionError
from provision.inspect import Finding, Kind
from provision.log import printable, short
from provision.rollback import Way
from provision.step import Change
from provision.teardown import Left
from state.ledger import Waits

_SIGNS = {
    Kind.CREATE: ("+", "green", ""),
    Kind.UPDATE: ("~", "yellow", ""),
    Kind.DELETE: ("-", "red", ""),
    Kind.LATER: ("+", "green", ""),
    Kind.FOREIGN: ("!", "red", "is not ours"),
    Kind.UNMARKED: ("!", "red", "is not ours any more"),
    Kind.MISSING: ("-", "red", "is gone"),
    Kind.CHANGED: ("~", "yellow", "was changed"),
    Kind.UNFINISHED: ("?", "yellow", "was not finished"),
    Kind.UNKNOWN: ("?", "yellow", "is unknown"),
}
_COUNTED = {
    "to create": (Kind.CREATE, Kind.LATER),
    "to change": (Kind.UPDATE,),
    "to remove": (Kind.DELETE,),
    "not ours": (Kind.FOREIGN, Kind.UNMARKED),
    "gone": (Kind.MISSING,),
    "changed": (Kind.CHANGED,),
    "not finished": (Kind.UNFINISHED,),
    "unknown": (Kind.UNKNOWN,),
}
_VERDICTS = {
    Status.OK: ("green", "ok"),
    Status.WARNING: ("yellow", "warning"),
    Status.BLOCKED: ("red", "blocked"),
    Status.UNCHECKED: ("cyan", "unchecked"),
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
            self._console.print(printable(text, lines=True, longest=None))

    def line(self, text: str, note: str = "") -> None:
        """Show a line to people as it stands, with something less important behind it."""
        self.say(escape(text) + (f"  [dim]{escape(note)}[/]" if note else ""))

    def object(self, **fields: Any) -> None:
        """Show the one object to machines."""
        if self.as_json:
            click.echo(json.dumps(fields, indent=2, sort_keys=True, default=str))

    def scenarios(self, known: Sequence[Mapping[str, Any]]) -> None:
        """Show habits of Google's that the emulator can play, with what may be set of each."""
        self.object(scenarios=known)
        for item in known:
            chosen = "".join(f",{option}={value}" for option, value in item["options"].items() if value != "")
            self.line(f"{'*' if item['on'] else ' '} {item['name']}{chosen}", item["says"])
        playing = any(item["on"] for item in known)
        self.say(
            "\nThose with * play until python -m provision rehearse --off; what they have changed stays"
            if playing
            else "\nNone is playing."
        )

    def deployed(
        self,
        commands: Mapping[str, str],
        url: str,
        members: Sequence[str],
        done: Sequence[Done],
        proved: Sequence[str],
        seconds: float,
        contact: str | None,
    ) -> None:
        """Show the end of `up`; commands holds what to type for ``export``, ``client``, ``drift`` and ``down``."""
        changes = [{"verb": item.verb, "step": item.step, "ref": item.ref} for item in done]
        self.object(url=url, access=list(members), changes=changes, proved=list(proved), seconds=round(seconds, 1))
        summary = (
            f"{_count(len(done), 'change')} in {seconds:.0f} s" if done else f"nothing to change ({seconds:.0f} s)"
        )
        self.say(f"\n[bold green]MLflow is up:[/] [bold]{escape(url)}[/]   [dim]{summary}[/]")
        self.say(f"May sign in: {escape(', '.join(members)) or 'nobody yet; add users to provision.toml'}")
        if contact:
            self.say(f"Whom to ask for access: {escape(contact)}")
        self.say("\nNext:")
        self.say(f"  log from here    [cyan]{escape(commands['export'])}[/]")
        self.say(f"  for colleagues   [cyan]{escape(commands['client'])}[/]")
        self.say(f"  what changed?    [cyan]{escape(commands['drift'])}[/]")
        self.say(f"  take it away     [cyan]{escape(commands['down'])}[/]")

    def proved(self, url: str, links: Sequence[str], seconds: float) -> None:
        """Show the end of `verify`: what was asked, all of which holds."""
        self.object(url=url, proved=list(links), seconds=round(seconds, 1))
        for link in links:
            self.say(f"  [green]ok[/] {escape(link)}")
        self.say(f"[bold green]MLflow works:[/] [bold]{escape(url)}[/]   [dim]{seconds:.0f} s[/]")

    def findings(self, findings: Sequence[Finding], titles: Mapping[str, str], nothing: str, mend: str) -> None:
        """Show what differs, or that nothing does.

        Args:
            findings: In the order of the table.
            titles: By row, what it makes.
            nothing: What to say when nothing differs.
            mend: What to type when something does.
        """
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
            self.say(f"[green]{escape(nothing)}[/]")
            return
        for step, group in groupby(findings, key=lambda item: item.step):
            self.say(f"[bold]{escape(step)}[/]  [dim]{escape(titles.get(step, ''))}[/]")
            for item in group:
                sign, colour, words = _SIGNS[item.kind]
                note = f"[dim]({escape(item.note)})[/]" if item.note else ""
                said = (f"  [{colour}]{sign}[/]", escape(short(item.ref)), words, note)
                self.say(" ".join(part for part in said if part))
                for change in item.changes:
                    self.say(f"      {escape(_difference(change, item.kind))}")
        counts = {words: sum(item.kind in kinds for item in findings) for words, kinds in _COUNTED.items()}
        self.say(f"\n{', '.join(f'{count} {words}' for words, count in counts.items() if count)}. {mend}")

    def examined(self, findings: Sequence[telling.Finding]) -> None:
        """Show what the doctor has found: what it is about, how it is, why, and what to do."""
        self.object(
            findings=[
                {
                    "check": found.check,
                    "status": found.status.value,
                    "why": found.why,
                    "todo": found.todo,
                    "commands": found.commands,
                    "error": type(found.error).__name__ if found.error else None,
                }
                for found in findings
            ]
        )
        alike: dict[tuple[object, ...], list[telling.Finding]] = {}
        for found in findings:
            alike.setdefault((found.status, found.why, found.todo, found.commands), []).append(found)
        for found, *others in alike.values():
            colour, word = _VERDICTS[found.status]
            same = f" The same goes for {', '.join(other.check for other in others)}." if others else ""
            self.say(f"[{colour}]{word:<9}[/]  [bold]{escape(found.check):<13}[/]  {escape(found.why + same)}")
            for line in filter(None, (found.todo, *found.commands)):
                self.say(f"{'':26}[dim]{escape(line)}[/]")
        counts = {word: sum(found.status is status for found in findings) for status, (_, word) in _VERDICTS.items()}
        self.say(f"\n{', '.join(f'{count} {word}' for word, count in counts.items() if count)}.")

    def changed(self, done: Sequence[Done], seconds: float) -> None:
        """Show the end of what has worked on a part of the table only."""
        changes = [{"verb": item.verb, "step": item.step, "ref": item.ref} for item in done]
        self.object(changes=changes, seconds=round(seconds, 1))
        self.say(f"{_count(len(done), 'change')} in {seconds:.0f} s" if done else "Nothing to change.")

    def way_back(self, way: Way) -> None:
        """Show what a rollback is about to do, and what it cannot do."""
        goal = way.goal
        if self.as_json:
            return  # the object comes at the end
        self.say(f"Back to what was before run [bold]{escape(goal.to)}[/]:")
        for ref in goal.restore:
            self.say(f"  [yellow]~[/] {escape(short(ref))}")
        for ref in goal.remove:
            self.say(f"  [red]-[/] {escape(short(ref))}")
        for ref in goal.release:
            self.say(f"  [dim]=[/] {escape(short(ref))} [dim](was there before us)[/]")
        if not (goal.restore or goal.remove or goal.release):
            self.say("  nothing to do")
        for ref, why in way.lost.items():
            self.say(f"[bold]Cannot come back:[/] {escape(short(ref))}: {escape(why)}")
        for ref, why in way.stays.items():
            self.say(f"[bold]Stays as it is:[/] {escape(short(ref))}: {escape(why)}")

    def gone_back(self, stays: Sequence[Left], done: Sequence[Done], seconds: float) -> None:
        """Show the end of `rollback`."""
        changes = [{"verb": item.verb, "step": item.step, "ref": item.ref} for item in done]
        self.object(
            changes=changes, stays=[{"ref": item.ref, "why": item.why} for item in stays], seconds=round(seconds, 1)
        )
        self.say(f"\n[bold green]Gone back[/]: {_count(len(done), 'change')} in {seconds:.0f} s.")
        for item in stays:
            self.say(f"  stays: {escape(short(item.ref))}  [dim]{escape(item.why)}[/]")

    def released(self, refs: Sequence[str]) -> None:
        """Show the end of `release`."""
        self.object(released=list(refs))
        for ref in refs:
            self.say(f"released {escape(short(ref))}")

    def taken_down(
        self, stays: Sequence[Left], waits: Mapping[str, Waits], done: Sequence[Done], seconds: float
    ) -> None:
        """Show the end of `down`."""
        deleted = list(dict.fromkeys(item.ref for item in done if item.verb == "delete" and item.ref not in waits))
        self.object(
            stays=[{"ref": item.ref, "why": item.why} for item in stays],
            waits=[{"ref": ref, "why": item.why, "since": item.since} for ref, item in waits.items()],
            deleted=deleted,
            seconds=round(seconds, 1),
        )
        summary = f"{len(deleted)} resources in {seconds:.0f} s" if deleted else "there was nothing left to remove"
        self.say(f"\n[bold green]Taken down[/]: {summary}.")
        if waits:
            self.say("[bold yellow]Not yet[/], for Google does not let go of it.")
            self.say("Type the same command again later, or with --wait 2h:")
            for ref, held in waits.items():
                self.say(f"  {escape(short(ref))}  [dim]since {held.since}: {escape(held.why)}[/]")
        if stays:
            self.say("What stays, and why:")
            for item in stays:
                self.say(f"  {escape(short(item.ref))}  [dim]{escape(item.why)}[/]")

    def status(self, facts: Mapping[str, Any], rows: Mapping[str, int]) -> None:
        """Show what the ledger knows."""
        self.object(**facts, resources=dict(rows))
        shown = {**facts, "resources": f"{sum(rows.values())} in {len(rows)} rows of the table" if rows else "none"}
        for name, value in shown.items():
            if value not in {None, ""}:
                self.say(f"[dim]{name.replace('_', ' '):<12}[/] {escape(str(value))}")

    def error(self, error: ProvisionError) -> None:
        """Show what went wrong and what to type next, on standard error."""
        if self.as_json:
            problem: dict[str, Any] = {"error": type(error).__name__, "message": str(error), "hint": error.hint}
            problem |= {"commands": error.commands} if error.commands else {}
            click.echo(json.dumps(problem, sort_keys=True), err=True)
            return
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        said = markup.escape(printable(str(error), lines=True))
        console.print(f"[bold red]{type(error).__name__}:[/] {said}")
        if error.hint:
            console.print(f"[bold]Next:[/] {escape(error.hint)}")
        for line in error.commands:
            console.print(f"  {escape(line)}")


def escape(text: str) -> str:
    """A text that is not ours, as it may stand among rich's markup and go to a terminal."""
    return markup.escape(printable(text))


def _difference(change: Change, kind: Kind) -> str:
    """One field: what it is and should be, or was; of lists only what comes or goes."""
    name, sides = ".".join(change.path), (change.live, change.goal)
    was = kind is Kind.CHANGED
    if list in map(type, sides) and {*map(type, sides)} <= {list, type(None)}:
        live, goal = (side or [] for side in sides)
        too_many = [f"{item} was added" if was else f"- {item}" for item in live if item not in goal]
        too_few = [f"{item} was removed" if was else f"+ {item}" for item in goal if item not in live]
        if too_few or too_many:
            return f"{name}: {', '.join(too_few + too_many)}"
    if was:
        return f"{name}: is {_value(change.live)}, was applied as {_value(change.goal)}"
    return f"{name}: {_value(change.live)} -> {_value(change.goal)}"


def _value(value: Any) -> str:
    return "absent" if value is None else json.dumps(value, default=str)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
