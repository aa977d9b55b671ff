"""Log a run to the deployment, as a data scientist's own program would: parameters, metrics and a file.

    pip install mlflow-iap-auth mlflow-skinny                   # client/README.md tells where it is
    export MLFLOW_TRACKING_URI=https://... MLFLOW_TRACKING_AUTH=iap
    python examples/log_a_run.py

There is nothing of ours in here. Parameters and metrics go through the front door; the file goes straight to the
bucket, so no limit of the front door applies to it. docs/how-to/log-from-your-code.md tells of other ways.
"""

import os
import sys

import mlflow


def main() -> int:
    """Log one run; the exit code says whether it went well."""
    if "MLFLOW_TRACKING_URI" not in os.environ:
        sys.stderr.write("MLFLOW_TRACKING_URI must be set to the address of the server; `up` prints it.\n")
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
