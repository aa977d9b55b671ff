"""Preconditions and conflicts of Cloud Storage, by what goes over the wire: the status of each independent request."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.conftest import NUMBER, PROJECT, Emulator

HOST = "storage.googleapis.com"


@dataclass
class Wire:
    """One bucket of its own with the object `o`, asked without any client library."""

    http: httpx.Client
    bucket: str = "probe-bucket"
    generation: str = ""

    def call(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self.http.request(method, f"/{HOST}/storage/v1/b{path}", **more)

    def bucket_path(self, rest: str = "") -> str:
        return f"/{self.bucket}{rest}"

    def media(self, name: str, **params: Any) -> httpx.Response:
        address = f"/{HOST}/upload/storage/v1/b/{self.bucket}/o"
        return self.http.post(address, params={"uploadType": "media", "name": name} | params, content=b"new")

    def multipart(self, name: str, **params: Any) -> httpx.Response:
        address = f"/{HOST}/upload/storage/v1/b/{self.bucket}/o"
        head = json.dumps({"name": name})
        body = f"--x\r\nContent-Type: application/json\r\n\r\n{head}\r\n--x\r\nContent-Type: text/plain\r\n\r\nnew\r\n--x--"
        return self.http.post(
            address,
            params={"uploadType": "multipart"} | params,
            content=body,
            headers={"content-type": "multipart/related; boundary=x"},
        )

    def resumable(self, name: str, **params: Any) -> httpx.Response:
        begun = self.begin(name, **params)
        return self.http.put(begun.headers["location"], content=b"new") if begun.status_code == 200 else begun

    def begin(self, name: str, **params: Any) -> httpx.Response:
        address = f"/{HOST}/upload/storage/v1/b/{self.bucket}/o"
        return self.http.post(address, params={"uploadType": "resumable"} | params, json={"name": name})


@pytest.fixture
def wire(emulator: Emulator) -> Iterator[Wire]:
    with httpx.Client(base_url=emulator.url) as http:
        wire = Wire(http)
        wire.call(
            "POST", f"?project={PROJECT}", json={"name": wire.bucket, "location": "europe-west1"}
        ).raise_for_status()
        wire.generation = wire.media("o").json()["generation"]
        yield wire


def _patch(wire: Wire, **params: Any) -> httpx.Response:
    return wire.call("PATCH", wire.bucket_path("/o/o"), params=params, json={"metadata": {"a": "b"}})


def _compose(wire: Wire, name: str, source: dict[str, Any], **params: Any) -> httpx.Response:
    return wire.call("POST", wire.bucket_path(f"/o/{name}/compose"), params=params, json={"sourceObjects": [source]})


def _rewrite(wire: Wire, name: str, **params: Any) -> httpx.Response:
    path = wire.bucket_path(f"/o/o/rewriteTo/b/{wire.bucket}/o/{name}")
    return wire.call("POST", path, params=params, json={})


G, M = "ifGenerationMatch", "ifMetagenerationMatch"
NOT_G, NOT_M = "ifGenerationNotMatch", "ifMetagenerationNotMatch"
PROBES: list[tuple[str, int, Callable[[Wire], httpx.Response]]] = [
    (
        "a second bucket of that name conflicts",
        409,
        lambda w: w.call("POST", f"?project={PROJECT}", json={"name": w.bucket}),
    ),
    (
        "an invalid bucket name is refused",
        400,
        lambda w: w.call("POST", f"?project={PROJECT}", json={"name": "Bad_Name"}),
    ),
    (
        "a bucket of an unknown project is refused",
        400,
        lambda w: w.call("POST", "?project=nobody", json={"name": "abc"}),
    ),
    ("a bucket that is not there is not found", 404, lambda w: w.call("GET", "/nowhere")),
    ("an object that is not there is not found", 404, lambda w: w.call("GET", w.bucket_path("/o/x"))),
    ("media: create-only on a free name", 200, lambda w: w.media("x", **{G: 0})),
    ("media: create-only on a taken name", 412, lambda w: w.media("o", **{G: 0})),
    ("media: replace what is there", 200, lambda w: w.media("o", **{G: w.generation})),
    ("media: replace what was there before", 412, lambda w: w.media("o", **{G: 1})),
    ("media: metageneration that is not", 412, lambda w: w.media("o", **{M: 2})),
    ("media: another generation than that", 304, lambda w: w.media("o", **{NOT_G: w.generation})),
    ("media: only where something is, and nothing is", 304, lambda w: w.media("x", **{NOT_G: 0})),
    ("multipart: create-only on a taken name", 412, lambda w: w.multipart("o", **{G: 0})),
    ("multipart: metageneration that is not", 412, lambda w: w.multipart("o", **{M: 2})),
    ("multipart: without conditions", 200, lambda w: w.multipart("o")),
    ("resumable: create-only on a taken name", 412, lambda w: w.resumable("o", **{G: 0})),
    ("resumable: metageneration that is not", 412, lambda w: w.resumable("o", **{M: 2})),
    ("resumable: replace what is there", 200, lambda w: w.resumable("o", **{G: w.generation})),
    ("get: generation that is not", 412, lambda w: w.call("GET", w.bucket_path("/o/o"), params={G: 1})),
    ("get: unless it is this one", 304, lambda w: w.call("GET", w.bucket_path("/o/o"), params={NOT_G: w.generation})),
    ("get: unless its metadata is this", 304, lambda w: w.call("GET", w.bucket_path("/o/o"), params={NOT_M: 1})),
    (
        "download: metageneration that is not",
        412,
        lambda w: w.call("GET", w.bucket_path("/o/o"), params={M: 9, "alt": "media"}),
    ),
    ("patch: metageneration that is", 200, lambda w: _patch(w, **{M: 1})),
    ("patch: metageneration that is not", 412, lambda w: _patch(w, **{M: 9})),
    ("patch: generation that is not", 412, lambda w: _patch(w, **{G: 9})),
    ("delete: generation that is not", 412, lambda w: w.call("DELETE", w.bucket_path("/o/o"), params={G: 1})),
    ("delete: generation that is", 204, lambda w: w.call("DELETE", w.bucket_path("/o/o"), params={G: w.generation})),
    ("delete: what is not there", 404, lambda w: w.call("DELETE", w.bucket_path("/o/x"), params={G: 1})),
    ("compose: create-only on a taken name", 412, lambda w: _compose(w, "o", {"name": "o"}, **{G: 0})),
    (
        "compose: a source of another generation",
        412,
        lambda w: _compose(w, "x", {"name": "o", "objectPreconditions": {G: "1"}}),
    ),
    ("compose: a source that is not there", 404, lambda w: _compose(w, "x", {"name": "y"})),
    ("rewrite: create-only on a taken name", 412, lambda w: _rewrite(w, "o", **{G: 0})),
    ("rewrite: a source of another generation", 412, lambda w: _rewrite(w, "x", ifSourceGenerationMatch=1)),
    ("rewrite: a source whose metadata changed", 412, lambda w: _rewrite(w, "x", ifSourceMetagenerationMatch=2)),
    ("bucket get: metageneration that is not", 412, lambda w: w.call("GET", w.bucket_path(), params={M: 9})),
    (
        "bucket patch: metageneration that is not",
        412,
        lambda w: w.call("PATCH", w.bucket_path(), params={M: 9}, json={}),
    ),
    (
        "bucket patch: unless it is this one",
        304,
        lambda w: w.call("PATCH", w.bucket_path(), params={NOT_M: 1}, json={}),
    ),
    ("bucket delete: metageneration that is not", 412, lambda w: w.call("DELETE", w.bucket_path(), params={M: 9})),
    ("bucket delete: with objects in it", 409, lambda w: w.call("DELETE", w.bucket_path())),
    (
        "policy: an etag of before",
        412,
        lambda w: w.call("PUT", w.bucket_path("/iam"), json={"etag": "CAc=", "bindings": []}),
    ),
    ("a list of a bucket that is not there", 404, lambda w: w.call("GET", "/nowhere/o")),
    ("a list with a bad page token", 400, lambda w: w.call("GET", w.bucket_path("/o"), params={"pageToken": "?"})),
]


@pytest.mark.source("https://cloud.google.com/storage/docs/request-preconditions")
@pytest.mark.parametrize(("status", "probe"), [pytest.param(s, p, id=label) for label, s, p in PROBES])
def test_each_request_has_the_status_of_the_real_service(
    wire: Wire, status: int, probe: Callable[[Wire], httpx.Response]
) -> None:
    """A failed *Match* is 412, a met *NotMatch* 304, before anything is changed."""
    before = wire.call("GET", wire.bucket_path("/o"), params={"versions": "true"}).json()

    answer = probe(wire)

    after = wire.call("GET", wire.bucket_path("/o"), params={"versions": "true"}).json()
    assert answer.status_code == status, answer.text
    assert (after == before) or status < 300


@pytest.mark.source("https://cloud.google.com/storage/docs/json_api/v1/status-codes")
def test_a_failed_condition_says_so_in_the_words_of_the_service(wire: Wire) -> None:
    """Legacy form: errors[] with conditionNotMet at If-Match, and no status."""
    error = wire.media("o", ifGenerationMatch=0).json()["error"]

    assert error == {
        "code": 412,
        "message": "At least one of the pre-conditions you specified did not hold.",
        "errors": [
            {
                "message": "At least one of the pre-conditions you specified did not hold.",
                "domain": "global",
                "reason": "conditionNotMet",
                "locationType": "header",
                "location": "If-Match",
            }
        ],
    }


@pytest.mark.source("https://cloud.google.com/storage/docs/generations-preconditions")
def test_a_resumable_upload_is_held_to_its_condition_again_when_it_ends(wire: Wire) -> None:
    """A name that another writer took meanwhile makes the last request fail, and his object stays."""
    begun = wire.begin("late", ifGenerationMatch=0)
    winner = wire.media("late").json()["generation"]

    answer = wire.http.put(begun.headers["location"], content=b"mine")

    assert answer.status_code == 412
    assert wire.call("GET", wire.bucket_path("/o/late")).json()["generation"] == winner


@pytest.mark.source("https://cloud.google.com/storage/docs/request-preconditions")
def test_a_read_under_its_own_etag_is_not_modified(wire: Wire) -> None:
    """If-None-Match with the current etag answers 304 without a body."""
    etag = wire.call("GET", wire.bucket_path("/o/o")).json()["etag"]

    same = wire.call("GET", wire.bucket_path("/o/o"), headers={"if-none-match": etag})
    other = wire.call("GET", wire.bucket_path("/o/o"), headers={"if-match": "CAE="})

    assert (same.status_code, same.content, other.status_code) == (304, b"", 412)


@pytest.mark.source("https://github.com/GoogleCloudPlatform/gsutil/pull/1166")
def test_the_name_of_anothers_bucket_is_not_available(emulator: Emulator, wire: Wire) -> None:
    """Bucket names are global: a stranger's can be neither made nor read."""
    buckets = emulator.world.table("storage.buckets")
    buckets["strangers"] = buckets[wire.bucket] | {"name": "strangers", "projectNumber": "999999999999"}

    made = wire.call("POST", f"?project={PROJECT}", json={"name": "strangers"})
    read = wire.call("GET", "/strangers")

    assert made.status_code == 409
    assert made.json()["error"]["message"].startswith("The requested bucket name is not available.")
    assert read.status_code == 403
    assert wire.call("GET", wire.bucket_path()).json()["projectNumber"] == NUMBER


RANGES = [
    pytest.param("bytes=0-0", 206, b"n", "bytes 0-0/3", id="first byte"),
    pytest.param("bytes=1-", 206, b"ew", "bytes 1-2/3", id="from the second byte on"),
    pytest.param("bytes=-2", 206, b"ew", "bytes 1-2/3", id="last two bytes"),
    pytest.param("bytes=0-99", 206, b"new", "bytes 0-2/3", id="more than there is"),
    pytest.param("bytes=3-", 416, None, "bytes */3", id="after the end"),
    pytest.param("lines=1-2", 200, b"new", None, id="no range of bytes"),
]


@pytest.mark.parametrize(("header", "status", "content", "said"), RANGES)
def test_downloads_honour_ranges(wire: Wire, header: str, status: int, content: bytes | None, said: str | None) -> None:
    """206 with Content-Range, 416 past the end, the whole object for what is no range."""
    path = f"/{HOST}/download/storage/v1/b/{wire.bucket}/o/o"
    answer = wire.http.get(path, params={"alt": "media"}, headers={"range": header})

    assert answer.status_code == status
    assert answer.headers.get("content-range") == said
    assert content is None or answer.content == content


def test_answers_carry_the_headers_of_the_service(wire: Wire) -> None:
    """Generation, checksums and etag come with the bytes."""
    headers = wire.call("GET", wire.bucket_path("/o/o"), params={"alt": "media"}).headers

    assert headers["x-goog-generation"] == wire.generation
    assert headers["x-goog-metageneration"] == "1"
    assert headers["x-goog-hash"] == "crc32c=10P8Lg==,md5=Iq9kXRhZy1ym2gxITx836g=="
    assert headers["etag"] == wire.call("GET", wire.bucket_path("/o/o")).json()["etag"]
    assert headers["x-goog-stored-content-length"] == "3"
