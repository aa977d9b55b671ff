"""The options that all commands share, and what they open: the config, the project and its ledger."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provision import log
from provision.errors import BadUsage, NothingDeployed

if TYPE_CHECKING:
    from provision.config import Config
    from provision.gcp import Gcp
    from provision.report import Report
    from state.store import Store

CONFIG_FILE = Path("provision.toml")


@dataclass
class Options:
    """What every command takes."""

    config: Path | None
    state: str | None
    project: str | None
    env: str | None
    local: bool
    as_json: bool
    verbose: bool

    @functools.cached_property
    def report(self) -> "Report":
        """Where the command's result goes."""
        from provision.report import Report

        return Report(as_json=self.as_json)

    @property
    def command(self) -> str:
        """What to type before the name of another command of the same deployment."""
        return "python -m provision" + (" --local" if self.local else "")

    def settings(self) -> "Config | None":
        """Read the config file, if there is one; a file that was named must be there."""
        from provision import config

        if self.config is not None:
            return config.load(self.config)
        return config.load(CONFIG_FILE) if CONFIG_FILE.exists() else None

    def open(self, settings: "Config | None", *, may_change: bool) -> "tuple[Gcp, Store, Config | None]":
        """Find the project and its ledger, here or at Google.

        Raises:
            BadUsage: Nothing says which project is meant.
            NothingDeployed: It is asked for without the right to make anything, and there is nothing.
        """
        from provision import bootstrap, clock
        from provision.gcp import Gcp

        project = self.project or (settings.project if settings else None)
        if self.local:
            from provision import local

            project = project or local.PROJECT
            emulator = local.start(project) if may_change else local.find()
            if emulator is None:
                raise NothingDeployed("No emulator runs for this folder.", hint="python -m provision up --local")
            from google.oauth2.credentials import Credentials

            gcp = Gcp(project, Credentials(emulator.token), emulator.url)  # type: ignore[no-untyped-call]  # google-auth
        elif project is None:
            raise BadUsage(
                "Which project? There is no provision.toml here.",
                hint="Name it with --project, or a file with --config.",
            )
        else:
            gcp = Gcp(project)
        now = clock.SystemClock()
        found = bootstrap.find_project(gcp, now, may_change=may_change)
        env = self.env or (settings.env if settings else "default")
        region = settings.region if settings and may_change else None
        return gcp, bootstrap.find_store(gcp, now, found, env=env, state=self.state, make_in=region), settings


def common(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that all have, gathered into one Options."""

    @click.option(
        "--config", type=click.Path(path_type=Path, dir_okay=False), help="Settings file (default: provision.toml)."
    )
    @click.option("--state", metavar="PLACE", help="Where the ledger is: gs://BUCKET/PREFIX or ./file.json.")
    @click.option("--project", metavar="ID", help="The project, where no settings file says it.")
    @click.option("--env", metavar="NAME", help="The environment, where no settings file says it.")
    @click.option("--local", is_flag=True, help="On this machine, against the emulator of this folder.")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object; the log becomes JSON lines.")
    @click.option("-v", "--verbose", is_flag=True, help="Log every change with its fields.")
    @functools.wraps(command)
    def wrapped(**given: Any) -> None:
        shared = {item.name: given.pop(item.name) for item in fields(Options)}
        options = Options(**{**shared, "local": shared["local"] or click.get_current_context().obj["local"]})
        log.set_up(log.VERBOSE if options.verbose else log.NORMAL, as_json=options.as_json)
        command(options, **given)

    return wrapped
