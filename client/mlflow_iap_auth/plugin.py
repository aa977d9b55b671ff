"""What MLflow finds by its entry points: the request auth provider `iap`, and what keeps files in buckets.

https://mlflow.org/docs/latest/ml/plugins/ tells of their kinds. A request header provider would not do: it does not
learn to whom a request goes, so the token would go to any server. MLflow loads this module while it is loaded itself.
"""

import os
from typing import Any
from urllib.parse import urlsplit

import mlflow

from mlflow_iap_auth import settings
from mlflow_iap_auth.door import TOKENS, SignIn

SIGN_IN = SignIn(lambda: str(mlflow.get_tracking_uri()), TOKENS)

IN_PARTS = {
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "true",  # before 3.15, MLflow does not ask whether the server takes them
    "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE": str(16 * 1024 * 1024),
}
"""Where files go to signed addresses, larger ones go in parts: App Engine takes 32 MB in one request."""


class Provider:
    """MLFLOW_TRACKING_AUTH=iap."""

    def get_name(self) -> str:
        """The value of MLFLOW_TRACKING_AUTH."""
        return settings.NAME

    def get_auth(self) -> SignIn:
        """What signs requests; MLflow asks for each of them."""
        for name, value in IN_PARTS.items():
            os.environ.setdefault(name, value)
        return SIGN_IN


def repository(artifact_uri: str, **uris: str | None) -> Any:  # MLflow has no types
    """MLflow's own repository for buckets; for the door's own bucket it acts as the log pusher.

    Args:
        artifact_uri: gs://BUCKET/FOLDER.
        **uris: tracking_uri and registry_uri, as MLflow gives them.

    Raises:
        AccessError: The door cannot be asked for its bucket.
    """
    from mlflow.store.artifact.gcs_artifact_repo import GCSArtifactRepository

    tracking_uri = mlflow.get_tracking_uri()
    if os.environ.get("MLFLOW_TRACKING_AUTH") == settings.NAME and settings.origin_of(tracking_uri):
        from mlflow_iap_auth import artifacts

        here = settings.of(tracking_uri)
        if artifacts.is_own(here, urlsplit(artifact_uri).netloc):
            return artifacts.Repository(artifact_uri, here, **uris)
    return GCSArtifactRepository(artifact_uri, **uris)
