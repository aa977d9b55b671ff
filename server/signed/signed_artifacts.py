"""MLflow's artifact repository for `gs`, which also gives out links that the server signs.

With a link a client writes or reads one file of the bucket by itself: it needs no credentials of Google's, and no file
passes through the front door, which takes 32 MB at most. There is no key: Google signs, in the name of the account that
the server runs as (https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/signBlob).
"""

import functools
import mimetypes
import ntpath
import os
import posixpath
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import google.auth
from google.auth import iam
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession, Request
from google.cloud.storage import Blob
from google.oauth2 import service_account
from google.resumable_media.requests import XMLMPUContainer
from mlflow.entities.multipart_upload import CreateMultipartUploadResponse, MultipartUploadCredential
from mlflow.entities.presigned_download import PresignedDownloadUrlResponse
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INVALID_PARAMETER_VALUE,
    PERMISSION_DENIED,
    RESOURCE_DOES_NOT_EXIST,
    TEMPORARILY_UNAVAILABLE,
)
from mlflow.store.artifact.artifact_repo import MultipartDownloadMixin
from mlflow.store.artifact.gcs_artifact_repo import GCSArtifactRepository

SIGNER = "ARTIFACT_SIGNER"
"""The variable with the address of the account that the server runs as, which must be allowed to sign as itself."""

IAM = "https://iamcredentials.googleapis.com/"
SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
MOST_PARTS = 10_000  # https://cloud.google.com/storage/quotas#requests
AT_ONCE = 8
"""Signatures that are asked for side by side: a file of 10 GB has a thousand parts, and one alone takes some 50 ms."""

LASTS = timedelta(hours=12)
"""How long a part may be sent, and any link last: so long Google promises to know the key (the page above)."""


class SigningRepository(GCSArtifactRepository, MultipartDownloadMixin):
    """Files of a bucket, and links to them.

    MLflow's own would sign with a private key, which there is none of, and only to write.
    """

    def get_download_presigned_url(self, artifact_path: str, expiration: int = 300) -> PresignedDownloadUrlResponse:
        """A link to read one file, in the version that it has now, for `expiration` seconds.

        Raises:
            MlflowException: there is no such file, a link is not to last so long, or the server may not sign.
        """
        lasts = timedelta(seconds=expiration)
        if lasts > LASTS:
            raise MlflowException(
                f"A link lasts {LASTS.total_seconds():.0f} seconds at most, and not {expiration}.",
                error_code=INVALID_PARAMETER_VALUE,
            )
        blob = self._blob(artifact_path)
        found = blob.bucket.get_blob(blob.name)
        if found is None:
            raise MlflowException(f"No such artifact: '{artifact_path}'", error_code=RESOURCE_DOES_NOT_EXIST)
        url = _link(found, "GET", lasts, generation=found.generation)
        return PresignedDownloadUrlResponse(url=url, headers={}, file_size=found.size)

    def create_multipart_upload(
        self, local_file: str, num_parts: int = 1, artifact_path: str | None = None
    ) -> CreateMultipartUploadResponse:
        """Begin an upload and give out a link for each of its parts.

        Raises:
            MlflowException: there are too many parts, or the server may not sign.
        """
        if not 1 <= num_parts <= MOST_PARTS:
            raise MlflowException(
                f"A file has 1 to {MOST_PARTS} parts, and not {num_parts}: "
                "set MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE to more bytes.",
                error_code=INVALID_PARAMETER_VALUE,
            )
        upload = self._upload(local_file, artifact_path)
        blob = self._blob(artifact_path, local_file)
        kind, _ = mimetypes.guess_type(blob.name)
        upload.initiate(_session(), kind or "application/octet-stream")
        which = upload.upload_id

        def part(number: int) -> MultipartUploadCredential:
            url = _link(blob, "PUT", LASTS, query_parameters={"partNumber": number, "uploadId": which})
            return MultipartUploadCredential(url=url, part_number=number, headers={})

        try:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                credentials = list(pool.map(part, range(1, num_parts + 1)))
        except MlflowException:
            upload.cancel(_session())
            raise
        return CreateMultipartUploadResponse(credentials=credentials, upload_id=which)

    def complete_multipart_upload(
        self, local_file: str, upload_id: str, parts: Any = None, artifact_path: str | None = None
    ) -> None:
        """Make the file of its parts."""
        upload = self._upload(local_file, artifact_path, upload_id)
        for each in parts:
            upload.register_part(each.part_number, each.etag)
        upload.finalize(_session(), timeout=(60, 600))  # seconds; Google says that it may take minutes

    def abort_multipart_upload(self, local_file: str, upload_id: str, artifact_path: str | None = None) -> None:
        """Give an upload up; what came of it is gone."""
        self._upload(local_file, artifact_path, upload_id).cancel(_session())

    def _upload(self, local_file: str, artifact_path: str | None, upload_id: str = "") -> XMLMPUContainer:
        blob = self._blob(artifact_path, local_file)
        # MLflow's own leaves the name as it is: one with a # or a ? in it would be another file.
        url = f"{self.client.api_endpoint}/{blob.bucket.name}/{quote(blob.name)}"
        return XMLMPUContainer(url, local_file, upload_id=quote(upload_id, safe="") or None)

    def _blob(self, artifact_path: str | None, local_file: str = "") -> Blob:
        """The object of an artifact; what the client calls its file may be a path of another system than this.

        Raises:
            MlflowException: the file's name is none: as a part of an address it would mean a folder.
        """
        name = ntpath.basename(local_file)
        if local_file and name in ("", ".", ".."):
            raise MlflowException(f"'{local_file}' is no name of a file.", error_code=INVALID_PARAMETER_VALUE)
        bucket, root = self.parse_gcs_uri(self.artifact_uri)
        return self._get_bucket(bucket).blob(posixpath.join(root, artifact_path or "", name).rstrip("/"))


def _link(blob: Blob, method: str, lasts: timedelta, **said: Any) -> str:
    """An address with which anybody may do this one thing.

    Raises:
        MlflowException: Google does not sign for the server's account, or does not answer.
    """
    try:
        return str(blob.generate_signed_url(lasts, method=method, version="v4", credentials=_signer(), **said))
    except GoogleAuthError as error:
        raise MlflowException(
            f"Google signs no link to the file at the moment: {error}", error_code=TEMPORARILY_UNAVAILABLE
        ) from None


@functools.cache
def _credentials() -> google.auth.credentials.Credentials:
    found, _ = google.auth.default(scopes=SCOPES)
    return found


@functools.cache
def _session() -> AuthorizedSession:
    """Requests as the account that the server runs as."""
    return AuthorizedSession(_credentials())


@functools.cache
def _signer() -> service_account.Credentials:
    """Credentials that sign as that account, by asking Google to."""
    send, email = Request(), os.environ[SIGNER]
    here = os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS", IAM)

    def ask(url: str, **said: Any) -> Any:
        answer = send(url=url.replace(IAM, here, 1), **said)
        if answer.status in (403, 404):  # for good: without this, an error like those that pass by themselves
            raise MlflowException(
                f"The server cannot sign a link to the file, as {email}: {answer.data.decode()} "
                "Whoever runs it mends that with: python -m provision up",
                error_code=PERMISSION_DENIED,
            )
        return answer

    return service_account.Credentials(iam.Signer(ask, _credentials(), email), email, token_uri="")
