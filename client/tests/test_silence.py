"""No token and no key is in a log, an exception, a `repr` or a traceback."""

import re
from pathlib import Path

import pytest
from test_workloads import on_google_cloud

from mlflow_iap_auth.settings import OWN, SOURCES

SECRETS = {
    "a signed token": r"eyJ[\w-]{8,}\.",
    "an access token": r"ya29\.",
    "a refresh token": r"1//",
    "a key": r"PRIVATE KEY|MII[\w+/]{20}",
}

TALKATIVE = """
    import logging, sys, traceback
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)  # as somebody does who looks for a fault
    import mlflow
    from mlflow_iap_auth import door, plugin, settings, signatures, tokens

    try:
        with mlflow.start_run():
            mlflow.log_text("a file", "a.txt")
        door.TOKENS._held.clear()
        door.TOKENS.current(settings.of(mlflow.get_tracking_uri()))
    except Exception as error:
        print(repr(error))
        traceback.print_exc()
    for thing in (plugin.SIGN_IN, plugin.Provider().get_auth(), door.TOKENS, tokens.FOR_BUCKETS):
        print(repr(thing), vars(thing))
"""


def talk(run, folder: Path) -> str:
    """All that a program says that logs everything it can."""
    program = folder / "talkative.py"
    program.write_text("\n".join(line.removeprefix("    ") for line in TALKATIVE.splitlines()))
    ran = run(str(program))
    return ran.stdout + ran.stderr


def told(text: str) -> dict[str, list[str]]:
    """Which secrets stand in a text."""
    return {what: found for what, pattern in SECRETS.items() if (found := re.findall(f".{{0,80}}{pattern}", text))}


def test_a_secret_would_be_found():
    """The patterns know what the tests' secrets look like."""
    assert told("Bearer eyJhbGciOiJSUzI1.x ya29.emulator-x 1//ada -----BEGIN PRIVATE KEY-----").keys() == SECRETS.keys()


@pytest.mark.parametrize("source", [*SOURCES, OWN])
def test_a_program_that_logs_everything(place, run, tmp_path, monkeypatch, source):
    """With all loggers at DEBUG, Google's own among them; nor does the server behind the door log any."""
    monkeypatch.setenv("GOOGLE_SDK_PYTHON_LOGGING_SCOPE", "google")
    monkeypatch.setenv("MLFLOW_IAP_SOURCE", source)
    monkeypatch.setenv("MLFLOW_IAP_CLIENT_ID", place.client_id)
    if source == "key":
        monkeypatch.setenv("MLFLOW_IAP_KEY_FILE", str(place.key(tmp_path)))
    if source == OWN:
        on_google_cloud(place, tmp_path, monkeypatch)
    text = talk(run, tmp_path)

    assert "DEBUG:urllib3" in text
    assert "Token(ends=" in text
    assert told(text + Path(place.log).read_text(encoding="utf-8")) == {}


def test_an_error_of_the_door(place, run, tmp_path):
    """With its traceback, and MLflow's around it."""
    with place.without_role():
        text = talk(run, tmp_path)

    assert "NoRole" in text
    assert "Traceback" in text
    assert told(text) == {}


def test_a_key_that_is_broken(place, run, tmp_path, monkeypatch):
    """What stands in the file is not quoted."""
    key = place.key(tmp_path)
    key.write_text(key.read_text().replace("-----END", "-----BROKEN"))
    monkeypatch.setenv("MLFLOW_IAP_KEY_FILE", str(key))
    monkeypatch.setenv("MLFLOW_IAP_SOURCE", "key")
    text = talk(run, tmp_path)

    assert "key.json is no key of a service account" in text
    assert told(text) == {}


def test_what_an_owner_sends(place):
    """Neither the lines nor the report that programs read; who is signed in, a file says that is named."""
    assert told(place.types("client", "--json") + place.types("client")) == {}
