"""What happened in a run on a real project, written so that it can be attached to an issue."""

import json
import platform
import shlex
from dataclasses import dataclass
from pathlib import Path

from provision import __version__
from tests.live.life import Act, Ended
from tests.live.scrub import Scrubber

TYPED = ("--json", "--verbose")
"""What is typed behind every command, so that nothing is left out of its log."""

HEAD = """\
# A life on {place}

mlflow-on-gcp {version}, Python {python}, {system}, {when}

Secrets, people and the project's names are taken out: PROJECT is its id, NUMBER its number. Read it before you attach it.
"""


@dataclass
class Transcript:
    """A page that grows with each command, so that a run that dies leaves what it has seen.

    Args:
        path: The file.
        scrubber: Whom every text passes.
    """

    path: Path
    scrubber: Scrubber

    def begin(self, place: str, when: str) -> None:
        """Write the head.

        Args:
            place: Where it is played: Google Cloud, or the emulator.
            when: Date and time.
        """
        facts = {"version": __version__, "python": platform.python_version(), "system": platform.system()}
        self.path.write_text(HEAD.format(place=place, when=when, **facts), encoding="utf-8")

    def tell(self, act: Act, ended: Ended, wrong: str) -> None:
        """Add a command: what was typed, how it ended, what it printed and what it logged."""
        typed = shlex.join(["python", "-m", "provision", act.command, *act.arguments, *TYPED])
        answer = json.dumps(ended.answer, indent=1, sort_keys=True)
        self._add(
            f"\n## {act.command}\n\n`{typed}`: exit code {ended.exit_code}, {ended.seconds:.0f} s"
            f"{f'. **{wrong[:1].upper()}{wrong[1:]}.**' if wrong else '.'}\n"
            f"\n```json\n{answer}\n```\n\n```text\n{ended.log.strip()}\n```\n"
        )

    def end(self, lines: list[str]) -> None:
        """Add what follows from it all, a line each."""
        self._add("\n## What follows\n\n" + "".join(f"- {line}\n" for line in lines))
        whole = self.scrubber.scrub(self.path.read_text(encoding="utf-8"))  # what was learnt late stands above, too
        self.path.write_text(whole, encoding="utf-8")

    def _add(self, text: str) -> None:
        with self.path.open("a", encoding="utf-8") as page:
            page.write(self.scrubber.scrub(text))
