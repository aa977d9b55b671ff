"""The certificates of a database instance: a CA of its own, and the server's certificate that it signed."""

import datetime as dt
import ipaddress
import ssl
import uuid
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

TEN_YEARS = dt.timedelta(days=3652)
USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


class Certificates:
    """The CA and the server certificate of one instance, made on first use and kept in `folder`.

    The names are those of Cloud SQL: the CA is "Google Cloud SQL Server CA" with a qualifier of the instance's own, the
    server is "PROJECT:INSTANCE". https://cloud.google.com/sql/docs/postgres/authorize-ssl
    """

    def __init__(self, folder: Path, name: str, address: str, now: dt.datetime) -> None:
        self._ca = folder / "server-ca.pem"
        self._server = folder / "server.pem"  # its certificate and its key, as one file for load_cert_chain
        self._address = folder / "server.address"
        if self._server.exists() and self._address.read_text(encoding="ascii") == address:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self._make(name, address, now)

    def _make(self, name: str, address: str, now: dt.datetime) -> None:
        ca_key = ec.generate_private_key(ec.SECP256R1())
        issuer = x509.Name(
            [
                x509.NameAttribute(NameOID.DN_QUALIFIER, str(uuid.uuid4())),
                x509.NameAttribute(NameOID.COMMON_NAME, "Google Cloud SQL Server CA"),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Google, Inc"),
                x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
            ]
        )
        ca = (
            _certificate(issuer, issuer, ca_key.public_key(), ca_key.public_key(), now)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
            .sign(ca_key, hashes.SHA256())
        )
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[-64:])])
        server = (
            _certificate(subject, issuer, key.public_key(), ca_key.public_key(), now)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage("digital_signature"), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.SubjectAlternativeName(
                    [x509.DNSName("localhost"), x509.IPAddress(ipaddress.IPv4Address(address))]
                ),
                critical=False,
            )
            .sign(ca_key, hashes.SHA256())
        )
        # The CA's key is kept nowhere: a new address gets a new CA, as Cloud SQL's rotation does.
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self._ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
        self._server.touch(mode=0o600)
        self._server.write_bytes(server.public_bytes(serialization.Encoding.PEM) + private)
        self._address.write_text(address, encoding="ascii")

    def ca(self) -> dict[str, Any]:
        """The CA as Cloud SQL's `serverCaCert` tells it: PEM, names, times in RFC 3339, fingerprint in hex."""
        pem = self._ca.read_text(encoding="ascii")
        made = x509.load_pem_x509_certificate(pem.encode())
        qualifier = made.subject.get_attributes_for_oid(NameOID.DN_QUALIFIER)[0].value
        return {
            "cert": pem.strip(),
            "certSerialNumber": "0",
            "commonName": f"C=US,O=Google\\, Inc,CN=Google Cloud SQL Server CA,dnQualifier={qualifier!s}",
            "createTime": f"{made.not_valid_before_utc:%Y-%m-%dT%H:%M:%S}.000Z",
            "expirationTime": f"{made.not_valid_after_utc:%Y-%m-%dT%H:%M:%S}.000Z",
            "sha1Fingerprint": made.fingerprint(hashes.SHA1()).hex(),  # noqa: S303 - the field is called so
        }

    def server_side(self) -> ssl.SSLContext:
        """A context to end TLS with, TLS 1.2 or newer."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._server)
        return context


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePublicKey,
    now: dt.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=1))  # clocks of a container and its host differ a little
        .not_valid_after(now + TEN_YEARS)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _usage(*names: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in names for usage in USAGES})
