"""Objects of Cloud Storage through google-cloud-storage: listed, described, versioned, composed, copied, moved."""

import httpx
import pytest
from google.api_core.exceptions import NotFound
from google.cloud import storage
from google.oauth2.credentials import Credentials

from tests.conftest import PROJECT, Emulator


@pytest.fixture
def client(emulator: Emulator) -> storage.Client:
    return storage.Client(
        project=PROJECT,
        credentials=Credentials("owner"),
        client_options={"api_endpoint": f"{emulator.url}/storage.googleapis.com"},
    )


@pytest.fixture
def bucket(client: storage.Client) -> storage.Bucket:
    return client.create_bucket("objects", location="europe-west1")


def _put(bucket: storage.Bucket, name: str, text: str = "x") -> storage.Blob:
    blob = bucket.blob(name)
    blob.upload_from_string(text)
    return blob


def _names(bucket: storage.Bucket, **how: object) -> list[str]:
    return [blob.name for blob in bucket.list_blobs(**how)]


TREE = ("a", "a/b", "a/b/c", "a/d", "b?ü&=/x", "z")
LISTS = [
    pytest.param({}, list(TREE), [], id="all, by name"),
    pytest.param({"prefix": "a/"}, ["a/b", "a/b/c", "a/d"], [], id="below a prefix"),
    pytest.param({"delimiter": "/"}, ["a", "z"], ["a/", "b?ü&=/"], id="folded at the delimiter"),
    pytest.param({"prefix": "a/", "delimiter": "/"}, ["a/b", "a/d"], ["a/b/"], id="one folder"),
    pytest.param({"start_offset": "a/b/", "end_offset": "z"}, ["a/b/c", "a/d", "b?ü&=/x"], [], id="between two names"),
    pytest.param({"match_glob": "a/*"}, ["a/b", "a/d"], [], id="a star stays in its folder"),
    pytest.param({"match_glob": "**/{c,x}"}, ["a/b/c", "b?ü&=/x"], [], id="two stars do not"),
    pytest.param({"prefix": "nothing"}, [], [], id="nothing"),
]


@pytest.mark.parametrize(("how", "names", "prefixes"), LISTS)
def test_lists(bucket: storage.Bucket, how: dict[str, str], names: list[str], prefixes: list[str]) -> None:
    """Names in the order of their bytes, prefixes apart."""
    for name in TREE:
        _put(bucket, name)

    listed = bucket.list_blobs(**how)

    assert [blob.name for blob in listed] == names
    assert sorted(listed.prefixes) == prefixes


def test_a_list_comes_in_pages(bucket: storage.Bucket) -> None:
    """Each page has at most maxResults of objects and prefixes together, and none is told twice."""
    for name in TREE:
        _put(bucket, name)

    listed = bucket.list_blobs(delimiter="/", page_size=1)
    pages = [[blob.name for blob in page] for page in listed.pages]

    assert [name for page in pages for name in page] == ["a", "z"]
    assert sorted(listed.prefixes) == ["a/", "b?ü&=/"]
    assert len(pages) == 4


def test_names_of_any_kind_survive_the_way_there_and_back(bucket: storage.Bucket) -> None:
    """Slashes, spaces, percent signs and umlauts are part of the name."""
    name = "runs/ä b%2Fc?d#e/model.pkl"
    _put(bucket, name, "model")

    assert _names(bucket) == [name]
    assert bucket.get_blob(name).download_as_text() == "model"


def test_an_object_says_what_its_writer_said(bucket: storage.Bucket) -> None:
    """Metadata comes back; a patch merges it key by key and moves the metageneration only."""
    blob = bucket.blob("described")
    blob.metadata, blob.cache_control = {"write_id": "1", "by": "me"}, "no-store"
    blob.upload_from_string("x", content_type="text/csv")
    generation = blob.generation

    blob.metadata = {"by": None, "reviewed": "yes"}
    blob.content_language = "de"
    blob.patch()
    read = bucket.get_blob("described")

    assert read.metadata == {"write_id": "1", "reviewed": "yes"}
    assert (read.content_type, read.cache_control, read.content_language) == ("text/csv", "no-store", "de")
    assert (read.generation, read.metageneration) == (generation, 2)


def test_an_overwritten_object_is_gone_without_versioning(bucket: storage.Bucket, emulator: Emulator) -> None:
    """Only the live version is there, and the bytes of the other are cleared away."""
    first = _put(bucket, "o", "one").generation
    _put(bucket, "o", "two")

    names = [(blob.name, blob.generation == first) for blob in bucket.list_blobs(versions=True)]

    assert names == [("o", False)]
    assert len([p for p in (emulator.world.data / "objects").rglob("*") if p.is_file()]) == 1
    with pytest.raises(NotFound):
        bucket.blob("o", generation=first).download_as_bytes()


def test_versioning_keeps_what_is_overwritten_and_deleted(bucket: storage.Bucket) -> None:
    """Noncurrent versions are listed with the time they stopped being live, read and deleted by generation."""
    bucket.versioning_enabled = True
    bucket.patch()
    first = _put(bucket, "o", "one").generation
    second = _put(bucket, "o", "two").generation

    bucket.blob("o").delete()
    kept = {blob.generation: blob.time_deleted for blob in bucket.list_blobs(versions=True)}
    old = bucket.blob("o", generation=first).download_as_text()
    bucket.blob("o", generation=first).delete()

    assert set(kept) == {first, second}
    assert all(kept.values())
    assert old == "one"
    assert _names(bucket) == []
    assert [blob.generation for blob in bucket.list_blobs(versions=True)] == [second]


def test_an_old_version_is_restored_by_copying_it_onto_its_name(bucket: storage.Bucket) -> None:
    """A copy of a generation is a new live generation with the same bytes."""
    bucket.versioning_enabled = True
    bucket.patch()
    first = _put(bucket, "o", "one")
    _put(bucket, "o", "two")

    copy = bucket.copy_blob(first, bucket, "o", source_generation=first.generation)

    assert bucket.blob("o").download_as_text() == "one"
    assert copy.generation != first.generation


def test_generations_only_rise(bucket: storage.Bucket) -> None:
    """Many writes in one microsecond still get generations of their own."""
    generations = [_put(bucket, "o", str(n)).generation for n in range(20)]

    assert generations == sorted(set(generations))


def test_composing_joins_bytes(bucket: storage.Bucket) -> None:
    """The result counts its components, has a CRC32C and no MD5; it may be one of its own sources."""
    parts = [_put(bucket, name, text) for name, text in (("one", "Hel"), ("two", "lo"))]
    whole = bucket.blob("whole")

    whole.compose(parts, if_generation_match=0)
    whole.compose([whole, parts[1]])

    assert whole.download_as_text() == "Hellolo"
    assert (whole.component_count, whole.md5_hash) == (3, None)


def test_a_copy_carries_its_metadata_or_takes_new_ones_whole(bucket: storage.Bucket, client: storage.Client) -> None:
    """Without a body the source's metadata, with one only what it says; to other buckets too."""
    source = bucket.blob("source")
    source.metadata = {"a": "b"}
    source.upload_from_string("x", content_type="text/csv")
    other = client.create_bucket("elsewhere", location="us")

    same = bucket.copy_blob(source, other, "same")
    changed = other.blob("changed")
    changed.content_language = "de"
    changed.rewrite(source)

    assert (same.content_type, same.metadata) == ("text/csv", {"a": "b"})
    changed.reload()
    assert (changed.content_language, changed.metadata, changed.content_type) == ("de", None, None)


def test_moving_renames(bucket: storage.Bucket) -> None:
    """The old name is free at once; bytes and metadata go along."""
    blob = _put(bucket, "old", "x")

    moved = bucket.move_blob(blob, "new")

    assert _names(bucket) == ["new"]
    assert moved.download_as_text() == "x"


def test_held_objects_stay(bucket: storage.Bucket) -> None:
    """A hold refuses deletion and overwriting with 403 until it is released."""
    blob = _put(bucket, "held")
    blob.temporary_hold = True
    blob.patch()

    with pytest.raises(Exception, match="under active Temporary hold"):
        blob.delete()
    with pytest.raises(Exception, match="under active Temporary hold"):
        _put(bucket, "held", "other")
    blob.temporary_hold = False
    blob.patch()
    blob.delete()

    assert _names(bucket) == []


def test_deleting_many_reports_what_was_missing(bucket: storage.Bucket) -> None:
    """delete_blobs sends one request for each."""
    blobs = [_put(bucket, name) for name in "ab"]
    missing: list[storage.Blob] = []

    bucket.delete_blobs([*blobs, bucket.blob("c")], on_error=missing.append)

    assert [blob.name for blob in missing] == ["c"]
    assert _names(bucket) == []


def test_partial_answers(bucket: storage.Bucket, emulator: Emulator) -> None:
    """`fields` picks what is answered."""
    _put(bucket, "o", "abc")

    answer = httpx.get(f"{emulator.url}/storage.googleapis.com/storage/v1/b/objects/o?fields=items(name,size)")

    assert answer.json() == {"items": [{"name": "o", "size": "3"}]}


def test_a_large_object_is_streamed(bucket: storage.Bucket, emulator: Emulator) -> None:
    """Sixty megabytes go up in one request and come down in pieces, by way of the disk."""

    def content() -> object:
        for _ in range(60):
            yield bytes(1024 * 1024)

    address = f"{emulator.url}/storage.googleapis.com/upload/storage/v1/b/objects/o"
    sent = httpx.post(address, params={"uploadType": "media", "name": "large"}, content=content(), timeout=60)

    with httpx.stream(
        "GET", f"{emulator.url}/storage.googleapis.com/download/storage/v1/b/objects/o/large?alt=media"
    ) as got:
        size = sum(len(piece) for piece in got.iter_raw())

    assert (sent.json()["size"], size) == (str(60 * 1024 * 1024), 60 * 1024 * 1024)
