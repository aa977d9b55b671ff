"""`rehearse`: lets the emulator of a folder answer as Google does on a bad day."""

from typing import Any

import click

from provision.options import Options, common


class Scenario(click.ParamType[tuple[str, dict[str, str]]]):
    """A scenario as people type it, ``NAME,OPTION=VALUE``; the value is its name and its options."""

    name = "scenario"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, dict[str, str]]:
        """The name and the options that a text means."""
        name, *said = str(value).split(",")
        options = dict(option.partition("=")[::2] for option in said)
        if not all(options.values()):
            self.fail(f"{value!r} is not of the form NAME,OPTION=VALUE.", param, ctx)
        return name, options


@click.command()
@common
@click.argument("scenario", nargs=-1, type=Scenario(), metavar="[NAME[,OPTION=VALUE]...]...")
@click.option("--off", is_flag=True, help="End them: those that are named, or all.")
def rehearse(options: Options, scenario: tuple[tuple[str, dict[str, str]], ...], off: bool) -> None:
    """Let the emulator of this folder show habits of Google's.

    Lists them when none is named. Those that are play for every command with --local, until --off.
    """
    from provision import local

    settings = options.whose()
    emulator = local.start(options.project or (settings.project if settings else local.PROJECT))
    if scenario and not off:
        local.play(emulator, [{"name": name, "options": chosen} for name, chosen in scenario])
    if off:
        local.end_play(emulator, [name for name, _ in scenario])
    known = local.plays(emulator)
    options.report.scenarios([item for item in known if item["on"] or not (scenario or off)])
