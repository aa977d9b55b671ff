"""Play a whole life on a real project and write a transcript: tox r -e live -- --project ID; --local rehearses it."""

import getpass
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from provision.cli import cli
from tests.live import forks
from tests.live.life import LIFE, Act, Ended, played
from tests.live.scrub import Scrubber
from tests.live.transcript import TYPED, Transcript

ROOT = Path(__file__).parents[2]
ENV = "live"
LOCAL = "local-mlflow"

NEEDS = """\
This plays a whole life of MLflow on Google Cloud: {commands}.

It needs a project of yours with billing, best a new one (where its App Engine application lies is decided for ever), and
credentials: gcloud auth application-default login. It takes an hour or two. One vCPU, a small database and some
gigabytes of disk run meanwhile, about 0.10 US dollars an hour; docs/how-to/first-real-run.md has the sum and its sources.

At Google:          tox r -e live -- --project ID
On this machine:    tox r -e live -- --local
"""


@click.command(help=__doc__)
@click.option("--project", metavar="ID", help="The project to do it in; it costs money there.")
@click.option("--region", default="europe-west1", show_default=True, help="Where; for the application it is for ever.")
@click.option("--local", is_flag=True, help="Rehearse it against the emulator; nothing of Google's is needed.")
@click.option(
    "--scenario", multiple=True, metavar="NAME", help="With --local: a habit of Google's to rehearse it with."
)
@click.option("--keep", is_flag=True, help="Leave out the last command, down.")
@click.option("--to", "path", type=click.Path(path_type=Path, dir_okay=False), help="Where the transcript goes.")
def main(
    project: str | None, region: str, local: bool, scenario: tuple[str, ...], keep: bool, path: Path | None
) -> None:
    """Ends with 0 when all went well, 1 when something did not, 3 without a project."""
    life = tuple(act for act in LIFE if act.command in cli.commands and not (keep and act.command == "down"))
    if local == (project is not None):
        click.echo(NEEDS.format(commands=", ".join(act.command for act in life)), err=True, nl=False)
        sys.exit(3)
    now = datetime.now(UTC)
    names = (socket.gethostname(), getpass.getuser())
    scrubber = Scrubber(project or LOCAL, hidden=tuple(name for name in names if len(name) > 2))
    page = Transcript(path or Path(f"transcript-{now:%Y%m%dT%H%M}.md"), scrubber)
    place = ", with ".join(["the emulator", *scenario]) if local else "Google Cloud"
    page.begin(place, f"{now:%d %B %Y, %H:%M} UTC")
    with tempfile.TemporaryDirectory(prefix="provision-live-") as name:
        folder = Path(name)
        if project:
            settings = {"project": project, "env": ENV, "region": region}
            (folder / "provision.toml").write_text("".join(f'{key} = "{value}"\n' for key, value in settings.items()))
        try:
            if local:  # the check before `up` asks an emulator that is there
                refused = typed(Act("rehearse", scenario), folder, local=True).exit_code
                if refused:
                    sys.exit(refused)
            wrong = list(played(life, lambda act: typed(act, folder, local=local), page.tell))
        except KeyboardInterrupt:
            wrong = ["it was interrupted"]
        finally:
            if local:
                subprocess.run([*PROGRAM, "stop", "--local"], cwd=folder, env=environment(), check=False)
    told = forks.settled(page.path.read_text(encoding="utf-8"))
    page.end([*(wrong or ["All went well."]), *(f"{'rehearsed: ' if local else ''}{line}" for line in told)])
    click.echo(f"\n{'; '.join(wrong) or 'All went well'}. The transcript: {page.path}", err=True)
    if project and (wrong or keep):
        click.echo(f"To take away what is left: python -m provision down --project {project} --env {ENV}", err=True)
    sys.exit(1 if wrong else 0)


PROGRAM = [sys.executable, "-m", "provision"]


def environment() -> dict[str, str]:
    """Ours, with this checkout first."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def typed(act: Act, folder: Path, *, local: bool) -> Ended:
    """Type a command in a folder; what it logs is shown while it works."""
    click.echo(f"\n$ python -m provision {act.command}", err=True)
    command = [*PROGRAM, act.command, *act.arguments, *TYPED, *(["--local"] if local else [])]
    begun, log = time.monotonic(), []
    with tempfile.TemporaryFile("w+", encoding="utf-8") as printed:
        with subprocess.Popen(
            command, cwd=folder, env=environment(), stdout=printed, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr
            for line in process.stderr:
                log.append(line)
                click.echo(line, nl=False, err=True)
        printed.seek(0)
        text = printed.read()
    answer = json.loads(text) if text.strip() else {}
    return Ended(process.returncode, time.monotonic() - begun, answer, "".join(log))


if __name__ == "__main__":
    main()
