"""Where a signature comes from: each source gets through the real door, and what is missing is said."""

import json
import time

import mlflow
import pytest
from conftest import ADA, BOB, forget_tokens, sign_in
from google.auth import jwt

from mlflow_iap_auth import door, signatures
from mlflow_iap_auth.errors import BadKey, BadSettings, NotAllowed, NotSignedIn, Unreachable, WrongQuotaProject


def logged() -> float:
    """Log a metric through the door, and read it back."""
    with mlflow.start_run() as run:
        mlflow.log_metric("loss", 0.5)
    return mlflow.get_run(run.info.run_id).data.metrics["loss"]


def claims(text):
    return jwt.decode(text, verify=False)


def test_google_signs_in_ones_own_name(place, caplog):
    """Two environment variables, and a program logs; there is no key anywhere, and one token for all its requests."""
    assert logged() == 0.5
    assert [record.getMessage() for record in caplog.records if record.name.startswith("google")] == []
    assert place.asked("signJwt") == 1
    told = claims(door.TOKENS.current(place.here).text)
    assert (told["iss"], told["aud"]) == (place.account, f"{place.origin}/*")
    assert told["exp"] - told["iat"] == 3600


def test_a_key_signs_without_google(place, tmp_path, monkeypatch):
    """A key file, where an organization allows keys; nobody is signed in."""
    monkeypatch.setenv("MLFLOW_IAP_KEY_FILE", str(place.key(tmp_path)))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    monkeypatch.delenv("MLFLOW_IAP_ACCOUNT")

    assert logged() == 0.5
    assert place.asked("signJwt") == 0


@pytest.mark.parametrize("with_key", [False, True], ids=["by Google in one's own name", "by a key file"])
def test_an_id_token_for_the_doors_own_oauth_client(place, tmp_path, monkeypatch, with_key):
    """Named outright, where the door has an OAuth client of its own."""
    monkeypatch.setenv("MLFLOW_IAP_SOURCE", "oidc")
    monkeypatch.setenv("MLFLOW_IAP_CLIENT_ID", place.client_id)
    if with_key:
        monkeypatch.setenv("MLFLOW_IAP_KEY_FILE", str(place.key(tmp_path)))

    assert logged() == 0.5
    assert place.asked("generateIdToken") == (0 if with_key else 1)
    told = claims(door.TOKENS.current(place.here).text)
    assert (told["iss"], told["aud"], told["email"]) == ("https://accounts.google.com", place.client_id, place.account)


def test_without_a_word_the_sources_are_tried_in_order(place, tmp_path, monkeypatch):
    """Google in one's own name first; who may not have it so goes on to the key."""
    monkeypatch.setenv("MLFLOW_IAP_KEY_FILE", str(place.key(tmp_path)))
    door.TOKENS.current(place.here)
    first = place.asked("signJwt")
    forget_tokens()
    sign_in(monkeypatch, place, tmp_path, BOB)
    door.TOKENS.current(place.here)

    assert (first, place.asked("signJwt")) == (1, 1)


def test_nobody_is_signed_in(place, tmp_path, monkeypatch):
    """It says with which command one signs in."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(NotSignedIn, match=r"none\.json was not found[\s\S]*gcloud auth application-default login"):
        door.TOKENS.current(place.here)


def test_a_sign_in_has_ended(place, tmp_path, monkeypatch):
    """Google does not take the refresh token any more."""
    sign_in(monkeypatch, place, tmp_path, "gone@example.com")
    with pytest.raises(NotSignedIn, match=r"invalid_grant[\s\S]*gcloud auth application-default login"):
        door.TOKENS.current(place.here)


def test_somebody_has_no_access(place, tmp_path, monkeypatch):
    """It names the person, the account, and the one command that an owner types."""
    sign_in(monkeypatch, place, tmp_path, BOB)
    with pytest.raises(NotAllowed) as refused:
        door.TOKENS.current(place.here)

    assert str(refused.value).startswith(f"{BOB} may not sign for {place.account}: Permission 'iam.service")
    assert f"An owner adds {BOB} to [access] in provision.toml and types: python -m provision up" in refused.value.hint


@pytest.mark.parametrize("reason", ["SERVICE_DISABLED", "USER_PROJECT_DENIED"])
def test_a_sign_in_names_the_wrong_project(place, reason):
    """The one that its requests are counted on: nothing that an owner of the deployment could mend."""
    said = "IAM Service Account Credentials API has not been used in project 764086051850 before or it is disabled."
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}]
    body = {"error": {"code": 403, "status": "PERMISSION_DENIED", "message": said, "details": details}}
    fault = {"method": "iamcredentials.projects.serviceAccounts.signJwt", "status": 403, "body": body}
    place.owner("POST", "emulator/faults", json=[fault])
    with pytest.raises(WrongQuotaProject, match="764086051850") as refused:
        door.TOKENS.current(place.here)

    assert "gcloud auth application-default set-quota-project" in refused.value.hint
    assert "[access]" not in refused.value.hint


def test_all_that_was_tried_is_said(place, tmp_path, monkeypatch):
    """With one command for each."""
    sign_in(monkeypatch, place, tmp_path, BOB)
    monkeypatch.setenv("MLFLOW_IAP_KEY_FILE", str(tmp_path / "lost.json"))
    with pytest.raises(BadKey) as missing:
        door.TOKENS.current(place.here)

    assert f"{BOB} may not sign for {place.account}" in missing.value.what
    assert "lost.json cannot be read: No such file" in missing.value.what
    assert "provision up" in missing.value.hint
    assert "MLFLOW_IAP_KEY_FILE" in missing.value.hint


def test_the_same_advice_is_given_once(place, tmp_path, monkeypatch):
    """Though it would mend each of the sources that were tried."""
    sign_in(monkeypatch, place, tmp_path, BOB)
    monkeypatch.setenv("MLFLOW_IAP_CLIENT_ID", place.client_id)
    with pytest.raises(NotAllowed) as refused:
        door.TOKENS.current(place.here)

    assert refused.value.what.count(f"{BOB} may not sign for") == 2
    assert refused.value.hint.count("python -m provision up") == 1


def test_somebody_is_signed_in_as_the_log_pusher(place, tmp_path, monkeypatch):
    """As by its key file in the place of one's own sign-in: no owner can mend that by letting it in."""
    key = place.key(tmp_path)
    key.write_text(key.read_text().replace("https://oauth2", f"{place.emulator}/oauth2"))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
    with pytest.raises(NotAllowed, match=f"signed in to Google as {place.account} itself") as refused:
        door.TOKENS.current(place.here)

    assert "[access]" not in refused.value.hint
    assert "export MLFLOW_IAP_KEY_FILE" in refused.value.hint


def test_an_account_that_is_not_there(place, monkeypatch):
    """Its e-mail was mistyped; Google does not tell that apart from a right that one lacks."""
    monkeypatch.setenv("MLFLOW_IAP_ACCOUNT", "nobody@test-project-1.iam.gserviceaccount.com")
    with pytest.raises(NotAllowed, match="If you were told another account: export MLFLOW_IAP_ACCOUNT"):
        door.TOKENS.current(place.here)


def test_nothing_tells_the_account(place, monkeypatch):
    """The address is not one of App Engine's, and no variable says more."""
    monkeypatch.delenv("MLFLOW_IAP_ACCOUNT")
    with pytest.raises(BadSettings, match="MLFLOW_IAP_ACCOUNT"):
        door.TOKENS.current(place.here)


@pytest.mark.parametrize(
    "text",
    ["no JSON", "[]", json.dumps({"type": "authorized_user"}), json.dumps({"private_key": "-----BEGIN"})],
    ids=["a text", "a list", "another kind of credentials", "half a key"],
)
def test_a_file_that_is_no_key(place, tmp_path, monkeypatch, text):
    """What stands in it is not repeated."""
    (tmp_path / "key.json").write_text(text)
    monkeypatch.setenv("MLFLOW_IAP_KEY_FILE", str(tmp_path / "key.json"))
    monkeypatch.setenv("MLFLOW_IAP_SOURCE", "key")
    with pytest.raises(BadKey, match=r"key\.json is no key of a service account"):
        door.TOKENS.current(place.here)


def test_who_asks(place, tmp_path, monkeypatch):
    """A person by address; the holder of a key, where it was named or nobody is signed in."""
    assert signatures.who(place.here) == ADA
    monkeypatch.setenv("MLFLOW_IAP_KEY_FILE", str(place.key(tmp_path)))
    assert signatures.who(place.here) == ADA
    monkeypatch.setenv("MLFLOW_IAP_SOURCE", "key")
    assert signatures.who(place.here) == f"whoever holds {tmp_path / 'key.json'}"
    monkeypatch.delenv("MLFLOW_IAP_SOURCE")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    assert signatures.who(place.here) == f"whoever holds {tmp_path / 'key.json'}"


def test_google_is_busy_for_a_moment(place):
    """It is asked again."""
    place.owner(
        "POST", "emulator/faults", json=[{"method": "iamcredentials.projects.serviceAccounts.signJwt", "status": 503}]
    )
    assert signatures.door_token(place.here, time.time()).text


@pytest.mark.parametrize("status", [429, 500, 503], ids=["too many requests", "an error of its own", "it is busy"])
def test_google_is_too_busy_to_take_a_sign_in(place, monkeypatch, status):
    """Nobody is told to sign in once more for that, and a token that is still good is used on."""
    held = door.TOKENS.current(place.here)
    place.owner("POST", "emulator/faults", json=[{"method": "oauth2.token", "status": status, "times": 2}])
    with pytest.raises(Unreachable, match="makes no token at the moment"):
        signatures.door_token(place.here, time.time())
    monkeypatch.setattr(door.TOKENS, "_now", lambda: held.ends - 60)

    assert door.TOKENS.current(place.here) is held
