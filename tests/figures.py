"""Puts the figures of the long proofs into the page that tells why nothing is lost."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"


def put(of: str, figures: str, page: Path = PAGE) -> None:
    """Put figures where the page has a place for them, instead of those that are there.

    Args:
        of: whose figures they are: the place lies between `<!-- figures of the ... -->` and `<!-- end of the figures -->`.
        figures: Markdown, ended by a line break.
        page: a Markdown file that has such a place.

    Raises:
        ValueError: the page has none.
    """
    place = re.compile(rf"(<!-- figures of the {re.escape(of)} -->\n).*?(<!-- end of the figures -->)", re.DOTALL)
    text, count = place.subn(lambda found: f"{found[1]}{figures}{found[2]}", page.read_text(encoding="utf-8"))
    if not count:
        raise ValueError(f"{page} has no place for figures of the {of}")
    page.write_text(text, encoding="utf-8")
