"""Models and files: the door's own bucket as the log pusher, and every other bucket as ever."""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from conftest import ADA, BOB, sign_in
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.gcs_artifact_repo import GCSArtifactRepository

import mlflow_iap_auth
from mlflow_iap_auth import artifacts, door, settings, signatures, tokens
from mlflow_iap_auth.errors import Unreachable
from mlflow_iap_auth.settings import Settings

MB = 1024 * 1024


def blocks(size: int) -> Iterator[bytes]:
    """So many bytes, no two megabytes of which are the same."""
    for number in range(0, size, MB):
        yield (hashlib.sha256(str(number).encode()).digest() * (MB // 32))[: size - number]


def filled(path: Path, size: int) -> Path:
    """A file of so many bytes."""
    with path.open("wb") as file:
        file.writelines(blocks(size))
    return path


def is_filled(path: str | Path, size: int) -> bool:
    """Whether a file holds these bytes and no others."""
    with Path(path).open("rb") as file:
        return all(file.read(MB) == block for block in blocks(size)) and not file.read(1)


def digest(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@pytest.fixture
def folder(place, tmp_path):
    """A folder of the bucket, by MLflow's own registry."""
    return get_artifact_repository(f"gs://{place.bucket}/artifacts/{tmp_path.name}")


def objects(place) -> list[str]:
    listed = place.owner("GET", f"storage.googleapis.com/storage/v1/b/{place.bucket}/o").get("items", [])
    return [item["name"] for item in listed]


@pytest.mark.parametrize("size", [0, 1, 9 * MB, 50 * MB], ids=["nothing", "1 B", "9 MB", "50 MB"])
def test_a_file_goes_to_the_bucket_and_back(place, tmp_path, size):
    """Ada has no right to the bucket: the log pusher has, for which one access token is made."""
    sent = filled(tmp_path / "sent.bin", size)
    with mlflow.start_run() as run:
        mlflow.log_artifact(str(sent), "models")
    place_of_run = mlflow.get_run(run.info.run_id).info.artifact_uri
    back = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="models/sent.bin")

    assert digest(back) == digest(sent)
    assert place_of_run.startswith(f"gs://{place.bucket}/")
    assert (place.asked("signJwt"), place.asked("generateAccessToken")) == (1, 1)


def test_a_folder_is_listed_fetched_and_deleted(folder, tmp_path, place):
    """With folders in it."""
    source = tmp_path / "model"
    for name in ("MLmodel", "data/a/weights.bin", "data/b.txt"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    folder.log_artifacts(str(source), "model")
    listed = {info.path: info.file_size for info in folder.list_artifacts("model")}
    back = Path(folder.download_artifacts("model"))
    fetched = sorted(path.relative_to(back).as_posix() for path in back.rglob("*") if path.is_file())
    folder.delete_artifacts("model")

    assert listed == {"model/MLmodel": 7, "model/data": None}
    assert fetched == ["MLmodel", "data/a/weights.bin", "data/b.txt"]
    assert [name for name in objects(place) if tmp_path.name in name] == []


def test_a_folder_goes_to_the_root(folder, tmp_path, place):
    """No dot becomes part of a name."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.txt").write_text("a")
    folder.log_artifacts(str(tmp_path / "files"))

    assert f"artifacts/{tmp_path.name}/a.txt" in objects(place)


@pytest.mark.parametrize("where", ["../data", "models/../../data", "/data"])
def test_a_path_that_leads_out_of_the_run(folder, tmp_path, place, where):
    """As of a program that makes it from two paths of its own: the file would be where no run shows it, or another's."""
    with pytest.raises(MlflowException, match="is not in gs://"):
        folder.log_artifact(str(filled(tmp_path / "a.bin", 1)), where)
    folder.log_artifact(str(tmp_path / "a.bin"), "models/./x//")

    assert [name for name in objects(place) if tmp_path.name in name] == [f"artifacts/{tmp_path.name}/models/x/a.bin"]


@pytest.mark.parametrize("broken", ["drop", "status"], ids=["the connection breaks", "Google is busy"])
def test_an_upload_is_resumed(folder, tmp_path, place, broken):
    """At the piece that did not arrive: the others are not sent again."""
    sent = filled(tmp_path / "large.bin", 40 * MB)
    fault = {"method": "storage.objects.insert", "skip": 2, "when": "before"}
    place.owner("POST", "emulator/faults", json=[fault | ({"drop": True} if broken == "drop" else {"status": 503})])
    folder.log_artifact(str(sent))
    requests = place.owner("GET", "emulator/calls")["calls"]
    back = folder.download_artifacts("large.bin")

    assert digest(back) == digest(sent)
    # One that opens the upload, three pieces, and the piece that went astray.
    assert sum(call["id"] == "storage.objects.insert" for call in requests) == 5


def test_a_download_that_fails_leaves_no_half_file(folder, tmp_path, place):
    """Which would be taken for a whole one."""
    with pytest.raises(Exception, match="404"):
        folder._download_file("nowhere.bin", str(tmp_path / "half.bin"))

    assert not (tmp_path / "half.bin").exists()


def test_another_bucket_is_mlflows_own_matter(place, monkeypatch):
    """The log pusher's identity goes to the door's bucket and to no other."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", place.emulator)
    other = get_artifact_repository("gs://somebody-elses/files")

    assert type(other) is GCSArtifactRepository
    assert type(get_artifact_repository(f"gs://{place.bucket}/artifacts")) is artifacts.Repository


EXPERIMENTS = [
    pytest.param(
        [("0", "gs://ours/artifacts/0"), ("1", "gs://a-teams/artifacts/1")], True,
        id="the first one lies in it"),
    pytest.param(
        [("0", "mlflow-artifacts:/0"), ("1", "gs://a-teams/files"), ("2", "gs://ours/artifacts/2")], True,
        id="links were signed at first, and somebody chose a place of their own"),
    pytest.param(
        [("0", "gs://theirs/artifacts/0"), ("1", "gs://ours/artifacts/1")], False,
        id="the first one lies elsewhere"),
    pytest.param([("0", "mlflow-artifacts:/0"), ("1", "gs://ours/files")], False, id="links are signed"),
    pytest.param([], False, id="there is none"),
]  # fmt: skip


@pytest.mark.parametrize(("experiments", "own"), EXPERIMENTS)
def test_the_doors_own_bucket_is_where_the_server_chose_to_keep_files(elsewhere, monkeypatch, experiments, own):
    """Asked once, page by page; an experiment keeps the place that it was made with, whatever the settings are now."""
    here = settings.of(elsewhere.url, {})
    token = signatures.Token("token", time.time() + signatures.LIFETIME)
    monkeypatch.setattr(artifacts.door.TOKENS, "_held", {here: token})
    for number, (which, place_of_it) in enumerate(experiments, 1):
        told = {"experiments": [{"experiment_id": which, "artifact_location": place_of_it}]}
        more = {"next_page_token": "more"} if number < len(experiments) else {}
        elsewhere.answers.append((200, {}, json.dumps(told | more)))

    assert [artifacts.is_own(here, "ours") for _ in range(2)] == [own, own]
    assert len(elsewhere.seen) <= max(len(experiments), 1)


def test_a_server_that_does_not_tell_its_experiments(elsewhere, monkeypatch):
    """Is not taken for one that has no bucket: files would go another way from then on."""
    here = settings.of(elsewhere.url, {})
    token = signatures.Token("token", time.time() + signatures.LIFETIME)
    monkeypatch.setattr(artifacts.door.TOKENS, "_held", {here: token})
    elsewhere.answers.append((503, {}, '{"error_code": "TEMPORARILY_UNAVAILABLE"}'))
    with pytest.raises(Unreachable, match="does not tell where its files are: 503"):
        artifacts.is_own(here, "ours")


@pytest.mark.parametrize(
    ("name", "value"),
    [("MLFLOW_TRACKING_AUTH", ""), ("MLFLOW_TRACKING_URI", "sqlite:///runs.db")],
    ids=["nobody asked for it", "there is no server"],
)
def test_without_a_door_every_bucket_is_mlflows_own_matter(place, monkeypatch, name, value):
    """The package may be installed where it is not used."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", place.emulator)
    monkeypatch.setenv(name, value)

    assert type(get_artifact_repository(f"gs://{place.bucket}/artifacts")) is GCSArtifactRepository


def test_a_key_reaches_the_bucket_too(place, tmp_path, monkeypatch):
    """As the same account; nobody is signed in."""
    monkeypatch.setenv("MLFLOW_IAP_KEY_FILE", str(place.key(tmp_path)))
    monkeypatch.setenv("MLFLOW_IAP_SOURCE", "key")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    folder = get_artifact_repository(f"gs://{place.bucket}/artifacts/by-key")
    folder.log_artifact(str(filled(tmp_path / "a.bin", 100)))

    assert "artifacts/by-key/a.bin" in objects(place)
    assert place.asked("generateAccessToken") == 0


def test_a_forked_process_has_connections_of_its_own(place):
    """Two processes that write to one connection would mix their files up."""
    ours = artifacts.client_of(place.here)
    child = os.fork()
    if child == 0:
        os._exit(0 if artifacts.client_of(place.here) is not ours else 1)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert artifacts.client_of(place.here) is ours


def test_large_files_show_how_far_they_are(folder, tmp_path, capsys, monkeypatch):
    """By MLflow's bar, which MLflow shows from a size on; its variable switches it off."""
    monkeypatch.setattr("mlflow.utils.file_utils._PROGRESS_BAR_DISPLAY_THRESHOLD", MB)
    sent = filled(tmp_path / "large.bin", 20 * MB)
    folder.log_artifact(str(sent))
    up = capsys.readouterr().err
    folder.download_artifacts("large.bin")
    down = capsys.readouterr().err
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    folder.log_artifact(str(sent))

    assert "Uploading large.bin: 100%" in up
    assert "Downloading large.bin: 100%" in down
    assert "large.bin" not in capsys.readouterr().err


@pytest.mark.parametrize("name", ["STORAGE_EMULATOR_HOST", "API_ENDPOINT_OVERRIDE"])
def test_the_log_pushers_token_goes_to_google_only(monkeypatch, name):
    """A variable that is left from trying things out would have it sent to some address, without TLS."""
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    here = Settings("https://ml.example", account="mlflow-log-pusher@acme.iam.gserviceaccount.com")

    assert artifacts.client_of(here).api_endpoint == "https://storage.googleapis.com"


def test_files_are_of_whoever_signed_in_last(place, tmp_path, monkeypatch):
    """Who comes as oneself, and then as somebody else, in the same notebook."""
    sent = filled(tmp_path / "a.bin", 100)
    pusher = door.TOKENS.current(place.here)  # who comes as oneself, and is no workload, has no token for this door
    monkeypatch.setattr(door.TOKENS, "_make", lambda *_: pusher)
    monkeypatch.setenv("MLFLOW_IAP_SOURCE", "own")
    said = []
    for person in (ADA, BOB):
        sign_in(monkeypatch, place, tmp_path, person)
        mlflow_iap_auth.login(place.origin)
        with pytest.raises(Exception, match=r"storage\.objects\.create") as refused:
            get_artifact_repository(f"gs://{place.bucket}/artifacts/own").log_artifact(str(sent))
        said.append(str(refused.value))

    assert (ADA in said[0], BOB in said[1]) == (True, True), said


def test_cloud_storage_does_not_take_a_token(place, folder, tmp_path):
    """Since it was revoked: another one is made."""
    tokens.FOR_BUCKETS._held[place.here] = signatures.Token("ya29.revoked", time.time() + signatures.LIFETIME)
    folder.log_artifact(str(filled(tmp_path / "a.bin", 100)))

    assert f"artifacts/{tmp_path.name}/a.bin" in objects(place)


def test_who_lost_access_is_told_so_at_the_bucket(place, folder, tmp_path, monkeypatch):
    """In the same words as at the door."""
    sign_in(monkeypatch, place, tmp_path, BOB)
    tokens.FOR_BUCKETS.forget(settings.of(place.origin))
    with pytest.raises(Exception, match=f"An owner adds {BOB} to"):
        folder.log_artifact(str(filled(tmp_path / "a.bin", 100)))
