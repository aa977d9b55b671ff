"""What the environment says: the server, and where a signature comes from."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from mlflow_iap_auth.errors import BadSettings

NAME = "iap"
"""The value of MLFLOW_TRACKING_AUTH."""

SOURCES = ("impersonate", "key", "oidc")
"""Where a signature can come from, in the order in which they are tried."""

OWN = "own"
"""And the source that is never tried by itself: what it signs does not show the log pusher."""

_PORTS = {"http": 80, "https": 443}
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_APP_ENGINE = re.compile(r"(?:(?P<service>[a-z0-9-]+)-dot-)?(?P<project>[a-z0-9.-]+?)(?:\.[a-z]{2}\.r)?\.appspot\.com")


@dataclass(frozen=True)
class Settings:
    """How to get into one server. There is no secret in it.

    Args:
        origin: The server's scheme, host and, if not the usual one, port.
        account: E-mail of the log pusher; empty where nothing tells it.
        source: Where the signature comes from; empty: whichever there is.
        key_file: The path of a key file of the log pusher, or empty.
        client_id: The id of the door's OAuth client, for ID tokens, or empty.
        emulator: The base URL under which Google's APIs are served instead, or empty.
    """

    origin: str
    account: str = ""
    source: str = ""
    key_file: str = ""
    client_id: str = ""
    emulator: str = ""

    def google(self, url: str) -> str:
        """Where an address of Google's, `https://HOST/PATH`, is reached."""
        return f"{self.emulator}/{url.removeprefix('https://')}" if self.emulator else url

    @property
    def project(self) -> str:
        """The project of the log pusher, as far as its e-mail tells."""
        return self.account.partition("@")[2].partition(".iam.")[0]


def of(uri: str, environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings for a server.

    Args:
        uri: Its address, as in MLFLOW_TRACKING_URI.
        environ: The environment variables.

    Raises:
        BadSettings: They do not fit.
    """
    origin = origin_of(uri)
    if not origin:
        raise BadSettings(
            f"{_without_password(uri) or 'Nothing'} is no address of a server.",
            "export MLFLOW_TRACKING_URI=https://... as you were told it",
        )
    parts = urlsplit(origin)
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise BadSettings(
            f"A token is sent over https only, and {origin} is not.",
            f"export MLFLOW_TRACKING_URI=https://{parts.netloc}",
        )
    if "@" in uri or "?" in uri or "#" in uri or urlsplit(uri).path.strip("/"):
        raise BadSettings(
            f"{_without_password(uri)} is more than the address of a server: a page in it, or a user.",
            f"export MLFLOW_TRACKING_URI={origin}",
        )
    emulator = environ.get("MLFLOW_IAP_EMULATOR", "").rstrip("/")
    if emulator and urlsplit(origin_of(emulator)).hostname not in _LOOPBACK:
        raise BadSettings(
            "MLFLOW_IAP_EMULATOR is not on this machine: your sign-in would go there in the place of Google.",
            "unset MLFLOW_IAP_EMULATOR",
        )
    source = environ.get("MLFLOW_IAP_SOURCE", "")
    if source and source not in (*SOURCES, OWN):
        raise BadSettings(
            f"MLFLOW_IAP_SOURCE={source} is none of {', '.join((*SOURCES, OWN))}.",
            "unset MLFLOW_IAP_SOURCE to try all of them",
        )
    return Settings(
        origin=origin,
        account=environ.get("MLFLOW_IAP_ACCOUNT", "") or _account_at(parts.hostname or ""),
        source=source,
        key_file=environ.get("MLFLOW_IAP_KEY_FILE", ""),
        client_id=environ.get("MLFLOW_IAP_CLIENT_ID", ""),
        emulator=emulator,
    )


def origin_of(url: str) -> str:
    """Scheme, host and, if not the usual one, port of a web address, as RFC 6454 compares them; empty for all else."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    if parts.scheme not in _PORTS or not parts.hostname:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, _PORTS[parts.scheme]) else "")


def _without_password(uri: str) -> str:
    """An address as it may be repeated."""
    return uri.rpartition("@")[2]


def _account_at(host: str) -> str:
    """The log pusher of the App Engine service at a host; empty for other hosts.

    A domain-scoped project, `x.y:p`, is `p.x.y` both in the host and in the e-mail:
    https://cloud.google.com/appengine/docs/flexible/how-requests-are-routed
    """
    found = _APP_ENGINE.fullmatch(host)
    if found is None:
        return ""
    service = (found["service"] or "").rpartition("-dot-")[2]  # a version's own address begins with VERSION-dot-
    return f"{service or 'mlflow'}-log-pusher@{found['project']}.iam.gserviceaccount.com"
