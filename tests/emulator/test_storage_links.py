"""Links to objects, signed by Google's own library with V4 signatures: what they open, and what opens with none."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from google.cloud import storage
from google.oauth2 import service_account

from tests.conftest import Emulator
from tests.emulator.links import EMAIL, code, grant


def link(shared: storage.Bucket, signer: service_account.Credentials, name: str = "o", **said: Any) -> str:
    """An address of an object as Google's library signs it; by itself one to read it, for five minutes."""
    asked = {"version": "v4", "expiration": timedelta(minutes=5), "credentials": signer, **said}
    return str(shared.blob(name).generate_signed_url(**asked))


@pytest.mark.source("https://docs.cloud.google.com/storage/docs/access-control/signed-urls")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("folder/o.bin", id="in a folder"),
        pytest.param("a b+c%20&d=e?f#g", id="with everything that means something in an address"),
        pytest.param("ünïcödé~(1).txt", id="with letters beyond ASCII"),
    ],
)
def test_a_link_opens_the_object_that_it_names(
    shared: storage.Bucket, signer: service_account.Credentials, name: str
) -> None:
    """Whoever has it needs nothing else, whatever the object is called."""
    written = httpx.put(link(shared, signer, name, method="PUT"), content=b"content")
    read = httpx.get(link(shared, signer, name))

    assert (written.status_code, read.status_code) == (200, 200)
    assert read.content == shared.blob(name).download_as_bytes() == b"content"


@pytest.mark.source("https://docs.cloud.google.com/storage/docs/xml-api/get-object-download")
def test_a_link_gives_a_part_of_an_object_and_one_version_of_it(
    shared: storage.Bucket, signer: service_account.Credentials
) -> None:
    """Several requests of parts then belong together, also when the object is replaced meanwhile."""
    shared.versioning_enabled = True
    shared.patch()
    old, new = shared.blob("o"), shared.blob("o")
    old.upload_from_string("0123456789")
    new.upload_from_string("new")
    pinned = link(shared, signer, generation=old.generation)
    middle = httpx.get(pinned, headers={"range": "bytes=2-4"})

    assert (middle.status_code, middle.content, middle.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
    assert httpx.get(link(shared, signer)).content == b"new"
    assert code(httpx.get(pinned, headers={"range": "bytes=10-"})) == (416, "InvalidRange")
    assert httpx.head(pinned).headers["content-length"] == "10"


@pytest.mark.source("https://docs.cloud.google.com/storage/docs/authentication/canonical-requests")
@pytest.mark.parametrize(
    ("signed", "asked", "expected"),
    [
        pytest.param({}, {"method": "PUT"}, (403, "SignatureDoesNotMatch"), id="another method"),
        pytest.param({}, {"path": "other"}, (403, "SignatureDoesNotMatch"), id="another object"),
        pytest.param({}, {"query": "generation=1"}, (403, "SignatureDoesNotMatch"), id="a parameter more"),
        pytest.param({}, {"query": ""}, (403, "AccessDenied"), id="no signature"),
        pytest.param({}, {"host": "localhost"}, (403, "SignatureDoesNotMatch"), id="another host"),
        pytest.param(
            {}, {"headers": {"x-goog-meta-a": "b"}}, (400, "MalformedSecurityHeader"), id="a header of Google's more"
        ),
        pytest.param(
            {"headers": {"x-goog-meta-a": "b"}}, {}, (400, "MalformedSecurityHeader"), id="a signed header less"
        ),
        pytest.param(
            {"headers": {"x-goog-meta-a": "b"}},
            {"headers": {"x-goog-meta-a": "c"}},
            (403, "SignatureDoesNotMatch"),
            id="another value of a signed header",
        ),
    ],
)
def test_a_link_opens_nothing_but_what_was_signed(
    shared: storage.Bucket, signer: service_account.Credentials, signed: Any, asked: Any, expected: tuple[int, str]
) -> None:
    """The signature is under the method, the path, the query, the host and the headers that it lists."""
    shared.blob("o").upload_from_string("x")
    url = httpx.URL(link(shared, signer, **signed))
    if "path" in asked:
        url = url.copy_with(path=url.path.replace("/o", f"/{asked['path']}"))
    if "query" in asked:
        added = asked["query"].encode()
        url = url.copy_with(query=url.query + b"&" + added if added else b"")
    url = url.copy_with(host=asked.get("host", url.host))
    answer = httpx.request(asked.get("method", "GET"), url, headers=asked.get("headers"))

    assert code(answer) == expected


@pytest.mark.source("https://cloud.google.com/storage/docs/xml-api/reference-status")
def test_a_link_ends(emulator: Emulator, shared: storage.Bucket, signer: service_account.Credentials) -> None:
    """With the time that was signed, which is a week at most; one from the future is none yet."""
    shared.blob("o").upload_from_string("x")
    short = link(shared, signer)
    longest = link(shared, signer, expiration=timedelta(days=7))
    emulator.world.clock.ahead += 301
    ended = httpx.get(short)
    emulator.world.clock.ahead -= 301 + 3600
    early = httpx.get(short)
    emulator.world.clock.ahead += 3600

    assert code(ended) == (400, "ExpiredToken")
    assert code(early) == (403, "RequestTimeTooSkewed")
    assert httpx.get(longest).status_code == 200
    assert code(httpx.get(longest.replace("Expires=604800", "Expires=604801"))) == (400, "MalformedSecurityHeader")


@pytest.mark.source("https://docs.cloud.google.com/storage/docs/access-control/signed-urls")
def test_a_link_may_what_its_signer_may_when_it_is_used(
    emulator: Emulator, shared: storage.Bucket, signer: service_account.Credentials
) -> None:
    """A role that is taken away, and an account that is switched off, end every link at once."""
    shared.blob("o").upload_from_string("x")
    reading, writing = link(shared, signer), link(shared, signer, method="PUT")
    grant(emulator, "roles/storage.objectViewer")
    only_reading = [httpx.get(reading).status_code, httpx.put(writing, content=b"y").status_code]
    grant(emulator)
    neither = code(httpx.get(reading))
    grant(emulator, "roles/storage.objectUser")
    row = emulator.world.table("iam.accounts")[EMAIL]
    emulator.world.table("iam.accounts")[EMAIL] = row | {"disabled": True}

    assert only_reading == [200, 403]
    assert neither == (403, "AccessDenied")
    assert code(httpx.get(reading)) == (403, "SignatureDoesNotMatch")


@pytest.mark.source("https://cloud.google.com/storage/docs/xml-api/reference-status")
def test_what_is_not_there_is_said_in_xml(
    emulator: Emulator, shared: storage.Bucket, signer: service_account.Credentials
) -> None:
    """No such object, no such bucket."""
    nowhere = shared.client.bucket("nowhere-at-all")

    assert code(httpx.get(link(shared, signer, "missing"))) == (404, "NoSuchKey")
    assert code(httpx.get(link(nowhere, signer))) == (404, "NoSuchBucket")
