"""Who holds a lease, and whether that process still lives."""

import subprocess
import sys

import pytest

from state.holder import Holder, Process, _state_and_start


@pytest.fixture
def child():
    """Another process of this machine, as its lease would tell of it."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    here = Process.this()
    told = {"host": here.host, "pid": process.pid, "started": _state_and_start(process.pid)[1], "machine": here.machine}
    yield process, told
    process.kill()
    process.communicate()


def test_a_process_that_runs_is_not_gone(child):
    """Neither another one nor this one."""
    _, told = child

    assert not Holder(**told).is_gone(Process.this())
    assert not Holder(**vars(Process.this())).is_gone(Process.this())


def test_a_process_that_was_killed_is_gone(child):
    """Also before its parent has taken note of it, as under a CI runner that does not."""
    process, told = child
    process.kill()
    while _state_and_start(process.pid)[0] != "Z":
        pass
    unreaped = Holder(**told).is_gone(Process.this())
    process.wait()

    assert unreaped
    assert Holder(**told).is_gone(Process.this())


@pytest.mark.parametrize(
    ("otherwise", "gone"),
    [
        pytest.param({"started": "1"}, True, id="whose number was given to another process is gone"),
        pytest.param({"host": "elsewhere"}, False, id="of another host cannot be judged"),
        pytest.param({"machine": "another boot pid:[1]"}, False, id="of another boot or container cannot be judged"),
        pytest.param({"machine": ""}, False, id="that does not say its boot cannot be judged"),
        pytest.param({"started": ""}, False, id="that does not say its start cannot be judged"),
    ],
)
def test_a_process(child, otherwise, gone):
    """Only what is certain counts: the lease of a living one must not be taken."""
    _, told = child

    assert Holder(**told | otherwise).is_gone(Process.this()) is gone


def test_where_the_system_tells_nothing_nobody_is_taken_for_dead():
    """Two processes that know nothing of their boot do not know that it is the same one."""
    silent = Process(host="laptop", pid=2**22 + 1, started="", machine="")

    assert not Holder(**vars(silent)).is_gone(silent)


def test_a_holder_is_read_as_it_was_written():
    """Fields of a later release do not disturb."""
    holder = Holder(owner="o", who="a@example.com", run="r", ttl=90.0, doing="sql_instance", beats=3)
    later = holder.written().replace(b'"owner"', b'"mood": "good", "owner"')

    assert Holder.read(holder.written()) == holder
    assert Holder.read(later) == holder


@pytest.mark.parametrize(
    "data",
    [b"", b'{"owner": "o", "who"', b"\xff", b"[]", b'{"owner": 5}', b'{"owner": "o", "ttl": 1e99}', b'{"ttl": 0}'],
    ids=[
        "nothing",
        "half a lease",
        "bytes that are no text",
        "a list",
        "an owner that is a number",
        "a lease for ever",
        "a lease of no time",
    ],
)
def test_a_damaged_lease_is_somebodys_of_the_usual_length(data):
    """It locks nobody out for ever, and is no free pass either."""
    holder = Holder.read(data)

    assert (holder.owner, holder.who, holder.ttl) == ("", "somebody", 60.0)
    assert not holder.is_gone(Process.this())
