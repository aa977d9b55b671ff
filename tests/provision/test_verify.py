"""The proof after `up`: which links it asks for, what is borne with and for how long, and what is said when one breaks."""

import json
import traceback
from datetime import timedelta

import pytest
import structlog
from google.oauth2.credentials import Credentials

from provision import verify
from provision.circumstances import Circumstances
from provision.errors import Interrupted, NeedsCustomClient, NotReachable
from provision.gcp import Gcp
from provision.patience import Patience
from provision.proof import LINKS
from tests.provision.conftest import PROJECT
from tests.provision.toy import HandMovedClock
from tests.tracking import IAP

ACCOUNT = f"mlflow-log-pusher@{PROJECT}.iam.gserviceaccount.com"
BUCKET = "the-artifacts"
POLICIES = {
    "the door": f"apps/{PROJECT}/iap",
    "the right to sign": f"projects/{PROJECT}/serviceAccounts/{ACCOUNT}/iamPolicy",
    "the right to sign links": f"projects/{PROJECT}/serviceAccounts/mlflow-server@{PROJECT}/iamPolicy",
    "the right to come in": f"projects/1/iap_web/appengine-{PROJECT}/services/mlflow/iamPolicy",
    "the right to the bucket": f"projects/_/buckets/{BUCKET}/iamPolicy",
}


class Chain:
    """A chain that holds, until somebody breaks a link of it."""

    def __init__(self, cloud):
        self.cloud, self.tracking, self.clock = cloud, cloud.tracking, HandMovedClock()
        self.origin, self.account = f"http://127.0.0.1:{self.tracking.port}", ACCOUNT
        self.tracking.root = f"gs://{BUCKET}/artifacts"
        account = {"accountId": ACCOUNT.partition("@")[0]}
        cloud.google("POST", f"iam.googleapis.com/v1/projects/{PROJECT}/serviceAccounts", account)
        bucket = {"name": BUCKET, "versioning": {"enabled": True}}
        cloud.google("POST", "storage.googleapis.com/storage/v1/b", bucket, project=PROJECT)
        granted = [{"role": "roles/storage.objectUser", "members": [f"serviceAccount:{ACCOUNT}"]}]
        cloud.google("PUT", f"storage.googleapis.com/storage/v1/b/{BUCKET}/iam", {"bindings": granted})
        now = lambda: self.clock.now() + timedelta(seconds=self.clock.seconds)  # noqa: E731 - time that waiting moves
        circumstances = Circumstances(now=now)
        self.patience = Patience(Gcp(PROJECT, Credentials("owner"), cloud.url), self.clock, circumstances)

    def changed(self, what):
        """Say that something was changed a moment ago."""
        self.patience.circumstances.note(POLICIES[what], {}, self.clock.now())

    def answers(self, path, status, text="", headers=None, *, signed=True):
        """Let the server answer something else from now on, to who has a token or to who has none."""

        def instead(asked):
            return (status, headers or {}, text) if asked.path.endswith(path) and bool(asked.token) == signed else None

        self.tracking.instead = instead

    def fails(self, method, status, message):
        """Let a method of Google's answer an error from now on."""
        self.cloud.fails(method=method, status=status, times=1000, body={"error": {"code": status, "message": message}})

    def prove(self, *, whole=True):
        """Prove it: the seconds that were waited, and what was said in the end, if it broke."""
        try:
            verify.prove(self.patience, self.account, self.origin, whole=whole)
        except NotReachable as error:
            return self.clock.seconds, str(error)
        return self.clock.seconds, None

    @property
    def objects(self):
        """What lies in the bucket, older versions too."""
        found = self.cloud.google("GET", f"storage.googleapis.com/storage/v1/b/{BUCKET}/o", versions="true")
        return [item["name"] for item in found.get("items", [])]

    @property
    def stages(self):
        """What stage of life each run is in."""
        return [run["info"]["lifecycle_stage"] for run in self.tracking.runs.values()]


@pytest.fixture
def chain(cloud):
    return Chain(cloud)


def test_it_works(chain):
    """At once: every link is asked for, one run with its metric was logged, and nothing of it is left."""
    proved = verify.prove(chain.patience, ACCOUNT, chain.origin, whole=True)
    (run,) = chain.tracking.runs.values()

    assert proved == [link.asked for link in LINKS]
    assert chain.clock.seconds == 0
    assert list(chain.tracking.experiments) == ["_provision"]
    assert [metric["value"] for metric in run["data"]["metrics"]] == [0.5]
    assert (run["info"]["lifecycle_stage"], run["info"]["status"]) == ("deleted", "FINISHED")
    assert chain.objects == []


def test_the_file_goes_the_way_of_a_client(chain):
    """Straight to the bucket, as the log pusher, and nothing else is written there by anybody."""
    chain.cloud.writes()
    chain.prove()

    assert chain.cloud.writes() == ["storage.objects.insert", "storage.objects.delete"]
    assert {asked.token[:10] for asked in chain.tracking.asked} == {"", "Bearer eyJ"}


def test_a_password_in_netrc_does_not_displace_the_token(chain, tmp_path, monkeypatch):
    """Though `requests` would rather send that to every host that no other entry stands for."""
    (tmp_path / "netrc").write_text("default login ada password hers\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    assert chain.prove() == (0, None)
    assert {asked.token[:10] for asked in chain.tracking.asked} == {"", "Bearer eyJ"}


def test_the_file_goes_by_a_link_where_the_server_signs(chain):
    """To the server and from the bucket, in an experiment of its own: an older one keeps the way it was made with."""
    chain.prove()
    chain.tracking.root = "mlflow-artifacts:"
    chain.cloud.writes()
    proved = chain.prove()
    ((place, content),) = chain.tracking.files.items()

    assert proved == (0, None)
    assert list(chain.tracking.experiments) == ["_provision", "_provision_signed"]
    assert (place.rpartition("/")[2], content) == ("proof.txt", list(chain.tracking.runs)[-1])
    assert chain.cloud.writes() == []
    assert chain.stages == ["deleted", "deleted"]


@pytest.mark.parametrize(("granted", "longest"), [(False, 0), (True, 600)], ids=["for good", "a moment ago"])
def test_a_server_that_may_not_sign(chain, granted, longest):
    """It is the file that does not come back; a grant of a moment ago may have to spread."""
    chain.tracking.root = "mlflow-artifacts:"
    chain.answers("/proof.txt", 403, "The server cannot sign a link to the file")
    if granted:
        chain.changed("the right to sign links")
    waited, error = chain.prove()

    assert error == (
        "Runs can be logged, and no file comes into their bucket and back: 403 The server cannot sign a link to the file"
    )
    assert longest * 0.9 <= waited <= longest * 1.03


def test_a_link_is_not_told(chain):
    """Where nothing answers at it: it is good for whoever has it, so neither report nor log repeats it."""
    chain.tracking.root = "mlflow-artifacts:"
    link = json.dumps({"url": "http://127.0.0.1:9/the-artifacts/proof.txt?X-Goog-Signature=5ec4e7"})

    def instead(asked):
        return (200, {}, link) if "/presigned/" in asked.path else None

    chain.tracking.instead = instead
    with structlog.testing.capture_logs() as logged, pytest.raises(NotReachable) as broken:
        verify.prove(chain.patience, ACCOUNT, chain.origin, whole=True)
    told = "".join(traceback.format_exception(broken.value)) + str(logged)

    assert "back: http://127.0.0.1:9 cannot be reached: ConnectionError" in str(broken.value)
    assert "waiting" in told
    assert "5ec4e7" not in told


def test_what_is_only_read(chain):
    """Enough where nothing was changed: whether the door is shut, and whether MLflow and its database answer."""
    chain.cloud.writes()

    assert chain.prove(whole=False) == (0, None)
    assert chain.cloud.writes() == []
    assert {asked.method for asked in chain.tracking.asked} == {"GET"}
    assert chain.tracking.experiments == {}


def test_the_experiment_is_used_again(chain):
    """Also when somebody has deleted it."""
    chain.prove()
    chain.tracking.experiments["_provision"]["lifecycle_stage"] = "deleted"

    assert chain.prove() == (0, None)
    assert chain.stages == ["deleted", "deleted"]


EVERYTHING = "Everything works, and what the proof has logged cannot be deleted"
NO_CLIENT = "Empty Google Account OAuth client ID(s)/secret(s)."

BROKEN = [
    pytest.param(
        lambda chain: setattr(chain, "origin", "http://127.0.0.1:9"),
        "Nothing answers at the server's address: http://127.0.0.1:9 cannot be reached: ConnectionError", 300,
        id="nobody is there: a name may need its time"),
    pytest.param(
        lambda chain: chain.answers("/health", 200, "OK", signed=False),
        "The front door does not refuse who has not signed in: 200 OK", 0,
        id="the door is open"),
    pytest.param(
        lambda chain: (chain.answers("/health", 200, "OK", signed=False), chain.changed("the door")),
        "The front door does not refuse who has not signed in: 200 OK", 600,
        id="the door is open, and was shut a moment ago"),
    pytest.param(
        lambda chain: chain.answers("/health", 302, "", {"location": "https://elsewhere.example/"}, signed=False),
        "The front door does not refuse who has not signed in: 302", 0,
        id="the door leads elsewhere"),
    pytest.param(
        lambda chain: setattr(chain, "account", f"nobody@{PROJECT}.iam.gserviceaccount.com"),
        "You cannot sign for the log pusher: Not found; Gaia id not found for email nobody@", 0,
        id="there is no log pusher"),
    pytest.param(
        lambda chain: chain.fails("iamcredentials.projects.serviceAccounts.signJwt", 403, "Permission denied"),
        "You cannot sign for the log pusher: Permission denied (403)", 0,
        id="nobody may sign for the log pusher"),
    pytest.param(
        lambda chain: (chain.fails("iamcredentials.projects.serviceAccounts.signJwt", 403, "Permission denied"),
                       chain.changed("the right to sign")),
        "You cannot sign for the log pusher: Permission denied (403)", 600,
        id="the right to sign was granted a moment ago, and never comes"),
    pytest.param(
        lambda chain: chain.answers("/health", 401, "Invalid JWT audience.", IAP),
        "The front door refuses the log pusher: 401 Invalid JWT audience.", 0,
        id="the door does not take the token"),
    pytest.param(
        lambda chain: chain.answers("/health", 403, "You don't have access", IAP),
        "The front door refuses the log pusher: 403 You don't have access", 0,
        id="the log pusher may not come in"),
    pytest.param(
        lambda chain: chain.answers("/health", 403, "You don't have access"),
        "The front door refuses the log pusher: 403 You don't have access", 0,
        id="the log pusher may not come in, and the door does not say who it is"),
    pytest.param(
        lambda chain: (chain.answers("/health", 403, "You don't have access", IAP),
                       chain.changed("the right to come in")),
        "The front door refuses the log pusher: 403 You don't have access", 600,
        id="the right to come in was granted a moment ago, and never comes"),
    pytest.param(
        lambda chain: (chain.answers("/health", 403, "You don't have access", IAP),
                       chain.changed("the right to the bucket")),
        "The front door refuses the log pusher: 403 You don't have access", 0,
        id="another right was granted a moment ago"),
    pytest.param(
        lambda chain: chain.answers("/health", 503, "Waiting for the database."),
        "The front door lets the log pusher in, and the server does not answer: 503 Waiting for the database.", 300,
        id="the server never starts"),
    pytest.param(
        lambda chain: chain.answers("/health", 500, "<html>\n <h1>Server\n Error</h1>\n</html>"),
        "The front door lets the log pusher in, and the server does not answer: 500 <html> <h1>Server Error</h1> </html>",
        0, id="the server fails, and says so on a page of many lines"),
    pytest.param(
        lambda chain: chain.answers("/get-by-name", 503, '{"error_code": "TEMPORARILY_UNAVAILABLE"}'),
        'The server answers, and its database does not: 503 {"error_code": "TEMPORARILY_UNAVAILABLE"}', 300,
        id="the database never comes"),
    pytest.param(
        lambda chain: chain.answers("/get-by-name", 200, "Hello, world!"),
        "The server answers, and its database does not: 200 Hello, world!", 0,
        id="somebody else than MLflow answers"),
    pytest.param(
        lambda chain: chain.answers("/get-by-name", 200, '{"greeting": "hello"}'),
        "The server answers, and its database does not: the answer has no 'experiment', so it is not MLflow's", 0,
        id="somebody else than MLflow answers, in JSON"),
    pytest.param(
        lambda chain: chain.answers("/runs/create", 400, '{"error_code": "BAD_REQUEST"}'),
        'MLflow and its database answer, and no run can be logged: 400 {"error_code": "BAD_REQUEST"}', 0,
        id="no run is taken"),
    pytest.param(
        lambda chain: chain.answers("/runs/log-metric", 200, "{}"),
        "MLflow and its database answer, and no run can be logged: the metric 0.5 was read back as []", 0,
        id="the metric is lost"),
    pytest.param(
        lambda chain: setattr(chain.tracking, "root", "file:///mlruns"),
        "Runs can be logged, and no file comes into their bucket and back: MLflow gives out file:///mlruns/1/", 0,
        id="files would go to the server's own disk"),
    pytest.param(
        lambda chain: setattr(chain.tracking, "root", "gs://another/artifacts"),
        "Runs can be logged, and no file comes into their bucket and back: The specified bucket does not exist.", 0,
        id="the bucket is not there"),
    pytest.param(
        lambda chain: chain.fails("iamcredentials.projects.serviceAccounts.generateAccessToken", 403, "Permission denied"),
        "Runs can be logged, and no file comes into their bucket and back: Permission denied (403)", 0,
        id="nobody may be the log pusher"),
    pytest.param(
        lambda chain: chain.fails("storage.objects.insert", 403, "lacks storage.objects.create"),
        "Runs can be logged, and no file comes into their bucket and back: lacks storage.objects.create (403)", 0,
        id="the log pusher may not write to the bucket"),
    pytest.param(
        lambda chain: (chain.fails("storage.objects.insert", 403, "lacks storage.objects.create"),
                       chain.changed("the right to the bucket")),
        "Runs can be logged, and no file comes into their bucket and back: lacks storage.objects.create (403)", 600,
        id="the right to the bucket was granted a moment ago, and never comes"),
    pytest.param(
        lambda chain: chain.fails("storage.objects.get", 403, "lacks storage.objects.get"),
        "Runs can be logged, and no file comes into their bucket and back: ", 0,
        id="the log pusher may not read what it wrote"),
    pytest.param(
        lambda chain: chain.fails("storage.objects.delete", 403, "lacks storage.objects.delete"),
        f"{EVERYTHING}: lacks storage.objects.delete (403)", 0,
        id="the log pusher may not delete what it wrote"),
    pytest.param(
        lambda chain: chain.answers("/runs/delete", 200, "{}"),
        f"{EVERYTHING}: 1 runs of proofs are still in the experiment _provision", 0,
        id="the run stays"),
]  # fmt: skip


@pytest.mark.parametrize(
    "answer", [(302, "", {"location": "https://accounts.google.com/o/oauth2/v2/auth"}), (403, "no")]
)
def test_a_stranger_may_be_refused_in_another_way(chain, answer):
    """Sent to sign in, as a browser is, or told that there is no access: the door is shut."""
    chain.answers("/health", *answer, signed=False)

    assert chain.prove() == (0, None)


@pytest.mark.parametrize(("breaks", "says", "longest"), BROKEN)
def test_a_link_is_broken(chain, breaks, says, longest):
    """It is said which one, after the time in which it could have mended itself and no later."""
    breaks(chain)
    waited, error = chain.prove()

    assert error is not None
    assert error.startswith(says)
    assert longest * 0.9 <= waited <= longest * 1.03


@pytest.mark.parametrize("signed", [False, True], ids=["for who signs in", "for nobody at all"])
def test_google_has_no_client_for_the_door(chain, signed):
    """Waiting would not help: it is said at once what does, step by step."""
    chain.answers("/health", 502, NO_CLIENT, IAP, signed=signed)
    with pytest.raises(NeedsCustomClient, match="Empty Google Account OAuth client") as told:
        chain.prove()

    assert chain.clock.seconds == 0
    assert "https://iap.googleapis.com/v1/oauth/clientIds/CLIENT_ID:handleRedirect" in told.value.hint
    assert "door.client_id" in told.value.hint
    assert "door.client_secret_file" in told.value.hint


def test_what_goes_away_by_itself(chain):
    """A version that starts, a grant that spreads: asked again until it has, and told each time."""
    chain.changed("the right to come in")
    shut, starting = [(403, IAP, "no access")] * 2, [(503, {}, "starting")]
    answers = [*shut, *starting, (502, {}, "no version"), *starting]  # the door is asked until it lets in, then MLflow
    chain.tracking.instead = lambda asked: answers.pop(0) if asked.token and answers else None
    with structlog.testing.capture_logs() as told:
        waited, error = chain.prove()

    assert error is None
    assert 0 < waited < 10
    assert [item["why"] for item in told if item["event"] == "waiting"] == [
        "403 no access",
        "403 no access",
        "502 no version",
        "503 starting",
    ]


@pytest.mark.parametrize(
    "breaks",
    [
        pytest.param(lambda chain: chain.fails("storage.objects.get", 403, "no"), id="because a link is broken"),
        pytest.param(lambda chain: chain.answers("/runs/search", 500), id="and could not tidy up"),
    ],
)
def test_what_a_proof_that_ended_early_has_left(chain, breaks):
    """The next one removes it with its own: no file, no older version of one, no run."""
    breaks(chain)
    chain.prove()
    chain.cloud.empty_of_faults()
    chain.tracking.instead = lambda asked: None
    again = chain.prove()

    assert again == (0, None)
    assert chain.stages == ["deleted", "deleted"]
    assert chain.objects == []


def test_a_proof_that_breaks_tidies_up(chain):
    """As far as it can: what it had written is gone, and so is its run."""
    chain.answers("/runs/get", 500)
    chain.prove()

    assert chain.stages == ["deleted"]
    assert chain.objects == []


def test_ctrl_c_ends_the_wait(chain):
    """And what was logged until then is removed."""
    chain.fails("storage.objects.insert", 503, "busy")
    chain.clock.sleep = lambda seconds: chain.patience.stop.set()

    with pytest.raises(Interrupted):
        chain.prove()
    assert chain.stages == ["deleted"]
