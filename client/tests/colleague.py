"""A colleague's program: everything that MLflow's client does, from eight threads and after a fork.

It is run with two environment variables, and says in one line of JSON what it found.
"""

import json
import os
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import pandas as pd
from mlflow import MlflowClient
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

THREADS, EACH = 8, 5


def model_and_registry() -> dict[str, object]:
    """Train with autolog, register, give it an alias, and load it by that."""
    data = load_iris(as_frame=True)
    mlflow.autolog(log_datasets=False, log_models=False, silent=True)
    with mlflow.start_run(run_name="training") as outside:
        mlflow.log_params({"seed": 1})
        with mlflow.start_run(run_name="inside", nested=True) as inside:
            mlflow.log_metric("loss", 0.5, step=1)
        model = LogisticRegression(max_iter=200).fit(data.data, data.target)
        how = {"serialization_format": "cloudpickle", "pip_requirements": ["scikit-learn"]}  # skops is not here
        info = mlflow.sklearn.log_model(model, name="model", registered_model_name="iris", **how)
    mlflow.autolog(disable=True)
    MlflowClient().set_registered_model_alias("iris", "champion", info.registered_model_version)
    loaded = mlflow.pyfunc.load_model("models:/iris@champion")
    same = bool((pd.Series(loaded.predict(data.data)) == pd.Series(model.predict(data.data))).all())
    parent = MlflowClient().get_run(inside.info.run_id).data.tags["mlflow.parentRunId"]
    return {"predicts the same": same, "nested": parent == outside.info.run_id}


def trace() -> dict[str, object]:
    """A function that is traced."""

    @mlflow.trace
    def answer(question: str) -> str:
        return question.upper()

    answer("why")
    mlflow.flush_trace_async_logging()
    found = mlflow.get_trace(mlflow.get_last_active_trace_id())
    return {"trace": found.data.spans[0].name}


def threads(experiment: str) -> dict[str, object]:
    """Runs with files from eight threads at once."""

    def log(number: int) -> str:
        client = MlflowClient()
        run = client.create_run(experiment)
        for step in range(EACH):
            client.log_metric(run.info.run_id, "loss", 1 / (1 + step), step=step)
        client.log_text(run.info.run_id, str(number), "number.txt")
        client.set_terminated(run.info.run_id)
        return str(run.info.run_id)

    with ThreadPoolExecutor(THREADS) as pool:
        runs = list(pool.map(log, range(THREADS)))
    metrics = [len(MlflowClient().get_metric_history(run, "loss")) for run in runs]
    texts = [mlflow.artifacts.load_text(f"runs:/{run}/number.txt") for run in runs]
    return {"metrics": sum(metrics), "texts": texts}


def forked(experiment: str) -> dict[str, object]:
    """A child goes on, with the token of its parent and with connections of its own."""
    with warnings.catch_warnings():  # Python warns of forks while threads run; that is what is tried here
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        run = MlflowClient().create_run(experiment)
        MlflowClient().log_text(run.info.run_id, "from the child", "child.txt")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return {"child": os.waitstatus_to_exitcode(status)}


def main() -> None:
    """All of it, in one experiment."""
    experiment = mlflow.set_experiment("colleague").experiment_id
    found = model_and_registry() | trace() | threads(experiment) | forked(experiment)
    with TemporaryDirectory() as folder, mlflow.start_run():
        path = Path(folder) / "file.bin"
        path.write_bytes(b"1")
        mlflow.log_artifact(str(path))
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
