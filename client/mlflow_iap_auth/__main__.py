"""`python -m mlflow_iap_auth`: looks whether you get in, and says as whom."""

import os
import sys

from mlflow_iap_auth import login
from mlflow_iap_auth.errors import AccessError, BadSettings
from mlflow_iap_auth.settings import NAME


def main() -> int:
    """Check; the exit code is 0 when there is access."""
    try:
        if os.environ.get("MLFLOW_TRACKING_AUTH") != NAME:
            raise BadSettings(
                "MLflow does not sign in: MLFLOW_TRACKING_AUTH is not set.",
                f"export MLFLOW_TRACKING_AUTH={NAME}",
            )
        login(os.environ.get("MLFLOW_TRACKING_URI", ""))
    except AccessError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
