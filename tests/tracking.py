"""A tracking server of a few lines, for tests whose subject is who asks it: MLflow's REST API, in memory.

It answers as MLflow 3.17 does, as far as it goes; the journey asks the real one.
"""

import contextlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Json = dict[str, Any]
Answer = tuple[int, dict[str, str], str]

IAP = {"x-goog-iap-generated-response": "true"}
API = "/api/2.0/mlflow/"
FILES = "/api/2.0/mlflow-artifacts/"
LINKED = "/storage.googleapis.com/the-artifacts/artifacts/"
SHUT: Answer = (401, IAP, "Invalid IAP credentials: empty token")


@dataclass(frozen=True)
class Asked:
    """One request: its method, path and token."""

    method: str
    path: str
    token: str


@dataclass
class Tracking:
    """What the server knows, and how it misbehaves.

    Args:
        root: Where runs keep their files: ``gs://BUCKET/FOLDER``, or ``mlflow-artifacts:`` where it gives out links.
        shut: Whether it plays the front door too, which refuses who has no token.
        instead: Asked before each answer; may give another one in its place.
    """

    root: str = "gs://nowhere/artifacts"
    shut: bool = True
    instead: Callable[[Asked], Answer | None] = lambda asked: None
    experiments: dict[str, Json] = field(default_factory=dict)
    runs: dict[str, Json] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    port: int = 0

    def forget(self) -> None:
        """Be as on the first day."""
        self.instead = lambda asked: None
        for known in (self.experiments, self.runs, self.files, self.asked):
            known.clear()

    def answer(self, asked: Asked, fields: Json) -> Answer:
        """What one request is answered."""
        self.asked.append(asked)
        if (other := self.instead(asked)) is not None:
            return other
        if asked.path in self.files:
            return 200, {}, self.files[asked.path]
        if self.shut and not asked.token:
            return SHUT
        if asked.path == "/api/3.0/mlflow/server-info":
            return 200, {"content-type": "application/json"}, json.dumps({"multipart_downloads_enabled": self.signs})
        if asked.path.startswith(FILES):
            return self._linked(asked, fields)
        if not asked.path.startswith(API):
            return 200, {}, "OK"
        name = asked.path.removeprefix(API).translate(str.maketrans("/-", "__"))
        status, body = getattr(self, f"_{name}")(fields)
        return status, {"content-type": "application/json"}, json.dumps(body)

    @property
    def signs(self) -> bool:
        """Whether files are reached by links of its own."""
        return self.root.startswith("mlflow-artifacts:")

    def _linked(self, asked: Asked, fields: Json) -> Answer:
        """Take a file, or give out a link to one: to itself, in the place of the bucket."""
        what, _, name = asked.path.removeprefix(FILES).partition("/")
        if what == "artifacts":
            self.files[LINKED + name] = fields["content"]
            return 200, {}, ""
        if LINKED + name not in self.files:
            return 404, {}, '{"error_code": "RESOURCE_DOES_NOT_EXIST"}'
        return 200, {}, json.dumps({"url": f"http://127.0.0.1:{self.port}{LINKED}{name}?X-Goog-Signature=00"})

    def _experiments_get_by_name(self, fields: Json) -> tuple[int, Json]:
        found = self.experiments.get(fields["experiment_name"])
        if found is None:
            return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Could not find experiment"}
        return 200, {"experiment": found}

    def _experiments_create(self, fields: Json) -> tuple[int, Json]:
        if fields["name"] in self.experiments:
            return 400, {"error_code": "RESOURCE_ALREADY_EXISTS", "message": "Experiment already exists"}
        made = {"experiment_id": str(len(self.experiments) + 1), "name": fields["name"], "lifecycle_stage": "active"}
        self.experiments[fields["name"]] = made
        return 200, {"experiment_id": made["experiment_id"]}

    def _experiments_restore(self, fields: Json) -> tuple[int, Json]:
        self._experiment(fields)["lifecycle_stage"] = "active"
        return 200, {}

    def _runs_create(self, fields: Json) -> tuple[int, Json]:
        if self._experiment(fields)["lifecycle_stage"] != "active":
            return 400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "The experiment must be active"}
        which = f"{len(self.runs) + 1:032x}"
        place = f"{self.root}/{fields['experiment_id']}/{which}/artifacts"
        info = {"run_id": which, "artifact_uri": place, "lifecycle_stage": "active", "status": "RUNNING", **fields}
        self.runs[which] = {"info": info, "data": {}}
        return 200, {"run": self.runs[which]}

    def _runs_update(self, fields: Json) -> tuple[int, Json]:
        self.runs[fields["run_id"]]["info"] |= fields
        return 200, {"run_info": self.runs[fields["run_id"]]["info"]}

    def _runs_log_metric(self, fields: Json) -> tuple[int, Json]:
        self.runs[fields.pop("run_id")]["data"].setdefault("metrics", []).append(fields)
        return 200, {}

    def _runs_get(self, fields: Json) -> tuple[int, Json]:
        return 200, {"run": self.runs[fields["run_id"]]}

    def _runs_search(self, fields: Json) -> tuple[int, Json]:
        name = fields["filter"].partition(" = ")[2].strip("'")
        found = [
            run for run in self.runs.values()
            if run["info"]["experiment_id"] in fields["experiment_ids"]
            and run["info"]["run_name"] == name and run["info"]["lifecycle_stage"] == "active"
        ]  # fmt: skip
        return 200, {"runs": found} if found else {}

    def _runs_delete(self, fields: Json) -> tuple[int, Json]:
        self.runs[fields["run_id"]]["info"]["lifecycle_stage"] = "deleted"
        return 200, {}

    def _experiment(self, fields: Json) -> Json:
        return next(made for made in self.experiments.values() if made["experiment_id"] == fields["experiment_id"])


@contextlib.contextmanager
def served(tracking: Tracking) -> Iterator[Tracking]:
    """Serve it on a port of its own, as long as this is entered."""

    class Requests(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, query = urlsplit(self.path)[2:4]
            length = int(self.headers.get("content-length") or 0)
            fields = _read(self.rfile.read(length).decode()) if length else dict(parse_qsl(query))
            asked = Asked(self.command, path, self.headers.get("authorization", ""))
            status, headers, text = tracking.answer(asked, fields)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

        do_POST = do_PUT = do_GET  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Requests)
    tracking.port = int(running.server_address[1])
    thread = threading.Thread(target=running.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield tracking
    finally:
        running.shutdown()
        thread.join()
        running.server_close()


def _read(body: str) -> Json:
    """The fields of a body; a file is one field."""
    return dict(json.loads(body)) if body.startswith("{") else {"content": body}
