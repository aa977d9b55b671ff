"""The proof that a deployment works, link by link: from a stranger at its front door to a file in its bucket.

It goes the way of clients: through the door as the log pusher, by MLflow's REST API, and with a file straight to the
bucket, or by a link that the server signs. What it logs is one run of a name of its own in an experiment of its own;
the last link removes it, and what a proof that died has left. https://mlflow.org/docs/latest/api_reference/rest-api.html
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import requests

from provision import identity, retry
from provision.errors import NeedsCustomClient
from provision.gcp import TIMEOUT, Gcp
from provision.refusals import refusal_of

if TYPE_CHECKING:
    from google.cloud.storage import Client

EXPERIMENT, RUN, METRIC, FILE = "_provision", "provision-verify", "proof", "proof.txt"
VALUE = 0.5

SIGNED, ARTIFACTS = "mlflow-artifacts:/", "/api/2.0/mlflow-artifacts"
"""How a place of files begins that clients reach by links of the server, and where these are asked for."""

HEALTH = "/health"
"""MLflow answers it without its database, and does so to any Host."""

DOORS_OWN = "x-goog-iap-generated-response"
NO_CLIENT = "Empty Google Account OAuth client"
"""What the door says where Google's own OAuth client does not serve the project
(https://docs.cloud.google.com/iap/docs/custom-oauth-configuration)."""

STARTS = 300.0
"""Seconds for which a new version may answer 502 or 503, or nothing may be there at all
(https://docs.cloud.google.com/appengine/docs/flexible/known-issues)."""

BUCKETS = "https://www.googleapis.com/auth/devstorage.read_write"


class Broken(Exception):
    """A link does not hold.

    Args:
        why: What was answered.
        seconds: For how long that may be so and mend itself.
        spreads: Whether it may be so because something was granted or switched on a moment ago.
    """

    def __init__(self, why: str, *, seconds: float = 0.0, spreads: bool = False) -> None:
        super().__init__(why)
        self.seconds, self.spreads = seconds, spreads


@dataclass
class Proof:
    """What the links of one proof hand on to each other.

    Args:
        gcp: The clients of who runs it, who may sign for the account.
        account: E-mail of the log pusher.
        origin: Where the server is reached: scheme, host and, if not the usual one, port.
    """

    gcp: Gcp
    account: str
    origin: str
    token: str = ""
    name: str = EXPERIMENT
    experiment: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)
    _pusher: Gcp | None = None

    def ask(self, method: str, path: str, *, signed: bool = True, **sent: Any) -> requests.Response:
        """Send one request to the front door.

        Raises:
            Broken: No answer came.
            NeedsCustomClient: The door has no OAuth client that serves this project.
        """
        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {self.token}"} if signed else {})
        answer = self.send(method, f"{self.origin}{path}", headers=headers, **sent)
        if answer.status_code == requests.codes.bad_gateway and NO_CLIENT in answer.text:
            raise NeedsCustomClient(f"The front door of {self.origin} lets nobody sign in: {_words(answer)}")
        return answer

    def send(self, method: str, url: str, **sent: Any) -> requests.Response:
        """Send one request to wherever; of an address that may be a signed link, no more than its origin is told.

        Raises:
            Broken: No answer came.
        """
        self.gcp.gate(method, url)
        try:
            # The auth of its own keeps a password in ~/.netrc from going along, or in the place of the token.
            return requests.request(
                method, url, timeout=TIMEOUT, allow_redirects=False, auth=lambda request: request, **sent
            )
        except requests.RequestException as error:
            origin = urlsplit(url)._replace(path="", query="").geturl()
            raise Broken(f"{origin} cannot be reached: {type(error).__name__}", seconds=STARTS) from None

    def mlflow(self, method: str, name: str, /, **fields: Any) -> dict[str, Any]:
        """Call a method of MLflow's REST API.

        Raises:
            Broken: It is refused.
        """
        sent: dict[str, Any] = {"params": fields} if method == "GET" else {"json": fields}
        return _object(self.ask(method, f"/api/2.0/mlflow/{name}", **sent))

    @property
    def storage(self) -> "Client":
        """Cloud Storage as the log pusher, in whose name clients write files."""
        from google.oauth2.credentials import Credentials

        if self._pusher is None:
            name = f"projects/-/serviceAccounts/{self.account}"
            given = self.gcp.credentials_api.generate_access_token(name=name, scope=[BUCKETS])
            credentials = Credentials(given.access_token)  # type: ignore[no-untyped-call]  # google-auth
            self._pusher = Gcp(self.gcp.project, credentials, self.gcp.emulator, self.gcp.gate)
        return self._pusher.storage

    def close(self) -> None:
        """Close the log pusher's connections."""
        if self._pusher is not None:
            self._pusher.close()


@dataclass(frozen=True)
class Link:
    """One link of the chain.

    Args:
        asked: What is asked.
        means: What it means when it does not hold; all links before it do.
        ask: Asks; raises Broken, or an error of Google's libraries.
        after: Patterns of refs: a change of one of them a moment ago explains a refusal.
        changes: Whether it writes something.
    """

    asked: str
    means: str
    ask: Callable[[Proof], None]
    after: tuple[str, ...] = ()
    changes: bool = False


def address(proof: Proof) -> None:
    """Ask for anything at all."""
    proof.ask("GET", HEALTH, signed=False)


def stranger(proof: Proof) -> None:
    """Be nobody."""
    answer = proof.ask("GET", HEALTH, signed=False)
    signs_in = answer.status_code == requests.codes.found and "accounts.google.com" in answer.headers.get(
        "location", ""
    )
    if not signs_in and answer.status_code not in (401, 403):
        raise _refused(answer, spreads=answer.ok)


def signature(proof: Proof) -> None:
    """Have a token signed, for all that follows."""
    proof.token = identity.door_token(proof.gcp, proof.account, proof.origin)


def door(proof: Proof) -> None:
    """Be the log pusher."""
    answer = proof.ask("GET", HEALTH)
    if DOORS_OWN in answer.headers or answer.status_code in (401, 403):
        raise _refused(answer, spreads=answer.status_code == requests.codes.forbidden)


def server(proof: Proof) -> None:
    """Ask MLflow for its health."""
    answer = proof.ask("GET", HEALTH)
    if answer.status_code != requests.codes.ok:
        raise _refused(answer)


def database(proof: Proof) -> None:
    """Look for the proof's experiment, which need not be there yet.

    An experiment keeps the way that files had when it was made: there is one for each way.
    """
    signs = _object(proof.ask("GET", "/api/3.0/mlflow/server-info")).get("multipart_downloads_enabled")
    proof.name = f"{EXPERIMENT}_signed" if signs else EXPERIMENT
    answer = proof.ask("GET", "/api/2.0/mlflow/experiments/get-by-name", params={"experiment_name": proof.name})
    proof.experiment = {} if "RESOURCE_DOES_NOT_EXIST" in answer.text else _object(answer)["experiment"]


def run(proof: Proof) -> None:
    """Log one run with a metric, and read it back."""
    database(proof)  # once more: an answer may have been lost
    if not proof.experiment:
        proof.experiment = proof.mlflow("POST", "experiments/create", name=proof.name)
    elif proof.experiment.get("lifecycle_stage") == "deleted":
        proof.mlflow("POST", "experiments/restore", experiment_id=proof.experiment["experiment_id"])
    now = int(time.time() * 1000)
    begun = {"experiment_id": proof.experiment["experiment_id"], "run_name": RUN, "start_time": now}
    proof.run = proof.mlflow("POST", "runs/create", **begun)["run"]["info"]
    which = proof.run["run_id"]
    proof.mlflow("POST", "runs/log-metric", run_id=which, key=METRIC, value=VALUE, timestamp=now, step=0)
    proof.mlflow("POST", "runs/update", run_id=which, status="FINISHED", end_time=now)
    logged = proof.mlflow("GET", "runs/get", run_id=which)["run"]["data"].get("metrics", [])
    if (values := [metric["value"] for metric in logged if metric["key"] == METRIC]) != [VALUE]:
        raise Broken(f"the metric {VALUE} was read back as {values}")


def artifact(proof: Proof) -> None:
    """Write a file to where the run keeps its files, and read it back."""
    text = proof.run["run_id"].encode()
    if _is_signed(proof.run):
        _good(proof.ask("PUT", f"{ARTIFACTS}/artifacts/{_file(proof.run)}", data=text))
        link = _object(proof.ask("GET", f"{ARTIFACTS}/presigned/{_file(proof.run)}"))["url"]
        read = _good(proof.send("GET", link)).content
    else:
        bucket, folder = _place(proof, proof.run)
        blob = proof.storage.bucket(bucket).blob(f"{folder}/{FILE}")
        blob.upload_from_string(text, retry=None, timeout=TIMEOUT)
        read = blob.download_as_bytes(retry=None, timeout=TIMEOUT)
    if read != text:
        raise Broken(f"{len(read)} bytes were read back instead of {len(text)}")


def forget(proof: Proof) -> None:
    """Remove what this proof has logged, and any that died before: files by generation, then the runs.

    The bucket keeps versions: what is deleted by its name alone stays in it as an older one.
    """
    ours = {"filter": f"attributes.run_name = '{RUN}'", "run_view_type": "ACTIVE_ONLY", "max_results": 1000}
    which = {"experiment_ids": [proof.experiment["experiment_id"]], **ours}
    for found in proof.mlflow("POST", "runs/search", **which).get("runs", []):
        bucket, folder = _place(proof, found["info"])
        whole = {"prefix": f"{folder}/", "versions": True, "retry": None, "timeout": TIMEOUT}
        for blob in proof.storage.list_blobs(bucket, **whole) if bucket else ():
            blob.delete(retry=None, timeout=TIMEOUT)
        proof.mlflow("POST", "runs/delete", run_id=found["info"]["run_id"])
    if left := proof.mlflow("POST", "runs/search", **which).get("runs"):
        raise Broken(f"{len(left)} runs of proofs are still in the experiment {proof.name}")


FILES = ("*/buckets/*/iamPolicy", "*/serviceAccounts/*-server@*/iamPolicy")
"""The rights that files need: of the log pusher on the bucket, of the server to sign links."""

LINKS = (
    Link("the address answers", "Nothing answers at the server's address",
         address),
    Link("an anonymous request is refused", "The front door does not refuse who has not signed in",
         stranger, after=("apps/*/iap",)),
    Link("you may sign for the log pusher", "You cannot sign for the log pusher",
         signature, after=("*/serviceAccounts/*-log-pusher@*/iamPolicy",)),
    Link("the front door lets the log pusher in", "The front door refuses the log pusher",
         door, after=("*/iap_web/*/iamPolicy",)),
    Link("MLflow answers", "The front door lets the log pusher in, and the server does not answer",
         server),
    Link("its database answers", "The server answers, and its database does not",
         database),
    Link("a run with a metric is logged and read back", "MLflow and its database answer, and no run can be logged",
         run, changes=True),
    Link("a file is written to the bucket and read back",
         "Runs can be logged, and no file comes into their bucket and back",
         artifact, after=FILES, changes=True),
    Link("run and file are deleted", "Everything works, and what the proof has logged cannot be deleted",
         forget, after=FILES, changes=True),
)  # fmt: skip
"""The chain: what is asked, what it means when it does not hold, and which change of a moment ago explains that."""


def hold(link: Link, proof: Proof) -> None:
    """Ask for one link.

    Raises:
        Broken: It does not hold.
        NeedsCustomClient: See Proof.ask.
    """
    try:
        link.ask(proof)
    except KeyError as error:
        raise Broken(f"the answer has no {error}, so it is not MLflow's") from error
    except Exception as error:
        refusal = refusal_of(error)
        if refusal is None:
            raise
        rule = retry.meaning_of(refusal)
        seconds = 0.0 if rule.after else rule.patience
        raise Broken(str(refusal), seconds=seconds, spreads=refusal.status in (403, 404)) from error


def _good(answer: requests.Response) -> requests.Response:
    """An answer that is no refusal."""
    if answer.status_code != requests.codes.ok:
        raise _refused(answer, spreads=answer.status_code == requests.codes.forbidden)
    return answer


def _object(answer: requests.Response) -> dict[str, Any]:
    """The JSON of an answer that is good."""
    try:
        return dict(_good(answer).json())
    except ValueError:  # somebody else than MLflow has answered
        raise _refused(answer) from None


def _refused(answer: requests.Response, *, spreads: bool = False) -> Broken:
    return Broken(_words(answer), seconds=STARTS if answer.status_code in (404, 502, 503) else 0.0, spreads=spreads)


def _words(answer: requests.Response) -> str:
    """An answer in one line: a front end's own error is HTML over many."""
    return f"{answer.status_code} {' '.join(answer.text.split())[:200]}".strip()


def _is_signed(info: dict[str, Any]) -> bool:
    """Whether a run's files are reached by links that the server signs."""
    return str(info.get("artifact_uri", "")).startswith(SIGNED)


def _file(info: dict[str, Any]) -> str:
    """The proof's file as the server knows it, of a run whose files it signs links to."""
    return f"{str(info['artifact_uri']).removeprefix(SIGNED)}/{FILE}"


def _place(proof: Proof, info: dict[str, Any]) -> tuple[str, str]:
    """The bucket and the folder in it that a run keeps its files in; empty where the server says that there is none."""
    uri = str(info.get("artifact_uri", ""))
    if _is_signed(info):
        answer = proof.ask("GET", f"{ARTIFACTS}/presigned/{_file(info)}")
        if answer.status_code == requests.codes.not_found:
            return "", ""
        path = unquote(urlsplit(str(_object(answer)["url"])).path).removeprefix("/storage.googleapis.com")
        uri = f"gs:/{path.removesuffix(f'/{FILE}')}"
    bucket, _, folder = uri.removeprefix("gs://").partition("/")
    if not uri.startswith("gs://") or not folder:
        raise Broken(f"MLflow gives out {uri or 'nothing'} as the place of files, which is no folder of a bucket")
    return bucket, folder
