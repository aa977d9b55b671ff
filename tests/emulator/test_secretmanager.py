"""Secret Manager through its own client: numbers, etags, states, checksums, and who may read."""

import base64
from datetime import timedelta
from typing import Any

import google_crc32c
import httpx
import pytest
from google.api_core.exceptions import BadRequest, Conflict, Forbidden, GoogleAPICallError, NotFound
from google.cloud import secretmanager_v1
from google.oauth2.credentials import Credentials

from provision.emulator import tokens
from tests.conftest import NUMBER, PROJECT, Emulator

PARENT = f"projects/{PROJECT}"
NAME = f"{PARENT}/secrets/password"
EMAIL = f"server@{PROJECT}.iam.gserviceaccount.com"
Client = secretmanager_v1.SecretManagerServiceClient


def _client(emulator: Emulator, token: str = "owner") -> Client:
    return Client(
        transport="rest",
        credentials=Credentials(token),
        client_options={"api_endpoint": f"{emulator.url}/secretmanager.googleapis.com"},
    )


@pytest.fixture
def client(emulator: Emulator) -> Client:
    client = _client(emulator)
    body = {"replication": {"automatic": {}}, "labels": {"managed-by": "provision"}, "annotations": {"Deployment": "X"}}
    client.create_secret(parent=PARENT, secret_id="password", secret=body)
    return client


def _status(refused: pytest.ExceptionInfo[GoogleAPICallError]) -> str:
    """REST clients tell errors apart by HTTP code only; what the service said is in the answer."""
    return str(refused.value.response.json()["error"]["status"])


def _add(client: Client, text: bytes = b"s3cret", **payload: Any) -> secretmanager_v1.SecretVersion:
    return client.add_secret_version(parent=NAME, payload={"data": text} | payload)


def test_names_carry_the_projects_number(client: Client) -> None:
    """Whether the request said its ID or its number."""
    by_id, by_number = client.get_secret(name=NAME), client.get_secret(name=f"projects/{NUMBER}/secrets/password")

    assert by_id == by_number
    assert by_id.name == f"projects/{NUMBER}/secrets/password"
    assert dict(by_id.labels) == {"managed-by": "provision"}
    assert dict(by_id.annotations) == {"Deployment": "X"}


def test_an_etag_has_quotes_in_it(emulator: Emulator, client: Client) -> None:
    """Fourteen hexadecimal digits between quotes that are part of the value."""
    etag = client.get_secret(name=NAME).etag

    assert etag.startswith('"')
    assert etag.endswith('"')
    assert len(etag) == 16


@pytest.mark.source("https://github.com/ansible-collections/google.cloud/issues/768")
def test_a_second_secret_of_that_name_conflicts(client: Client) -> None:
    """409 names the secret by number."""
    with pytest.raises(Conflict, match=rf"Secret \[projects/{NUMBER}/secrets/password\] already exists") as refused:
        client.create_secret(parent=PARENT, secret_id="password", secret={"replication": {"automatic": {}}})

    assert _status(refused) == "ALREADY_EXISTS"


REFUSED = [
    pytest.param("a b", {"replication": {"automatic": {}}}, id="an ID with a space"),
    pytest.param("new", {}, id="no replication"),
    pytest.param("new", {"replication": {"automatic": {}}, "labels": {"Upper": "x"}}, id="a label in capitals"),
    pytest.param(
        "new", {"replication": {"automatic": {}}, "annotations": {"a": "x" * 16_384}}, id="too many annotations"
    ),
]


@pytest.mark.parametrize(("secret_id", "body"), REFUSED)
def test_what_no_secret_can_be(client: Client, secret_id: str, body: dict[str, Any]) -> None:
    """400 INVALID_ARGUMENT."""
    with pytest.raises(BadRequest) as refused:
        client.create_secret(parent=PARENT, secret_id=secret_id, secret=body)

    assert _status(refused) == "INVALID_ARGUMENT"


def test_versions_are_numbered_from_one(client: Client) -> None:
    """Also after one is destroyed; a list is newest first."""
    first = _add(client)
    client.destroy_secret_version(name=first.name)
    second = _add(client, b"another")

    assert second.name == f"projects/{NUMBER}/secrets/password/versions/2"
    assert [v.name.rpartition("/")[2] for v in client.list_secret_versions(parent=NAME)] == ["2", "1"]


def test_a_version_gives_its_bytes_and_their_checksum(client: Client) -> None:
    """By number and as the latest."""
    _add(client, b"one")
    _add(client, "zwei ü".encode())

    numbered = client.access_secret_version(name=f"{NAME}/versions/1")
    latest = client.access_secret_version(name=f"{NAME}/versions/latest")

    assert (numbered.payload.data, numbered.payload.data_crc32c) == (b"one", google_crc32c.value(b"one"))
    assert (latest.name.rpartition("/")[2], latest.payload.data.decode()) == ("2", "zwei ü")


def test_a_payload_must_have_the_checksum_that_it_says(client: Client) -> None:
    """A wrong one is refused, a right one is noted, a large payload is too large."""
    noted = _add(client, b"right", data_crc32c=google_crc32c.value(b"right"))

    assert noted.client_specified_payload_checksum
    with pytest.raises(BadRequest, match="checksum"):
        _add(client, b"wrong", data_crc32c=1)
    with pytest.raises(BadRequest, match="too large"):
        _add(client, b"x" * 65_537)


def test_a_version_that_is_not_enabled_gives_nothing(client: Client) -> None:
    """Disabled and destroyed answer 400 FAILED_PRECONDITION with the state; enabling brings the first back."""
    version = _add(client)
    client.disable_secret_version(name=version.name)
    with pytest.raises(BadRequest, match=rf"Secret Version \[{version.name}\] is in DISABLED state") as refused:
        client.access_secret_version(name=f"{NAME}/versions/latest")
    assert _status(refused) == "FAILED_PRECONDITION"

    client.enable_secret_version(name=version.name)
    assert client.access_secret_version(name=version.name).payload.data == b"s3cret"

    destroyed = client.destroy_secret_version(name=version.name)
    assert destroyed.state.name == "DESTROYED"
    assert destroyed.destroy_time is not None
    with pytest.raises(BadRequest, match="DESTROYED"):
        client.access_secret_version(name=version.name)
    with pytest.raises(BadRequest, match="DESTROYED"):
        client.enable_secret_version(name=version.name)


def test_what_is_missing_is_named(client: Client) -> None:
    """No secret, no version, no such version: three texts."""
    with pytest.raises(NotFound, match=rf"Secret \[projects/{NUMBER}/secrets/other\] not found\."):
        client.get_secret(name=f"{PARENT}/secrets/other")
    with pytest.raises(NotFound, match="not found or has no versions"):
        client.access_secret_version(name=f"{NAME}/versions/latest")
    with pytest.raises(NotFound, match=r"Secret Version \[.*/versions/7\] not found"):
        client.access_secret_version(name=f"{NAME}/versions/7")


def test_a_change_under_a_stale_etag_is_refused(client: Client) -> None:
    """400 FAILED_PRECONDITION for secrets and versions alike; versions and policies leave the secret's etag alone."""
    before = client.get_secret(name=NAME).etag
    version = _add(client)
    assert client.get_secret(name=NAME).etag == before

    secret = {"name": NAME, "etag": before, "labels": {"a": "b"}}
    client.update_secret(secret=secret, update_mask={"paths": ["labels"]})
    client.disable_secret_version(request={"name": version.name, "etag": version.etag})

    with pytest.raises(BadRequest, match="etag"):
        client.update_secret(secret=secret, update_mask={"paths": ["labels"]})
    with pytest.raises(BadRequest, match="etag"):
        client.destroy_secret_version(request={"name": version.name, "etag": version.etag})
    with pytest.raises(BadRequest, match="etag") as refused:
        client.delete_secret(request={"name": NAME, "etag": before})
    assert _status(refused) == "FAILED_PRECONDITION"


def test_an_update_replaces_only_what_its_mask_names(client: Client) -> None:
    """Labels whole; what the mask does not name stays; what cannot be changed is refused."""
    body = {"name": NAME, "labels": {"new": "label"}, "annotations": {"ignored": "yes"}}
    updated = client.update_secret(secret=body, update_mask={"paths": ["labels"]})

    assert dict(updated.labels) == {"new": "label"}
    assert dict(updated.annotations) == {"Deployment": "X"}
    with pytest.raises(BadRequest):
        client.update_secret(secret={"name": NAME}, update_mask={"paths": ["replication"]})


def test_an_alias_names_a_version(client: Client) -> None:
    """Reading through it is reading that version."""
    _add(client, b"one")
    _add(client, b"two")
    body = {"name": NAME, "version_aliases": {"stable": 1}}
    client.update_secret(secret=body, update_mask={"paths": ["version_aliases"]})

    assert client.access_secret_version(name=f"{NAME}/versions/stable").payload.data == b"one"


def test_a_delay_puts_destruction_off(emulator: Emulator, client: Client) -> None:
    """Disabled at once, destroyed when the time has come, unless it is enabled before."""
    body = {"name": NAME, "version_destroy_ttl": {"seconds": 86_400}}
    client.update_secret(secret=body, update_mask={"paths": ["version_destroy_ttl"]})
    version = _add(client)

    scheduled = client.destroy_secret_version(name=version.name)
    httpx.post(f"{emulator.url}/emulator/clock", json={"advance": 86_401})

    assert (scheduled.state.name, scheduled.scheduled_destroy_time is not None) == ("DISABLED", True)
    assert client.get_secret_version(name=version.name).state.name == "DESTROYED"


def test_a_secret_with_a_time_to_live_goes_by_itself(emulator: Emulator, client: Client) -> None:
    """The answer tells when; after that it is not found."""
    body = {"replication": {"automatic": {}}, "ttl": {"seconds": 60}}
    made = client.create_secret(parent=PARENT, secret_id="short", secret=body)
    httpx.post(f"{emulator.url}/emulator/clock", json={"advance": 61})

    assert made.expire_time is not None
    assert [s.name.rpartition("/")[2] for s in client.list_secrets(parent=PARENT)] == ["password"]


@pytest.mark.source("https://cloud.google.com/secret-manager/docs/creating-and-managing-expiring-secrets")
def test_a_secret_is_there_until_it_expires(emulator: Emulator, client: Client) -> None:
    """By the time that was set last. One that is past, which Google refuses, ends nothing: it is of another day."""
    now = emulator.world.clock.now()
    automatic = {"replication": {"automatic": {}}}
    for name, when in (("soon", now + timedelta(hours=1)), ("later", now + timedelta(hours=1)), ("old", now)):
        client.create_secret(parent=PARENT, secret_id=name, secret=automatic | {"expire_time": when})
    body = {"name": f"{PARENT}/secrets/later", "expire_time": now + timedelta(days=1)}
    client.update_secret(secret=body, update_mask={"paths": ["expire_time"]})

    httpx.post(f"{emulator.url}/emulator/clock", json={"advance": 3_601})

    names = {s.name.rpartition("/")[2] for s in client.list_secrets(parent=PARENT)}
    assert names == {"password", "later", "old"}


def test_a_deleted_secret_takes_its_versions_along(client: Client) -> None:
    """One made anew begins with version 1 and without a policy."""
    _add(client)
    client.set_iam_policy(request={"resource": NAME, "policy": {"bindings": [_binding()]}})
    client.delete_secret(name=NAME)
    client.create_secret(parent=PARENT, secret_id="password", secret={"replication": {"automatic": {}}})

    assert list(client.list_secret_versions(parent=NAME)) == []
    assert list(client.get_iam_policy(request={"resource": NAME}).bindings) == []
    assert _add(client).name.endswith("/versions/1")


def _binding() -> dict[str, Any]:
    return {"role": "roles/secretmanager.secretAccessor", "members": ["user:someone@example.com"]}


@pytest.mark.source("https://github.com/pulumi/pulumi-gcp/issues/1028")
def test_a_fresh_policy_is_an_etag(emulator: Emulator, client: Client) -> None:
    """And nothing else; a write moves it, and what it replaces must be current: else 409 ABORTED."""
    address = f"{emulator.url}/secretmanager.googleapis.com/v1/{NAME}:getIamPolicy"
    assert httpx.get(address).json() == {"etag": "ACAB"}

    written = client.set_iam_policy(request={"resource": NAME, "policy": {"bindings": [_binding()]}})

    assert written.etag != b"\x00 \x01"
    with pytest.raises(Conflict, match="There were concurrent policy changes") as refused:
        client.set_iam_policy(request={"resource": NAME, "policy": {"bindings": [], "etag": base64.b64decode("ACAB")}})
    assert _status(refused) == "ABORTED"


def test_only_who_holds_the_role_on_the_secret_reads_it(emulator: Emulator, client: Client) -> None:
    """A service account without a role is refused; with it on this secret it reads this one, and no other."""
    emulator.world.table("iam.accounts")[EMAIL] = {"email": EMAIL, "projectId": PROJECT, "uniqueId": "1" * 21}
    version = _add(client).name
    client.create_secret(parent=PARENT, secret_id="other", secret={"replication": {"automatic": {}}})
    other = client.add_secret_version(parent=f"{PARENT}/secrets/other", payload={"data": b"x"}).name
    server = _client(emulator, tokens.issue(emulator.world, f"serviceAccount:{EMAIL}"))
    with pytest.raises(Forbidden, match=r"secretmanager\.versions\.access"):
        server.access_secret_version(name=version)

    binding = _binding() | {"members": [f"serviceAccount:{EMAIL}"]}
    client.set_iam_policy(request={"resource": NAME, "policy": {"bindings": [binding]}})

    assert server.access_secret_version(name=version).payload.data == b"s3cret"
    with pytest.raises(Forbidden):
        server.access_secret_version(name=other)
    with pytest.raises(Forbidden):
        server.delete_secret(name=NAME)


def test_permissions_on_what_is_not_there_are_none(client: Client) -> None:
    """An empty set, not 404."""
    asked = {"resource": f"{PARENT}/secrets/nowhere", "permissions": ["secretmanager.versions.access"]}

    assert list(client.test_iam_permissions(request=asked).permissions) == []


FILTERS = [
    pytest.param("labels.managed-by=provision", ["password"], id="a label's value"),
    pytest.param("name:pass", ["password"], id="part of the name"),
    pytest.param("labels.managed-by=somebody", [], id="another value"),
    pytest.param("name:pass AND labels.managed-by:*", ["password"], id="both"),
]


@pytest.mark.parametrize(("text", "names"), FILTERS)
def test_lists_can_be_filtered(client: Client, text: str, names: list[str]) -> None:
    """By name and label."""
    client.create_secret(parent=PARENT, secret_id="other", secret={"replication": {"automatic": {}}})

    found = client.list_secrets(request={"parent": PARENT, "filter": text})

    assert [s.name.rpartition("/")[2] for s in found] == names
