"""Lets Google's discovery clients send over `requests`, once: httplib2 would send a POST again by itself.

httplib2 repeats a request when the connection closes before an answer, whatever its method, and an answer that was lost
would become a second resource. Here every fault comes out, and the engine reads before it acts again.
"""

from collections.abc import Mapping

import google.auth.credentials
import httplib2
import requests
from google.auth.transport.requests import AuthorizedSession


class Http:
    """What googleapiclient asks of an `httplib2.Http`, over a session of its own.

    Args:
        credentials: Whose requests they are.
        timeout: Seconds that one request may take.
    """

    def __init__(self, credentials: google.auth.credentials.Credentials, timeout: float) -> None:
        self.credentials = credentials
        self._timeout = timeout
        self._session: requests.Session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]  # google-auth

    def request(
        self,
        uri: str,
        method: str = "GET",
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        **_: object,
    ) -> tuple[httplib2.Response, bytes]:
        """Send once; returns the answer in httplib2's form.

        Raises:
            ConnectionError: No answer came.
        """
        try:
            answer = self._session.request(
                method, uri, data=body, headers=dict(headers or {}), timeout=self._timeout, allow_redirects=False
            )
        except requests.RequestException as error:
            raise ConnectionError(f"{type(error).__name__}: {error}") from error
        response = httplib2.Response({**answer.headers, "status": str(answer.status_code)})
        response.reason = answer.reason
        return response, answer.content

    def close(self) -> None:
        """Close the session's connections."""
        self._session.close()
