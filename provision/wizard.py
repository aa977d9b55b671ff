"""Asks for the settings that have no default, and writes provision.toml: for the first `up` on a terminal."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import tomlkit

from provision import config
from provision.errors import BadConfig


def ask(path: Path) -> config.Config:
    """Ask, write the file, and return what it says."""
    click.echo(
        f"There is no {path} yet. A few questions; everything else has a default and can be changed in the file."
    )
    answers: dict[str, Any] = {"project": _until_right("Project id", "project", str)}
    answers["region"] = _until_right("Region", "region", str, default="europe-west1")
    if email := click.prompt("E-mail that users may write to (empty for none)", default="", show_default=False):
        answers["support_email"] = email
    click.echo("Who may sign in? Separate several by commas; empty for none.")
    access = {
        key: list_of
        for key, question in (("users", "  Users"), ("groups", "  Groups"), ("domains", "  Domains"))
        if (list_of := _until_right(question, f"access.{key}", _split, default=""))
    }
    if access:
        answers["access"] = access
    if not click.confirm("Make a network of its own?", default=True):
        answers["network"] = {
            "name": _until_right("  Existing network", "network.name", str),
            "subnet": click.prompt(f"  Existing subnet in {answers['region']}"),
        }
    checked = config.check(answers, str(path))
    document = tomlkit.document()
    document.add(
        tomlkit.comment("Settings of python -m provision; see docs/reference/configuration.md for all of them.")
    )
    document.update(answers)
    path.write_text(tomlkit.dumps(document), encoding="utf-8")
    click.echo(f"Written to {path}.")
    return checked


def _until_right(question: str, key: str, read: Callable[[str], Any], default: str | None = None) -> Any:
    """Ask again until the one setting is allowed; the errors are those of the file."""
    while True:
        value = read(click.prompt(question, default=default, show_default=bool(default)))
        try:
            _check_alone(key, value)
        except BadConfig as error:
            click.echo(f"  {error}", err=True)
        else:
            return value


def _check_alone(key: str, value: Any) -> None:
    values: dict[str, Any] = {"project": "any-project"}
    section, _, name = key.rpartition(".")
    if section == "network":
        values["network"] = {name: value, "subnet": "any"}
    elif section:
        values[section] = {name: value}
    else:
        values[name] = value
    config.check(values, "your answer")


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
