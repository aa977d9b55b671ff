"""Cloud Storage as a store: what each answer means, through Google's own client."""

from datetime import timedelta
from email.utils import format_datetime

import httpx
import pytest
from google.api_core.exceptions import Forbidden, NotFound

from state.errors import Conflict, TooFast, Unclear
from state.gcs import GcsStore
from state.journal import Journal, Pace
from state.ledger import loads
from state.lock import look


@pytest.fixture
def gcs(bucket):
    return GcsStore(bucket, "prod", timeout=5.0)


@pytest.fixture
def faults(emulator):
    """Orders failures of a method: see the emulator."""

    def order(method, **fault):
        httpx.post(f"{emulator.url}/emulator/faults", json=[{"method": method, **fault}]).raise_for_status()

    return order


def calls(emulator, method):
    return [call for call in httpx.get(f"{emulator.url}/emulator/calls").json()["calls"] if call["id"] == method]


def test_its_name_is_what_people_type(bucket):
    """For messages, and for `--state`."""
    assert str(GcsStore(bucket)) == "gs://test-project-1-provision/"
    assert str(GcsStore(bucket, "/teams/prod/")) == "gs://test-project-1-provision/teams/prod/"


def test_two_folders_of_a_bucket_do_not_see_each_other(bucket):
    """Two environments live side by side."""
    prod, test = GcsStore(bucket, "prod"), GcsStore(bucket, "prod-test")
    prod.put("ledger.json", b"prod", 0)
    test.put("ledger.json", b"test", 0)

    assert prod.list() == test.list() == ["ledger.json"]
    assert prod.get("ledger.json").data == b"prod"
    assert sorted(blob.name for blob in bucket.list_blobs()) == ["prod-test/ledger.json", "prod/ledger.json"]


@pytest.mark.parametrize(
    ("fault", "error", "written"),
    [
        pytest.param({"status": 429}, TooFast, False, id="too many writes"),
        pytest.param({"status": 503}, Unclear, False, id="a server in trouble"),
        pytest.param({"status": 503, "when": "after"}, Unclear, True, id="a server in trouble after it was written"),
        pytest.param({"status": 408}, Unclear, False, id="a server that gave up waiting"),
        pytest.param({"drop": True}, Unclear, False, id="a connection that broke"),
        pytest.param({"drop": True, "when": "after"}, Unclear, True, id="a connection that broke after it was written"),
        pytest.param({"tear": True, "when": "after"}, Unclear, True, id="an answer that was cut off"),
        pytest.param({"status": 403}, Forbidden, False, id="a refusal"),
    ],
)
def test_a_write_is_sent_once_and_the_answer_told(emulator, gcs, faults, fault, error, written):
    """Only the caller may try again: a second try by the library would be refused for the first one's success."""
    seen = gcs.put("ledger.json", b"old", 0)
    faults("storage.objects.insert", **fault)

    with pytest.raises(error):
        gcs.put("ledger.json", b"new", seen)

    assert len(calls(emulator, "storage.objects.insert")) == 2
    assert gcs.get("ledger.json").data == (b"new" if written else b"old")


@pytest.mark.parametrize(
    ("fault", "error"),
    [({"status": 429}, TooFast), ({"status": 503}, Unclear), ({"status": 503, "when": "after"}, Unclear)],
    ids=["too many writes", "a server in trouble", "a server in trouble after it was deleted"],
)
def test_a_delete_is_sent_once_as_well(emulator, gcs, faults, fault, error):
    """When it turns out to be gone, that reads as a conflict."""
    seen = gcs.put("lease.json", b"old", 0)
    faults("storage.objects.delete", **fault)

    with pytest.raises(error):
        gcs.delete("lease.json", seen)

    assert len(calls(emulator, "storage.objects.delete")) == 1
    if fault.get("when") == "after":
        with pytest.raises(Conflict):
            gcs.delete("lease.json", seen)
    else:
        gcs.delete("lease.json", seen)


@pytest.mark.parametrize(
    "fault",
    [{"status": 503}, {"status": 429}, {"drop": True}, {"tear": True, "when": "after"}],
    ids=["503", "429", "a broken connection", "a cut-off answer"],
)
def test_a_read_is_tried_again(gcs, faults, fault):
    """It harms nobody."""
    gcs.put("ledger.json", b"there" * 1000, 0)
    faults("storage.objects.get", **fault)

    blob = gcs.get("ledger.json")

    assert blob.data == b"there" * 1000


def test_a_bucket_that_is_not_there_looks_empty_and_takes_nothing(bucket):
    """The command line makes it, or says which one is missing."""
    gone = GcsStore(bucket.client.bucket("no-such-bucket"))

    assert gone.get("ledger.json") is None
    with pytest.raises(NotFound):
        gone.put("ledger.json", b"{}", 0)


def test_time_is_told_by_the_servers_clock_alone(emulator, bucket):
    """A laptop whose clock is wrong takes no lease from anybody: the answer's own date is held against the object's."""

    def an_hour_later(response, **_):
        when = emulator.world.clock.now() + timedelta(hours=1)
        response.headers["Date"] = format_datetime(when, usegmt=True)

    bucket.client._http.hooks["response"].append(an_hour_later)  # before the store looks at it
    gcs = GcsStore(bucket)
    gcs.put("lease.json", b"{}", 0)

    quiet = look(gcs).quiet

    assert quiet == pytest.approx(3600, abs=5)


@pytest.mark.parametrize("date", ["", "yesterday"], ids=["without a date", "whose date is none"])
def test_an_answer_lets_no_time_pass(bucket, date):
    """A proxy may have spoilt it; then nobody's lease is taken for run out."""

    def spoilt(response, **_):
        response.headers["Date"] = date

    bucket.client._http.hooks["response"].append(spoilt)
    gcs = GcsStore(bucket)
    gcs.put("lease.json", b"{}", 0)

    assert look(gcs).quiet == 0.0


def test_the_journal_gets_through_lost_answers(gcs, faults, new_ledger):
    """Through the real client: every second answer is lost after the effect, nothing is lost or taken for a rival's."""
    faults("storage.objects.insert", when="after", status=503, times=1)
    faults("storage.objects.insert", when="after", drop=True, skip=2, times=1)
    journal = Journal(gcs, pace=Pace(1000), sleep=lambda seconds: None)
    journal.open("run-1", new_ledger)

    for number in range(5):
        journal.commit(lambda ledger, number=number: ledger.counters.update({str(number): number}))

    saved = loads(gcs.get("ledger.json").data)
    assert saved == journal.ledger
    assert (len(saved.counters), saved.serial) == (5, 6)
