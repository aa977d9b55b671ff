"""Buckets of Cloud Storage: their defaults, changes, policies and lifecycle."""

from typing import Any

import httpx
import pytest
from google.api_core.exceptions import BadRequest, Conflict, PreconditionFailed
from google.cloud import storage
from google.oauth2.credentials import Credentials

from tests.conftest import NUMBER, PROJECT, Emulator

DAY = 86_400


@pytest.fixture
def client(emulator: Emulator) -> storage.Client:
    return storage.Client(
        project=PROJECT,
        credentials=Credentials("owner"),
        client_options={"api_endpoint": f"{emulator.url}/storage.googleapis.com"},
    )


def _make(emulator: Emulator, **body: Any) -> httpx.Response:
    address = f"{emulator.url}/storage.googleapis.com/storage/v1/b?project={PROJECT}"
    return httpx.post(address, json={"name": "made"} | body)


def _advance(emulator: Emulator, seconds: float) -> None:
    httpx.post(f"{emulator.url}/emulator/clock", json={"advance": seconds}).raise_for_status()


def test_a_new_bucket_has_the_defaults_of_the_service(emulator: Emulator) -> None:
    """A multi-region, seven days of soft delete, no uniform access: said outright in the answer."""
    bucket = _make(emulator).json()

    times = bucket.pop("timeCreated"), bucket.pop("updated"), bucket["softDeletePolicy"].pop("effectiveTime")
    assert len(set(times)) == 1
    assert int(bucket.pop("generation")) > 1_700_000_000_000_000_000
    assert bucket == {
        "kind": "storage#bucket",
        "id": "made",
        "selfLink": "https://www.googleapis.com/storage/v1/b/made",
        "name": "made",
        "projectNumber": NUMBER,
        "metageneration": "1",
        "location": "US",
        "locationType": "multi-region",
        "rpo": "DEFAULT",
        "storageClass": "STANDARD",
        "etag": "CAE=",
        "softDeletePolicy": {"retentionDurationSeconds": "604800"},
        "iamConfiguration": {
            "bucketPolicyOnly": {"enabled": False},
            "uniformBucketLevelAccess": {"enabled": False},
            "publicAccessPrevention": "inherited",
        },
    }


def test_a_bucket_as_we_make_it(emulator: Emulator) -> None:
    """A region in capitals, uniform access with the time from when it cannot be undone, versioning, rules, labels."""
    rule = {"action": {"type": "Delete"}, "condition": {"numNewerVersions": 3, "daysSinceNoncurrentTime": 30}}
    bucket = _make(
        emulator,
        location="europe-west1",
        labels={"managed-by": "provision"},
        versioning={"enabled": True},
        lifecycle={"rule": [rule]},
        iamConfiguration={"uniformBucketLevelAccess": {"enabled": True}, "publicAccessPrevention": "enforced"},
    ).json()

    assert (bucket["location"], bucket["locationType"], bucket["satisfiesPZI"]) == ("EUROPE-WEST1", "region", True)
    assert bucket["lifecycle"] == {"rule": [rule]}
    assert bucket["iamConfiguration"]["uniformBucketLevelAccess"]["lockedTime"] > bucket["timeCreated"]
    assert bucket["iamConfiguration"]["publicAccessPrevention"] == "enforced"
    assert (bucket["versioning"], bucket["labels"]) == ({"enabled": True}, {"managed-by": "provision"})


REFUSED = [
    pytest.param({"name": "ab"}, "Invalid bucket name", id="a name of two letters"),
    pytest.param({"name": "google-stuff"}, "Invalid bucket name", id="a name with google in it"),
    pytest.param({"name": "1.2.3.4"}, "Invalid bucket name", id="a name like an address"),
    pytest.param({"location": "atlantis"}, "location constraint is not valid", id="no such location"),
    pytest.param({"storageClass": "GOLD"}, "storage class is not valid", id="no such class"),
    pytest.param({"softDeletePolicy": {"retentionDurationSeconds": "60"}}, "Soft delete", id="soft delete of a minute"),
    pytest.param({"color": "red"}, 'Unknown name "color"', id="a field that there is not"),
]


@pytest.mark.parametrize(("body", "message"), REFUSED)
def test_what_no_bucket_can_be(emulator: Emulator, body: dict[str, Any], message: str) -> None:
    """400 with the reason, and nothing is made."""
    answer = _make(emulator, **body)

    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]


def test_patches_merge(client: storage.Client) -> None:
    """Labels one by one, null takes away, lists are replaced; each patch raises the metageneration."""
    bucket = client.create_bucket("patched", location="europe-west1")
    bucket.labels = {"a": "1", "b": "2"}
    bucket.add_lifecycle_delete_rule(age=3)
    bucket.patch()
    bucket.labels = {"b": "3"}
    bucket.clear_lifecycle_rules()
    bucket.patch()

    read = client.get_bucket("patched")

    assert read.labels == {"b": "3"}
    assert list(read.lifecycle_rules) == []
    assert (read.metageneration, read.etag) == (3, "CAM=")


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        pytest.param({"retentionDurationSeconds": "0"}, "0", id="zero switches it off"),
        pytest.param(None, "604800", id="null puts the default back"),
    ],
)
def test_soft_delete(emulator: Emulator, sent: Any, kept: str) -> None:
    """The policy has a time only while it is on."""
    _make(emulator, softDeletePolicy={"retentionDurationSeconds": "864000"})

    address = f"{emulator.url}/storage.googleapis.com/storage/v1/b/made"
    policy = httpx.patch(address, json={"softDeletePolicy": sent}).json()["softDeletePolicy"]

    assert policy["retentionDurationSeconds"] == kept
    assert ("effectiveTime" in policy) == (kept != "0")


def test_an_answer_to_a_patch_tells_who_owns_a_bucket_without_uniform_access(emulator: Emulator) -> None:
    """The default projection of patches is full, that of reads is not."""
    _make(emulator)
    address = f"{emulator.url}/storage.googleapis.com/storage/v1/b/made"

    patched, read = httpx.patch(address, json={}).json(), httpx.get(address).json()

    assert [e["entity"] for e in patched["acl"]] == [f"project-{t}-{NUMBER}" for t in ("owners", "editors", "viewers")]
    assert "acl" not in read


@pytest.mark.source("https://cloud.google.com/storage/docs/json_api/v1/status-codes")
def test_a_bucket_must_be_empty_to_go(client: storage.Client) -> None:
    """Noncurrent versions count; with force the library empties it first."""
    bucket = client.create_bucket("full", location="europe-west1")
    bucket.versioning_enabled = True
    bucket.patch()
    blob = bucket.blob("o")
    blob.upload_from_string("x")
    generation = blob.generation
    bucket.blob("o").delete()

    with pytest.raises(Conflict, match="The bucket you tried to delete is not empty"):
        bucket.delete()
    bucket.blob("o", generation=generation).delete()
    bucket.delete()

    assert not bucket.exists()


def test_buckets_of_a_project_are_listed_by_name(client: storage.Client) -> None:
    """And those of other projects are not."""
    for name in ("bbb", "aaa", "abc"):
        client.create_bucket(name, location="eu")

    assert [b.name for b in client.list_buckets()] == ["aaa", "abc", "bbb"]
    assert [b.name for b in client.list_buckets(prefix="a")] == ["aaa", "abc"]


def test_a_new_policy_names_the_projects_owners_editors_and_viewers(client: storage.Client) -> None:
    """The legacy roles; its etag is the bucket's."""
    bucket = client.create_bucket("policy", location="europe-west1")
    policy = bucket.get_iam_policy(requested_policy_version=3)

    assert {b["role"]: sorted(b["members"]) for b in policy.bindings} == {
        "roles/storage.legacyBucketOwner": [f"projectEditor:{PROJECT}", f"projectOwner:{PROJECT}"],
        "roles/storage.legacyBucketReader": [f"projectViewer:{PROJECT}"],
    }
    assert policy.etag == bucket.etag


@pytest.mark.source("https://cloud.google.com/storage/docs/json_api/v1/buckets/setIamPolicy")
def test_a_policy_of_before_is_not_written_over_that_of_now(client: storage.Client) -> None:
    """Any change of the bucket makes an older etag stale: 412."""
    bucket = client.create_bucket("policy", location="europe-west1")
    policy = bucket.get_iam_policy(requested_policy_version=3)
    bucket.labels = {"a": "b"}
    bucket.patch()

    with pytest.raises(PreconditionFailed):
        bucket.set_iam_policy(policy)


POLICIES = [
    pytest.param({"role": "roles/viewer", "members": ["user:a@example.com"]}, 400, id="a basic role"),
    pytest.param(
        {"role": "roles/storage.objectViewer", "members": ["allUsers"]}, 412, id="the public, which is kept out"
    ),
    pytest.param({"role": "roles/storage.objectViewer", "members": ["somebody"]}, 400, id="a member without a kind"),
    pytest.param(
        {"role": "roles/storage.objectViewer", "members": [f"serviceAccount:x@{PROJECT}.iam.gserviceaccount.com"]},
        400,
        id="a service account that there is not",
    ),
    pytest.param({"role": "roles/storage.objectViewer", "members": ["user:a@example.com"]}, 200, id="a person"),
]


@pytest.mark.source("https://cloud.google.com/storage/docs/json_api/v1/status-codes")
@pytest.mark.parametrize(("binding", "status"), POLICIES)
def test_what_a_bucket_policy_may_hold(emulator: Emulator, binding: dict[str, Any], status: int) -> None:
    """Refusals are the service's: 400 for roles and members, 412 for what public access prevention forbids."""
    _make(emulator, iamConfiguration={"publicAccessPrevention": "enforced"})
    address = f"{emulator.url}/storage.googleapis.com/storage/v1/b/made/iam"

    answer = httpx.put(address, json={"bindings": [binding]})

    assert answer.status_code == status
    assert (httpx.get(address).json()["etag"] == "CAI=") == (status == 200)


@pytest.mark.source("https://cloud.google.com/storage/docs/json_api/v1/buckets/setIamPolicy")
def test_conditions_need_uniform_access(client: storage.Client) -> None:
    """412 without it, kept and shown to who asks for version 3 with it."""
    bucket = client.create_bucket("policy", location="europe-west1")
    condition = {"title": "logs", "expression": 'resource.name.startsWith("x")'}
    policy = bucket.get_iam_policy(requested_policy_version=3)
    policy.version = 3
    member = {"user:a@example.com"}
    policy.bindings.append({"role": "roles/storage.objectViewer", "members": member, "condition": condition})

    with pytest.raises(PreconditionFailed):
        bucket.set_iam_policy(policy)
    bucket.iam_configuration.uniform_bucket_level_access_enabled = True
    bucket.patch()
    policy.etag = bucket.etag
    bucket.set_iam_policy(policy)

    assert condition in [b.get("condition") for b in bucket.get_iam_policy(requested_policy_version=3).bindings]


def test_old_noncurrent_versions_go_by_rule(client: storage.Client, emulator: Emulator) -> None:
    """numNewerVersions and daysSinceNoncurrentTime both have to be met; the live version stays."""
    bucket = client.create_bucket("rules", location="europe-west1")
    bucket.versioning_enabled = True
    bucket.add_lifecycle_delete_rule(number_of_newer_versions=2, days_since_noncurrent_time=30)
    bucket.patch()
    generations = []
    for text in "abcd":
        blob = bucket.blob("o")
        blob.upload_from_string(text)
        generations.append(blob.generation)

    _advance(emulator, 29 * DAY)
    soon = [blob.generation for blob in bucket.list_blobs(versions=True)]
    _advance(emulator, 2 * DAY)
    later = [blob.generation for blob in bucket.list_blobs(versions=True)]

    assert soon == generations
    assert later == generations[2:]


def test_objects_age(client: storage.Client, emulator: Emulator) -> None:
    """An age of seven days deletes what is older, and a prefix spares the rest."""
    bucket = client.create_bucket("rules", location="europe-west1")
    bucket.add_lifecycle_delete_rule(age=7, matches_prefix=["tmp/"])
    bucket.add_lifecycle_set_storage_class_rule("NEARLINE", age=7)
    bucket.patch()
    for name in ("tmp/a", "kept"):
        bucket.blob(name).upload_from_string("x")

    _advance(emulator, 8 * DAY)

    assert [(blob.name, blob.storage_class) for blob in bucket.list_blobs()] == [("kept", "NEARLINE")]


def test_a_retention_policy_keeps_objects(client: storage.Client, emulator: Emulator) -> None:
    """Neither deleted nor overwritten before their time: 403 retentionPolicyNotMet."""
    bucket = client.create_bucket("retained", location="europe-west1")
    bucket.retention_period = DAY
    bucket.patch()
    blob = bucket.blob("o")
    blob.upload_from_string("x")

    with pytest.raises(Exception, match="subject to bucket's retention policy"):
        blob.delete()
    _advance(emulator, DAY + 1)
    bucket.blob("o").delete()

    assert list(bucket.list_blobs()) == []


def test_a_rule_without_a_condition_is_refused(client: storage.Client) -> None:
    """It would delete everything at once."""
    bucket = client.create_bucket("rules", location="europe-west1")
    bucket.lifecycle_rules = [{"action": {"type": "Delete"}, "condition": {}}]

    with pytest.raises(BadRequest):
        bucket.patch()


@pytest.mark.source("https://cloud.google.com/storage/docs/json_api/v1/buckets")
def test_a_bucket_may_be_copied_sooner_between_two_regions_only(emulator: Emulator) -> None:
    """Turbo replication is for dual-regions, from the start or later."""
    turbo = _make(emulator, location="NAM4", rpo="ASYNC_TURBO")
    wide = _make(emulator, name="wide", rpo="ASYNC_TURBO")
    changed = httpx.patch(f"{emulator.url}/storage.googleapis.com/storage/v1/b/made", json={"rpo": "DEFAULT"})

    assert (turbo.json()["rpo"], wide.status_code, changed.json()["rpo"]) == ("ASYNC_TURBO", 400, "DEFAULT")


@pytest.mark.source("https://cloud.google.com/storage/docs/access-logs")
def test_logs_of_a_bucket_begin_with_its_name(emulator: Emulator) -> None:
    """Unless another prefix is given."""
    bucket = _make(emulator, logging={"logBucket": "logs"}).json()

    assert bucket["logging"] == {"logBucket": "logs", "logObjectPrefix": "made"}


@pytest.mark.source("https://cloud.google.com/storage/docs/json_api/v1/buckets/insert")
def test_objects_can_be_retained_one_by_one_where_that_was_asked_for(emulator: Emulator) -> None:
    """By a parameter of the request that makes the bucket; it can not be taken back."""
    address = f"{emulator.url}/storage.googleapis.com/storage/v1/b?project={PROJECT}&enableObjectRetention=true"
    bucket = httpx.post(address, json={"name": "made"}).json()

    assert bucket["objectRetention"] == {"mode": "Enabled"}
