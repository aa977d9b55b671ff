"""Who may touch a bucket: service accounts by the bucket's policy or the project's, and nobody else."""

from typing import Any

import httpx
import pytest
from google.api_core.exceptions import Forbidden
from google.cloud import storage
from google.oauth2.credentials import Credentials

from provision.emulator import iam, tokens
from tests.conftest import PROJECT, Emulator

EMAIL = f"server@{PROJECT}.iam.gserviceaccount.com"
MEMBER = f"serviceAccount:{EMAIL}"


def _client(emulator: Emulator, token: str) -> storage.Client:
    return storage.Client(
        project=PROJECT,
        credentials=Credentials(token),
        client_options={"api_endpoint": f"{emulator.url}/storage.googleapis.com"},
    )


@pytest.fixture
def owners(emulator: Emulator) -> storage.Bucket:
    bucket = _client(emulator, "owner").create_bucket("shared", location="europe-west1")
    bucket.blob("o").upload_from_string("x")
    return bucket


@pytest.fixture
def servers(emulator: Emulator, owners: storage.Bucket) -> storage.Bucket:
    """The same bucket as the server's account sees it, which has no right yet."""
    emulator.world.table("iam.accounts")[EMAIL] = {"email": EMAIL, "projectId": PROJECT, "uniqueId": "1" * 21}
    return _client(emulator, tokens.issue(emulator.world, MEMBER)).bucket("shared")


def _grant(bucket: storage.Bucket, role: str) -> None:
    policy = bucket.get_iam_policy(requested_policy_version=3)
    policy.bindings.append({"role": role, "members": {MEMBER}})
    bucket.set_iam_policy(policy)


DEEDS: dict[str, Any] = {
    "read": lambda b: b.blob("o").download_as_bytes(),
    "list": lambda b: list(b.list_blobs()),
    "create": lambda b: b.blob("new").upload_from_string("x"),
    "overwrite": lambda b: b.blob("o").upload_from_string("y"),
    "delete": lambda b: b.blob("o").delete(),
    "bucket": lambda b: b.reload(),
    "policy": lambda b: b.get_iam_policy(),
}
ROLES = [
    pytest.param(None, set(), id="no role"),
    pytest.param("roles/storage.objectViewer", {"read", "list"}, id="viewer of objects"),
    pytest.param("roles/storage.objectCreator", {"create"}, id="creator of objects, who may not replace any"),
    pytest.param("roles/storage.objectUser", {"read", "list", "create", "overwrite", "delete"}, id="user of objects"),
    pytest.param("roles/storage.admin", set(DEEDS), id="admin"),
]


@pytest.mark.parametrize(("role", "able"), ROLES)
def test_a_role_on_the_bucket_allows_what_it_says(
    owners: storage.Bucket, servers: storage.Bucket, role: str | None, able: set[str]
) -> None:
    """Everything else is 403 in the service's words."""
    if role:
        _grant(owners, role)
    found, said = set(), []
    for name, deed in DEEDS.items():
        try:
            deed(servers)
        except Forbidden as refused:
            said.append(str(refused))
        else:
            found.add(name)

    assert found == able
    assert all(f"{EMAIL} does not have storage." in text for text in said)


def test_a_role_on_the_project_counts_too(emulator: Emulator, servers: storage.Bucket) -> None:
    """Policies are inherited."""
    binding = {"role": "roles/storage.objectViewer", "members": [MEMBER]}
    iam.put_policy(emulator.world, f"projects/{PROJECT}", {"bindings": [binding]})

    assert servers.blob("o").download_as_bytes() == b"x"


def test_what_is_missing_is_told_to_those_only_who_may_list(owners: storage.Bucket, servers: storage.Bucket) -> None:
    """Without storage.objects.list a missing object is 403, not 404."""
    _grant(owners, "roles/storage.legacyObjectReader")

    with pytest.raises(Forbidden, match=r"storage\.objects\.list"):
        servers.blob("missing").download_as_bytes()


def test_permissions_can_be_asked_for(owners: storage.Bucket, servers: storage.Bucket) -> None:
    """testIamPermissions answers the subset that the caller has."""
    _grant(owners, "roles/storage.admin")
    asked = ["storage.objects.get", "storage.buckets.delete", "compute.networks.get"]

    assert sorted(servers.test_iam_permissions(asked)) == ["storage.buckets.delete", "storage.objects.get"]


def test_an_unknown_token_is_nobody(emulator: Emulator, owners: storage.Bucket) -> None:
    """401, as for an expired one."""
    address = f"{emulator.url}/storage.googleapis.com/storage/v1/b/{owners.name}"

    assert httpx.get(address, headers={"authorization": "Bearer ya29.stranger"}).status_code == 401
