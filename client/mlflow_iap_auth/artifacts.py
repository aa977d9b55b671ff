"""Models and files: straight to the door's own bucket, with the identity that logs, and no other bucket is touched."""

import functools
import mimetypes
import os
import posixpath
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlencode, urlsplit

import requests
from google.auth import credentials
from google.cloud import storage
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.store.artifact.gcs_artifact_repo import GCSArtifactRepository
from mlflow.utils.file_utils import ArtifactProgressBar

from mlflow_iap_auth import door
from mlflow_iap_auth.errors import Unreachable
from mlflow_iap_auth.settings import Settings
from mlflow_iap_auth.tokens import FOR_BUCKETS

PIECE = 16 * 1024 * 1024
"""Bytes that are sent at once, and so at most again when a connection breaks
(https://cloud.google.com/storage/docs/resumable-uploads)."""

READ = 1024 * 1024

OLDEST = {"view_type": "ALL", "order_by": "creation_time ASC", "max_results": "100"}


@functools.cache
def is_own(here: Settings, bucket: str) -> bool:
    """Whether a bucket is the one that the server behind the door keeps files in.

    That one the server names for the oldest experiment whose place it chose by itself, which ends with its id: where
    somebody else chose, they have rights of their own. Each bucket is asked about once: who could answer as the server
    does could as well take the files.

    Args:
        here: The settings for the server.
        bucket: Its name.

    Raises:
        AccessError: The server cannot be asked.
    """
    for experiment in _oldest_experiments(here):
        place = urlsplit(experiment.get("artifact_location", ""))
        if place.scheme == "gs" and place.path.endswith(f"/{experiment['experiment_id']}"):
            return place.netloc == bucket
    return False


def _oldest_experiments(here: Settings) -> Iterator[dict[str, str]]:
    page = ""
    while True:
        query = urlencode({**OLDEST, "page_token": page} if page else OLDEST)
        answer = door.asked(here, f"/api/2.0/mlflow/experiments/search?{query}", door.TOKENS.current(here))
        try:
            answer.raise_for_status()
            told = answer.json()
        except requests.RequestException:
            what = f"{here.origin} does not tell where its files are: {answer.status_code}."
            raise Unreachable(what, "Try again.") from None
        yield from told.get("experiments", [])
        page = told.get("next_page_token", "")
        if not page:
            return


class LogPusher(credentials.Credentials):
    """Credentials for Google's library that hold nothing: each request has the token of the moment.

    Args:
        here: The settings for the server.
    """

    def __init__(self, here: Settings) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # google-auth is not fully typed
        self._here = here

    def before_request(self, request: Any, method: str, url: str, headers: MutableMapping[str, str]) -> None:
        """Add the token to one request."""
        del request, method, url
        headers["Authorization"] = f"Bearer {FOR_BUCKETS.current(self._here).text}"

    def refresh(self, request: Any) -> None:
        """Have another one made; the library says so of one that Cloud Storage does not take."""
        del request
        FOR_BUCKETS.forget(self._here)


def client_of(here: Settings) -> storage.Client:
    """Cloud Storage as the log pusher. Its connections belong to this process: a forked one makes its own."""
    return _client(here, os.getpid())


@functools.lru_cache(maxsize=8)
def _client(here: Settings, process: int) -> storage.Client:
    del process  # it is only in the key
    # Always named: else STORAGE_EMULATOR_HOST, which is for other programs, would say where the token goes.
    options = {"api_endpoint": here.google("https://storage.googleapis.com")}
    return storage.Client(project=here.project or "-", credentials=LogPusher(here), client_options=options)


class Repository(GCSArtifactRepository):  # type: ignore[misc]  # MLflow has no types
    """A folder of the door's own bucket, as the log pusher; large files go in pieces and with MLflow's bar.

    Args:
        artifact_uri: gs://BUCKET/FOLDER.
        here: The settings for the server.
        **uris: As MLflow gives them.
    """

    def __init__(self, artifact_uri: str, here: Settings, **uris: str | None) -> None:
        self._here = here
        super().__init__(artifact_uri, client_of(here), **uris)

    def _get_bucket(self, bucket: str) -> storage.Bucket:
        return client_of(self._here).bucket(bucket)

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        """Send one file.

        Args:
            local_file: Its path.
            artifact_path: The folder below the artifact address, if any.
        """
        path = Path(local_file)
        blob = self._blob(posixpath.join(artifact_path or "", path.name))
        blob.chunk_size = self._GCS_UPLOAD_CHUNK_SIZE or PIECE
        kind, size = mimetypes.guess_type(path.name)[0], path.stat().st_size
        with path.open("rb") as file, shown(file, "read", size, f"Uploading {path.name}") as stream:
            blob.upload_from_file(stream, size=size, content_type=kind, timeout=self._GCS_DEFAULT_TIMEOUT)

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        """Send a folder with all that is in it.

        Args:
            local_dir: Its path.
            artifact_path: The folder below the artifact address, if any.
        """
        root = Path(local_dir)
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            below = path.parent.relative_to(root).as_posix()
            self.log_artifact(str(path), posixpath.join(artifact_path or "", below))

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        blob, path = self._blob(remote_file_path), Path(local_path)
        blob.reload(timeout=self._GCS_DEFAULT_TIMEOUT)
        try:
            with path.open("wb") as file, shown(file, "write", blob.size, f"Downloading {path.name}") as stream:
                blob.download_to_file(stream, timeout=self._GCS_DEFAULT_TIMEOUT)
        except BaseException:
            path.unlink()  # half a file looks like a whole one
            raise

    def _blob(self, path: str) -> storage.Blob:
        below = posixpath.normpath(path)
        if below.partition("/")[0] in ("", ".."):
            raise MlflowException(
                f"{path} is not in {self.artifact_uri}: an artifact path begins with neither / nor ..",
                error_code=INVALID_PARAMETER_VALUE,
            )
        bucket, root = self.parse_gcs_uri(self.artifact_uri)
        return self._get_bucket(bucket).blob(posixpath.join(root, below))


@contextmanager
def shown(file: BinaryIO, method: str, size: int, what: str) -> Iterator[Any]:
    """A file that tells MLflow's progress bar what goes through it, where MLflow would show one.

    Args:
        file: The file.
        method: "read" or "write".
        size: Its bytes.
        what: What the bar says.
    """
    with ArtifactProgressBar.chunks(size, what, READ) as bar:
        if bar.pbar is None:
            yield file
        else:
            from tqdm.utils import CallbackIOWrapper

            yield CallbackIOWrapper(bar.pbar.update, file, method)
