"""What the server's plugin gives out: links to files, signed by Google in the name of the server's account."""

import importlib
import json
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.resumable_media import InvalidResponse

from provision.emulator import iam, keys
from tests.conftest import NUMBER, PROJECT, Emulator

SIGNED = Path(__file__).parents[2] / "server" / "signed"
EMAIL = f"mlflow-server@{PROJECT}.iam.gserviceaccount.com"
ACCOUNT = f"projects/{PROJECT}/serviceAccounts/{EMAIL}"
MIB = 1024 * 1024


def grant(emulator: Emulator, resource: str, *roles: str) -> None:
    """Give the server's account these roles on something, and no others."""
    bindings = [{"role": role, "members": [f"serviceAccount:{EMAIL}"]} for role in roles]
    iam.put_policy(emulator.world, resource, {"bindings": bindings})


@pytest.fixture
def repository(emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The repository of a bucket, as the server's account, which may use the objects and sign as itself."""
    world = emulator.world
    world.table("iam.accounts")[EMAIL] = {"email": EMAIL, "projectId": PROJECT, "uniqueId": "1" * 21}
    httpx.post(
        f"{emulator.url}/storage.googleapis.com/storage/v1/b", params={"project": NUMBER}, json={"name": "files"}
    )
    grant(emulator, "projects/_/buckets/files", "roles/storage.objectUser")
    grant(emulator, ACCOUNT, "roles/iam.serviceAccountTokenCreator")
    key = keys.new_account_key(world, EMAIL, user_managed=True)
    adc = {"type": "service_account", "client_email": EMAIL, "private_key": key["pem"], "private_key_id": key["kid"]}
    (tmp_path / "adc.json").write_text(json.dumps(adc | {"token_uri": f"{emulator.url}/oauth2.googleapis.com/token"}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "adc.json"))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", PROJECT)
    monkeypatch.setenv("API_ENDPOINT_OVERRIDE", f"{emulator.url}/storage.googleapis.com")
    monkeypatch.setenv(
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS", f"{emulator.url}/iamcredentials.googleapis.com/"
    )
    monkeypatch.setenv("ARTIFACT_SIGNER", EMAIL)
    importlib.import_module(
        "mlflow.store.artifact.artifact_repository_registry"
    )  # as in the server: it looks for plugins
    monkeypatch.syspath_prepend(SIGNED)
    module = importlib.import_module("signed_artifacts")
    made = module.SigningRepository("gs://files/artifacts")
    yield made
    made.client.close()
    module._session().close()
    sys.modules.pop("signed_artifacts")


def sent(credentials: Any, content: bytes, size: int) -> list[Any]:
    """Put each part of a content where its link says, as MLflow's client does; what came back for each."""
    from mlflow.entities.multipart_upload import MultipartUploadPart

    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    answers = [httpx.put(each.url, content=piece) for each, piece in zip(credentials, pieces, strict=True)]
    return [
        MultipartUploadPart(each.part_number, answer.headers["etag"], each.url)
        for each, answer in zip(credentials, answers, strict=True)
    ]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("/home/ada/model.bin", id="a path of the client's machine"),
        pytest.param(r"C:\Users\ada\model.bin", id="a path of a machine with Windows"),
    ],
)
def test_a_file_comes_and_goes_over_links_alone(repository: Any, name: str) -> None:
    """Parts are written and the whole is read by somebody without any credentials."""
    content = bytes(range(256)) * (5 * MIB // 256) + b"the end"
    begun = repository.create_multipart_upload(name, 2, "1/run/artifacts")
    parts = sent(begun.credentials, content, 5 * MIB)
    repository.complete_multipart_upload(name, begun.upload_id, parts, "1/run/artifacts")
    link = repository.get_download_presigned_url("1/run/artifacts/model.bin", expiration=60)

    assert httpx.get(link.url).content == content
    assert (link.file_size, link.headers) == (len(content), {})
    assert [each.path for each in repository.list_artifacts("1/run/artifacts")] == ["1/run/artifacts/model.bin"]


@pytest.mark.parametrize("name", ["a b.txt", "50%#1?.bin", "ünïcödé.bin"])
def test_a_file_may_be_called_anything(repository: Any, name: str) -> None:
    """What means something in an address is only a letter of its name."""
    begun = repository.create_multipart_upload(name, 1, None)
    repository.complete_multipart_upload(name, begun.upload_id, sent(begun.credentials, b"content", 9), None)

    assert httpx.get(repository.get_download_presigned_url(name).url).content == b"content"


def test_a_link_is_to_the_version_that_it_was_asked_for(repository: Any, emulator: Emulator) -> None:
    """The pieces of a download belong together; it ends after the time that was asked for."""
    for content in (b"old", b"newer"):
        repository.client.bucket("files").blob("artifacts/o").upload_from_string(content)
        links = [repository.get_download_presigned_url("o", expiration=60)]
    emulator.world.clock.ahead += 61
    ended = httpx.get(links[-1].url).status_code
    emulator.world.clock.ahead -= 61

    assert f"generation={repository.client.bucket('files').get_blob('artifacts/o').generation}" in links[-1].url
    assert httpx.get(links[-1].url).content == b"newer"
    assert ended == 400


def test_what_is_given_up_leaves_nothing(repository: Any) -> None:
    """Its links are worth nothing any more."""
    begun = repository.create_multipart_upload("model.bin", 1, None)
    repository.abort_multipart_upload("model.bin", begun.upload_id, None)

    assert httpx.put(begun.credentials[0].url, content=b"x").status_code == 404
    assert repository.list_artifacts() == []


def test_a_server_that_may_not_sign_says_who_mends_it(repository: Any, emulator: Emulator) -> None:
    """Without the right on itself: an error of MLflow's that its client shows, and no upload is left behind."""
    from mlflow.exceptions import MlflowException

    grant(emulator, ACCOUNT)
    with pytest.raises(MlflowException, match="python -m provision up") as refused:
        repository.create_multipart_upload("model.bin", 1, None)

    assert refused.value.error_code == "PERMISSION_DENIED"
    assert EMAIL in str(refused.value)
    assert list(emulator.world.table("storage.multiparts")) == []


def test_a_google_that_is_busy_is_asked_again(repository: Any, emulator: Emulator) -> None:
    """An error by which MLflow's client knows that it is worth trying again: nobody has to mend anything."""
    from mlflow.exceptions import MlflowException

    busy = {"method": "iamcredentials.projects.serviceAccounts.signBlob", "status": 503, "times": 3}
    httpx.post(f"{emulator.url}/emulator/faults", json=[busy])
    with pytest.raises(MlflowException, match="at the moment") as refused:
        repository.create_multipart_upload("model.bin", 1, None)

    assert refused.value.get_http_status_code() == 503
    assert list(emulator.world.table("storage.multiparts")) == []


@pytest.mark.parametrize("name", ["..", ".", "/home/ada/", r"C:\Users\.."])
def test_no_name_leads_out_of_its_folder(repository: Any, name: str) -> None:
    """MLflow looks at the folder alone; in an address these would be another one."""
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException, match="is no name of a file") as refused:
        repository.create_multipart_upload(name, 1, "1/run/artifacts")

    assert refused.value.get_http_status_code() == 400


def test_the_id_of_an_upload_is_nothing_but_an_id(repository: Any) -> None:
    """What a client calls one does not become another request about the object."""
    repository.client.bucket("files").blob("artifacts/o").upload_from_string(b"content")
    with pytest.raises(InvalidResponse) as refused:
        repository.abort_multipart_upload("o", "1#", None)

    assert "uploadId=1%23" in refused.value.response.url


def test_what_is_not_there_and_what_is_too_much(repository: Any) -> None:
    """Errors that MLflow's client shows: no such file, more parts than Cloud Storage takes, longer than a key lives."""
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException, match="No such artifact: 'missing'") as missing:
        repository.get_download_presigned_url("missing")
    with pytest.raises(MlflowException, match="MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE"):
        repository.create_multipart_upload("model.bin", 10_001, None)
    with pytest.raises(MlflowException, match="43200 seconds at most, and not 43201"):
        repository.get_download_presigned_url("missing", expiration=43_201)

    assert missing.value.get_http_status_code() == 404


def test_mlflow_finds_it_by_what_lies_beside_it() -> None:
    """The folder on Python's path is enough: nothing is installed, in a container or here."""
    (plugin,) = distributions(path=[str(SIGNED)])
    (found,) = plugin.entry_points

    assert (found.group, found.name, found.value) == (
        "mlflow.artifact_repository",
        "gs",
        "signed_artifacts:SigningRepository",
    )
