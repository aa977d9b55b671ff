"""Uploads in parts by the XML API: Google's own library begins and completes them, signed links carry the parts."""

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest
from google.auth.transport.requests import AuthorizedSession
from google.cloud import storage
from google.cloud.storage import transfer_manager
from google.oauth2 import service_account
from google.resumable_media.requests import XMLMPUContainer

from provision.emulator import tokens
from tests.conftest import Emulator
from tests.emulator.links import EMAIL, code, grant

LEAST = 5 * 1024 * 1024


class Upload:
    """An upload of the object `o`, as a server begins it and whoever has its links fills it."""

    def __init__(self, http: httpx.Client, shared: storage.Bucket, signer: service_account.Credentials) -> None:
        self.http, self.url = http, f"{http.base_url}shared/o"
        begun = http.post(self.url, params={"uploads": ""}, headers={"content-type": "model/x", "x-goog-meta-a": "b"})
        assert begun.status_code == 200
        self.id = str(ET.fromstring(begun.text).findtext("{*}UploadId"))
        self._blob, self._signer = shared.blob("o"), signer

    def put(self, number: int, content: bytes, **headers: str) -> httpx.Response:
        """Send a part over a signed link, without any credentials."""
        asked = {"partNumber": number, "uploadId": self.id}
        signed = {"version": "v4", "expiration": timedelta(minutes=5), "credentials": self._signer, "method": "PUT"}
        url = self._blob.generate_signed_url(**signed, query_parameters=asked)
        return httpx.put(url, content=content, headers=headers)

    def complete(self, *parts: tuple[int, str]) -> httpx.Response:
        """Ask for the object, of parts by number and ETag."""
        listed = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{etag}</ETag></Part>" for n, etag in parts)
        body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>"
        return self.http.post(self.url, params={"uploadId": self.id}, content=body)

    def listed(self, **asked: Any) -> ET.Element:
        """The parts that it has."""
        answer = self.http.get(self.url, params={"uploadId": self.id, **asked})
        return ET.fromstring(answer.text)


@pytest.fixture
def upload(emulator: Emulator, shared: storage.Bucket, signer: service_account.Credentials) -> Iterator[Upload]:
    token = tokens.issue(emulator.world, f"serviceAccount:{EMAIL}")
    base, headers = f"{emulator.url}/storage.googleapis.com", {"authorization": f"Bearer {token}"}
    with httpx.Client(base_url=base, headers=headers) as http:
        yield Upload(http, shared, signer)


@pytest.mark.source("https://docs.cloud.google.com/storage/docs/multipart-uploads")
def test_googles_own_library_uploads_in_parts_at_once(shared: storage.Bucket, tmp_path: Path) -> None:
    """Its transfer manager sends the parts side by side, and completes."""
    content = bytes(range(256)) * (LEAST // 256) * 2 + b"the end"
    (tmp_path / "big").write_bytes(content)
    transfer_manager.upload_chunks_concurrently(
        str(tmp_path / "big"), shared.blob("big"), chunk_size=LEAST, worker_type=transfer_manager.THREAD, max_workers=3
    )

    assert shared.blob("big").download_as_bytes() == content


@pytest.mark.source("https://docs.cloud.google.com/storage/docs/xml-api/post-object-complete")
def test_parts_that_came_over_links_become_one_object(shared: storage.Bucket, upload: Upload) -> None:
    """In the order of their numbers, not of their coming; described as it was begun, with no MD5."""
    last, first = upload.put(7, b"the end"), upload.put(2, b"x" * LEAST)
    before = list(shared.list_blobs())
    made = upload.complete((2, first.headers["etag"]), (7, last.headers["etag"]))
    blob = shared.get_blob("o")

    assert before == []
    assert made.status_code == 200
    assert blob is not None
    assert (blob.content_type, blob.metadata, blob.md5_hash) == ("model/x", {"a": "b"}, None)
    assert blob.download_as_bytes() == b"x" * LEAST + b"the end"
    assert code(upload.complete((2, first.headers["etag"]))) == (404, "NoSuchUpload")


@pytest.mark.source("https://docs.cloud.google.com/storage/docs/xml-api/put-object-multipart")
def test_a_part_is_known_by_its_md5_and_may_be_sent_again(shared: storage.Bucket, upload: Upload) -> None:
    """The last one of a number counts; what arrives damaged is refused and changes nothing."""
    wrong = upload.put(1, b"first", **{"content-md5": "AAAAAAAAAAAAAAAAAAAAAA=="})
    first, second = upload.put(1, b"first"), upload.put(1, b"second")
    stale, made = upload.complete((1, first.headers["etag"])), upload.complete((1, second.headers["etag"]))

    assert code(wrong) == (400, "BadDigest")
    assert first.headers["etag"] == f'"{hashlib.md5(b"first").hexdigest()}"'
    assert code(stale) == (400, "InvalidPart")
    assert made.status_code == 200
    assert shared.blob("o").download_as_bytes() == b"second"


@pytest.mark.source("https://docs.cloud.google.com/storage/quotas")
@pytest.mark.parametrize(
    ("numbers", "problem"),
    [
        pytest.param([2, 1], "InvalidPartOrder", id="not in ascending order"),
        pytest.param([1, 1], "InvalidPartOrder", id="one of them twice"),
        pytest.param([1, 2], "EntityTooSmall", id="all but the last must have 5 MiB"),
        pytest.param([1, 3], "InvalidPart", id="one that never came"),
        pytest.param([10_001], "InvalidArgument", id="a number that no part may have"),
        pytest.param([], "MalformedXML", id="none at all"),
    ],
)
def test_parts_that_make_no_object(upload: Upload, numbers: list[int], problem: str) -> None:
    """They stay, so that the request can be made again."""
    etags = {number: upload.put(number, b"small").headers["etag"] for number in (1, 2)}
    refused = upload.complete(*[(number, etags.get(number, '"0"')) for number in numbers])

    assert code(refused) == (400, problem)
    assert len(upload.listed().findall("{*}Part")) == 2


@pytest.mark.source("https://docs.cloud.google.com/storage/docs/xml-api/get-object-multipart")
def test_the_parts_are_listed_page_by_page(upload: Upload) -> None:
    """By number, with size and ETag."""
    for number in (3, 1, 2):
        upload.put(number, b"x" * number)
    first = upload.listed(**{"max-parts": 2})
    rest = upload.listed(**{"part-number-marker": first.findtext("{*}NextPartNumberMarker")})

    assert [part.findtext("{*}Size") for part in first.findall("{*}Part")] == ["1", "2"]
    assert first.findtext("{*}IsTruncated") == "true"
    assert [part.findtext("{*}PartNumber") for part in rest.findall("{*}Part")] == ["3"]
    assert rest.findtext("{*}IsTruncated") == "false"


@pytest.mark.source("https://docs.cloud.google.com/storage/docs/xml-api/delete-multipart")
def test_an_upload_that_is_given_up_is_gone(upload: Upload, shared: storage.Bucket) -> None:
    """With its parts, and nothing comes of it."""
    upload.put(1, b"x")
    ended = upload.http.delete(upload.url, params={"uploadId": upload.id})

    assert ended.status_code == 204
    assert code(upload.put(2, b"y")) == (404, "NoSuchUpload")
    assert list(shared.list_blobs()) == []


@pytest.mark.source("https://docs.cloud.google.com/storage/docs/lifecycle#abort-mpu")
def test_an_upload_that_nobody_completes_goes_by_a_rule(
    emulator: Emulator, shared: storage.Bucket, upload: Upload
) -> None:
    """After so many days since it was begun; without such a rule its parts would stay, and cost, for ever."""
    shared.add_lifecycle_abort_incomplete_multipart_upload_rule(age=7)
    shared.patch()
    upload.put(1, b"x")
    upload.http.headers["authorization"] = f"Bearer {emulator.world.token}"  # one that does not end
    emulator.world.clock.ahead += 6 * 24 * 3600
    sixth = len(upload.listed().findall("{*}Part"))
    emulator.world.clock.ahead += 24 * 3600
    answer = upload.http.get(upload.url, params={"uploadId": upload.id})
    emulator.world.clock.ahead = 0

    assert sixth == 1
    assert code(answer) == (404, "NoSuchUpload")


@pytest.mark.source("https://docs.cloud.google.com/storage/docs/access-control/iam-xml")
@pytest.mark.parametrize(
    ("roles", "statuses"),
    [
        pytest.param(("roles/storage.objectUser",), (200, 200, 204), id="who may use objects"),
        pytest.param(("roles/storage.objectViewer",), (403, 403, 403), id="who may only read them"),
        pytest.param((), (403, 403, 403), id="nobody"),
    ],
)
def test_rights_of_their_own(
    emulator: Emulator, upload: Upload, roles: tuple[str, ...], statuses: tuple[int, ...]
) -> None:
    """To send parts, to list them, to give up."""
    grant(emulator, *roles)
    asked = {"uploadId": upload.id}
    put = upload.put(1, b"x").status_code
    listed = upload.http.get(upload.url, params=asked).status_code
    ended = upload.http.delete(upload.url, params=asked).status_code

    assert (put, listed, ended) == statuses


@pytest.mark.source("https://docs.cloud.google.com/storage/docs/multipart-uploads")
def test_who_has_no_token_begins_nothing(emulator: Emulator, shared: storage.Bucket, tmp_path: Path) -> None:
    """Links are for parts only: to begin is the server's, with its own credentials."""
    (tmp_path / "o").write_bytes(b"x")
    url = f"{emulator.url}/storage.googleapis.com/shared/o"
    with AuthorizedSession(shared.client._credentials) as session:
        container = XMLMPUContainer(url, str(tmp_path / "o"))
        container.initiate(session, "text/plain")

    assert container.upload_id
    assert code(httpx.post(url, params={"uploads": ""})) == (403, "AccessDenied")
