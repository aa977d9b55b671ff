"""Every Google client is made here: lazily, per thread where the library needs it, and all through one gate.

Under the emulator, ``https://HOST/PATH`` is served at ``http://127.0.0.1:PORT/HOST/PATH``; nothing else differs.
"""

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import google.auth.credentials
    from google.cloud import iam_credentials_v1, resourcemanager_v3, secretmanager_v1
    from google.cloud.storage import Client as StorageClient

    from provision.gate import GatedCredentials

TIMEOUT = 25.0
"""Seconds that one request may take; the lease is renewed so early that it outlasts one."""

READING_VERBS = (
    ":getIamPolicy", ":testIamPermissions", ":signJwt", ":generateAccessToken", "/entries:list", ":getAncestry",
)  # fmt: skip
"""POST methods that change nothing."""

Gate = Callable[[str, str], None]
"""Called before every request with its method and URL; raises to refuse it."""

C = TypeVar("C")


def _open_gate(method: str, url: str) -> None:
    """Let every request pass."""


def changes_something(method: str, url: str) -> bool:
    """Tell a changing request from a reading one."""
    return method not in {"GET", "HEAD"} and not url.partition("?")[0].endswith(READING_VERBS)


class Gcp:
    """All clients for one project.

    Args:
        project: The project's id.
        credentials: Whom to be; Application Default Credentials when None.
        emulator: Base URL of the emulator, or None for Google.
        gate: What every request has to pass; the engine sets the lease's check here.
    """

    def __init__(
        self,
        project: str,
        credentials: "google.auth.credentials.Credentials | None" = None,
        emulator: str | None = None,
        gate: Gate | None = None,
    ) -> None:
        self.project = project
        self.emulator = emulator.rstrip("/") if emulator else None
        self.gate: Gate = gate or _open_gate
        self._given = credentials
        self._local = threading.local()
        self._connections: list[Any] = []
        # It would make Google's clients log what they send, secrets too.
        os.environ.pop("GOOGLE_SDK_PYTHON_LOGGING_SCOPE", None)
        self._lock = threading.RLock()

    @functools.cached_property
    def credentials(self) -> "GatedCredentials":
        """The credentials of every client, behind the gate."""
        from provision.gate import GatedCredentials

        return GatedCredentials(self._own, self._pass_gate)

    @functools.cached_property
    def _own(self) -> "google.auth.credentials.Credentials":
        """The credentials themselves."""
        if self._given is not None:
            return self._given
        import google.auth

        found, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"], quota_project_id=None)
        return found

    @property
    def quota_project(self) -> str:
        """The project that the credentials name to pay for the calls; empty when they name none."""
        return str(getattr(self._own, "quota_project_id", None) or "")

    @property
    def is_person(self) -> bool:
        """Whether the credentials are those of a person who has signed in, and not of an account."""
        from google.oauth2.credentials import Credentials

        return isinstance(self._own, Credentials) and not self.emulator

    # Clients with a transport of their own

    @functools.cached_property
    def projects(self) -> "resourcemanager_v3.ProjectsClient":
        """Resource Manager v3, projects."""
        from google.cloud import resourcemanager_v3

        return self._gapic(resourcemanager_v3.ProjectsClient, "cloudresourcemanager")

    @functools.cached_property
    def secrets(self) -> "secretmanager_v1.SecretManagerServiceClient":
        """Secret Manager v1."""
        from google.cloud import secretmanager_v1

        return self._gapic(secretmanager_v1.SecretManagerServiceClient, "secretmanager")

    @functools.cached_property
    def credentials_api(self) -> "iam_credentials_v1.IAMCredentialsClient":
        """IAM Credentials v1: tokens and signatures of service accounts."""
        from google.cloud import iam_credentials_v1

        return self._gapic(iam_credentials_v1.IAMCredentialsClient, "iamcredentials")

    @functools.cached_property
    def storage(self) -> "StorageClient":
        """Cloud Storage, for objects; buckets are described by `buckets`."""
        from google.cloud.storage import Client

        # Always named: else STORAGE_EMULATOR_HOST, which `up --local` has one set for MLflow's client, would say it.
        endpoint = f"{self.emulator}/storage.googleapis.com" if self.emulator else "https://storage.googleapis.com"
        return Client(project=self.project, credentials=self.credentials, client_options={"api_endpoint": endpoint})

    # Clients made from a discovery document

    resources = property(
        lambda self: self._discovery("cloudresourcemanager", "v1"), doc="Resource Manager v1: what a project lies in."
    )
    iam = property(lambda self: self._discovery("iam", "v1"), doc="IAM v1: service accounts.")
    compute = property(lambda self: self._discovery("compute", "v1", "compute/v1/"), doc="Compute v1: networking.")
    sql = property(lambda self: self._discovery("sqladmin", "v1"), doc="Cloud SQL Admin v1.")
    appengine = property(lambda self: self._discovery("appengine", "v1"), doc="App Engine Admin v1.")
    iap = property(lambda self: self._discovery("iap", "v1"), doc="Identity-Aware Proxy v1.")
    serviceusage = property(lambda self: self._discovery("serviceusage", "v1"), doc="Service Usage v1.")
    serviceusage_beta = property(
        lambda self: self._discovery("serviceusage", "v1beta1"), doc="Service Usage v1beta1: service identities."
    )
    servicenetworking = property(lambda self: self._discovery("servicenetworking", "v1"), doc="Service Networking v1.")
    artifactregistry = property(lambda self: self._discovery("artifactregistry", "v1"), doc="Artifact Registry v1.")
    cloudbuild = property(lambda self: self._discovery("cloudbuild", "v1"), doc="Cloud Build v1.")
    billing = property(lambda self: self._discovery("cloudbilling", "v1"), doc="Cloud Billing v1.")
    orgpolicy = property(lambda self: self._discovery("orgpolicy", "v2"), doc="Organization Policy v2.")
    logging = property(lambda self: self._discovery("logging", "v2"), doc="Cloud Logging v2.")
    buckets = property(lambda self: self._discovery("storage", "v1", "storage/v1/"), doc="Cloud Storage v1: buckets.")

    def origin(self, service: str, default_hostname: str) -> str:
        """Where a service of the App Engine application is reached: scheme, host and, if not the usual one, port.

        Args:
            service: The service's name.
            default_hostname: As ``apps.get`` says it; a service is at ``SERVICE-dot-HOSTNAME``
                (https://cloud.google.com/appengine/docs/flexible/how-requests-are-routed).
        """
        if self.emulator:
            import requests

            asked = {"app": self.project, "service": service}
            door = requests.get(f"{self.emulator}/emulator/doors", params=asked, timeout=TIMEOUT).json()
            return f"{door['scheme']}://{door['host']}:{door['port']}"
        return f"https://{default_hostname}" if service == "default" else f"https://{service}-dot-{default_hostname}"

    @contextlib.contextmanager
    def asking_as(self, request: str) -> Iterator[None]:
        """Let the changing call that this thread makes of Compute Engine carry an id; no other API takes one.

        Asked a second time under the same id, Google answers with the operation that it began the first time
        (https://docs.cloud.google.com/compute/docs/reference/rest/v1/networks/insert, requestId).

        Args:
            request: A UUID that is not zero.
        """
        self._local.request = request
        try:
            yield
        finally:
            self._local.request = ""

    def close(self) -> None:
        """Close every connection of every thread."""
        for http in self._connections:
            http.close()
        self._connections.clear()
        self._local = threading.local()
        for name in ("projects", "secrets", "credentials_api"):
            if name in self.__dict__:
                self.__dict__.pop(name).transport.close()
        if "storage" in self.__dict__:
            self.__dict__.pop("storage").close()

    def _pass_gate(self, method: str, url: str) -> None:
        self.gate(method, url)  # looked up at every request: the engine sets it after the clients are made

    def _gapic(self, client: Callable[..., C], name: str) -> C:
        options = {"api_endpoint": f"{self.emulator}/{name}.googleapis.com"} if self.emulator else None
        with self._lock:
            return client(transport="rest", credentials=self.credentials, client_options=options)

    def _discovery(self, name: str, version: str, base: str = "") -> Any:
        """Build a client once; its requests go out over a connection of their thread: sessions are not thread-safe."""
        built: dict[tuple[str, str], Any] = self.__dict__.setdefault("_built", {})
        with self._lock:
            if (name, version) not in built:
                from googleapiclient import discovery

                endpoint = f"{self.emulator}/{name}.googleapis.com/{base}" if self.emulator else None
                built[name, version] = discovery.build(
                    name,
                    version,
                    http=self._connection(),
                    requestBuilder=self._request,
                    client_options={"api_endpoint": endpoint} if endpoint else None,
                    static_discovery=True,
                    cache_discovery=False,
                )
        return built[name, version]

    def _request(self, http: Any, *args: Any, **kwargs: Any) -> Any:
        from googleapiclient.http import HttpRequest

        made = HttpRequest(self._connection(), *args, **kwargs)
        known_as = getattr(self._local, "request", "")
        if known_as and made.method != "GET" and str(made.methodId).startswith("compute."):
            made.uri += f"&requestId={known_as}"  # after ?alt=json, which every request of the library has
        return made

    def _connection(self) -> Any:
        if not hasattr(self._local, "http"):
            from provision.transport import Http

            self._local.http = Http(self.credentials, TIMEOUT)
            self._connections.append(self._local.http)
        return self._local.http
