"""At a terminal: the questions of the first `up`, what is shown on the way, and Ctrl-C."""

import tomllib

import pytest


@pytest.fixture
def unknown(folder):
    """A folder of somebody who has not signed in to Google, so that `up` gets as far as that and no farther."""
    folder.variables["GOOGLE_APPLICATION_CREDENTIALS"] = str(folder.path / "missing.json")
    return folder


def test_the_first_up_asks_and_goes_on(unknown):
    """A bad answer is told what is allowed and asked for again; the answers are written down."""
    screen = unknown.at_a_terminal("up")
    answers = [
        ("Project id: ", "My Project"),
        ("must match ^[a-z][a-z0-9-]", None),
        ("Project id: ", "acme-ml-prod"),
        ("Region [europe-west1]: ", "mars"),
        ("region = 'mars' is not allowed: it has no App Engine flexible", None),
        ("Region [europe-west1]: ", "us-central1"),
        ("E-mail of whom users ask for access (empty for none): ", "nobody"),
        ("support_email = 'nobody' is not allowed", None),
        ("(empty for none): ", "ml@acme.com"),
        ("Who may sign in?", None),
        ("Users: ", "ada@acme.com, grace"),
        ("access.users.1 = 'grace' is not allowed", None),
        ("Users: ", "ada@acme.com, grace@acme.com"),
        ("Groups: ", ""),
        ("Domains: ", "acme.com"),
        ("Make a network of its own? [Y/n]: ", "n"),
        ("Existing network: ", "Shared VPC"),
        ("network.name = 'Shared VPC' is not allowed", None),
        ("Existing network: ", "shared"),
        ("Existing subnet in us-central1: ", "ml"),
    ]
    for question, answer in answers:
        screen.until(question)
        if answer is not None:
            screen.type(answer)
    told = screen.ended()

    assert tomllib.loads((unknown.path / "provision.toml").read_text()) == {
        "project": "acme-ml-prod",
        "region": "us-central1",
        "support_email": "ml@acme.com",
        "access": {"users": ["ada@acme.com", "grace@acme.com"], "domains": ["acme.com"]},
        "network": {"name": "shared", "subnet": "ml"},
    }
    assert "Written to provision.toml." in told.out
    assert "NotSignedIn: " in told.out.partition("Written to provision.toml.")[2]
    assert told.code == 5


def test_enter_is_enough_for_all_but_the_project(unknown):
    """What has a default needs no answer; the next `up` asks nothing."""
    screen = unknown.at_a_terminal("up")
    screen.until("Project id: ")
    screen.type("acme-ml-prod")
    for question in ("Region", "E-mail", "Users", "Groups", "Domains", "Make a network"):
        screen.until(question)
        screen.type("")
    screen.ended()
    again = unknown.at_a_terminal("up").ended()

    assert tomllib.loads((unknown.path / "provision.toml").read_text()) == {
        "project": "acme-ml-prod",
        "region": "europe-west1",
    }
    assert again.out.startswith("NotSignedIn: ")


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("plan",), id="plan"),
        pytest.param(("up", "--json"), id="up for machines"),
        pytest.param(("status",), id="status"),
    ],
)
def test_nothing_else_asks(folder, words):
    """Only `up`, for people, writes a file of settings."""
    told = folder.at_a_terminal(*words).ended()

    assert told.code == 3
    assert not (folder.path / "provision.toml").exists()


@pytest.mark.parametrize("keys", [pytest.param("\x03", id="Ctrl-C"), pytest.param("\x04", id="Ctrl-D")])
def test_a_question_that_is_not_answered(folder, keys):
    """Ends the command, and writes nothing."""
    screen = folder.at_a_terminal("up")
    screen.until("Project id: ")
    screen.insist(keys)
    told = screen.ended()

    assert told.code == 130
    assert not (folder.path / "provision.toml").exists()


def test_up_shows_what_is_under_way_and_stops_at_ctrl_c(folder, cloud):
    """What takes long has a line with its time; what is done stays on the screen; the cursor comes back."""
    cloud.world.profile = "google"
    screen = folder.at_a_terminal("up", "--local")
    screen.until("created  service_accounts")
    screen.until("creating network (A VPC network of our own), 0:0")
    screen.until("Ctrl-C is safe")
    screen.press("\x03")
    screen.until("Stopping; what Google is working on goes on there.")
    told = screen.ended()

    assert told.code == 130
    assert "Interrupted: The run was stopped" in told.out
    assert screen.shown.rindex("\x1b[?25h") > screen.shown.rindex("\x1b[?25l")
