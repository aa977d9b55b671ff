"""Blobs in Cloud Storage: where ledger and lease of a real deployment lie."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from google.api_core.exceptions import GoogleAPICallError, NotFound, PreconditionFailed, RetryError
from google.auth.exceptions import TransportError
from google.cloud.storage import Bucket
from google.cloud.storage.exceptions import DataCorruption
from google.cloud.storage.retry import DEFAULT_RETRY

from state.errors import Conflict, TooFast, Unclear
from state.store import Blob

_UNDER_OUR_EYES = 5  # how often a blob may be replaced between two requests of one read


class _Answer(threading.local):
    """The date of the last answer that this thread got."""

    date: datetime | None = None


class GcsStore:
    """A bucket, or a folder of it, as a store.

    Writes carry `ifGenerationMatch` and are sent once: the library's own retry would turn a lost answer into a 412 of
    our own making (https://docs.cloud.google.com/storage/docs/request-preconditions). Reads are retried by the library.
    Refusals (403, a bucket that is not there, an API that is off) come as `google.api_core.exceptions`.

    Args:
        bucket: a bucket of the client to use.
        prefix: the folder, "" for the whole bucket.
        timeout: seconds for one request, and for all tries of a read.
    """

    def __init__(self, bucket: Bucket, prefix: str = "", timeout: float = 20.0) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._timeout = timeout
        self._reads = DEFAULT_RETRY.with_timeout(timeout)
        self._answer = _Answer()
        # The library shows no headers, and the server's clock stands in one of them. A read costs nothing, while the
        # other way to learn the server's time is to write something.
        bucket.client._http.hooks["response"].append(self._note_date)  # noqa: SLF001

    def __str__(self) -> str:
        return f"gs://{self._bucket.name}/{self._prefix}"

    def get(self, name: str) -> Blob | None:
        """See `Store`."""
        for _ in range(_UNDER_OUR_EYES):
            blob = self._bucket.blob(self._prefix + name)
            with self._clear(name):
                try:
                    blob.reload(timeout=self._timeout, retry=self._reads)
                except NotFound:
                    return None
                updated, now = blob.updated, self._answer.date
                try:
                    data = blob.download_as_bytes(
                        if_generation_match=blob.generation, timeout=self._timeout, retry=self._reads
                    )
                except (NotFound, PreconditionFailed):
                    continue  # replaced or deleted just now
            return Blob(data, int(blob.generation), updated, now or updated)
        raise Unclear(name, "it was replaced during each of our reads")

    def put(self, name: str, data: bytes, if_generation: int) -> int:
        """See `Store`."""
        blob = self._bucket.blob(self._prefix + name)
        with self._clear(name, if_generation):
            blob.upload_from_string(
                data,
                content_type="application/json",
                if_generation_match=if_generation,
                timeout=self._timeout,
                retry=None,
            )
        if blob.generation is None:
            raise Unclear(name, "the answer names no generation")
        return int(blob.generation)

    def delete(self, name: str, if_generation: int) -> None:
        """See `Store`."""
        blob = self._bucket.blob(self._prefix + name)
        with self._clear(name, if_generation):
            try:
                blob.delete(if_generation_match=if_generation, timeout=self._timeout, retry=None)
            except NotFound:
                raise Conflict(name, if_generation) from None

    def list(self, prefix: str = "") -> list[str]:
        """See `Store`."""
        with self._clear(self._prefix + prefix):
            blobs = self._bucket.list_blobs(
                prefix=self._prefix + prefix,
                timeout=self._timeout,
                retry=self._reads,
                fields="items(name),nextPageToken",
            )
            return sorted(blob.name.removeprefix(self._prefix) for blob in blobs)

    @contextmanager
    def _clear(self, name: str, generation: int = 0) -> Iterator[None]:
        """Say in the store's words what an answer, or the lack of one, means."""
        try:
            yield
        except PreconditionFailed:
            raise Conflict(name, generation) from None
        except GoogleAPICallError as error:
            if error.code == requests.codes.too_many_requests:
                raise TooFast(name, error) from error
            if error.code == requests.codes.request_timeout or (error.code or 500) >= 500:
                raise Unclear(name, error) from error
            raise
        except (requests.RequestException, TransportError, RetryError, DataCorruption, ConnectionError) as error:
            raise Unclear(name, error) from error

    def _note_date(self, response: requests.Response, **_: Any) -> None:
        try:
            self._answer.date = parsedate_to_datetime(response.headers["Date"]).astimezone(UTC)
        except (KeyError, ValueError):
            self._answer.date = None
