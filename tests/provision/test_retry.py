"""What is waited for, how long, and what is said meanwhile."""

import socket
from pathlib import Path

import pytest
import requests
import structlog
import urllib3

from provision.errors import NoAnswer
from provision.gcp import Gcp
from provision.patience import Patience
from tests.provision.conftest import PROJECT
from tests.provision.toy import HandMovedClock

HOST = "oauth2.googleapis.com"


def refused(cause):
    """What `requests` raises, with urllib3's words inside."""
    pool = urllib3.HTTPSConnectionPool(HOST)
    return requests.ConnectionError(urllib3.exceptions.MaxRetryError(pool, "/token", cause))


CONNECTION = urllib3.connection.HTTPSConnection(HOST)
NO_NAME = urllib3.exceptions.NameResolutionError(HOST, CONNECTION, socket.gaierror(-3, "Temporary failure"))
NO_WAY = urllib3.exceptions.NewConnectionError(CONNECTION, "[Errno 101] Network is unreachable")


@pytest.mark.parametrize(
    ("act", "error"),
    [
        pytest.param(lambda: Path("/not/there").read_bytes(), "No such file or directory: '/not/there'", id="missing"),
        pytest.param(lambda: Path("/dev/full").write_bytes(b"x"), "No space left on device", id="a full disk"),
    ],
)
def test_trouble_with_a_file_of_this_machine(act, error):
    """It is no silence of Google's: it comes out at once and as it is, also in the middle of a step."""
    clock = HandMovedClock()
    begun = clock.seconds

    with structlog.testing.capture_logs() as told, pytest.raises(OSError, match=error):
        Patience(Gcp(PROJECT), clock).with_("packing the server", act)

    assert (told, clock.seconds) == ([], begun)


@pytest.mark.parametrize(
    ("cause", "why", "longest"),
    [
        pytest.param(NO_NAME, f"no answer came: Failed to resolve '{HOST}'", 30, id="a name that nobody knows"),
        pytest.param(NO_WAY, "no answer came: Network is unreachable", 180, id="no network"),
        pytest.param(urllib3.exceptions.ProtocolError("x"), "no answer came", 180, id="whatever else there is"),
    ],
)
def test_no_answer_comes(cause, why, longest):
    """The cause is told while it lasts; without a network names are not known, and waiting seldom mends that."""
    clock = HandMovedClock()

    def ask():
        raise refused(cause)

    with structlog.testing.capture_logs() as told, pytest.raises(NoAnswer):
        Patience(Gcp(PROJECT), clock).with_("asking", ask)

    assert {item["why"] for item in told if item["event"] == "waiting"} == {why}
    assert {item["event"] for item in told} == {"refused", "waiting"}
    assert longest <= clock.seconds < longest + 35
