"""MLflow's client signs in to Identity-Aware Proxy by itself."""

import os
import sys

from mlflow_iap_auth.errors import AccessError

__version__ = "0.1.0"
__all__ = ["AccessError", "OAuthMLflow", "login"]


def login(uri: str) -> None:
    """Log to a server from here on, and say as whom.

    Args:
        uri: Its address: https://...

    Raises:
        AccessError: There is no access; it says what to do about it.
    """
    from mlflow_iap_auth import settings, signatures
    from mlflow_iap_auth.door import TOKENS
    from mlflow_iap_auth.errors import BadSettings
    from mlflow_iap_auth.tokens import FOR_BUCKETS

    here = settings.of(uri)
    for tokens in (TOKENS, FOR_BUCKETS):
        tokens.forget(here)
    account = signatures.account_of(TOKENS.current(here))
    try:
        import mlflow
    except ImportError as error:
        raise BadSettings(f"MLflow cannot be used here: {error}", "pip install mlflow-skinny") from error
    os.environ["MLFLOW_TRACKING_AUTH"] = settings.NAME
    mlflow.set_tracking_uri(uri)
    sys.stdout.write(f"You are {signatures.who(here)}, and log as {account}.\n{uri}\n")


class OAuthMLflow:
    """The name by which programs may know `login` from before."""

    set_tracking_uri = staticmethod(login)
