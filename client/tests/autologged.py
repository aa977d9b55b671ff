"""Two programs of the flow that MLflow's own examples have: switch autolog on, train, and look at what was logged.

    python autologged.py scikit-learn    # https://github.com/mlflow/mlflow/tree/master/examples/sklearn_autolog
    python autologged.py xgboost         # https://github.com/mlflow/mlflow/tree/master/examples/xgboost

Nothing in here knows of a door. Each says in one line of JSON what it found.
"""

import json
import sys
from collections.abc import Iterator

import mlflow
import mlflow.sklearn
import mlflow.xgboost
import xgboost
from mlflow import MlflowClient
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.svm import SVC


def searched() -> dict[str, object]:
    """Search for the best parameters; each try is a run below that of the search."""
    mlflow.sklearn.autolog()
    data = load_iris()
    search = GridSearchCV(SVC(), {"kernel": ["linear", "rbf"], "C": [1, 10]}, cv=3)
    with mlflow.start_run() as run:
        search.fit(data.data, data.target)
    tries = mlflow.search_runs(filter_string=f"tags.mlflow.parentRunId = '{run.info.run_id}'")
    loaded = mlflow.sklearn.load_model(f"runs:/{run.info.run_id}/best_estimator")
    same = bool((loaded.predict(data.data) == search.predict(data.data)).all())
    return {"tries": len(tries), "predicts the same": same, **logged(run.info.run_id)}


def boosted() -> dict[str, object]:
    """Boost some trees, and log a metric of one's own beside those of autolog."""
    mlflow.xgboost.autolog()
    data = load_iris()
    seen, unseen, labels, expected = train_test_split(data.data, data.target, test_size=0.2, random_state=1)
    train, test = xgboost.DMatrix(seen, label=labels), xgboost.DMatrix(unseen, label=expected)
    settings = {"objective": "multi:softmax", "num_class": 3, "eval_metric": "mlogloss", "eta": 0.3}
    with mlflow.start_run() as run:
        model = xgboost.train(settings, train, num_boost_round=5, evals=[(train, "train")])
        mlflow.log_metric("accuracy", float((model.predict(test) == expected).mean()))
    steps = MlflowClient().get_metric_history(run.info.run_id, "train-mlogloss")
    loaded = mlflow.xgboost.load_model(f"runs:/{run.info.run_id}/model")
    same = bool((loaded.predict(test) == model.predict(test)).all())
    return {"steps": len(steps), "predicts the same": same, **logged(run.info.run_id)}


def logged(run: str) -> dict[str, object]:
    """What the server and the bucket have of a run."""
    data = MlflowClient().get_run(run).data
    return {"params": data.params, "metrics": sorted(data.metrics), "files": sorted(files(run))}


def files(run: str, folder: str | None = None) -> Iterator[str]:
    """The paths of a run's files."""
    for found in MlflowClient().list_artifacts(run, folder):
        if found.is_dir:
            yield from files(run, found.path)
        else:
            yield found.path


if __name__ == "__main__":
    sys.stdout.write(json.dumps({"scikit-learn": searched, "xgboost": boosted}[sys.argv[1]]()) + "\n")
