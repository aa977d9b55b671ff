"""The log: short lines for people, JSON for machines, on standard error only."""

import json

import pytest
import structlog

from provision import log


@pytest.fixture(autouse=True)
def as_before():
    """The log is set up once for the process; here it is put back."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def test_a_change_is_one_short_line(capsys):
    """When, what, in which row, under which name, how long it took."""
    log.set_up(log.NORMAL, as_json=False)
    ref = "projects/p/locations/europe-west1/repositories/mlflow/iamPolicy"
    structlog.get_logger().info("resource.updated", step="repository_access", ref=ref, seconds=1.5, run="r")
    told = capsys.readouterr()

    assert told.out == ""
    assert told.err[8:] == " ~ updated  repository_access mlflow  1.5 s\n"


def test_a_wait_is_told_once(capsys):
    """Not at every try; another reason is another wait."""
    log.set_up(log.NORMAL, as_json=False)
    for seconds in (0.5, 1.2, 2.9):
        structlog.get_logger().info("waiting", what="the door", why="a grant takes minutes to spread", seconds=seconds)
    structlog.get_logger().info("waiting", what="the door", why="Google is busy", seconds=1.0)

    assert [line[8:] for line in capsys.readouterr().err.splitlines()] == [
        " . waiting  the door  (a grant takes minutes to spread)",
        " . waiting  the door  (Google is busy)",
    ]


@pytest.mark.parametrize(
    ("level", "told"),
    [
        pytest.param(log.SILENT, ["w"], id="silent"),
        pytest.param(log.NORMAL, ["i", "w"], id="normal"),
        pytest.param(log.VERBOSE, ["d", "i", "w"], id="verbose"),
    ],
)
def test_machines_read_json_lines(capsys, level, told):
    """With all fields, the time in UTC, and nothing left out but by level."""
    log.set_up(level, as_json=True)
    logger = structlog.get_logger()
    logger.debug("d", changes=["a: 1 -> 2"])
    logger.info("i", ref="projects/p/x")
    logger.warning("w")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    assert [line["event"] for line in lines] == told
    assert all(line["timestamp"].endswith("Z") for line in lines)


def test_a_listener_hears_what_is_not_shown(capsys):
    """Every event with all its fields, as JSON, whatever people are shown; and only while it listens."""
    heard = []
    log.set_up(log.NORMAL, as_json=False)
    logger = structlog.get_logger()
    with log.heard_by(heard.append):
        logger.debug("resource.change", ref="projects/p/x", changes=["a: 1 -> 2"])
        for _ in range(2):
            logger.info("waiting", what="the door", why="Google is busy")
        try:
            {}["gone"]
        except KeyError:
            logger.exception("oh")
    logger.info("later")
    lines = [json.loads(line) for line in heard]

    assert [line["event"] for line in lines] == ["resource.change", "waiting", "waiting", "oh"]
    assert lines[0]["changes"] == ["a: 1 -> 2"]
    assert all(line["timestamp"].endswith("Z") for line in lines)
    assert "KeyError: 'gone'" in lines[3]["exception"]
    assert "resource.change" not in capsys.readouterr().err


@pytest.mark.parametrize("level", [pytest.param(log.NORMAL, id="normal"), pytest.param(log.VERBOSE, id="verbose")])
def test_a_terminal_obeys_nothing_that_is_logged(capsys, level):
    """Names and answers may hold anything; a line stays one line."""
    log.set_up(level, as_json=False)
    structlog.get_logger().info("waiting", what="\x1b[2Jx\x07", why="a\nb\u202ec\x9b", changes=["\x1b]0;title"])
    told = capsys.readouterr().err

    assert told.removesuffix("\n").isprintable()
    assert r"\x1b[2Jx\x07" in told.replace("\\\\", "\\")
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("plain text, Zoë, 東京, 😀", "plain text, Zoë, 東京, 😀", id="what can be read stays"),
        pytest.param("\x1b[31mred\x1b]0;title\x07", r"\x1b[31mred\x1b]0;title\x07", id="an escape sequence"),
        pytest.param("\x00\x7f\x9b2J\r", r"\x00\x7f\x9b2J\r", id="control characters of both kinds"),
        pytest.param("a\u202eb\u2066\u200b", r"a\u202eb\u2066\u200b", id="what changes the direction, or is not seen"),
        pytest.param("\udcff", r"\udcff", id="half a character, which no stream takes"),
        pytest.param("a\nb", r"a\nb", id="a line break of others"),
        pytest.param("x" * 3000, "x" * 2000 + "... (3000 characters)", id="a very long one"),
    ],
)
def test_what_goes_to_a_terminal(text, said):
    """Readable as it is, and nothing else as it is."""
    assert log.printable(text) == said


def test_our_own_lines_stay_lines():
    """Each is shortened by itself."""
    assert log.printable("a\x1b\n" + "x" * 11, lines=True, longest=10) == "a\\x1b\n" + "x" * 10 + "... (11 characters)"


@pytest.mark.parametrize(
    ("ref", "said"),
    [
        ("projects/p/instances/i", "instances/i"),
        ("projects/_/buckets/b/iamPolicy", "buckets/b/iamPolicy"),
        ("apps/p/services/mlflow", "apps/p/services/mlflow"),
        ("projects/p", "projects/p"),
    ],
)
def test_names_are_said_without_the_project(ref, said):
    """All of them lie in the same one."""
    assert log.short(ref) == said
