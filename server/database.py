"""Where the server's database is and how to get in: its private address, its CA, the password.

Everything is asked from Google's APIs as the account that the server runs as. Whatever is missing is `NotYet`: the
server is deployed while its database is still being made.
"""

import base64
import binascii
import functools
import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2
from psycopg2 import extensions

# All three are addresses of Google's own network: a proxy from the environment has no business with our tokens.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class NotYet(Exception):
    """Something that the server needs is not there yet; the text says what."""


@dataclass(frozen=True)
class Database:
    """A database that is said to be there, and the credentials for it."""

    address: str
    ca: Path
    name: str
    user: str
    password: str = field(repr=False)

    @property
    def uri(self) -> str:
        """The URI for SQLAlchemy, password included.

        It names the driver, since the default one differs between versions of SQLAlchemy, and no port: libpq takes
        PGPORT, or 5432.
        """
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        options = f"sslmode=verify-ca&sslrootcert={quote(str(self.ca), safe='')}&connect_timeout=10"
        return f"postgresql+psycopg2://{login}@{self.address}/{quote(self.name, safe='')}?{options}"

    def connect(self) -> extensions.connection:
        """Open a connection in autocommit mode.

        Raises:
            psycopg2.OperationalError: no such server, user or database, or a certificate of another CA.
        """
        connection = psycopg2.connect(
            host=self.address,
            dbname=self.name,
            user=self.user,
            password=self.password,
            sslmode="verify-ca",
            sslrootcert=str(self.ca),
            connect_timeout=5,
        )
        connection.autocommit = True
        return connection


def find(env: Mapping[str, str], ca: Path) -> Database:
    """Ask Google where the database is and what its password is.

    Args:
        env: DATABASE_INSTANCE, DATABASE_NAME, DATABASE_USER and DATABASE_PASSWORD_VERSION.
        ca: the file to write the instance's CA certificate to, since libpq takes a file only.

    Raises:
        NotYet: the instance is not running, the password is not there, or we may not read them (yet).
    """
    token = access_token()
    address, certificate = read_instance(token, env["DATABASE_INSTANCE"])
    password = read_password(token, env["DATABASE_PASSWORD_VERSION"])
    ca.write_text(certificate, encoding="ascii")
    return Database(address, ca, env["DATABASE_NAME"], env["DATABASE_USER"], password)


def access_token() -> str:
    """A token of the account that this workload runs as.

    https://docs.cloud.google.com/compute/docs/access/authenticate-workloads
    """
    host = os.environ.get("GCE_METADATA_HOST", "metadata.google.internal")
    url = f"http://{host}/computeMetadata/v1/instance/service-accounts/default/token"
    token: str = _get("the metadata server", url, {"Metadata-Flavor": "Google"})["access_token"]
    return token


def read_instance(token: str, connection_name: str) -> tuple[str, str]:
    """The private address of a Cloud SQL instance and the certificate (PEM) of the CA that signs for it.

    https://docs.cloud.google.com/sql/docs/postgres/admin-api/rest/v1/instances
    """
    project, _, name = connection_name.rsplit(":", 2)  # a project of a domain has a colon of its own
    base = _api("CLOUDSDK_API_ENDPOINT_OVERRIDES_SQL", "https://sqladmin.googleapis.com/")
    url = f"{base}/v1/projects/{quote(project, safe='')}/instances/{quote(name, safe='')}"
    instance = _get(f"the instance {connection_name}", url, {"Authorization": f"Bearer {token}"})
    if instance.get("state") != "RUNNABLE":
        raise NotYet(f"the instance {connection_name} is {instance.get('state')}")
    addresses = [each["ipAddress"] for each in instance.get("ipAddresses", ()) if each.get("type") == "PRIVATE"]
    certificate = instance.get("serverCaCert", {}).get("cert")
    if not addresses or not certificate:
        raise NotYet(f"the instance {connection_name} has no private address or no CA certificate")
    return addresses[0], certificate


def read_password(token: str, version: str) -> str:
    """The payload of a secret version, checked against its checksum.

    https://docs.cloud.google.com/secret-manager/docs/data-integrity
    """
    base = _api("CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER", "https://secretmanager.googleapis.com/")
    answer = _get(f"the password {version}", f"{base}/v1/{version}:access", {"Authorization": f"Bearer {token}"})
    try:
        data = base64.b64decode(answer["payload"]["data"], validate=True)
        intact = crc32c(data) == int(answer["payload"]["dataCrc32c"])
    except (KeyError, binascii.Error):
        intact = False
    if not intact:
        raise NotYet(f"the password {version} arrived damaged: its checksum does not fit")
    return data.decode()


def crc32c(data: bytes) -> int:
    """The Castagnoli CRC-32 (RFC 3720, appendix B.4), which neither zlib nor binascii has."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _crc32c_table()[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


@functools.cache
def _crc32c_table() -> tuple[int, ...]:
    def entry(byte: int) -> int:
        return functools.reduce(lambda crc, _: (crc >> 1) ^ (0x82F63B78 * (crc & 1)), range(8), byte)

    return tuple(map(entry, range(256)))


def _api(variable: str, default: str) -> str:
    return os.environ.get(variable, default).rstrip("/")


def _get(what: str, url: str, headers: dict[str, str]) -> Any:
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http or https, from the environment's owner
    try:
        with _direct.open(request, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            raise NotYet(f"{what}: HTTP {error.code} {_message(error.read(10_000))}".rstrip()) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NotYet(f"{what}: {error}") from None


def _message(body: bytes) -> str:
    """Google's own words in an error's body, or nothing: other bodies are pages of HTML."""
    try:
        return str(json.loads(body)["error"]["message"])[:500]
    except (ValueError, LookupError, TypeError):
        return ""
