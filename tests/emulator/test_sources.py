"""What recordings say little of has been read somewhere, and each test of it says where.

Recordings of App Engine, Identity-Aware Proxy and Cloud Build are few, and so are those of conflicts (409), failed
preconditions (412) and rates (429). The pages are listed in docs/reference/sources.md.
"""

import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path

THIN = ("test_appengine", "test_cloudbuild", "test_iap")
RARE = re.compile(r"\b(409|412|429|Conflict|AlreadyExists|PreconditionFailed|TooManyRequests)\b")

Test = Callable[..., None]


def all_tests() -> Iterator[tuple[str, Test]]:
    """The tests of the emulator's APIs, with the module of each."""
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        module = importlib.import_module(f"{__package__}.{path.stem}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if name.startswith("test_") and function.__module__ == module.__name__ and path.stem != Path(__file__).stem:
                yield path.stem, function


def sources(test: Test) -> list[str]:
    return [mark.args[0] for mark in getattr(test, "pytestmark", ()) if mark.name == "source"]


def test_what_is_rarely_recorded_has_its_source() -> None:
    """Else nobody could tell what Google does from what the emulator happens to do."""
    believed = [
        (module, test) for module, test in all_tests() if module in THIN or RARE.search(inspect.getsource(test))
    ]

    assert len(believed) > 60
    assert [f"{module}::{test.__name__}" for module, test in believed if not sources(test)] == []


def test_a_source_is_a_page_that_anybody_can_open() -> None:
    """By its address."""
    pages = {page for _, test in all_tests() for page in sources(test)}

    assert len(pages) > 30
    assert [page for page in pages if not re.fullmatch(r"https://[\w.-]+\.(com|org)/\S+", page)] == []
