"""One life of a deployment, as commands: what is typed, and how each should end."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Act:
    """One command.

    Args:
        command: Its name.
        arguments: What is typed behind it.
        fine: The exit codes with which all is well.
        nothing: What of its answer must be an empty list.
        makes: Whether there is something to take away once it has begun.
    """

    command: str
    arguments: tuple[str, ...] = ()
    fine: tuple[int, ...] = (0,)
    nothing: str = ""
    makes: bool = False

    def wrong(self, exit_code: int, answer: Json) -> str:
        """What is not as it should be; empty when all is well."""
        if exit_code not in self.fine:
            return f"exit code {exit_code}, and {' or '.join(map(str, self.fine))} was expected"
        found = answer.get(self.nothing, []) if self.nothing else []
        return f"{len(found)} {self.nothing}, and none was expected" if found else ""


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, seconds, the object that it printed and its log."""

    exit_code: int
    seconds: float
    answer: Json
    log: str


LIFE = (
    Act("doctor"),
    Act("up", makes=True),
    Act("verify"),
    Act("drift", nothing="findings"),
    Act("up", nothing="changes", makes=True),
    Act("down", ("--yes",), fine=(0, 6)),
)
"""`down` may end with 6: Google lets go of a private connection only after hours."""


def played(
    life: tuple[Act, ...], run: Callable[[Act], Ended], tell: Callable[[Act, Ended, str], None]
) -> Iterator[str]:
    """Play one command after the other; after one that went wrong only `down`, if there is anything to take away.

    Args:
        life: The commands.
        run: Types one and waits for its end.
        tell: Called with each, how it ended and what was wrong.

    Yields:
        What was wrong, of each command with which something was.
    """
    made, failed = False, False
    for act in life:
        if failed and not (act.command == "down" and made):
            continue
        made = made or act.makes
        ended = run(act)
        wrong = act.wrong(ended.exit_code, ended.answer)
        tell(act, ended, wrong)
        if wrong:
            failed = True
            yield f"{act.command}: {wrong}"
