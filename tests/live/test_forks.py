"""The open questions about Google Cloud: each says what is done on every branch, and what would settle it."""

import re
from pathlib import Path

import pytest

from tests.live.forks import Fork, forks, settled

ROOT = Path(__file__).parents[2]
SCENARIOS = 20

TRANSCRIPT = """\
`python -m provision up --json`: exit code 1, 61 s. **Exit code 1, and 0 was expected.**
{"answer": "There is no client. (400 INVALID_ARGUMENT)", "event": "refused", "level": "debug", "what": "Front door (apps/PROJECT/iap)"}
"""


def test_every_question_has_a_name_of_its_own() -> None:
    """By which a transcript and an issue mean it."""
    names = [fork.id for fork in forks()]

    assert len(names) == len(set(names)) > 20


@pytest.mark.parametrize("fork", forks(), ids=lambda fork: fork.id)
def test_what_a_question_points_to_is_there(fork: Fork) -> None:
    """The pages that leave it open, the tests of its branches, and patterns that are ones."""
    for answer in fork.answers:
        re.compile(answer.line)
        path, _, name = answer.test.partition("::")
        scenario = re.fullmatch(r"scenario (\d+)", answer.test)

        assert not name or re.search(rf"^def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), answer
        assert name or not answer.test or (scenario and 1 <= int(scenario[1]) <= SCENARIOS), answer
        assert answer.what
        assert answer.we
    assert all(page.startswith("https://") for page in fork.pages)


def test_a_transcript_tells_what_it_settles() -> None:
    """With the line."""
    told = settled(TRANSCRIPT)

    assert told == ["managed-client: no, `apps.patch` is refused with 400 (line 2)"]
