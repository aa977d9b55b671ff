"""Resumable uploads: begun, interrupted, asked after, gone on with, cancelled; and checksums."""

from collections.abc import Iterator
from pathlib import Path

import google_crc32c
import httpx
import pytest
from google.cloud import storage
from google.oauth2.credentials import Credentials

from tests.conftest import PROJECT, Emulator

QUANTUM = 256 * 1024


@pytest.fixture
def bucket(emulator: Emulator) -> storage.Bucket:
    client = storage.Client(
        project=PROJECT,
        credentials=Credentials("owner"),
        client_options={"api_endpoint": f"{emulator.url}/storage.googleapis.com"},
    )
    return client.create_bucket("uploads", location="europe-west1")


@pytest.fixture
def http(emulator: Emulator, bucket: storage.Bucket) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=emulator.url) as http:
        yield http


def _begin(http: httpx.Client, name: str = "big", **headers: str) -> str:
    path = "/storage.googleapis.com/upload/storage/v1/b/uploads/o"
    answer = http.post(path, params={"uploadType": "resumable", "name": name}, json={}, headers=headers)
    return answer.headers["location"]


def test_an_interrupted_upload_goes_on_where_it_stopped(http: httpx.Client, bucket: storage.Bucket) -> None:
    """308 tells how much is kept, in multiples of 256 KiB; the rest completes the object."""
    content = bytes(range(256)) * (QUANTUM // 256) * 2 + b"the end"
    session, total = _begin(http), len(content)

    first = http.put(
        session, content=content[: QUANTUM + 100], headers={"content-range": f"bytes 0-{QUANTUM + 99}/{total}"}
    )
    asked = http.put(session, headers={"content-range": f"bytes */{total}"})
    rest = http.put(
        session, content=content[QUANTUM:], headers={"content-range": f"bytes {QUANTUM}-{total - 1}/{total}"}
    )

    assert (first.status_code, first.headers["range"]) == (308, f"bytes=0-{QUANTUM - 1}")
    assert (asked.status_code, asked.headers["range"]) == (308, f"bytes=0-{QUANTUM - 1}")
    assert (rest.status_code, rest.json()["size"]) == (200, str(total))
    assert bucket.blob("big").download_as_bytes() == content


def test_a_session_that_has_nothing_yet_says_so_by_leaving_range_out(http: httpx.Client) -> None:
    """The client then begins at byte 0."""
    answer = http.put(_begin(http), headers={"content-range": "bytes */*"})

    assert answer.status_code == 308
    assert "range" not in answer.headers


def test_an_upload_that_is_done_answers_the_object_again(http: httpx.Client) -> None:
    """Asking once more after a lost answer gives the object, not an error."""
    session = _begin(http)
    done = http.put(session, content=b"all of it")

    again = http.put(session, headers={"content-range": "bytes */9"})

    assert again.status_code == 200
    assert again.json()["generation"] == done.json()["generation"]


def test_bytes_that_are_sent_twice_are_kept_once(http: httpx.Client, bucket: storage.Bucket) -> None:
    """A chunk that overlaps what is kept adds only what is new."""
    session, content = _begin(http), b"a" * QUANTUM + b"b" * QUANTUM
    http.put(session, content=content[:QUANTUM], headers={"content-range": f"bytes 0-{QUANTUM - 1}/*"})

    answer = http.put(session, content=content, headers={"content-range": f"bytes 0-{2 * QUANTUM - 1}/{2 * QUANTUM}"})

    assert answer.status_code == 200
    assert bucket.blob("big").download_as_bytes() == content


def test_a_gap_is_refused(http: httpx.Client) -> None:
    """Bytes that would leave a hole are 400, and nothing is kept of them."""
    session = _begin(http)

    answer = http.put(
        session, content=b"x" * QUANTUM, headers={"content-range": f"bytes {QUANTUM}-{2 * QUANTUM - 1}/*"}
    )

    assert answer.status_code == 400
    assert "range" not in http.put(session, headers={"content-range": "bytes */*"}).headers


def test_a_cancelled_upload_is_over(http: httpx.Client) -> None:
    """DELETE answers 499, and so does everything after it."""
    session = _begin(http)

    statuses = [http.delete(session).status_code, http.put(session, content=b"x").status_code]

    assert statuses == [499, 499]


def test_an_unknown_session_is_not_found(http: httpx.Client) -> None:
    """A client that kept a session too long has to begin again."""
    session = _begin(http)

    assert http.put(session[:-4] + "0000", content=b"x").status_code == 404


def test_the_library_sends_a_file_in_chunks(bucket: storage.Bucket, tmp_path: Path) -> None:
    """google-cloud-storage with a chunk size: many requests, one object, the right checksum."""
    source = tmp_path / "source"
    source.write_bytes(b"0123456789abcdef" * 200_000)
    blob = bucket.blob("chunked", chunk_size=QUANTUM)

    blob.upload_from_filename(str(source), if_generation_match=0)

    assert (blob.size, blob.content_type) == (3_200_000, "application/octet-stream")
    assert bucket.blob("chunked", chunk_size=QUANTUM).download_as_bytes() == source.read_bytes()


def test_the_bytes_of_an_upload_must_have_the_checksum_that_it_says(bucket: storage.Bucket) -> None:
    """A wrong CRC32C is refused, and no object comes into being."""
    blob = bucket.blob("wrong")
    blob.crc32c = "AAAAAA=="

    with pytest.raises(Exception, match="doesn't match calculated CRC32C"):
        blob.upload_from_string("hello", checksum=None)

    assert not blob.exists()


def test_checksums_are_those_of_the_bytes(bucket: storage.Bucket) -> None:
    """CRC32C big-endian and MD5, both in base64."""
    blob = bucket.blob("sums")
    blob.upload_from_string("hello", content_type="text/plain")

    assert blob.crc32c == "mnG7TA=="
    assert blob.md5_hash == "XUFAKrxLKna5cZ2REBfFkg=="
    assert google_crc32c.value(b"hello").to_bytes(4).hex() == "9a71bb4c"
