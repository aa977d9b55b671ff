"""The open questions about Google Cloud, and which of them a transcript answers."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).parents[2] / "docs" / "reference" / "forks.toml"


@dataclass(frozen=True)
class Answer:
    """One possible answer.

    Args:
        what: The answer.
        we: What the tool does then.
        test: The test that shows it: its id, or ``scenario N``; empty when there is none.
        line: A pattern of the line of a transcript that tells that it is so; empty when none does.
    """

    what: str
    we: str
    test: str
    line: str

    def told_in(self, text: str) -> int:
        """The number of the first line that tells it; 0 when none does."""
        found = re.search(self.line, text, re.MULTILINE) if self.line else None
        return text.count("\n", 0, found.start()) + 1 if found else 0


@dataclass(frozen=True)
class Fork:
    """One question with its answers."""

    id: str
    question: str
    pages: tuple[str, ...]
    answers: tuple[Answer, ...]


def forks() -> list[Fork]:
    """All of them, as docs/reference/forks.toml has them."""
    told = tomllib.loads(TABLE.read_text(encoding="utf-8"))["fork"]
    return [
        Fork(
            one["id"],
            one["question"],
            tuple(one["pages"]),
            tuple(Answer(answer["if"], answer["we"], answer["test"], answer["line"]) for answer in one["answers"]),
        )
        for one in told
    ]


def settled(transcript: str) -> list[str]:
    """What a transcript tells of the questions, a sentence each."""
    return [
        f"{fork.id}: {answer.what} (line {line})"
        for fork in forks()
        for answer in fork.answers
        if (line := answer.told_in(transcript))
    ]
