"""The options that all commands share, and what they open: the config, the project and its ledger."""

import functools
import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click

from provision import log
from provision.errors import (
    BadConfig,
    BadUsage,
    LedgerDamaged,
    LedgerMoved,
    LedgerUnreadable,
    NothingDeployed,
    ProvisionError,
)

if TYPE_CHECKING:
    from provision.bootstrap import Project
    from provision.config import Config, Whose
    from provision.gcp import Gcp
    from provision.report import Report
    from state.ledger import Ledger
    from state.store import Store

CONFIG_FILE = Path("provision.toml")

_COMMAND = re.compile(r"python -m provision (?>(?:state )?[a-z]+)(?! --local)")
"""A command in a hint, unless it says already where it is meant."""

_NOT_KNOWN_YET = "not-known-yet"  # the project, until the ledger that --state names has been read


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

    def command(self, *words: str) -> str:
        """What to type for another command of the same deployment."""
        return shlex.join(["python", "-m", "provision", *words, *self._where()])

    def completed(self, hint: str) -> str:
        """A hint of who does not know where the deployment is: its commands with the options that say so."""
        where = shlex.join(self._where())
        if not where or where in hint:
            return hint
        return _COMMAND.sub(lambda command: f"{command[0]} {where}", hint)

    def _where(self) -> list[str]:
        """The options that say which deployment is meant."""
        said = {"--config": self.config, "--state": self.state, "--project": self.project, "--env": self.env}
        named = [word for option, value in said.items() if value for word in (option, str(value))]
        return [*(["--local"] if self.local else []), *named]

    def settings(self) -> "Config | None":
        """Read the config file, if there is one; a file that was named must be there.

        Raises:
            BadConfig: It cannot be read, or holds what is not allowed.
            BadUsage: The command line says another project or env than the file.
        """
        from provision import config

        said = self._said()
        if (path := self._file()) is None:
            return None
        settings = config.load(path)
        _must_agree(said, path, dict(settings))
        return settings

    def whose(self) -> "Whose | None":
        """Which deployment is meant, for a command that needs to know no more: what else the file says may be wrong.

        Raises:
            BadConfig: The file is no TOML and the command line names no project; or project or env are not allowed.
            BadUsage: The command line says another project or env than the file.
        """
        from provision import config

        said = self._said()
        if (path := self._file()) is None:
            return None
        try:
            values = config.values_in(path)
        except BadConfig:
            if self.project is None or not path.exists():
                raise
            return None
        _must_agree(said, path, {"env": config.Whose.model_fields["env"].default, **values})
        return config.whose({**values, **said}, str(path))

    def _file(self) -> Path | None:
        """The settings' file; None when none was named and the usual one is not there."""
        return self.config or (CONFIG_FILE if CONFIG_FILE.exists() else None)

    def _said(self) -> dict[str, str]:
        """What the command line says in place of the file."""
        from provision import config

        said = {key: value for key, value in (("project", self.project), ("env", self.env)) if value is not None}
        try:
            config.whose({"project": "any-project", **said}, "the command line")
        except BadConfig as error:
            hint = "Type another --project or --env; docs/reference/configuration.md says what they may be."
            raise BadUsage(str(error), hint=hint) from error
        return said

    def first_settings(self, *, ask: bool) -> "Config":
        """Settings where there is no file: the local default, or the answers of the person at the terminal.

        Raises:
            BadUsage: Nobody is there to be asked.
        """
        if self.local:
            from provision import local

            return local.default_config(self.project, self.env)
        if self.project is not None:
            from provision import config

            return config.check({"project": self.project, "env": self.env or "default"}, "the command line")
        if not (ask and sys.stdin.isatty()) or self.as_json:
            raise BadUsage(
                f"There is no {CONFIG_FILE}, which must say at least: project.",
                hint=f'Write {CONFIG_FILE} with project = "YOUR-PROJECT-ID", or run up on a terminal to be asked;'
                " up --local needs no settings.",
            )
        from provision import wizard

        return wizard.ask(CONFIG_FILE, self.env)

    def open(
        self,
        settings: "Whose | None",
        *,
        make: bool = False,
        resume: bool = False,
        gcp: "Gcp | None" = None,
        find: "Callable[[], Project] | None" = None,
    ) -> "tuple[Gcp, Store]":
        """Find the project and its ledger, here or at Google.

        Args:
            settings: What the config file says, if there is one.
            make: Whether what is missing to hold a ledger may be made: emulator, APIs, bucket. Needs all settings.
            resume: Whether an emulator that was stopped may be started again.
            gcp: The clients, if they were made before.
            find: Tells the project, if it was looked up before.

        Raises:
            BadUsage: Nothing says which project is meant, or --state names the ledger of another one than the command
                line says.
            BadConfig: The settings name a file that cannot be read; only who makes something needs it.
            NeedsAnAccount: Whoever would make something could not use it.
            NothingDeployed: There is no place for a ledger, and none may be made.
        """
        from provision import bootstrap, clock, config, identity

        gcp, now = gcp or self.clients(settings, make=make, resume=resume), clock.SystemClock()
        if make:
            identity.must_have_an_account(gcp)
        if self.state is not None:
            store = bootstrap.named_store(gcp, now, self.state, may_change=make)
            self._must_mean_the_one_at(store)
            gcp.project = self._project(settings) or self._project_at(store)
            return gcp, store
        project = find() if find else bootstrap.find_project(gcp, now, may_change=make)
        env = self.env or (settings.env if settings else "default")
        region = settings.region if make and isinstance(settings, config.Config) else None
        return gcp, bootstrap.own_store(gcp, now, project, env=env, make_in=region)

    def clients(self, settings: "Whose | None", *, make: bool = False, resume: bool = False) -> "Gcp":
        """The clients for the project, of this machine or of Google; see open."""
        from provision import config
        from provision.gcp import Gcp

        if make and isinstance(settings, config.Config):
            settings.door.client_secret()
        project = self._project(settings)
        if not self.local:
            if project is None and self.state is None:
                raise BadUsage(
                    f"Which project? There is no {CONFIG_FILE} here.",
                    hint="Name it with --project, or a file with --config; or add --local to mean this machine.",
                )
            return Gcp(project or _NOT_KNOWN_YET)
        from google.oauth2.credentials import Credentials

        from provision import local

        emulator = local.start(project) if make or (resume and local.has_data()) else local.find()
        if emulator is None:
            raise NothingDeployed(
                "No emulator runs for this folder.",
                hint="Run python -m provision up --local" + (" to go on from here." if local.has_data() else " first."),
            )
        return Gcp(project or _NOT_KNOWN_YET, Credentials(emulator.token), emulator.url)  # type: ignore[no-untyped-call]  # google-auth

    def _project(self, settings: "Whose | None") -> str | None:
        """Which project is meant; None when only the ledger that --state names can tell."""
        said = self.project or (settings.project if settings else None)
        if said is None and self.local and self.state is None:
            from provision import local

            return local.PROJECT
        return said

    def _project_at(self, store: "Store") -> str:
        ledger = _whose_ledger(store)
        if ledger is None:
            raise NothingDeployed(f"There is no ledger at {store}.")
        return ledger.project

    def _must_mean_the_one_at(self, store: "Store") -> None:
        """Make sure that the ledger that --state names is of what the command line says besides, if anything."""
        if not (said := self._said()):
            return
        try:
            ledger = _whose_ledger(store)
        except (
            LedgerDamaged,
            LedgerMoved,
            LedgerUnreadable,
        ):  # told by the command, which may even be there to mend it
            return
        for key, value in said.items():
            if ledger is not None and (there := getattr(ledger, key)) != value:
                raise BadUsage(
                    f"--{key} {value} contradicts the ledger at {store}, which is of {key} {there}.",
                    hint=f"Leave --{key} out if that ledger is meant, or name another one with --state.",
                )


def _whose_ledger(store: "Store") -> "Ledger | None":
    """The ledger, or the last good one where it is damaged or lost: as good to tell whose it is."""
    from provision import session
    from state import history

    try:
        return session.ledger_at(store)
    except LedgerDamaged:
        earlier = history.last_good(store)
        if earlier is None:
            raise
        return earlier


class InReadingOrder(click.Group):
    """Lists the commands in the order in which they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """By name, as they were added."""
        return list(self.commands)


def handed_down() -> bool:
    """Whether the command that runs is a group of which another one was typed, which then gets the options of this one.

    So they may stand before or behind its name.
    """
    context = click.get_current_context()
    if context.invoked_subcommand is None:
        return False
    given = {name: value for name, value in context.params.items() if value is not None}
    context.default_map = {context.invoked_subcommand: given}
    return True


def _must_agree(said: dict[str, str], path: Path, values: dict[str, Any]) -> None:
    for key, value in said.items():
        if key in values and value != values[key]:
            raise BadUsage(
                f"--{key} {value} contradicts {path}, which says {key} = {values[key]!r}.",
                hint=f"Leave --{key} out, or name another file with --config.",
            )


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
        try:
            command(options, **given)
        except LedgerMoved as error:
            error.hint = f"Type: {_typed_with_state(error.to)}"
            raise
        except LedgerDamaged as error:
            error.hint = _ways_back(options, error.last_good)
            raise
        except ProvisionError as error:
            error.hint = options.completed(error.hint)
            raise

    return wrapped


def _ways_back(options: Options, last_good: int | None) -> str:
    """What to type when a ledger cannot be read any more."""
    rebuild = f"to make it anew from the cloud: {options.command('state', 'rebuild')}"
    if last_good is None:
        return f"Nothing in its history can be read either; {rebuild}"
    restore = options.command("state", "restore", str(last_good))
    return f"The last good one has serial {last_good}; to put it back: {restore}; or {rebuild}"


def _typed_with_state(place: str) -> str:
    """The command line that runs, word by word, but for --state: what it leaves out would be another command."""
    words = sys.argv[1:]
    options_end = words.index("--") if "--" in words else len(words)
    said, literal = words[:options_end], words[options_end:]
    kept = [
        word
        for before, word in zip(["", *said], said, strict=False)
        if "--state" not in {before, word} and not word.startswith("--state=")
    ]
    return shlex.join(["python", "-m", "provision", *kept, "--state", place, *literal])


takes_turns = click.option(
    "--lock-timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="How long to wait for another run."
)


class Duration(click.ParamType[float]):
    """A time span as people write it: ``90s``, ``30m``, ``2h``, ``1d``; the value is in seconds."""

    name = "duration"
    _SECONDS: ClassVar = {"s": 1, "m": 60, "h": 3600, "d": 86400}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds that a text means."""
        if isinstance(value, int | float):
            return float(value)
        match = re.fullmatch(r"([0-9]+)([smhd])", str(value).strip())
        if match is None:
            self.fail(f"{value!r} is no duration such as 90s, 30m, 2h or 1d.", param, ctx)
        return float(match[1]) * self._SECONDS[match[2]]
