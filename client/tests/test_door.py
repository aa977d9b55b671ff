"""The door: to whom the token goes, and what the door's answers are to the user."""

import os
import re
import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import mlflow
import pytest
import requests
from conftest import forget_tokens
from google.auth import jwt
from mlflow.exceptions import MlflowException

from mlflow_iap_auth import door, errors, plugin, settings, signatures
from mlflow_iap_auth.settings import Settings
from mlflow_iap_auth.signatures import Token

TOKEN = Token("ey.a-token", time.time() + 3600)


def experiments():
    return mlflow.search_experiments()


def refused(place) -> Exception:
    """What a colleague's program gets when it logs: MLflow's exception, and ours before it."""
    with pytest.raises(MlflowException) as raised:
        experiments()
    assert str(raised.value.__context__) in str(raised.value)
    return raised.value.__context__


# -- to whom the token goes
def test_the_token_goes_to_no_other_server(place, elsewhere):
    """A second tracking server in the same program gets none: a provider of headers would have sent it."""
    elsewhere.answers = [(200, {}, "{}")] * 2
    experiments()
    mlflow.MlflowClient(tracking_uri=elsewhere.url).search_experiments()

    assert [name for headers in elsewhere.seen for name in headers if "uthorization" in name] == []
    assert elsewhere.seen


@pytest.mark.parametrize("asked", ["search_experiments", "search_registered_models"], ids=["by POST", "by GET"])
def test_a_client_for_a_door_that_is_not_the_tracking_uri(place, monkeypatch, tmp_path, asked):
    """As in MlflowClient("https://..."), and nothing else said: it is told what to set, by the door's first answer."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/runs.db")
    with pytest.raises(MlflowException) as raised:
        getattr(mlflow.MlflowClient(place.origin), asked)()

    assert f"{place.origin} is another server" in str(raised.value)
    assert f'mlflow.set_tracking_uri("{place.origin}")' in str(raised.value)
    assert place.asked("signJwt") == 0


def test_who_logs_to_a_file_asks_for_no_token(place, elsewhere, monkeypatch, tmp_path):
    """Another server in the same program is asked as if there were no door anywhere."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/runs.db")
    mlflow.MlflowClient(tracking_uri=elsewhere.url).search_experiments()

    assert len(elsewhere.seen) == 1
    assert place.asked("signJwt") == 0


def test_the_token_does_not_follow_a_redirect(place, elsewhere, monkeypatch):
    """To a sign-in page, which would answer 200 and be taken for MLflow's own answer."""
    monkeypatch.setattr(door.TOKENS, "_held", {settings.of(elsewhere.url): TOKEN})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", elsewhere.url)
    page = "http://localhost:1/o/oauth2/v2/auth"
    elsewhere.answers_as_the_door(302, "Invalid IAP credentials: empty token", Location=page)
    error = refused(place)

    assert type(error) is errors.Refused
    assert "asks for a sign-in at http://localhost:1, where no token is sent" in str(error)
    assert len(elsewhere.seen) == 1


@pytest.mark.parametrize(
    ("variables", "header"),
    [
        pytest.param({}, "Authorization", id="it goes to the usual header"),
        pytest.param(
            {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "hers"},
            "Proxy-Authorization",
            id="the server behind the door wants a password in it",
        ),
    ],
)
def test_which_header_it_takes(place, elsewhere, monkeypatch, variables, header):
    """The door takes either, and passes the other on."""
    monkeypatch.setattr(door.TOKENS, "_held", {settings.of(elsewhere.url): TOKEN})
    for name, value in ({"MLFLOW_TRACKING_URI": elsewhere.url} | variables).items():
        monkeypatch.setenv(name, value)
    experiments()

    assert elsewhere.seen[0][header] == f"Bearer {TOKEN.text}"


def test_the_real_door_takes_the_other_header(place, monkeypatch):
    """MLFLOW_TRACKING_TOKEN is something else's."""
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "for-the-server-behind")

    assert experiments()


def test_a_password_in_netrc_does_not_displace_it(place, monkeypatch, tmp_path):
    """Though `requests` would rather send that to a host that it stands for."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login ada password hers\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    assert experiments()


def test_large_files_go_in_parts_where_addresses_are_signed(place, monkeypatch):
    """App Engine takes 32 MB at once, MLflow's own limit is 500; who has set another one keeps it."""
    size, parts = "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD"
    monkeypatch.setenv(size, "1")
    monkeypatch.setenv(parts, "false")
    plugin.Provider().get_auth()
    kept = os.environ[size], os.environ[parts]
    monkeypatch.delenv(size)
    monkeypatch.delenv(parts)
    plugin.Provider().get_auth()

    assert kept == ("1", "false")
    assert (os.environ[size], os.environ[parts]) == (str(16 * 1024 * 1024), "true")


def test_another_scheme_is_another_place(place, monkeypatch):
    """A request without TLS to the host of a server with it gets nothing."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ml.example")
    request = requests.Request("GET", "http://ml.example/").prepare()

    assert dict(plugin.SIGN_IN(request).headers) == {}


# -- what the real door answers
def test_the_role_is_taken_away_while_a_program_runs(place):
    """It names the account and the command that an owner types; and goes on once that was done."""
    experiments()
    with place.without_role():
        error = refused(place)

    assert type(error) is errors.NoRole
    assert f"does not let {place.account} in" in str(error)
    assert "python -m provision up" in str(error)
    assert experiments()


def test_a_key_is_revoked_while_a_program_runs(place, tmp_path, monkeypatch):
    """Its signature is worth nothing from then on."""
    monkeypatch.setenv("MLFLOW_IAP_KEY_FILE", str(place.key(tmp_path)))
    monkeypatch.setenv("MLFLOW_IAP_SOURCE", "key")
    experiments()
    place.revoke_keys()
    error = refused(place)

    assert type(error) is errors.BadKey
    assert "The key was revoked" in str(error)


def test_a_token_for_another_door(place, monkeypatch):
    """Such as that of an OAuth client which this door does not know."""
    monkeypatch.setenv("MLFLOW_IAP_SOURCE", "oidc")
    monkeypatch.setenv("MLFLOW_IAP_CLIENT_ID", "another.apps.googleusercontent.com")
    error = refused(place)

    assert type(error) is errors.WrongAudience
    assert place.origin in str(error)
    assert "MLFLOW_IAP_CLIENT_ID" in str(error)


@pytest.mark.parametrize(
    ("skew", "takes"),
    [(20, True), (120, False), (-120, True)],
    ids=["ahead by less than the door bears", "ahead by two minutes", "behind by two minutes"],
)
def test_this_machines_clock_is_off(place, skew, takes):
    """It says by how much, from the door's own time; a token that seems a bit old is as good as any."""
    signed = signatures.door_token(place.here, time.time() + skew)
    answer = requests.get(place.origin, headers={"Authorization": f"Bearer {signed.text}"}, timeout=30)
    error = door.meaning(answer, place.here, lambda: time.time() + skew)

    assert (error is None) == takes
    if error:
        assert type(error) is errors.WrongClock
        assert re.search(r"clock is 1[12]\d s ahead of the server's[\s\S]*timedatectl", str(error))


def test_a_token_that_has_ended(place, tmp_path):
    """An hour ago; the door says so, and the next one is new."""
    key = signatures._key(Settings(place.origin, key_file=str(place.key(tmp_path))))
    old = signatures._claims(place.account, place.here, time.time() - 7200)
    text = jwt.encode(signatures.crypt.RSASigner.from_service_account_info(key), old).decode()
    door.TOKENS._held[place.here] = Token(text, time.time() + 3600)
    error = refused(place)

    assert type(error) is errors.Refused
    assert "expired" in str(error)
    assert experiments()


# -- what a door says that is hard to bring about
def test_the_door_has_no_oauth_client(elsewhere):
    """MLflow would repeat it for minutes, and then speak of a bad gateway."""
    elsewhere.answers_as_the_door(502, "Empty Google Account OAuth client ID(s)/secret(s).")
    with pytest.raises(errors.DoorNotConfigured, match=r"let-outsiders-in\.md"):
        door.knock(Settings(elsewhere.url), TOKEN)

    assert len(elsewhere.seen) == 1


def test_the_server_is_starting(elsewhere):
    """It is waited for, in pauses that grow."""
    elsewhere.answers = [(503, {}, "not available yet"), (502, {}, "Bad Gateway"), (200, {}, "OK")]
    pauses = []
    door.knock(Settings(elsewhere.url), TOKEN, pauses.append)

    assert pauses == [1, 2]


def test_the_server_does_not_start(elsewhere):
    """After two minutes it is said whose turn it is."""
    elsewhere.answers = [(503, {}, "not available yet")] * 100
    pauses = []
    with pytest.raises(errors.ServerStarting, match="python -m provision doctor"):
        door.knock(Settings(elsewhere.url), TOKEN, pauses.append)

    assert 120 <= sum(pauses) < 140


def test_nothing_is_at_the_address():
    """Which is said within seconds."""
    pauses = []
    with pytest.raises(errors.Unreachable, match="MLFLOW_TRACKING_URI"):
        door.knock(Settings("http://127.0.0.1:1"), TOKEN, pauses.append)

    assert sum(pauses) < 10


@pytest.mark.parametrize("off", [-120, 120], ids=["behind", "ahead"])
def test_a_clock_that_is_off_is_the_first_thing_to_mend(elsewhere, off):
    """Whatever words the door has for it."""
    there = format_datetime(datetime.now(timezone.utc) - timedelta(seconds=off), usegmt=True)
    elsewhere.answers_as_the_door(401, "Invalid IAP credentials: JWT signature is invalid", Date=there)
    with pytest.raises(errors.WrongClock, match="behind" if off < 0 else "ahead of"):
        door.knock(Settings(elsewhere.url), TOKEN)


def test_a_door_that_does_not_mark_its_answers(elsewhere):
    """Is known by its words."""
    elsewhere.answers = [(401, {}, "Invalid IAP credentials: Invalid bearer token. Invalid JWT audience.")]
    with pytest.raises(errors.WrongAudience):
        door.knock(Settings(elsewhere.url), TOKEN)


@pytest.mark.parametrize("status", [401, 403, 500], ids=["not signed in", "no permission", "an error"])
def test_what_mlflow_answers_itself_is_left_to_mlflow(elsewhere, status):
    """Behind the door it may have passwords of its own."""
    elsewhere.answers = [(status, {}, "Not authenticated. JWT audience")]

    assert door.asked(Settings(elsewhere.url), "/", TOKEN).status_code == status


def test_a_wrong_name_of_the_provider_is_mlflows_to_say(place, monkeypatch):
    """It warns that nothing signs."""
    monkeypatch.setenv("MLFLOW_TRACKING_AUTH", "iapp")
    forget_tokens()
    with pytest.warns(UserWarning, match="iapp"), pytest.raises(MlflowException, match="401"):
        experiments()
