"""The machines behind the control plane: databases and servers that really run, or none at all."""

from pathlib import Path
from typing import Any, Protocol

Json = dict[str, Any]


class Machines(Protocol):
    """What the API files ask of the machines. All calls return at once; `..._ready` and `..._health` tell the rest."""

    def database_start(self, name: str, spec: Json) -> None:
        """Start the database of instance `name` (`projects/p/instances/i`); `spec` has address, version and users."""

    def database_ready(self, name: str) -> bool:
        """Whether it takes connections."""

    def database_stop(self, name: str) -> None:
        """Stop it and keep its data."""

    def database_delete(self, name: str) -> None:
        """Stop it and remove its data."""

    def database_create(self, name: str, db: str) -> None:
        """CREATE DATABASE."""

    def database_drop(self, name: str, db: str) -> None:
        """DROP DATABASE."""

    def database_set_user(self, name: str, user: str, password: str) -> None:
        """Create the user, or give it a new password."""

    def database_drop_user(self, name: str, user: str) -> None:
        """DROP ROLE."""

    def database_ca(self, name: str) -> Json:
        """The instance's CA: cert (PEM), commonName, createTime, expirationTime, sha1Fingerprint, certSerialNumber."""

    def version_start(  # what names a version, and what it runs
        self, app: str, service: str, version: str, spec: Json, image_dir: Path | None, account: str
    ) -> None:
        """Run a version of an App Engine service from the built image's folder, or the hello page without one."""

    def version_health(self, app: str, service: str, version: str) -> str:
        """Either "starting", "healthy" or "failed"."""

    def version_log(self, app: str, service: str, version: str) -> list[str]:
        """What it wrote, oldest line first."""

    def version_stop(self, app: str, service: str, version: str) -> None:
        """Stop it."""

    def door(self, app: str, service: str) -> Json:
        """Where the service is reached: scheme, host, port."""

    def reset(self) -> None:
        """Stop everything that runs, and remove all data."""

    def close(self) -> None:
        """Stop everything that runs, and keep all data."""


class NoMachines:
    """Everything is ready at once and nothing runs: for tests of the control plane."""

    def database_start(self, name: str, spec: Json) -> None:
        """Nothing to start."""

    def database_ready(self, name: str) -> bool:
        """Always."""
        return bool(name)

    def database_stop(self, name: str) -> None:
        """Nothing to stop."""

    def database_delete(self, name: str) -> None:
        """Nothing to delete."""

    def database_create(self, name: str, db: str) -> None:
        """Nothing to create."""

    def database_drop(self, name: str, db: str) -> None:
        """Nothing to drop."""

    def database_set_user(self, name: str, user: str, password: str) -> None:
        """Nobody to set."""

    def database_drop_user(self, name: str, user: str) -> None:
        """Nobody to drop."""

    def database_ca(self, name: str) -> Json:
        """A certificate in form only."""
        return {
            "cert": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
            "certSerialNumber": "0",
            "commonName": f"C=US,O=Google\\, Inc,CN=Google Cloud SQL Server CA,dnQualifier={name.rsplit('/', 1)[-1]}",
            "createTime": "2026-01-01T00:00:00.000Z",
            "expirationTime": "2036-01-01T00:00:00.000Z",
            "sha1Fingerprint": "0" * 40,
        }

    def version_start(  # what names a version, and what it runs
        self, app: str, service: str, version: str, spec: Json, image_dir: Path | None, account: str
    ) -> None:
        """Nothing to run."""

    def version_health(self, app: str, service: str, version: str) -> str:
        """Always healthy."""
        return "healthy" if app and service and version else "failed"

    def version_log(self, app: str, service: str, version: str) -> list[str]:
        """It wrote nothing."""
        del app, service, version
        return []

    def version_stop(self, app: str, service: str, version: str) -> None:
        """Nothing to stop."""

    def door(self, app: str, service: str) -> Json:
        """The address that App Engine would give, which nobody answers."""
        host = f"{app}.appspot.com" if service == "default" else f"{service}-dot-{app}.appspot.com"
        return {"scheme": "https", "host": host, "port": 443}

    def reset(self) -> None:
        """Nothing to remove."""

    def close(self) -> None:
        """Nothing to close."""
