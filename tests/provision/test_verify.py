"""The proof after `up`: what is borne with, for how long, and what is said when it does not go away."""

import http.server
import threading

import pytest
import structlog
from google.oauth2.credentials import Credentials

from provision import verify
from provision.errors import NotReachable
from provision.gcp import Gcp
from provision.patience import Patience
from tests.provision.conftest import PROJECT
from tests.provision.toy import HandMovedClock

ACCOUNT = f"mlflow-log-pusher@{PROJECT}.iam.gserviceaccount.com"
IAP = {"x-goog-iap-generated-response": "true"}


@pytest.fixture
def server():
    """A server that gives its answers one after the other, the last for ever; and who asked."""

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked.append(self.headers["Authorization"])
            status, headers, *text = self.server.answers[0]
            if len(self.server.answers) > 1:
                self.server.answers.pop(0)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write("".join(text or [f"status {status}"]).encode())

        def log_message(self, *_):
            """Nobody reads it."""

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    running.asked, running.answers = [], [(200, {})]
    thread = threading.Thread(target=running.serve_forever, args=(0.02,))
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def ask(cloud, server):
    """Ask until it answers; the seconds that were waited, by a clock that only waiting moves."""
    cloud.google(
        "POST",
        f"iam.googleapis.com/v1/projects/{PROJECT}/serviceAccounts",
        {"accountId": ACCOUNT.split("@", maxsplit=1)[0]},
    )

    def ask(account=ACCOUNT):
        clock = HandMovedClock()
        try:
            patience = Patience(Gcp(PROJECT, Credentials("owner"), cloud.url), clock)
            verify.server_answers(patience, account, f"http://127.0.0.1:{server.server_port}")
        except NotReachable as error:
            return clock.seconds, str(error)
        return clock.seconds, None

    return ask


def test_it_answers(ask, server):
    """At once: no wait, one question, with the log pusher's token."""
    assert ask() == (0.0, None)
    assert [header[:10] for header in server.asked] == ["Bearer eyJ"]


def test_what_goes_away_by_itself(ask, server):
    """A version that starts, a grant that spreads: asked again until it has, and told each time."""
    server.answers = [(502, {}), (503, {}), (403, IAP), (403, IAP), (200, {})]
    with structlog.testing.capture_logs() as told:
        waited, error = ask()

    assert error is None
    assert waited > 0
    assert len(server.asked) == 5
    assert [item["why"] for item in told] == [
        "The server does not answer yet: 502 status 502",
        "The server does not answer yet: 503 status 503",
        "The front door refuses the log pusher: 403 status 403",
        "The front door refuses the log pusher: 403 status 403",
    ]


@pytest.mark.parametrize(
    ("answer", "longest", "says"),
    [
        pytest.param((401, IAP), 0, "The front door refuses the log pusher: 401", id="a token that is not taken"),
        pytest.param((500, {}), 0, "The server does not answer yet: 500", id="a server that fails"),
        pytest.param((403, IAP), 620, "The front door refuses the log pusher: 403", id="a right that never comes"),
        pytest.param((503, {}), 320, "The server does not answer yet: 503", id="a server that never comes"),
    ],
)
def test_what_does_not(ask, server, answer, longest, says):
    """It is said which link of the chain is broken, after the time in which it could have mended itself."""
    server.answers = [answer]
    waited, error = ask()

    assert error.startswith(says)
    assert longest * 0.9 <= waited <= longest


def test_a_page_of_somebody_elses_is_told_in_one_line(ask, server):
    """A front end's own error is HTML over many lines, and a line of the log is one line."""
    server.answers = [(502, {}, "<html>\n<body>\n  <h1>Bad Gateway</h1>\n</body>\n</html>\n"), (200, {})]
    with structlog.testing.capture_logs() as told:
        ask()

    assert [item["why"] for item in told] == [
        "The server does not answer yet: 502 <html> <body> <h1>Bad Gateway</h1> </body> </html>"
    ]


def test_who_may_not_sign(ask):
    """The right to sign for the log pusher is asked for as long as a grant takes to spread."""
    waited, error = ask(f"nobody@{PROJECT}.iam.gserviceaccount.com")

    assert error.startswith(f"You cannot sign for nobody@{PROJECT}.iam.gserviceaccount.com yet: ")
    assert 400 < waited < 440


def test_nobody_is_there(cloud, ask, server):
    """The address is named, and no library's words."""
    server.socket.close()
    waited, error = ask()

    assert error == f"http://127.0.0.1:{server.server_port} cannot be reached: ConnectionError"
    assert waited > 250
