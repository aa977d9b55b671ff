"""Credentials that ask before every request: the one place that all of Google's transports pass."""

from collections.abc import Callable, MutableMapping
from typing import Any

import google.auth.credentials
from google.auth import external_account


class GatedCredentials(google.auth.credentials.Credentials):
    """Other credentials, behind a gate.

    The three transports of Google's Python libraries (for storage, for discovery and GAPIC's REST) all call
    ``before_request`` for every request that they send, so a lost lease or a read-only command is enforced here.

    Args:
        inner: The credentials that sign.
        gate: Called with method and URL before each request; raises to refuse it.
    """

    def __init__(self, inner: google.auth.credentials.Credentials, gate: Callable[[str, str], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # google-auth is not fully typed
        self._inner = inner
        self._gate = gate

    def before_request(self, request: Any, method: str, url: str, headers: MutableMapping[str, str]) -> None:
        """Pass the gate, then let the inner credentials add their headers."""
        self._gate(method, url)
        self._inner.before_request(request, method, url, headers)  # type: ignore[no-untyped-call]  # google-auth

    def refresh(self, request: Any) -> None:
        """Renew the inner credentials."""
        self._inner.refresh(request)  # type: ignore[no-untyped-call]  # google-auth

    @property
    def token(self) -> Any:
        """The inner credentials' token."""
        return self._inner.token

    @token.setter
    def token(self, value: Any) -> None:
        if value is not None:
            self._inner.token = value

    @property
    def expired(self) -> bool:
        """Whether the inner token has expired."""
        return bool(self._inner.expired)

    @property
    def valid(self) -> bool:
        """Whether the inner token can be used."""
        return bool(self._inner.valid)

    @property
    def without_account(self) -> bool:
        """Whether an outside identity acts as itself, and not as one of Google's accounts.

        https://cloud.google.com/iam/docs/workload-identity-federation#access_management
        """
        return isinstance(self._inner, external_account.Credentials) and not self._inner.service_account_email

    @property
    def account(self) -> str:
        """E-mail of the account of Google's that they are of, or act as; empty where they are a person's.

        Those of a machine of Google's know it once they have a token; until then they say "default".
        """
        email = str(getattr(self._inner, "service_account_email", None) or "")
        return email if "@" in email else ""

    @property
    def universe_domain(self) -> str:
        """The universe of the inner credentials."""
        return str(self._inner.universe_domain)
