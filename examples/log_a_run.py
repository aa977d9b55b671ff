"""Log a run to the deployment, as a data scientist's own program would: parameters, metrics and a file.

    export MLFLOW_TRACKING_URI=...                              # as `up` prints it
    export MLFLOW_TRACKING_TOKEN=$(python -m provision token)   # good for an hour
    python examples/log_a_run.py

There is nothing of ours in here: `pip install mlflow google-cloud-storage` is all it needs. Parameters and metrics go
through the front door, with the token. The file goes straight to the bucket, with the rights of whoever runs this
(docs/how-to/log-from-your-code.md tells how to get them), so no limit of the front door applies to it.
"""

import os
import sys

import mlflow


def main() -> int:
    """Log one run; the exit code says whether it went well."""
    missing = [name for name in ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN") if name not in os.environ]
    if missing:
        sys.stderr.write(f"{' and '.join(missing)} must be set; `python -m provision up` prints how.\n")
        return 1
    mlflow.set_experiment("examples")
    with mlflow.start_run(run_name="a first run") as run:
        mlflow.log_params({"learning_rate": 0.1, "epochs": 5})
        for epoch in range(5):
            mlflow.log_metric("loss", 1 / (1 + epoch), step=epoch)
        mlflow.log_text("What a run leaves behind.\n", "notes/hello.txt")
    sys.stdout.write(f"Logged run {run.info.run_id}.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
