"""Asks for the settings that have no default, and writes provision.toml: for the first `up` on a terminal."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import tomlkit

from provision import config
from provision.errors import BadConfig


def ask(path: Path, env: str | None = None) -> config.Config:
    """Ask, write the file, and return what it says.

    Args:
        path: Where to write it.
        env: The environment, when the command line names one.
    """
    click.echo(
        f"There is no {path} yet. A few questions; everything else has a default and can be changed in the file."
    )
    answers: dict[str, Any] = {"project": _until_right("Project id", "project")}
    if env is not None:
        answers["env"] = env
    answers["region"] = _until_right("Region", "region", default="europe-west1")
    if email := _until_right("E-mail of whom users ask for access (empty for none)", "support_email", _or_none, ""):
        answers["support_email"] = email
    click.echo("Who may sign in? Separate several by commas; empty for none.")
    access = {
        key: members
        for key, question in (("users", "  Users"), ("groups", "  Groups"), ("domains", "  Domains"))
        if (members := _until_right(question, f"access.{key}", _split, default=""))
    }
    if access:
        answers["access"] = access
    if not click.confirm("Make a network of its own?", default=True):
        answers["network"] = {
            "name": _until_right("  Existing network", "network.name"),
            "subnet": _until_right(f"  Existing subnet in {answers['region']}", "network.subnet"),
        }
    checked = config.check(answers, str(path))
    document = tomlkit.document()
    document.add(
        tomlkit.comment("Settings of python -m provision; see docs/reference/configuration.md for all of them.")
    )
    document.update(answers)
    path.write_text(tomlkit.dumps(document), encoding="utf-8")
    click.echo(f"Written to {path}.\n")
    return checked


def _until_right(question: str, key: str, read: Callable[[str], Any] = str.strip, default: str | None = None) -> Any:
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
        values["network"] = {"name": "any", "subnet": "any", name: value}
    elif section:
        values[section] = {name: value}
    else:
        values[name] = value
    config.check(values, "your answer")


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _or_none(text: str) -> str | None:
    return text.strip() or None
